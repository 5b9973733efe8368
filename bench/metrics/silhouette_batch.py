"""Mixing of batches within each label, by silhouette width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value, codes, has_value, left_out, matrix, named
from bench.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "silhouette_batch",
    "function": "silhouette_batch",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "higher_is_better": True,
    "oracle_is_best": False,
    "summary": "1 - abs(silhouette width by batch) within labels, cosine distance.",
    "reference": "Luecken et al. 2022, doi:10.1038/s41592-021-01336-8",
}


def silhouette_batch(
    X: ArrayLike, *, label: ArrayLike, batch: ArrayLike, distance: str = "cosine"
) -> Value:
    """Return the mean over labels of the mean of ``1 - abs(silhouette width by batch)``.

    It is computed within each label. Labels with one batch, or with as many batches as rows, are
    skipped and counted (with one replicate per batch, all labels are).

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    batch
        ``(n,)`` batches.
    distance
        ``cosine``, or ``euclidean`` as in scib.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    where = named(batch, "batch", len(table))
    keep = has_value(column) & has_value(where)
    table, column, where = table[keep], column[keep], where[keep]
    label_code, names = codes(column)
    means: list[float] = []
    n = 0
    for k in range(len(names)):
        rows = np.flatnonzero(label_code == k)
        code, batches = codes(where[rows])
        if 2 <= len(batches) < len(rows):
            width = silhouette(table[rows], code, len(batches), distance)
            means.append(float((1 - np.abs(width)).mean()))
            n += len(rows)
    used = f"{count(n, 'row')}, {len(means)} of {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label or batch")
    if not means:
        return Value(float("nan"), 0, f"{used}: no label has two batches and a replicate")
    return Value(float(np.mean(means)), n, used)
