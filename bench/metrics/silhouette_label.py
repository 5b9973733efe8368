"""Compactness and separation of labels, by silhouette width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.words import count
from bench.metrics._core import Value, codes, has_value, left_out, matrix, named
from bench.metrics._silhouette import silhouette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

META = {
    "kind": "metric",
    "name": "silhouette_label",
    "version": 1,
    "needs": "embedding",
    "range": [0, 1],
    "ignores": ["names", "scale", "rotation"],
    "summary": "(mean silhouette width by label + 1) / 2, cosine distance.",
    "reference": "Luecken et al. 2022, doi:10.1038/s41592-021-01336-8",
}


def silhouette_label(X: ArrayLike, *, label: ArrayLike, distance: str = "cosine") -> Value:
    """Return ``(mean silhouette width + 1) / 2``; 0.5 if labels overlap completely.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    label
        ``(n,)`` labels; rows without one ("" or -1) are skipped.
    distance
        ``cosine``, or ``euclidean`` as in scib.

    Raises
    ------
    BenchError
        If the lengths of the columns differ or profiles are not finite.
    """
    table = matrix(X)
    column = named(label, "label", len(table))
    keep = has_value(column)
    code, names = codes(column[keep])
    used = f"{count(len(code), 'row')}, {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label")
    if not 2 <= len(names) < len(code):
        return Value(float("nan"), 0, f"{used}: needs two labels and more rows than labels")
    width = silhouette(table[keep], code, len(names), distance)
    return Value(float((width.mean() + 1) / 2), len(code), used)
