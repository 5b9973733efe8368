"""Mean recall over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value
from bench.metrics._predictions import NOTHING, scored, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "balanced_accuracy",
    "version": 1,
    "needs": "predictions",
    "range": [0, 1],
    "ignores": ["names"],
    "oracle_is_best": True,
    "summary": "Mean recall over the classes that occur.",
    "reference": "scikit-learn balanced_accuracy_score",
}


def balanced_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Value:
    """Return the recall averaged over the classes that occur in ``y_true``.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 are skipped and counted.
    y_pred
        ``(n,)`` predicted classes. Predicting a class that does not occur in ``y_true`` is an
        ordinary error.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or values are not integers.
    """
    truth, guess, keep = scored(y_true, y_pred)
    if not len(truth):
        return NOTHING
    present, inverse = np.unique(truth, return_inverse=True)
    right = np.bincount(inverse, weights=truth == guess)
    recall = right / np.bincount(inverse)
    used = f"{count(len(truth), 'row')}, {count(len(present), 'class', 'classes')}"
    return Value(float(recall.mean()), len(truth), used + without_class(keep))
