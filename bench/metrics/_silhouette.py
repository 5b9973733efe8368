"""Silhouette widths, exact and in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.words import count
from bench.metrics._core import (
    Doubles,
    Ints,
    Value,
    chunks,
    codes,
    has_value,
    left_out,
    matrix,
    named,
    unit_rows,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.core.types import Array

DISTANCES = ("cosine", "euclidean")

ZERO = 1e-12
"""A distance is zero if it is at most this fraction of the largest distance from the mean."""


def silhouette(
    X: Array, code: Ints, n_groups: int, distance: str = "cosine", *, others: str = "nearest"
) -> Doubles:
    """Return the silhouette width of each row, ``(n,)`` in [-1, 1] (Rousseeuw 1987).

    It is ``(b - a) / max(a, b)``, with a the mean distance to the other rows of the own group and b
    the smallest mean distance to another group; 0 for a group of one row. Cosine distances need no
    pairs: the mean over a group is one minus the product with the group's mean.

    Parameters
    ----------
    X
        ``(n, d)`` profiles.
    code
        ``(n,)`` codes 0 .. n_groups - 1, each occurring.
    n_groups
        Number of groups, at least 2.
    distance
        ``cosine`` or ``euclidean``.
    others
        What b is: the distance to the ``nearest`` other group, or the mean distance to ``all``
        rows of other groups.
    """
    if distance not in DISTANCES:
        raise BenchError(f"distance is one of {' | '.join(DISTANCES)}, not '{distance}'")
    sizes = np.bincount(code, minlength=n_groups).astype(np.float64)
    n = len(X)
    rows = np.arange(n)
    if distance == "cosine":
        unit = unit_rows(X)
        sums = np.zeros((n_groups, unit.shape[1]))
        np.add.at(sums, code, unit)
        total = sizes[None, :] - unit @ sums.T
        # The sum over the own group includes the row's distance to itself, 1 - |unit|^2.
        total[rows, code] -= 1 - (unit**2).sum(axis=1)
        unit_length = 1.0
    else:
        points = X.astype(np.float64)
        points = points - points.mean(axis=0)
        square = (points**2).sum(axis=1)
        unit_length = float(np.sqrt(square.max()))
        order = np.argsort(code, kind="stable")
        place = np.argsort(order)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        total = np.empty((n, n_groups))
        for block in chunks(n, n, 8 * 2):
            squared = (
                square[block, None] + square[None, order] - 2 * (points[block] @ points[order].T)
            )
            lengths = np.sqrt(np.maximum(squared, 0, out=squared), out=squared)
            # Cancellation leaves a rounding error in a row's distance to itself.
            lengths[rows[: block.stop - block.start], place[block]] = 0.0
            total[block] = np.add.reduceat(lengths, starts, axis=1)
    inner = total[rows, code] / np.maximum(sizes[code] - 1, 1)
    if others == "all":
        outer = (total.sum(axis=1) - total[rows, code]) / np.maximum(n - sizes[code], 1)
    else:
        mean = total / sizes[None, :]
        mean[rows, code] = np.inf
        outer = mean.min(axis=1)
    widest = np.maximum(inner, outer)
    # Rows at distance 0 from all others have width 0; sums of zeros may give -1e-17.
    width = np.where(
        widest > ZERO * unit_length, (outer - inner) / np.where(widest > 0, widest, 1.0), 0.0
    )
    result: Doubles = np.where(sizes[code] > 1, width, 0.0)
    return result


def within_labels(
    X: ArrayLike, label: ArrayLike, batch: ArrayLike, distance: str, others: str
) -> Value:
    """Return the mean over labels of the mean of ``1 - abs(silhouette width by batch)``.

    Parameters are those of ``silhouette_batch``, and ``others`` of :func:`silhouette`.
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
            width = silhouette(table[rows], code, len(batches), distance, others=others)
            means.append(float((1 - np.abs(width)).mean()))
            n += len(rows)
    used = f"{count(n, 'row')}, {len(means)} of {count(len(names), 'label')}"
    used += left_out(int((~keep).sum()), "without a label or batch")
    if not means:
        return Value(float("nan"), 0, f"{used}: no label has two batches and a replicate")
    return Value(float(np.mean(means)), n, used)
