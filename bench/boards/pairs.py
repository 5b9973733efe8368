"""Every pair of methods of a board, with Holm's correction, and average ranks.

A board compares each row with its baseline. This module compares all rows pairwise by the same test
(``bench.boards.pairing``), so a pair has the same p value in both, and adjusts the p values for the
number of pairs (Holm 1979). Ranks are
averaged over clusters, with Friedman's test and Nemenyi's critical difference (Demsar 2006,
JMLR 7:1-30).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.baselines import BASELINES
from bench.boards.board import MIN_SEEDS
from bench.boards.pairing import TEST, pair
from bench.boards.stats.ranks import average_ranks
from bench.boards.stats.scores import MIN_CLUSTERS
from bench.boards.stats.tests import holm
from bench.boards.values import codes_differ
from bench.core.control_names import is_control_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row
    from bench.boards.pairing import Paired
    from bench.boards.stats.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods compared on their common seeds and clusters.

    Attributes
    ----------
    first, second
        Labels; ``difference`` is the first minus the second.
    difference, low, high, p
        As on a board: mean over seeds of the difference of the pooled metric, its 95 % limits and
        p value; limits and p are None with fewer than 8 clusters or one seed.
    p_holm
        ``p`` adjusted for all pairs of the comparison.
    p_sign_flip, smallest_p
        P value of the sign-flip test over clusters, with seeds averaged first (a check that does
        not assume a normal distribution), and its minimum with this number of clusters.
    detectable
        Smallest difference that the test detects with power 0.8, at level 0.05 divided by the
        number of pairs; None without p.
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
    p_sign_flip: float | None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Average ranks of the methods of a board.

    Attributes
    ----------
    methods, ranks
        Labels, best average rank first, and the ranks over clusters in that order; ``ranks`` is
        None with fewer than two methods or clusters.
    groups
        Maximal runs of methods whose average ranks differ by less than the critical difference, as
        positions ``(first, last)`` in ``methods``.
    """

    board: Board
    methods: tuple[str, ...]
    ranks: Ranks | None
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison(Ranking):
    """All pairs of a board's rows, and their ranks.

    Attributes
    ----------
    pairs
        Sorted by adjusted p, then by size of the difference.
    """

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def compare(board: Board) -> Comparison:
    """Compare the rows of a board pairwise; of the control rows only the baselines."""
    rows = _compared(board)
    gaps = [
        (first.method, second.method, gap)
        for first, second in itertools.combinations(rows, 2)
        if (gap := _gap(first, second)) is not None
    ]
    adjusted = holm([gap.p for _, _, gap in gaps])
    n_tests = sum(p is not None for p in adjusted)
    pairs = [
        _pair(first, second, gap, p, n_tests)
        for (first, second, gap), p in zip(gaps, adjusted, strict=True)
    ]
    pairs.sort(
        key=lambda pair: (
            math.inf if pair.p_holm is None else pair.p_holm,
            -abs(pair.difference),
            pair.first,
            pair.second,
        )
    )
    ranking = rank(board)
    return Comparison(
        **vars(ranking), pairs=tuple(pairs), notes=tuple(_notes(rows, pairs, ranking.ranks))
    )


def rank(board: Board) -> Ranking:
    """Rank the methods of a board over its clusters; of the control rows only the baselines."""
    methods, ranks = _ranks(_compared(board), higher=board.higher_is_better)
    groups = () if ranks is None else _groups(ranks)
    return Ranking(board=board, methods=methods, ranks=ranks, groups=groups)


def _compared(board: Board) -> list[Row]:
    return [
        row
        for row in board.rows
        if row.points and (not is_control_row(row.track) or row.method_id in BASELINES)
    ]


def _gap(first: Row, second: Row) -> Paired | None:
    """Return the paired difference, or None without a common seed or cluster."""
    if first.scores is None or second.scores is None:
        return None
    gap = pair(first.scores, second.scores)
    return gap if gap is not None and gap.n_clusters else None


def _pair(first: str, second: str, gap: Paired, p_holm: float | None, n_tests: int) -> Pair:
    return Pair(
        first=first,
        second=second,
        difference=gap.difference,
        low=gap.low,
        high=gap.high,
        p=gap.p,
        p_holm=p_holm,
        smallest_p=gap.smallest_p,
        detectable=gap.detectable(n_tests) if n_tests else None,
        n_seeds=gap.n_seeds,
        n_clusters=gap.n_clusters,
        p_sign_flip=gap.p_sign_flip,
    )


def _ranks(rows: Sequence[Row], *, higher: bool) -> tuple[tuple[str, ...], Ranks | None]:
    """Return labels and average ranks over the clusters common to all rows, best first."""
    labels = tuple(row.method for row in rows)
    shared = set.intersection(*(set(row.points) for row in rows)) if rows else set()
    if len(rows) < 2 or len(shared) < 2:
        return labels, None
    names = sorted(shared)
    table = np.array([[row.points[name] for name in names] for row in rows])
    ranks = average_ranks(table, higher_is_better=higher)
    order = sorted(range(len(rows)), key=lambda i: (ranks.ranks[i], labels[i]))
    return tuple(labels[i] for i in order), replace(
        ranks, ranks=ranks.ranks[order], low=ranks.low[order], high=ranks.high[order]
    )


def _groups(ranks: Ranks) -> tuple[tuple[int, int], ...]:
    """Return the longest runs of methods within the critical difference of each other."""
    groups: list[tuple[int, int]] = []
    values = ranks.ranks
    for first in range(len(values)):
        last = first
        while (
            last + 1 < len(values) and values[last + 1] - values[first] < ranks.critical_difference
        ):
            last += 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return tuple(groups)


def _notes(rows: Sequence[Row], pairs: Sequence[Pair], ranks: Ranks | None) -> list[str]:
    if len(rows) < 2:
        return ["There are fewer than two methods with scores by cluster: nothing to compare."]
    notes = []
    level = next((row.cluster_level for row in rows if row.cluster_level), "cluster")
    tested = sum(pair.p is not None for pair in pairs)
    if tested:
        notes.append(f"p: {TEST}, by {level}; Holm: adjusted for {tested} pairs.")
    if tested < len(pairs):
        notes.append(
            f"{len(pairs) - tested} of {len(pairs)} pairs have no p: an interval needs 2 seeds and "
            f"{MIN_CLUSTERS} values of {level}, and scores that differ."
        )
    across = sum(codes_differ(a.codes, b.codes) for a, b in itertools.combinations(rows, 2))
    if across:
        notes.append(
            f"The methods of {across} of {len(rows) * (len(rows) - 1) // 2} pairs were run by "
            "other code of labshift than each other: `--if-exists refresh` repeats them."
        )
    few = sum(row.n_seeds < MIN_SEEDS and not row.deterministic for row in rows)
    if few:
        notes.append(f"{few} of {len(rows)} methods have fewer than {MIN_SEEDS} seeds.")
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
