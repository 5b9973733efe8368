"""Mixing of batches within each label, by silhouette width against all other batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics._silhouette import within_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.metrics._core import Value

META = {
    "kind": "metric",
    "name": "bras",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "Batch removal adapted silhouette: 1 - abs(width) within labels, all other batches.",
    "reference": "Rautenstrauch & Ohler 2025, doi:10.1038/s41587-025-02743-4",
}


def bras(X: ArrayLike, *, label: ArrayLike, batch: ArrayLike, distance: str = "cosine") -> Value:
    """Return the mean over labels of the mean of ``1 - abs(width by batch)``.

    The width compares the mean distance to the own batch with the mean distance to the rows of all
    other batches of the label, instead of the nearest other batch. ``silhouette_batch`` is near 1
    if each batch has one other batch close by, also when groups of batches are far from each other;
    this metric is not. Labels are not compared with each other, so moving labels together is
    neither rewarded nor punished.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped. Labels with one batch, or with as
        many batches as rows, are skipped and counted.
    batch
        ``(n,)`` batches.
    distance
        ``cosine`` or ``euclidean``.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    return within_labels(X, label, batch, distance, "all")
