"""Difference between the confidence and the accuracy of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.words import count
from bench.metrics._core import Value
from bench.metrics._predictions import NOTHING, scored_scores, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "calibration_error",
    "version": 1,
    "needs": "scores",
    "range": [0, 1],
    "ignores": ["names"],
    "higher_is_better": False,
    # The probe's regularisation is selected by its classes, which leaves its confidence arbitrary.
    "readout": "head",
    "summary": "Expected calibration error of the predicted class, 15 bins of equal width.",
    "reference": "Guo et al. 2017, arXiv 1706.04599",
}

BINS = 15


def calibration_error(y_true: ArrayLike, scores: ArrayLike) -> Value:
    """Return the expected calibration error of the predicted class.

    Rows are binned by confidence, the probability of the predicted class, into 15 bins of equal
    width, closed on the right. The value is the mean of abs(accuracy - confidence) over bins,
    weighted by rows.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 are skipped and counted.
    scores
        ``(n, n_classes)`` probabilities: non-negative, each row summing to 1.

    Raises
    ------
    BenchError
        If shapes do not match, or scores are not probabilities.
    """
    truth, table, keep = scored_scores(y_true, scores)
    if not len(truth):
        return NOTHING
    if table.min() < -1e-6 or np.abs(table.sum(axis=1) - 1).max() > 1e-3:
        raise BenchError(
            "calibration_error needs probabilities (not negative, adding up to 1 in each row): "
            "apply a softmax to logits first"
        )
    confidence = table.max(axis=1).clip(0.0, 1.0)
    right = table.argmax(axis=1) == truth
    which = np.ceil(confidence * BINS).astype(np.int64).clip(1, BINS) - 1
    gap = np.bincount(which, weights=right - confidence, minlength=BINS)
    filled = int((np.bincount(which, minlength=BINS) > 0).sum())
    used = f"{count(len(truth), 'row')}, {filled} of {BINS} bins filled"
    return Value(float(np.abs(gap).sum() / len(truth)), len(truth), used + without_class(keep))
