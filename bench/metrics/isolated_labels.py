"""Separation of the labels that occur in the fewest batches."""

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
    "name": "isolated_labels",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "(silhouette width by label + 1) / 2 of the labels in the fewest batches, cosine.",
    "reference": "Luecken et al. 2022, doi:10.1038/s41592-021-01336-8",
}


def isolated_labels(
    X: ArrayLike, *, label: ArrayLike, batch: ArrayLike, distance: str = "cosine"
) -> Value:
    """Return the mean of ``(silhouette width by label + 1) / 2`` over isolated labels.

    Isolated labels are those in the fewest batches; if all labels are in equally many batches,
    these are all labels. A correction that joins batches tends to merge them with other labels.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    batch
        ``(n,)`` batches.
    distance
        ``cosine``, or ``euclidean`` as in scib-metrics.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    where = named(batch, "batch", len(table))
    keep = has_value(column) & has_value(where)
    code, names = codes(column[keep])
    place, places = codes(where[keep])
    used = f"{count(len(code), 'row')}, {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label or batch")
    if not 2 <= len(names) < len(code):
        return Value(float("nan"), 0, f"{used}: needs two labels and more rows than labels")
    pairs = np.unique(code * len(places) + place)
    n_batches = np.bincount(pairs // len(places), minlength=len(names))
    isolated = np.flatnonzero(n_batches == n_batches.min())
    width = (silhouette(table[keep], code, len(names), distance) + 1) / 2
    means = np.bincount(code, width) / np.bincount(code)
    used += (
        f"; {count(len(isolated), 'label')} in {count(int(n_batches.min()), 'batch', 'batches')}"
    )
    return Value(float(means[isolated].mean()), int(np.isin(code, isolated).sum()), used)
