"""Methods against each other on the same clusters: paired tests with Holm's correction, and ranks.

A board compares each row with ERM. Here every pair of its rows is compared: the difference over the
seeds and clusters that both have, its interval, and a p-value of sign flips over clusters, adjusted
for the number of pairs (Holm 1979). With few clusters no p-value can be small, however large the
difference: the smallest that can come out is always said. Ranks are averaged over clusters, with
Friedman's test and Nemenyi's critical difference (Demsar 2006, JMLR 7:1-30).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.ranks import average_ranks
from bench.boards.stats.tests import (
    holm,
    minimum_detectable_difference,
    paired_difference,
    smallest_p,
)
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row
    from bench.boards.stats.ranks import Ranks

__all__ = ["Comparison", "Pair", "compare"]

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods on the seeds and clusters that both have.

    Attributes
    ----------
    first, second
        Labels; ``difference`` is the first minus the second.
    difference, low, high
        Mean over seeds and clusters and its 95 % limits; None with fewer than 8 clusters or one
        seed.
    p, p_holm
        Sign flips over clusters, seeds averaged first; adjusted for all pairs of the comparison.
        None where all differences are 0 or there is one cluster.
    smallest_p
        The smallest ``p`` that so many clusters can give.
    detectable
        The difference that a paired t test finds with power 0.8 at 5 %; None with one cluster.
    n_seeds, n_clusters
        What it rests on.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    smallest_p: float
    detectable: float | None
    n_seeds: int
    n_clusters: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All pairs of a board's rows, and their ranks.

    Attributes
    ----------
    board
        What was compared.
    pairs
        By adjusted p, then by size of the difference.
    methods, ranks
        Labels, best average rank first, and the ranks over clusters in that order; ``ranks`` is
        None with fewer than two methods or clusters.
    groups
        Runs of methods whose average ranks differ by less than the critical difference, as
        positions ``(first, last)`` in ``methods``; each is as long as it can be.
    notes
        Sentences.
    """

    board: Board
    pairs: tuple[Pair, ...]
    methods: tuple[str, ...]
    ranks: Ranks | None
    groups: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def compare(board: Board) -> Comparison:
    """Compare the rows of a board with each other; reference lines are left out."""
    rows = [row for row in board.rows if row.track != "reference" and row.table.names]
    found = [_pair(one, other) for one, other in itertools.combinations(rows, 2)]
    pairs = [pair for pair in found if pair is not None]
    adjusted = holm([pair.p for pair in pairs])
    pairs = [Pair(**{**vars(pair), "p_holm": p}) for pair, p in zip(pairs, adjusted, strict=True)]
    pairs.sort(
        key=lambda pair: (
            math.inf if pair.p_holm is None else pair.p_holm,
            -abs(pair.difference),
            pair.first,
            pair.second,
        )
    )
    methods, ranks = _ranks(rows, higher=board.higher_is_better)
    groups = () if ranks is None else _groups(ranks)
    return Comparison(
        board=board,
        pairs=tuple(pairs),
        methods=methods,
        ranks=ranks,
        groups=groups,
        notes=tuple(_notes(board, rows, pairs, ranks)),
    )


def _pair(first: Row, second: Row) -> Pair | None:
    """Return the paired difference, or None if the two have no seed or cluster in common."""
    a, b = first.table.scores(), second.table.scores()
    seeds = len(set(a.seeds) & set(b.seeds))
    try:
        made = paired_difference(a, b)
    except BenchError:
        return None
    n = made.interval.n_clusters
    if n == 0:
        return None
    known = seeds > 1  # one seed says nothing of another training
    sd = made.sd_clusters
    return Pair(
        first=first.method,
        second=second.method,
        difference=made.interval.mean,
        low=made.interval.low if known else None,
        high=made.interval.high if known else None,
        p=made.p_permutation,
        p_holm=None,
        smallest_p=made.smallest_p,
        detectable=None if sd is None else minimum_detectable_difference(sd, n) if sd else 0.0,
        n_seeds=seeds,
        n_clusters=n,
    )


def _ranks(rows: Sequence[Row], *, higher: bool) -> tuple[tuple[str, ...], Ranks | None]:
    """Return labels and average ranks over the clusters that all rows have, best first."""
    labels = tuple(row.method for row in rows)
    shared = set.intersection(*(set(row.points) for row in rows)) if rows else set()
    if len(rows) < 2 or len(shared) < 2:
        return labels, None
    names = sorted(shared)
    table = np.array([[row.points[name] for name in names] for row in rows])
    made = average_ranks(table, higher_is_better=higher)
    order = sorted(range(len(rows)), key=lambda i: (made.ranks[i], labels[i]))
    from dataclasses import replace

    return tuple(labels[i] for i in order), replace(
        made, ranks=made.ranks[order], low=made.low[order], high=made.high[order]
    )


def _groups(ranks: Ranks) -> tuple[tuple[int, int], ...]:
    """Return the longest runs of methods that the critical difference does not tell apart."""
    made: list[tuple[int, int]] = []
    values = ranks.ranks
    for first in range(len(values)):
        last = first
        while (
            last + 1 < len(values) and values[last + 1] - values[first] < ranks.critical_difference
        ):
            last += 1
        if last > first and (not made or last > made[-1][1]):
            made.append((first, last))
    return tuple(made)


def _notes(
    board: Board, rows: Sequence[Row], pairs: Sequence[Pair], ranks: Ranks | None
) -> list[str]:
    if len(rows) < 2:
        return ["There are fewer than two methods with scores by cluster: nothing to compare."]
    notes = []
    sizes = sorted({pair.n_clusters for pair in pairs})
    level = next((row.cluster_level for row in rows if row.cluster_level), "cluster")
    if sizes:
        n, m = sizes[0], len(pairs)
        least = smallest_p(n)
        notes.append(
            f"p: flips of the signs of {_span(sizes)} differences by {level}, two-sided; Holm: "
            f"adjusted for {m} pairs. The smallest p that can come out is {least:.2g}, adjusted "
            f"{min(1.0, least * m):.2g}"
            + (": no pair can be told apart at 5 %." if least * m > ALPHA else ".")
        )
    few = sum(row.n_seeds < 3 for row in rows)
    if few:
        notes.append(f"{few} of {len(rows)} methods have fewer than 3 seeds.")
    if ranks is not None:
        notes.append(
            f"Ranks are averages over {ranks.n_blocks} values of {level}, seeds averaged first, "
            f"with 95 % limits from resampling these. Friedman: chi2 = {ranks.statistic:.2f}, "
            f"p = {ranks.p:.2g}. Nemenyi: ranks that differ by {ranks.critical_difference:.2f} or "
            "more differ at 5 %."
        )
    else:
        notes.append("Ranks need two methods with scores in the same two clusters or more.")
    return notes


def _span(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
