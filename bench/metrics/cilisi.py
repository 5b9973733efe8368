"""Effective number of batches in neighbourhoods within each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import Value, neighbours
from bench.metrics._lisi import PERPLEXITY, lisi
from bench.metrics._within_labels import labels_with_batches

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "cilisi",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Local inverse Simpson index of batches within each label: 0 parted, 1 mixed.",
    "reference": "Andreatta et al. 2024, doi:10.1038/s41467-024-45240-z",
}

FEWEST = 10
"""Labels with fewer rows are skipped."""


def cilisi(X: ArrayLike, *, label: ArrayLike, batch: ArrayLike) -> Value:
    """Return the mean over rows of ``(LISI of batches - 1) / (n_batches - 1)`` within the label.

    Neighbours are the 90 nearest rows of the own label (perplexity 30), or all of them with the
    perplexity of a third, and ``n_batches`` is the number of batches of that label. Rows of other
    labels are not neighbours, so moving labels together is not rewarded, unlike in ``ilisi``.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped. Labels with one batch or fewer
        than 10 rows are skipped and counted.
    batch
        ``(n,)`` batches.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    groups, used = labels_with_batches(X, label, batch)
    values = [
        (lisi(neighbours(rows, int(3 * PERPLEXITY)), place, n) - 1) / (n - 1)
        for rows, place, n in groups
        if n > 1 and len(rows) >= FEWEST
    ]
    index = np.concatenate([np.empty(0), *values])
    text = used(len(index), len(values))
    if not len(index):
        return Value(float("nan"), 0, f"{text}: no label has two batches and {FEWEST} rows")
    return Value(float(index.mean()), len(index), text)
