"""Methods against each other on the same clusters: paired tests with Holm's correction, and ranks.

A board compares each row with ERM. Here every pair of its rows is compared: the difference over the
seeds and clusters that both have, its interval, and a p-value of sign flips over clusters, adjusted
for the number of pairs (Holm 1979). With few clusters no p-value can be small, however large the
difference: the smallest that can come out is always said. Ranks are averaged over clusters, with
Friedman's test and Nemenyi's critical difference (Demsar 2006, JMLR 7:1-30).
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, did_you_mean
from bench.statistics import (
    average_ranks,
    holm,
    minimum_detectable_difference,
    paired_difference,
    smallest_p,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.leaderboard import Board, Row
    from bench.statistics import Ranks

__all__ = ["FORMATS", "Comparison", "Pair", "compare", "render", "to_json"]

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


# --------------------------------------------------------------------------- words


def render(made: Sequence[Comparison], form: str, *, width: int = 120, colour: bool = False) -> str:
    """Return comparisons as text; the same records give the same bytes.

    Parameters
    ----------
    made
        In the order to show.
    form
        One of :data:`FORMATS`.
    width, colour
        Of the terminal, for ``table``.

    Raises
    ------
    BenchError
        For an unknown format.
    """
    if form not in FORMATS:
        raise BenchError(did_you_mean(form, list(FORMATS), "format"))
    if form == "table":
        return _table(made, width, colour)
    return FORMATS[form](made)


_PAIRS = ("first", "second", "difference", "95 % interval", "p", "Holm", "detectable", "n")
_RANKS = ("method", "rank", "95 % limits")


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _pair_cells(pair: Pair) -> list[str]:
    limits = "–"
    if pair.low is not None and pair.high is not None:
        limits = f"[{_signed(pair.low)}, {_signed(pair.high)}]"
    return [
        pair.first,
        pair.second,
        _signed(pair.difference),
        limits,
        _p(pair.p),
        _p(pair.p_holm),
        "–" if pair.detectable is None else f"{pair.detectable:.3f}",
        f"{pair.n_seeds} x {pair.n_clusters}",
    ]


def _rank_cells(one: Comparison) -> list[list[str]]:
    if one.ranks is None:
        return []
    rows = zip(one.methods, one.ranks.ranks, one.ranks.low, one.ranks.high, strict=True)
    return [[name, f"{rank:.2f}", f"[{low:.2f}, {high:.2f}]"] for name, rank, low, high in rows]


EMPTY = "Nothing to compare: there are no boards. Make records with `python -m bench run`.\n"


def _table(made: Sequence[Comparison], width: int, colour: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not made:
        return EMPTY
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for one in made:
        console.print(Text(one.board.title, style="bold"))
        blocks = (
            (_PAIRS, [_pair_cells(pair) for pair in one.pairs]),
            (_RANKS, _rank_cells(one)),
        )
        for head, rows in blocks:
            if not rows:
                continue
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
            for name in head:
                text = name in ("first", "second", "method")
                table.add_column(
                    Text(name),
                    justify="left" if text else "right",
                    overflow="fold",
                    no_wrap=not text,
                    min_width=8 if text else None,
                )
            for cells in rows:
                table.add_row(*map(Text, cells))
            console.print(table)
        for note in one.notes:
            console.print(Text(note))
        console.print()
    return "\n".join(line.rstrip() for line in sink.getvalue().split("\n"))


def _markdown(made: Sequence[Comparison]) -> str:
    from bench.formats import markdown_text as text

    if not made:
        return EMPTY
    lines: list[str] = []
    for one in made:
        lines += [f"### {text(one.board.title)}", ""]
        blocks = (
            (_PAIRS, [_pair_cells(pair) for pair in one.pairs]),
            (_RANKS, _rank_cells(one)),
        )
        for head, rows in blocks:
            if rows:
                lines += [f"| {' | '.join(map(text, head))} |", "|" + "---|" * len(head)]
                lines += [f"| {' | '.join(map(text, cells))} |" for cells in rows]
                lines.append("")
        for note in one.notes:
            lines += [text(note), ""]
        lines += [f"Runs `{one.board.runs_digest}`.", ""]
    return "\n".join(lines) + "\n"


def _csv(made: Sequence[Comparison]) -> str:
    sink = io.StringIO()
    shared = ("split", "edition", "recipe", "selection", "metric", "readout", "runs_digest")
    own = tuple(Pair.__dataclass_fields__)
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*shared, *own])
    for one in made:
        for pair in one.pairs:
            writer.writerow(
                [*(getattr(one.board, name) for name in shared), *(vars(pair)[n] for n in own)]
            )
    return sink.getvalue()


def to_json(made: Iterable[Comparison]) -> dict[str, Any]:
    """Return comparisons as JSON's own types."""
    result = []
    for one in made:
        board = one.board
        ranks: dict[str, Any] = {}
        if one.ranks is not None:
            ranks = {
                "rows": [
                    {"method": name, "rank": float(r), "low": float(low), "high": float(high)}
                    for name, r, low, high in zip(
                        one.methods, one.ranks.ranks, one.ranks.low, one.ranks.high, strict=True
                    )
                ],
                "friedman": one.ranks.statistic,
                "p": one.ranks.p,
                "critical_difference": one.ranks.critical_difference,
                "n_blocks": one.ranks.n_blocks,
                "groups": [[one.methods[i] for i in range(a, b + 1)] for a, b in one.groups],
            }
        result.append(
            {
                "split": board.split,
                "edition": board.edition,
                "recipe": board.recipe,
                "metric": board.metric,
                "readout": board.readout,
                "selection": board.selection,
                "runs_digest": board.runs_digest,
                "title": board.title,
                "pairs": [vars(pair) for pair in one.pairs],
                "ranks": ranks,
                "notes": list(one.notes),
            }
        )
    return {"comparisons": result}


def _json(made: Sequence[Comparison]) -> str:
    return json.dumps(to_json(made), indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Comparison]], str]] = {
    "table": lambda made: _table(made, 120, False),
    "md": _markdown,
    "csv": _csv,
    "json": _json,
}
"""Formats by the name that the command line takes."""
