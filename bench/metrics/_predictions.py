"""Input checks shared by the metrics of predictions and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.metrics._core import Bools, Doubles, Ints, Value, left_out

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.core.types import Array

NOTHING = Value(float("nan"), 0, "no row has a class: undefined")


def classes_of(values: ArrayLike, what: str) -> Ints:
    """Return an integer class column, ``(n,)`` int64."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise BenchError(
            f"{what} must be a column of integers, not {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def scored(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Ints, Ints, Bools]:
    """Return true and predicted classes of the rows with a class, and the mask of these rows."""
    truth, guess = classes_of(y_true, "y_true"), classes_of(y_pred, "y_pred")
    if truth.shape != guess.shape:
        raise BenchError(f"y_true has {len(truth)} rows, y_pred has {len(guess)}")
    keep = np.asarray(truth >= 0)
    return truth[keep], guess[keep], keep


def scored_scores(y_true: ArrayLike, scores: ArrayLike) -> tuple[Ints, Doubles, Bools]:
    """Return classes and scores, ``(m, n_classes)``, of the rows with a class."""
    truth = classes_of(y_true, "y_true")
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(truth):
        raise BenchError(f"scores of shape {table.shape} do not fit {len(truth)} rows")
    keep = np.asarray(truth >= 0)
    if keep.any() and truth.max() >= table.shape[1]:
        raise BenchError(f"y_true has class {truth.max()}, scores have {table.shape[1]} columns")
    if not np.isfinite(table[keep]).all():
        raise BenchError("scores have NaN or infinity")
    return truth[keep], table[keep], keep


def without_class(keep: Array) -> str:
    """Return text about the rows without a class."""
    return left_out(int((~keep).sum()), "without a class")
