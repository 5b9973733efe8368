"""Local inverse Simpson index, shared by ilisi and clisi."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics._core import (
    Bools,
    Doubles,
    Ints,
    Neighbours,
    chunks,
    codes,
    has_value,
    matrix,
    named,
    shared_graph,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PERPLEXITY = 30.0


def weights(distances: Doubles, perplexity: float) -> Doubles:
    """Return neighbour weights ``(n, k)`` that sum to 1, with the requested perplexity.

    Weights are ``exp(-beta * distance)`` with one beta per row. Beta is found by bisection, such
    that the exponential of the entropy is ``perplexity`` (van der Maaten & Hinton 2008, with the
    distance instead of its square, as in LISI).
    """
    target = np.log(perplexity)
    gaps = distances - distances[:, :1]
    n = len(gaps)
    # In units of the mean distance, beta is of order one for any scale of the embedding.
    scale = gaps.mean(axis=1, keepdims=True)
    gaps = gaps / np.where(scale > 0, scale, 1.0)
    low, high = np.zeros(n), np.full(n, np.inf)
    beta = np.ones(n)
    for _ in range(100):
        power = np.exp(-gaps * beta[:, None])
        total = power.sum(axis=1)
        entropy = np.log(total) + beta * (gaps * power).sum(axis=1) / total
        # Entropy decreases with beta. If nearest neighbours tie, a low perplexity cannot be
        # reached: beta grows until they share the weight equally.
        flat = entropy > target
        low, high = np.where(flat, beta, low), np.where(flat, high, beta)
        beta = np.where(np.isinf(high), np.minimum(beta * 2, 1e12), (low + high) / 2)
        if np.abs(entropy - target).max() < 1e-9:
            break
    result: Doubles = power / total[:, None]
    return result


def lisi(graph: Neighbours, code: Ints, n_values: int, perplexity: float = PERPLEXITY) -> Doubles:
    """Return the local inverse Simpson index of each row, ``(n,)`` in [1, n_values].

    Parameters
    ----------
    graph
        Neighbours of each row. ``3 * perplexity`` of them are used, or all if fewer.
    code
        ``(n,)`` integer codes 0 .. n_values - 1.
    n_values
        Number of distinct values.
    perplexity
        Effective number of neighbours; a third of the neighbours if the graph has fewer than
        three times as many.
    """
    k = min(graph.k, int(perplexity * 3))
    perplexity = min(perplexity, k / 3)
    graph = graph.take(k)
    n = len(graph)
    result = np.empty(n)
    for block in chunks(n, max(k * 4, n_values)):
        share = weights(graph.distances[block], max(perplexity, 1.0))
        rows = np.arange(len(share))[:, None]
        cell = rows * n_values + code[graph.indices[block]]
        held = np.bincount(cell.ravel(), weights=share.ravel(), minlength=len(share) * n_values)
        result[block] = 1 / (held.reshape(-1, n_values) ** 2).sum(axis=1)
    return result


def lisi_of(
    X: ArrayLike, column: ArrayLike, what: str, precomputed: Neighbours | None
) -> tuple[Doubles, int, Bools, int]:
    """Return LISI of the rows with a value, the number of values, a row mask, and k."""
    table = matrix(X)
    values = named(column, what, len(table))
    keep = has_value(values)
    code, names = codes(values[keep])
    if len(names) < 2 or len(code) < 4:
        return np.empty(0), len(names), keep, 0
    graph = shared_graph(table, keep, precomputed, int(PERPLEXITY * 3))
    return lisi(graph, code, len(names)), len(names), keep, graph.k
