"""Tables for a terminal, written to text: what all text formats of this folder share."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.words import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console
    from rich.table import Table


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
