r"""Average precision and recall of queries in a restricted gallery, and their null distribution.

Each query ranks the gallery by cosine similarity. Average precision is the mean over positives of
the fraction of positives among the rows ranked at least as high, as in copairs (Kalinin et al.
2025). For M positives among L rows in random order its mean is

.. math:: \mu_0 = \frac1L \left(\frac{M - 1}{L - 1} (L - H_L) + H_L\right)

with the harmonic number :math:`H_L`; the normalised average precision is
:math:`(AP - \mu_0) / (1 - \mu_0)`.

In the null distribution of the mean of several queries, those with equal numbers of positives and
rows share one random ranking, and others are independent, as in copairs. (Queries of a group are
not independent: they retrieve each other.) The distribution is not sampled: that of one query is
computed by recursion over the ranks on a grid of :data:`GRID` values, and means are convolutions.
P values therefore have no floor, and rankings as good as the observed one count (copairs counts
better ones).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from bench.metrics._core import TIE, chunks, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.types import Array, Bools, Ints

GRID = 20_000
"""Values of average precision from 0 to 1 in a null distribution."""
SMALLEST = 1e-15
"""Smallest p value that sums of floating-point probabilities can give."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Which rows are queries, positives and negatives.

    Attributes
    ----------
    group
        ``(n,)`` codes; rows of the query's group are its positives. -1 for rows without a group.
    query
        ``(n,)`` which rows are queries.
    negative
        ``(n,)`` which rows may be negatives.
    differ
        Codes ``(n,)``; a row that shares one of them with the query is not in its gallery.
    share
        Codes ``(n,)`` that negatives must share with the query.
    """

    group: Ints
    query: Bools
    negative: Bools
    differ: tuple[Ints, ...] = ()
    share: tuple[Ints, ...] = ()


@dataclass(frozen=True, eq=False)
class Ranked:
    """Scores of the queries that have a positive and a negative in their gallery.

    Attributes
    ----------
    rows
        ``(m,)`` positions of the queries.
    precision
        ``(m,)`` average precision.
    positives, total
        ``(m,)`` numbers of positives, and of rows in the gallery.
    recall
        ``(m, len(k))`` whether one of the k nearest rows is a positive; the expected value where
        rows are tied.
    skipped
        Number of queries without a positive or without a negative.
    """

    rows: Ints
    precision: Array
    positives: Ints
    total: Ints
    recall: Array
    skipped: int

    @property
    def normalised(self) -> Array:
        """``(m,)`` normalised average precision."""
        expected = np.array(
            [expected_precision(*c) for c in zip(self.positives, self.total, strict=True)]
        )
        result: Array = (self.precision - expected) / np.maximum(1 - expected, 1e-10)
        return result


def ranked(X: Array, gallery: Gallery, k: Sequence[int] = (1,)) -> Ranked:
    """Rank the gallery of each query.

    Parameters
    ----------
    X
        ``(n, d)`` profiles, finite.
    gallery
        Queries, positives and negatives.
    k
        Numbers of neighbours of the recall.
    """
    unit = unit_rows(X)
    n, group = len(unit), gallery.group
    queries = np.flatnonzero(gallery.query & (group >= 0))
    scores: list[tuple[int, float, int, int, list[float]]] = []
    for part in chunks(len(queries), n, 8 * 4):
        q = queries[part]
        similarity = unit[q] @ unit.T
        allowed = np.ones((len(q), n), bool)
        allowed[np.arange(len(q)), q] = False
        for codes in gallery.differ:
            allowed &= codes[q, None] != codes[None]
        same = group[q, None] == group[None]
        positive = allowed & same
        negative = allowed & ~same & gallery.negative
        for codes in gallery.share:
            negative &= codes[q, None] == codes[None]
        for i, row in enumerate(q.tolist()):
            own, others = similarity[i, positive[i]], similarity[i, negative[i]]
            if len(own) and len(others):
                precision, recall = _scores(np.sort(own), np.sort(others), k)
                scores.append((row, precision, len(own), len(own) + len(others), recall))
    return Ranked(
        np.array([s[0] for s in scores], np.int64),
        np.array([s[1] for s in scores]),
        np.array([s[2] for s in scores], np.int64),
        np.array([s[3] for s in scores], np.int64),
        np.array([s[4] for s in scores]).reshape(len(scores), len(k)),
        len(queries) - len(scores),
    )


def _scores(own: Array, others: Array, k: Sequence[int]) -> tuple[float, list[float]]:
    """Return average precision and recalls of sorted similarities of positives and negatives."""
    hits = len(own) - np.searchsorted(own, own - TIE)
    misses = len(others) - np.searchsorted(others, own - TIE)
    best = own[-1]
    above = int(len(others) - np.searchsorted(others, best + TIE, side="right"))
    tied = int(misses[-1]) - above
    positives = int(hits[-1])
    recalls = []
    for number in k:
        drawn = min(number - above, tied + positives)
        # Tied rows are in random order: the probability that one of those drawn is a positive.
        recalls.append(1 - _none(tied, positives, drawn) if drawn > 0 else 0.0)
    return float((hits / (hits + misses)).mean()), recalls


def _none(tied: int, positives: int, drawn: int) -> float:
    """Return the probability that none of ``drawn`` rows of a tie is a positive."""
    if drawn > tied:
        return 0.0

    def log_choose(n: int) -> float:
        return float(gammaln(n + 1) - gammaln(drawn + 1) - gammaln(n - drawn + 1))

    return float(np.exp(log_choose(tied) - log_choose(tied + positives)))


def expected_precision(positives: int, total: int) -> float:
    """Return the mean average precision of a random ranking."""
    if positives >= total:
        return 1.0
    harmonic = float((1.0 / np.arange(1, total + 1)).sum())
    return ((positives - 1) / (total - 1) * (total - harmonic) + harmonic) / total


@functools.lru_cache(maxsize=512)
def null_distribution(positives: int, total: int) -> Array:
    """Return the probabilities of average precision ``0, 1/G, ..., 1`` of a random ranking.

    Terms between two points of the grid are split between them, so that the mean is exact; a value
    moves by at most ``positives`` points.
    """
    states = np.zeros((positives + 1, GRID + positives + 1))
    states[0, 0] = 1.0
    for rank in range(1, total + 1):
        left = total - rank + 1
        for n_before in range(min(rank, positives) - 1, -1, -1):
            chance = (positives - n_before) / left
            moved = states[n_before] * min(chance, 1.0)
            states[n_before] -= moved
            _add_shifted(states[n_before + 1], moved, (n_before + 1) / rank / positives * GRID)
    result: Array = np.maximum(states[positives], 0.0)
    result[GRID] += result[GRID + 1 :].sum()
    result = result[: GRID + 1]
    result /= result.sum()
    return result


def _add_shifted(target: Array, values: Array, shift: float) -> None:
    whole = int(shift)
    part = shift - whole
    n = len(target)
    if whole < n:
        target[whole:] += (1 - part) * values[: n - whole]
    if part > 0 and whole + 1 < n:
        target[whole + 1 :] += part * values[: n - whole - 1]


def p_value(mean: float, configurations: Sequence[tuple[int, int]]) -> float:
    """Return the probability that random rankings have at least this mean average precision.

    Parameters
    ----------
    mean
        Mean average precision of the queries.
    configurations
        Number of positives and of rows in the gallery of each query.
    """
    unique, counts = np.unique(np.array(configurations), axis=0, return_counts=True)
    fast = 1 << (2 * GRID).bit_length()
    product: Array = np.ones(1, complex)
    moved = len(unique)
    for (positives, total), number in zip(unique.tolist(), counts.tolist(), strict=True):
        share = number / len(configurations)
        moved += int(np.ceil(share * positives))
        product = product * np.fft.rfft(_scaled(null_distribution(positives, total), share), fast)
    distribution = np.fft.irfft(product, fast)
    # Values may have moved down on the grid: p is at most too large.
    first = max(0, int(np.floor(mean * GRID)) - moved)
    return float(np.clip(distribution[first:].sum(), SMALLEST, 1.0))


def _scaled(values: Array, share: float) -> Array:
    """Return the distribution of ``share`` times a value on the same grid."""
    if share == 1:
        return values
    place = np.arange(len(values)) * share
    low = place.astype(np.int64)
    part = place - low
    result = np.bincount(low, values * (1 - part), len(values) + 1)
    return result + np.bincount(low + 1, values * part, len(values) + 1)
