"""Fraction of treated rows with a correct class, predicted among treatment classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.words import count
from bench.metrics._core import Value, left_out
from bench.metrics._predictions import NOTHING, scored_scores, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "accuracy_treatments",
    "version": 1,
    "needs": "scores",
    "range": [0, 1],
    "ignores": ["names", "monotone"],
    "oracle_is_best": True,
    "summary": "Share of treated rows whose class was predicted among the treatment classes.",
    "reference": "scikit-learn accuracy_score on the treatment classes",
}


def accuracy_treatments(y_true: ArrayLike, scores: ArrayLike, treatments: ArrayLike) -> Value:
    """Return the accuracy over the rows of treatment classes, among those classes.

    If controls are classes, the control mask reveals their labels. Here controls are neither
    scored nor predicted, so the mask gives no advantage, and methods with and without it can be
    compared.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 or of a control class are skipped and counted.
    scores
        ``(n, n_classes)`` scores of any scale; ties go to the first class.
    treatments
        ``(n_classes,)`` bool: which classes are treatments.

    Raises
    ------
    BenchError
        If shapes do not match or scores are not finite.
    """
    truth, table, keep = scored_scores(y_true, scores)
    allowed = np.asarray(treatments, dtype=bool)
    if allowed.shape != (table.shape[1],):
        raise BenchError(f"treatments of shape {allowed.shape} do not fit {table.shape[1]} classes")
    treated = allowed[truth]
    if not treated.any():
        return NOTHING
    truth, table = truth[treated], np.where(allowed, table[treated], -np.inf)
    classes = count(int(allowed.sum()), "treatment class")
    used = f"{count(len(truth), 'row')} of {classes}"
    n_controls = int((~treated).sum())
    return Value(
        float((table.argmax(axis=1) == truth).mean()),
        len(truth),
        used + left_out(n_controls, "of control classes") + without_class(keep),
    )
