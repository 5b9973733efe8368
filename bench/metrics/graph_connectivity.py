"""Connectivity of the rows of each label in the neighbour graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.words import count
from bench.metrics._core import (
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
    "name": "graph_connectivity",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Mean over labels of the share of rows in the largest connected component.",
    "reference": "Luecken et al. 2022, doi:10.1038/s41592-021-01336-8",
}

K = 15


def graph_connectivity(
    X: ArrayLike, *, label: ArrayLike, neighbours: Neighbours | None = None, k: int = K
) -> Value:
    """Return the mean over labels of (largest connected component / rows of the label).

    Two rows are connected if either is among the k nearest neighbours of the other. For each
    label, only edges between its own rows are used.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.
    k
        Number of neighbours per row.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    table = matrix(X)
    column = named(label, "label", len(table))
    keep = has_value(column)
    code, names = codes(column[keep])
    n = len(code)
    used = f"{count(n, 'row')}, {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label")
    if n < 2:
        return Value(float("nan"), 0, f"{used}: needs two rows")
    near = shared_graph(table, keep, neighbours, k).indices
    start = np.repeat(np.arange(n), near.shape[1])
    end = near.ravel()
    inside = code[start] == code[end]
    edges = coo_array((np.ones(int(inside.sum())), (start[inside], end[inside])), shape=(n, n))
    _, component = connected_components(edges, directed=True, connection="weak")
    # Components do not cross labels, so the maximum over a label's rows is its largest component.
    size = np.bincount(component)[component]
    largest = np.zeros(len(names))
    np.maximum.at(largest, code, size)
    return Value(float((largest / np.bincount(code)).mean()), n, used)
