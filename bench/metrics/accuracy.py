"""Fraction of rows with a correctly predicted class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.words import count
from bench.metrics._core import Value
from bench.metrics._predictions import NOTHING, scored, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "accuracy",
    "version": 1,
    "needs": "predictions",
    "range": [0, 1],
    "ignores": ["names"],
    "oracle_is_best": True,
    "summary": "Share of rows whose class was predicted.",
    "reference": "scikit-learn accuracy_score",
}


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Value:
    """Return the fraction of rows with ``y_pred == y_true``.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 are skipped and counted.
    y_pred
        ``(n,)`` predicted classes.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or values are not integers.
    """
    truth, guess, keep = scored(y_true, y_pred)
    if not len(truth):
        return NOTHING
    used = count(len(truth), "row") + without_class(keep)
    return Value(float((truth == guess).mean()), len(truth), used)
