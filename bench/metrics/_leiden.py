"""Agreement of Leiden clusters with labels, computed by scib-metrics (extra ``scib``)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.words import count
from bench.metrics._core import Neighbours, Value, codes, has_value, left_out, matrix, named
from bench.metrics._core import neighbours as graph_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.core.types import Array

K = 25
"""Number of neighbours in the clustered graph, the row itself among them."""
SEED = 42


def agreement(
    X: ArrayLike,
    label: ArrayLike,
    precomputed: Neighbours | None,
    resolution: float | None,
) -> dict[str, Value]:
    """Return ``nmi`` and ``ari`` of Leiden clusters and labels.

    The graph of the nearest rows by cosine similarity is weighted as in UMAP and clustered by
    modularity. Rows are ordered by their mean distance to their neighbours, so that the order of
    the table does not matter.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    precomputed
        Neighbour graph of these rows; computed by default.
    resolution
        Resolution of the modularity; None chooses that with the largest NMI among 0.2, 0.4, ..., 2.

    Raises
    ------
    BenchError
        If scib-metrics is not installed, the lengths of the columns differ, or profiles are not
        finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    keep = has_value(column)
    code, names = codes(column[keep])
    n = len(code)
    used = f"{count(n, 'row')}, {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label")
    if len(names) < 2 or n < 4:
        undefined = Value(float("nan"), 0, f"{used}: needs two labels and four rows")
        return {"nmi": undefined, "ari": undefined}
    k = min(K - 1, n - 1)
    if precomputed is None or not keep.all() or precomputed.k < k:
        precomputed = graph_of(table[keep], k)
    result = _clustered(precomputed.take(k), code, resolution)
    chosen = "best of 10 resolutions" if resolution is None else f"resolution {resolution:g}"
    used += f", {k} neighbours, {chosen}"
    return {name: Value(float(result[name]), n, used) for name in ("nmi", "ari")}


def _clustered(graph: Neighbours, code: Array, resolution: float | None) -> dict[str, float]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the missing GPU of jax
            from scib_metrics import nmi_ari_cluster_labels_leiden
            from scib_metrics.nearest_neighbors import NeighborsResults
    except ImportError:
        raise BenchError(
            "clusters by Leiden need scib-metrics: pip install 'labshift[scib]', or leave the "
            "metric out"
        ) from None
    n = len(graph)
    order = np.argsort(graph.distances.mean(axis=1).round(9), kind="stable")
    place = np.argsort(order)
    indices = np.column_stack([np.arange(n), place[graph.indices[order]]])
    distances = np.column_stack([np.zeros(n), graph.distances[order]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: dict[str, float] = nmi_ari_cluster_labels_leiden(
            NeighborsResults(indices, distances),
            code[order],
            optimize_resolution=resolution is None,
            resolution=1.0 if resolution is None else resolution,
            seed=SEED,
        )
    return result
