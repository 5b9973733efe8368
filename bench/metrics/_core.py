"""Shared code of the metrics: values with their counts, and the neighbour graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.core.errors import BenchError
from bench.core.seeds import generator
from bench.core.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.core.types import Array

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

NEIGHBOURS = 90
"""Number of neighbours in the shared graph: three times LISI's perplexity of 30."""
CHUNK_BYTES = 64 * 2**20
"""Memory of one block of similarities, in bytes."""
TIE = 1e-9
"""Tolerance for ties of similarities (float64, at most 1), because profiles are float32."""


@dataclass(frozen=True)
class Value:
    """Value of a metric and the data it is based on.

    Attributes
    ----------
    value
        The value; NaN if undefined, with the reason in ``used``.
    n
        Number of scored rows, profiles or queries.
    used
        Text for the record: number of rows, labels or batches used and excluded.
    """

    value: float
    n: int
    used: str


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest neighbours of each row by cosine similarity, excluding the row itself.

    Attributes
    ----------
    indices
        ``(n, k)`` int64 positions, nearest first.
    distances
        ``(n, k)`` float64 Euclidean distances between rows scaled to unit length (chords).
        Cosine distance is ``distances ** 2 / 2``. The order is that of the cosine.
    """

    indices: Ints
    distances: Doubles

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def k(self) -> int:
        """Number of neighbours per row."""
        return int(self.indices.shape[1])

    def take(self, k: int) -> Neighbours:
        """Return the graph of the ``k`` nearest neighbours."""
        if k > self.k:
            raise BenchError(f"the neighbour graph has {self.k} neighbours per row, not {k}")
        return Neighbours(self.indices[:, :k], self.distances[:, :k])


def matrix(X: ArrayLike) -> Array:
    """Return ``X`` as an ``(n, d)`` float array; raise :class:`BenchError` if not finite."""
    array = np.asarray(X)
    if array.ndim != 2:
        raise BenchError(f"an embedding is rows x features, not an array of shape {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        raise BenchError(f"the embedding has NaN or infinity in {bad} of {len(array)} rows")
    return array


def unit_rows(X: ArrayLike) -> Doubles:
    """Return rows scaled to unit length, ``(n, d)`` float64; zero rows stay zero."""
    array = matrix(X).astype(np.float64)
    # Scale by the largest entry first, so that squares do not overflow or underflow.
    largest = np.abs(array).max(axis=1, keepdims=True, initial=0.0)
    array /= np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    array /= np.where(length > 0, length, 1.0)
    return array


def chunks(n: int, width: int, itemsize: int = 8) -> Iterator[slice]:
    """Yield slices of ``n`` rows such that a block of ``width`` columns fits in memory."""
    rows = max(1, CHUNK_BYTES // max(1, width * itemsize))
    for start in range(0, n, rows):
        yield slice(start, min(n, start + rows))


def neighbours(X: ArrayLike, k: int = NEIGHBOURS) -> Neighbours:
    """Return the exact ``k`` nearest neighbours of each row by cosine similarity.

    Similarities are computed in float64, in blocks of bounded memory. Ties are ordered by a fixed
    random seed and not by row order, so that a collapsed embedding scores at chance level.

    Parameters
    ----------
    X
        ``(n, d)`` embedding, n >= 2.
    k
        Number of neighbours; at most n - 1 are returned.

    Raises
    ------
    BenchError
        If there are fewer than two rows, or values are not finite.
    """
    unit = unit_rows(X)
    n = len(unit)
    if n < 2:
        raise BenchError(f"neighbours need at least two rows, not {n}")
    k = min(k, n - 1)
    shuffled = generator("neighbours").permutation(n)
    unit = unit[shuffled]
    # A zero row has no direction: its cosine is defined as 0, its chord as the square root of 2.
    lacking = 1.0 - (unit != 0).any(axis=1)
    # Select candidates by products of rows centred on the mean, to avoid loss of precision far
    # from the origin, then order them by the norms of differences.
    centred = unit - unit.mean(axis=0)
    handicap = ((centred**2).sum(axis=1) + lacking) / 2
    spare = min(n - 1, k + 8)
    indices = np.empty((n, k), dtype=np.int64)
    distances = np.empty((n, k), dtype=np.float64)
    for block in chunks(n, n, 8 * 2):
        rows = np.arange(block.start, block.stop)
        similarity = centred[block] @ centred.T - handicap
        similarity[rows - block.start, rows] = -np.inf
        near = np.argpartition(similarity, n - spare - 1, axis=1)
        near = near[:, n - spare :]
        for part in chunks(len(rows), spare * unit.shape[1]):
            here, candidates = unit[rows[part]], near[part]
            gaps = unit[candidates]
            gaps -= here[:, None, :]
            squared = np.einsum("ijk,ijk->ij", gaps, gaps)
            squared += lacking[rows[part], None] + lacking[candidates]
            order = np.argsort(squared, axis=1, kind="stable")[:, :k]
            indices[rows[part]] = np.take_along_axis(candidates, order, axis=1)
            distances[rows[part]] = np.sqrt(np.take_along_axis(squared, order, axis=1))
    back = np.empty(n, dtype=np.int64)
    back[shuffled] = np.arange(n)
    return Neighbours(shuffled[indices][back], distances[back])


def named(values: ArrayLike, what: str, n: int) -> Array:
    """Return a column as a one-dimensional array of length ``n``."""
    array = np.asarray(values)
    if array.shape != (n,):
        raise BenchError(f"{what} has {array.shape} values for {n} rows")
    return array


def has_value(column: Array) -> Bools:
    """Return which entries are set: not ``""``, not None, not NaN, and not negative integers."""
    if column.dtype.kind in "iu":
        return np.asarray(column >= 0)
    if column.dtype.kind == "f":
        return np.asarray(~np.isnan(column))
    if column.dtype.kind == "O":
        return np.array(
            [value is not None and value == value and value != "" for value in column],  # noqa: PLR0124 - false for NaN only
            dtype=bool,
        )
    if column.dtype.kind in "US":
        return np.asarray(column != column.dtype.type(""))
    return np.ones(column.shape, dtype=bool)


def codes(column: Array) -> tuple[Ints, Array]:
    """Return integer codes ``(n,)`` and the sorted distinct values."""
    if column.dtype.kind == "O":
        column = column.astype(str)
    values, inverse = np.unique(column, return_inverse=True)
    return inverse.astype(np.int64).reshape(-1), values


def shared_graph(X: Array, keep: Bools, precomputed: Neighbours | None, k: int) -> Neighbours:
    """Return a graph over the selected rows, with ``k`` neighbours (fewer for a small table).

    ``precomputed`` is used if it has the same rows and enough neighbours.
    """
    n = int(keep.sum())
    k = min(k, n - 1)
    if precomputed is not None and len(precomputed) != len(X):
        raise BenchError(f"the neighbour graph has {len(precomputed)} rows, the embedding {len(X)}")
    if precomputed is not None and keep.all() and precomputed.k >= k:
        return precomputed.take(k)
    return neighbours(X[keep], k)


def left_out(number: int, why: str) -> str:
    """Return text such as ``; 3 rows without a label left out``; empty if the number is 0."""
    return f"; {count(number, 'row')} {why} left out" if number else ""
