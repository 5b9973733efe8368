"""Effective number of batches in neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Neighbours, Value, left_out
from bench.metrics._lisi import PERPLEXITY, lisi_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "ilisi",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Local inverse Simpson index of batches, rescaled: 0 parted, 1 mixed.",
    "reference": "Korsunsky et al. 2019, doi:10.1038/s41592-019-0619-0",
}


def ilisi(X: ArrayLike, *, batch: ArrayLike, neighbours: Neighbours | None = None) -> Value:
    """Return ``(median LISI of batches - 1) / (n_batches - 1)``.

    LISI is the effective number of batches among the 90 nearest neighbours (perplexity 30). It is
    computed on rows scaled to unit length, so that neighbours are by cosine similarity.
    ``harmonypy.compute_lisi`` on the scaled rows gives the same result.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    batch
        ``(n,)`` batches; rows without one ("") are skipped.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    index, n_batches, keep, k = lisi_of(X, batch, "batch", neighbours)
    used = f"{count(len(index), 'row')}, {count(n_batches, 'batch', 'batches')}"
    if not len(index):
        return Value(float("nan"), 0, f"{used}: needs two batches and four rows")
    used += f", {k} neighbours, perplexity {min(PERPLEXITY, k / 3):.0f}"
    used += left_out(int((~keep).sum()), "without a batch")
    return Value(float((np.median(index) - 1) / (n_batches - 1)), len(index), used)
