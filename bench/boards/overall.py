"""Comparison of methods over all splits.

The main board of each split gives the difference of each method to its baseline. Splits of one data
set are dependent, so they are averaged first; the data sets are the blocks. Real and simulated data
are separate, and so are profile methods (compared with ``identity`` or ``pca``) and networks
(compared with ``erm``). A method that is compared with another method, such as ``simclr-ben`` with
``simclr``, is in neither group.

With at least eight data sets the methods are compared by Friedman's test with Nemenyi's critical
difference (Demsar 2006, JMLR 7:1-30), and each with its baseline by the Bayesian signed-rank test
with a region of practical equivalence of one point (``stats.bayes``). With fewer there are points
and counts, and no test.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.baselines import IMPROVES, WORSENS
from bench.boards.select import is_plain
from bench.boards.stats.bayes import signed_rank_probabilities
from bench.boards.stats.ranks import average_ranks, rank_columns
from bench.boards.stats.scores import MIN_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.boards.board import Board, Row
    from bench.boards.stats.ranks import Ranks


KINDS = {"network": ("erm",), "profile": ("identity", "pca", "pca-100")}
"""Kind of method -> its baselines; the first is shown as a row."""


@dataclass(frozen=True, kw_only=True)
class OverallRow:
    """A method over all data sets of an edition.

    Attributes
    ----------
    mean_rank
        Average rank over the data sets, 1 is best; None if the method lacks one of them.
    differences
        Data set -> mean over its splits of the difference to the baseline.
    n_tested, n_improves, n_worsens
        Splits with a test against the baseline, and those where it improves or worsens (5 %, after
        Holm's adjustment on each board).
    p_worse, p_equivalent, p_better
        Posterior probabilities of the signed-rank test; None with fewer than 8 data sets.
    """

    method: str
    mean_rank: float | None
    mean_difference: float
    differences: Mapping[str, float]
    n_splits: int
    n_tested: int
    n_improves: int
    n_worsens: int
    p_worse: float | None = None
    p_equivalent: float | None = None
    p_better: float | None = None

    @property
    def n_datasets(self) -> int:
        """Number of data sets."""
        return len(self.differences)


@dataclass(frozen=True, kw_only=True)
class Overall:
    """Methods of one kind on all data sets of one edition.

    Attributes
    ----------
    edition, kind
        ``real`` or ``simulated``; ``network`` or ``profile``.
    release
        Benchmark release of the boards; boards outside any release are in the newest one. Two
        releases are never compared.
    rows
        Best mean difference first; the baseline is included, with differences of 0.
    n_ranked
        Number of methods with a value on every data set; only these have ranks.
    statistic, p, critical_difference
        Friedman's test and Nemenyi's critical difference over these; None with fewer than 8 data
        sets or fewer than two methods.
    never_worse
        Methods tested on at least one split and measurably worse than the baseline on none.
    """

    edition: str
    kind: str
    rows: tuple[OverallRow, ...]
    datasets: Mapping[str, tuple[str, ...]]
    n_ranked: int
    statistic: float | None
    p: float | None
    critical_difference: float | None
    never_worse: tuple[str, ...]
    release: str = ""

    @property
    def tested(self) -> bool:
        """Whether there are enough data sets for a test."""
        return len(self.datasets) >= MIN_CLUSTERS


def overall(boards: Iterable[Board], methods: Sequence[str] | None = None) -> list[Overall]:
    """Return the comparisons over all splits.

    Parameters
    ----------
    boards
        All boards. Only those of the default recipe and data, with an accuracy as the metric and a
        readout that can reach the truth, are used.
    methods
        Chains to include, such as a core set; all by default.

    Returns
    -------
    list of Overall
        One per edition and kind of method that has at least one method with a difference.
    """
    used = [
        board
        for board in boards
        if is_plain(board) and board.chance is not None and board.oracle is None
    ]
    results = []
    for edition in ("real", "simulated"):
        members = [board for board in used if board.edition == edition]
        for release, boards_of in _by_release(members).items():
            for kind, baselines in KINDS.items():
                result = _overall(boards_of, edition, kind, baselines, methods)
                if result is not None:
                    results.append(dataclasses.replace(result, release=release))
    return results


def _by_release(boards: Sequence[Board]) -> dict[str, list[Board]]:
    """Return the boards of each release; those outside any are compared with the newest one.

    Where a split has a board inside and one outside a release, the one inside counts.
    """
    names = sorted({board.release for board in boards} - {""}, reverse=True) or [""]
    groups = {name: [board for board in boards if board.release == name] for name in names}
    inside = {board.split for board in groups[names[0]]}
    if names[0]:
        others = (board for board in boards if not board.release)
        groups[names[0]] += [board for board in others if board.split not in inside]
    return groups


def _name(row: Row) -> str:
    """Return the chain; on a table ``identity+tvn`` and ``tvn`` are the same."""
    return row.method_id.removeprefix("identity+")


def _overall(
    boards: Sequence[Board],
    edition: str,
    kind: str,
    baselines: Sequence[str],
    methods: Sequence[str] | None,
) -> Overall | None:
    rows: dict[str, dict[str, Row]] = {}
    for board in boards:
        for row in board.rows:
            named = methods is None or row.method_id in methods or _name(row) in methods
            usable = not row.params and not row.reason and row.track != "reference"
            # A classifier of fixed features, with its own head, corrects nothing.
            usable &= not (row.readout == "head" and board.readout == "probe")
            if usable and named and row.baseline in baselines and row.difference is not None:
                rows.setdefault(_name(row), {})[board.split] = row
    if not rows:
        return None
    splits = sorted({split for members in rows.values() for split in members})
    datasets: dict[str, tuple[str, ...]] = {}
    for split in splits:
        name = split.partition("/")[0]
        datasets[name] = (*datasets.get(name, ()), split)
    differences = {
        method: {
            name: math.fsum(_difference(members[s]) for s in inside if s in members)
            / sum(s in members for s in inside)
            for name, inside in datasets.items()
            if any(s in members for s in inside)
        }
        for method, members in rows.items()
    }
    differences[baselines[0]] = dict.fromkeys(datasets, 0.0)
    ranked = sorted(
        method for method, values in differences.items() if len(values) == len(datasets)
    )
    ranks, average = _ranks(ranked, differences, list(datasets))
    result = [
        _row(method, values, rows.get(method, {}), average.get(method), enough=ranks is not None)
        for method, values in differences.items()
    ]
    result.sort(key=lambda row: (-row.mean_difference, row.method))
    return Overall(
        edition=edition,
        kind=kind,
        rows=tuple(result),
        datasets=datasets,
        n_ranked=len(ranked),
        statistic=None if ranks is None else ranks.statistic,
        p=None if ranks is None else ranks.p,
        critical_difference=None if ranks is None else ranks.critical_difference,
        never_worse=tuple(r.method for r in result if r.n_tested and not r.n_worsens),
    )


def _difference(row: Row) -> float:
    assert row.difference is not None  # only such rows are collected
    return row.difference


def _ranks(
    ranked: Sequence[str], differences: Mapping[str, Mapping[str, float]], datasets: Sequence[str]
) -> tuple[Ranks | None, dict[str, float]]:
    """Return the test if there are enough data sets, and the average rank of each method.

    Methods of a kind may have different baselines (``identity`` and ``pca``). Their differences are
    ranked, not their scores: Harmony's 50 components are not blamed for the other 250.
    """
    if len(ranked) < 2:
        return None, {}
    table = np.array([[differences[method][name] for name in datasets] for method in ranked])
    average = rank_columns(-table).mean(axis=1)
    by_method = {method: float(rank) for method, rank in zip(ranked, average, strict=True)}
    return (average_ranks(table) if len(datasets) >= MIN_CLUSTERS else None), by_method


def _row(
    method: str,
    differences: Mapping[str, float],
    rows: Mapping[str, Row],
    rank: float | None,
    *,
    enough: bool,
) -> OverallRow:
    values = list(differences.values())
    bayes: tuple[float | None, float | None, float | None] = (None, None, None)
    if rows and enough and len(values) >= MIN_CLUSTERS:
        bayes = signed_rank_probabilities(values)
    verdicts = [row.verdict for row in rows.values()]
    return OverallRow(
        method=method,
        mean_rank=rank,
        mean_difference=math.fsum(values) / len(values),
        differences=differences,
        n_splits=len(rows),
        n_tested=sum(bool(verdict) for verdict in verdicts),
        n_improves=verdicts.count(IMPROVES),
        n_worsens=verdicts.count(WORSENS),
        p_worse=bayes[0],
        p_equivalent=bayes[1],
        p_better=bayes[2],
    )
