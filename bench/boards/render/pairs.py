"""Paired comparisons as text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from bench.boards.pairing import TEST
from bench.boards.pairs import (
    Comparison,  # TC
    Pair,
)
from bench.boards.render.cells import NARROW
from bench.boards.render.terminal import check_format, new_table, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console

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


def _rank_cells(comparison: Comparison) -> list[list[str]]:
    if comparison.ranks is None:
        return []
    rows = zip(
        comparison.methods,
        comparison.ranks.ranks,
        comparison.ranks.low,
        comparison.ranks.high,
        strict=True,
    )
    return [[name, f"{rank:.2f}", f"[{low:.2f}, {high:.2f}]"] for name, rank, low, high in rows]


EMPTY = "Nothing to compare: there are no boards. Make records with `python -m bench run`.\n"


def pairs_table(comparisons: Sequence[Comparison], width: int, colour: bool) -> str:
    from rich.text import Text

    if not comparisons:
        return EMPTY

    def draw(console: Console) -> None:
        for comparison in comparisons:
            console.print(Text(comparison.board.title, style="bold"))
            blocks = (
                (_PAIRS, [_pair_cells(pair) for pair in comparison.pairs]),
                (_RANKS, _rank_cells(comparison)),
            )
            for columns, rows in blocks:
                if not rows:
                    continue
                table = new_table()
                # In narrow terminals, p (Holm) decides; the last columns are left out.
                head = columns if width >= NARROW else columns[:6]
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
                    shown = [cell.removeprefix("identity+") for cell in cells[: len(head)]]
                    table.add_row(*map(Text, shown))
                console.print(table)
            for note in comparison.notes:
                console.print(Text(note))
            console.print()

    return printed(draw, width, colour)


def pairs_markdown(comparisons: Sequence[Comparison]) -> str:
    from bench.boards.render.text import markdown_text as text

    if not comparisons:
        return EMPTY
    lines: list[str] = []
    for comparison in comparisons:
        lines += [f"### {text(comparison.board.title)}", ""]
        blocks = (
            (_PAIRS, [_pair_cells(pair) for pair in comparison.pairs]),
            (_RANKS, _rank_cells(comparison)),
        )
        for head, rows in blocks:
            if rows:
                lines += [f"| {' | '.join(map(text, head))} |", "|" + "---|" * len(head)]
                lines += [f"| {' | '.join(map(text, cells))} |" for cells in rows]
                lines.append("")
        for note in comparison.notes:
            lines += [text(note), ""]
        lines += [f"Runs `{comparison.board.runs_digest}`.", ""]
    return "\n".join(lines) + "\n"


def pairs_csv(comparisons: Sequence[Comparison]) -> str:
    sink = io.StringIO()
    shared = ("split", "edition", "recipe", "selection", "metric", "readout", "runs_digest")
    own = tuple(Pair.__dataclass_fields__)
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*shared, *own])
    for comparison in comparisons:
        for pair in comparison.pairs:
            writer.writerow(
                [
                    *(getattr(comparison.board, name) for name in shared),
                    *(vars(pair)[n] for n in own),
                ]
            )
    return sink.getvalue()


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
                    for name, r, low, high in zip(
                        comparison.methods,
                        comparison.ranks.ranks,
                        comparison.ranks.low,
                        comparison.ranks.high,
                        strict=True,
                    )
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
