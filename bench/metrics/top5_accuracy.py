"""Fraction of rows whose class is among the five highest scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value
from bench.metrics._predictions import NOTHING, scored_scores, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "top5_accuracy",
    "version": 1,
    "needs": "scores",
    "range": [0, 1],
    "ignores": ["names", "monotone"],
    "oracle_is_best": True,
    "summary": "Share of rows whose class is among the five that score highest.",
    "reference": "scikit-learn top_k_accuracy_score",
}

TOP = 5


def top5_accuracy(y_true: ArrayLike, scores: ArrayLike) -> Value:
    """Return the fraction of rows whose class is among the five highest scores.

    A class tied across the fifth rank counts fractionally. If all scores are equal, the value is
    the chance level, 5 / n_classes.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 are skipped and counted.
    scores
        ``(n, n_classes)`` scores of any scale.

    Raises
    ------
    BenchError
        If shapes do not match or scores are not finite.
    """
    truth, table, keep = scored_scores(y_true, scores)
    if not len(truth):
        return NOTHING
    own = table[np.arange(len(truth)), truth][:, None]
    above = (table > own).sum(axis=1)
    tied = (table == own).sum(axis=1)
    credit = np.clip((TOP - above) / tied, 0.0, 1.0)
    n_classes = table.shape[1]
    used = f"{count(len(truth), 'row')}, {count(n_classes, 'class', 'classes')}"
    if n_classes <= TOP:
        used += ", always 1 with so few"
    return Value(float(credit.mean()), len(truth), used + without_class(keep))
