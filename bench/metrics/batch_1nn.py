"""Batch classification by the nearest neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import (
    TIE,
    Neighbours,
    Value,
    codes,
    has_value,
    left_out,
    matrix,
    named,
    shared_graph,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "batch_1nn",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "higher_is_better": False,
    "summary": "1-nearest-neighbour accuracy (cosine) of telling the batch; lower is better.",
    "reference": "Lin & Lu 2022, PMLR 200, appendix B.1",
}


def batch_1nn(X: ArrayLike, *, batch: ArrayLike, neighbours: Neighbours | None = None) -> Value:
    """Return the fraction of rows whose nearest other row is from the same batch.

    Tied neighbours (within 1e-9 of cosine) count fractionally. For well-mixed batches it is the
    chance level, 1 / n_batches for batches of equal size, which ``used`` states.

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
    table = matrix(X)
    column = named(batch, "batch", len(table))
    keep = has_value(column)
    code, names = codes(column[keep])
    n = len(code)
    if len(names) < 2:
        return Value(float("nan"), 0, f"{count(len(names), 'batch', 'batches')}: undefined")
    # A few neighbours are enough to detect ties; the shared graph has more.
    graph = shared_graph(table, keep, neighbours, 10)
    cosine = graph.distances**2 / 2
    tied = cosine <= cosine[:, :1] + TIE
    same = code[graph.indices] == code[:, None]
    share = (tied & same).sum(axis=1) / tied.sum(axis=1)
    sizes = np.bincount(code)
    chance = float((sizes * (sizes - 1)).sum() / (n * (n - 1)))
    used = (
        f"{count(n, 'row')}, {len(names)} batches of {sizes.min()} to {sizes.max()} rows, "
        f"chance {chance:.3f}" + left_out(int((~keep).sum()), "without a batch")
    )
    return Value(float(share.mean()), n, used)
