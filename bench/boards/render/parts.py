"""Parts that the formats of this folder share: tables, notes, Markdown and CSV."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.words import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

BOARD = ("split", "edition", "recipe", "selection", "metric", "readout", "runs_digest")
"""Attributes of a board that identify it in CSV files."""


def check_format(form: str, formats: Iterable[str]) -> None:
    """Raise an error if a format is unknown."""
    if form not in (known := list(formats)):
        raise BenchError(did_you_mean(form, known, "format"))


def printed(draw: Callable[[Console], None], width: int, colour: bool) -> str:
    """Return what ``draw`` prints on a terminal of that width, without trailing blanks."""
    from rich.console import Console

    sink = io.StringIO()
    draw(
        Console(
            file=sink,
            width=width,
            force_terminal=colour,
            no_color=not colour,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
    )
    text = printable(sink.getvalue(), styled=colour)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def new_table() -> Table:
    """Return an empty table in the style of all boards."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))


@dataclass(frozen=True)
class Part:
    """A title with tables and sentences below it.

    Attributes
    ----------
    tables
        Pairs of column names and rows.
    least
        Minimum width of columns of text, in characters.
    """

    title: str
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]]
    notes: Sequence[str]
    least: int = 8


def parts_text(parts: Sequence[Part], texts: Sequence[str], width: int, colour: bool) -> str:
    """Return parts for a terminal; the columns ``texts`` are folded, others are numbers."""
    from rich.text import Text

    def draw(console: Console) -> None:
        for part in parts:
            console.print(Text(part.title, style="bold"))
            for head, rows in part.tables:
                table = new_table()
                for name in head:
                    text = name in texts
                    table.add_column(
                        Text(name),
                        justify="left" if text else "right",
                        overflow="fold",
                        no_wrap=not text,
                        min_width=part.least if text else None,
                    )
                for cells in rows:
                    table.add_row(*map(Text, cells))
                console.print(table)
            for note in part.notes:
                console.print(Text(note))
            console.print()

    return printed(draw, width, colour)


def markdown_text(text: str) -> str:
    """Escape characters that Markdown, or HTML inside it, would interpret as markup."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)


def part_markdown(part: Part, rule: Callable[[Sequence[str]], str]) -> list[str]:
    """Return the lines of a part; ``rule`` takes column names and returns the line below them."""
    lines = [f"### {markdown_text(part.title)}", ""]
    for head, rows in part.tables:
        for k, cells in enumerate([head, *rows]):
            lines.append(f"| {' | '.join(map(markdown_text, cells))} |")
            if k == 0:
                lines.append(rule(head))
        lines.append("")
    for note in part.notes:
        lines += [markdown_text(note), ""]
    return lines


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV file."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return sink.getvalue()
