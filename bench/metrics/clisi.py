"""Effective number of labels in neighbourhoods."""

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
    "name": "clisi",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Local inverse Simpson index of labels, rescaled: 1 pure, 0 mixed.",
    "reference": "Korsunsky et al. 2019, doi:10.1038/s41592-019-0619-0",
}


def clisi(X: ArrayLike, *, label: ArrayLike, neighbours: Neighbours | None = None) -> Value:
    """Return ``(n_labels - median LISI of labels) / (n_labels - 1)``.

    LISI is the effective number of labels among the 90 nearest neighbours (perplexity 30),
    between rows scaled to unit length (see ``ilisi``).

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    index, n_labels, keep, k = lisi_of(X, label, "label", neighbours)
    used = f"{count(len(index), 'row')}, {count(n_labels, 'label')}"
    if not len(index):
        return Value(float("nan"), 0, f"{used}: needs two labels and four rows")
    used += f", {k} neighbours, perplexity {min(PERPLEXITY, k / 3):.0f}"
    used += left_out(int((~keep).sum()), "without a label")
    return Value(float((n_labels - np.median(index)) / (n_labels - 1)), len(index), used)
