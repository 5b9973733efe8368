"""Normalised mutual information of Leiden clusters and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics._leiden import agreement

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.metrics._core import Neighbours, Value

META = {
    "kind": "metric",
    "name": "nmi_leiden",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Normalised mutual information of Leiden clusters and labels (extra scib).",
    "reference": "Luecken et al. 2022, doi:10.1038/s41592-021-01336-8",
}


def nmi_leiden(
    X: ArrayLike,
    *,
    label: ArrayLike,
    neighbours: Neighbours | None = None,
    resolution: float | None = None,
) -> Value:
    """Return the normalised mutual information of clusters and labels.

    Rows are clustered by Leiden on the graph of the 24 nearest rows by cosine similarity. Batches
    are ignored: clusters that follow batches lower the value only by splitting labels.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    neighbours
        Precomputed neighbour graph of these rows; computed by default.
    resolution
        Resolution of the modularity. By default the best of 10 for the NMI, as in scIB: the labels
        choose it, the same way for every method.

    Raises
    ------
    BenchError
        If the extra ``scib`` is not installed, the lengths of the columns differ, or profiles
        are not finite.
    """
    return agreement(X, label, neighbours, resolution)["nmi"]
