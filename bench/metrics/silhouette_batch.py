"""Mixing of batches within each label, by silhouette width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics._silhouette import within_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.metrics._core import Value

META = {
    "kind": "metric",
    "name": "silhouette_batch",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
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
    return within_labels(X, label, batch, distance, "nearest")
