"""Lowest accuracy over batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value, codes, named
from bench.metrics._predictions import NOTHING, scored, without_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "worst_batch_accuracy",
    "version": 1,
    "needs": "predictions",
    "range": [0, 1],
    "ignores": ["names"],
    "oracle_is_best": True,
    "summary": "Accuracy in the batch where it is lowest.",
    "reference": "worst-group accuracy, Sagawa et al. 2020, arXiv 1911.08731",
}

FEW = 10
"""Batches with fewer rows are counted in ``used``, because their accuracy is imprecise."""


def worst_batch_accuracy(y_true: ArrayLike, y_pred: ArrayLike, *, batch: ArrayLike) -> Value:
    """Return the lowest accuracy over batches.

    All batches are included. The sizes of small batches are reported, since the minimum of many
    noisy values is below the accuracy of the truly worst batch.

    Parameters
    ----------
    y_true
        ``(n,)`` classes; rows with -1 are skipped and counted.
    y_pred
        ``(n,)`` predicted classes.
    batch
        ``(n,)`` batch of each row.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or values are not integers.
    """
    truth, guess, keep = scored(y_true, y_pred)
    if not len(truth):
        return NOTHING
    code, names = codes(named(batch, "batch", len(keep))[keep])
    rows = np.bincount(code)
    shares = np.bincount(code, weights=truth == guess) / rows
    worst = int(shares.argmin())
    used = (
        f"{count(len(truth), 'row')}, {count(len(names), 'batch', 'batches')} of "
        f"{rows.min()} to {rows.max()} rows, {int((rows < FEW).sum())} of them with fewer than "
        f"{FEW}; the lowest is {names[worst]} with {count(int(rows[worst]), 'row')}"
    )
    return Value(float(shares[worst]), len(truth), used + without_class(keep))
