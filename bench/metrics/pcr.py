"""Fraction of variance not explained by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import Value, codes, has_value, left_out, matrix, named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "pcr",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation", "translation"],
    "summary": "1 - share of the principal components' variance that the batch explains.",
    "reference": "Buettner et al. 2019, doi:10.1038/s41592-018-0254-1",
}


def pcr(X: ArrayLike, *, batch: ArrayLike) -> Value:
    """Return one minus the fraction of variance explained by regressing components on batch.

    Principal-component regression weights the R-squared of each component by its variance. Over
    all components this equals the between-batch sum of squares divided by the total, in any
    rotation, so no components are computed. Biological differences between batches also explain
    variance. Batches of pure noise explain ``(n_batches - 1) / (n - 1)``.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    batch
        ``(n,)`` batches; rows without one ("") are skipped.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(batch, "batch", len(table))
    keep = has_value(column)
    code, names = codes(column[keep])
    used = f"{count(len(code), 'row')}, {count(len(names), 'batch', 'batches')}"
    used += left_out(int((~keep).sum()), "without a batch")
    if not 2 <= len(names) < len(code):
        return Value(float("nan"), 0, f"{used}: needs two batches and more rows than batches")
    rows = table[keep].astype(np.float64)
    rows -= rows.mean(axis=0)
    total = float((rows**2).sum())
    if total == 0:
        return Value(float("nan"), 0, f"{used}: all rows are equal")
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, code, rows)
    between = float(((sums**2).sum(axis=1) / np.bincount(code)).sum())
    return Value(1 - between / total, len(code), used)
