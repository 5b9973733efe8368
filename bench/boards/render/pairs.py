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
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


__all__ = ["FORMATS", "render", "to_json"]


# --------------------------------------------------------------------------- text


def render(made: Sequence[Comparison], form: str, *, width: int = 120, colour: bool = False) -> str:
    """Return comparisons as text; the same records give the same bytes.

    Parameters
    ----------
    made
        Comparisons, in display order.
    form
        One of :data:`FORMATS`.
    width, colour
        Terminal settings, for ``table``.

    Raises
    ------
    BenchError
        For an unknown format.
    """
    if form not in FORMATS:
        raise BenchError(did_you_mean(form, list(FORMATS), "format"))
    if form == "table":
        return pairs_table(made, width, colour)
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


def pairs_table(made: Sequence[Comparison], width: int, colour: bool) -> str:
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


def pairs_markdown(made: Sequence[Comparison]) -> str:
    from bench.boards.render.text import markdown_text as text

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


def pairs_csv(made: Sequence[Comparison]) -> str:
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


def to_json(made: Iterable[Comparison]) -> dict[str, list[dict[str, object]]]:
    """Return comparisons as JSON types."""
    result: list[dict[str, object]] = []
    for one in made:
        board = one.board
        ranks: dict[str, object] = {}
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
                "test": TEST,
                "pairs": [vars(pair) for pair in one.pairs],
                "ranks": ranks,
                "notes": list(one.notes),
            }
        )
    return {"comparisons": result}


def pairs_json(made: Sequence[Comparison]) -> str:
    return json.dumps(to_json(made), indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Comparison]], str]] = {
    "table": lambda made: pairs_table(made, 120, False),
    "md": pairs_markdown,
    "csv": pairs_csv,
    "json": pairs_json,
}
"""Formats by their name on the command line."""
