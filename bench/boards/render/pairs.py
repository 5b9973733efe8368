"""Paired comparisons as text, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.boards.pairing import TEST
from bench.boards.pairs import (
    Comparison,  # TC
    Pair,
)
from bench.boards.render.cells import NARROW
from bench.boards.render.parts import (
    BOARD,
    Part,
    check_format,
    csv_text,
    part_markdown,
    parts_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["FORMATS", "render", "to_json"]


def render(
    comparisons: Sequence[Comparison], form: str, *, width: int = 120, colour: bool = False
) -> str:
    """Return comparisons as text; the same records give the same bytes."""
    check_format(form, FORMATS)
    if form == "table":
        return pairs_table(comparisons, width, colour)
    return FORMATS[form](comparisons)


_PAIRS = ("first", "second", "difference", "95 % interval", "p", "p (Holm)", "detectable", "n")
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


def _rank_rows(comparison: Comparison) -> Iterable[tuple[str, float, float, float]]:
    """Yield method, average rank and its 95 % limits."""
    if comparison.ranks is not None:
        ranks = comparison.ranks
        yield from zip(comparison.methods, ranks.ranks, ranks.low, ranks.high, strict=True)


def _rank_cells(comparison: Comparison) -> list[list[str]]:
    return [
        [name, f"{rank:.2f}", f"[{low:.2f}, {high:.2f}]"]
        for name, rank, low, high in _rank_rows(comparison)
    ]


EMPTY = "Nothing to compare: there are no boards. Make records with `python -m bench run`.\n"


def _part(comparison: Comparison) -> Part:
    tables = (
        (_PAIRS, [_pair_cells(pair) for pair in comparison.pairs]),
        (_RANKS, _rank_cells(comparison)),
    )
    title = comparison.board.title
    return Part(title, [table for table in tables if table[1]], comparison.notes)


def pairs_table(comparisons: Sequence[Comparison], width: int, colour: bool) -> str:
    # In narrow terminals, p (Holm) decides; the last columns are left out.
    n = len(_PAIRS) if width >= NARROW else 6
    parts = []
    for part in map(_part, comparisons):
        tables = [
            (head[:n], [[cell.removeprefix("identity+") for cell in row[:n]] for row in rows])
            for head, rows in part.tables
        ]
        parts.append(replace(part, tables=tables))
    return parts_text(parts, ("first", "second", "method"), width, colour) if parts else EMPTY


def pairs_markdown(comparisons: Sequence[Comparison]) -> str:
    lines: list[str] = []
    for comparison in comparisons:
        lines += part_markdown(_part(comparison), lambda head: "|" + "---|" * len(head))
        lines += [f"Runs `{comparison.board.runs_digest}`.", ""]
    return "\n".join(lines) + "\n" if lines else EMPTY


def pairs_csv(comparisons: Sequence[Comparison]) -> str:
    own = tuple(Pair.__dataclass_fields__)
    rows = (
        [*(getattr(comparison.board, name) for name in BOARD), *(getattr(pair, n) for n in own)]
        for comparison in comparisons
        for pair in comparison.pairs
    )
    return csv_text([*BOARD, *own], rows)


def to_json(comparisons: Iterable[Comparison]) -> dict[str, list[dict[str, object]]]:
    """Return comparisons as JSON types."""
    result: list[dict[str, object]] = []
    for comparison in comparisons:
        board = comparison.board
        ranks: dict[str, object] = {}
        if comparison.ranks is not None:
            ranks = {
                "rows": [
                    {"method": name, "rank": float(r), "low": float(low), "high": float(high)}
                    for name, r, low, high in _rank_rows(comparison)
                ],
                "friedman": comparison.ranks.statistic,
                "p": comparison.ranks.p,
                "critical_difference": comparison.ranks.critical_difference,
                "n_blocks": comparison.ranks.n_blocks,
                "groups": [
                    [comparison.methods[i] for i in range(a, b + 1)] for a, b in comparison.groups
                ],
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
                "test": TEST,
                "pairs": [vars(pair) for pair in comparison.pairs],
                "ranks": ranks,
                "notes": list(comparison.notes),
            }
        )
    return {"comparisons": result}


def pairs_json(comparisons: Sequence[Comparison]) -> str:
    return json.dumps(to_json(comparisons), indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Comparison]], str]] = {
    "table": lambda comparisons: pairs_table(comparisons, 120, False),
    "md": pairs_markdown,
    "csv": pairs_csv,
    "json": pairs_json,
}
"""Formats by their name on the command line."""
