"""Output of all commands: text, tables and JSON on stdout, notes on stderr.

Tables are as wide as the terminal, or 80 columns in a pipe or a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

import click

from bench.core.disk import disk_errors, new_file
from bench.core.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console


WIDTH = 160
"""Columns of a board if stdout is not a terminal."""
NARROW = 80
"""Columns of other tables if stdout is not a terminal."""
LEAST, MOST = 12, 28
"""Least width of the last column of a list, and greatest width of the others, in characters."""

_STDOUT: ContextVar[TextIO | None] = ContextVar("stdout", default=None)

Cell = str | tuple[str, str]
"""Text of a cell, or text and a rich style such as ``bold`` or ``red``."""


class Column(NamedTuple):
    """A column of a printed table.

    Attributes
    ----------
    right
        Align to the right, as numbers are.
    wrap
        Fold cells that are too wide; otherwise they keep to one line.
    max_width
        Largest width in characters; None for no limit.
    """

    name: str
    right: bool = False
    wrap: bool = True
    max_width: int | None = None


@contextlib.contextmanager
def json_only() -> Iterator[None]:
    """Send to stderr what libraries and plugins print; stdout gets the JSON document alone."""
    with contextlib.ExitStack() as stack:
        stream = sys.stdout
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no file, as in tests
            if stream.fileno() == 1:
                stream = stack.enter_context(_moved(stream))
        token = _STDOUT.set(stream)
        stack.callback(_STDOUT.reset, token)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def _moved(stdout: TextIO) -> Iterator[TextIO]:
    """Yield a copy of stdout; what C code and other processes write to it goes to stderr."""
    stdout.flush()
    copy = os.dup(1)
    try:
        os.dup2(2, 1)
        with open(
            copy, "w", encoding=stdout.encoding, errors=stdout.errors, closefd=False
        ) as stream:
            yield stream
    finally:
        os.dup2(copy, 1)
        os.close(copy)


def _stdout() -> TextIO:
    return _STDOUT.get() or sys.stdout


def width(terminal: bool) -> int:
    """Return the width of the terminal, or of text that goes elsewhere, in characters."""
    if terminal or "COLUMNS" in os.environ:
        return shutil.get_terminal_size((120, 24)).columns
    return WIDTH


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that prints text as it is, without markup or highlighting."""
    from rich.console import Console

    columns = None if sys.stdout.isatty() or "COLUMNS" in os.environ else NARROW
    return Console(
        file=None if stderr else _stdout(),
        stderr=stderr,
        width=None if stderr else columns,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_raw(text: str) -> None:
    """Print text that is already formatted."""
    click.echo(printable(text.rstrip("\n"), styled=uses_colour()), file=_stdout())


def print_json(document: object) -> None:
    """Print a JSON document; NaN and infinity raise ``ValueError``."""
    print_raw(json.dumps(document, indent=1, allow_nan=False))


def print_line(text: str, style: str = "", *, wrap: bool = False) -> None:
    """Print a line.

    Parameters
    ----------
    wrap
        Wrap at words on a terminal. Without it commands and paths can be copied from the output.
    """
    from rich.text import Text

    soft = not (wrap and sys.stdout.isatty())
    console().print(Text(printable(text), style=style), soft_wrap=soft)


def print_table(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Cell]], *, header: bool = True
) -> None:
    """Print a table without rules.

    Parameters
    ----------
    columns
        Columns; a bare name is left-aligned and folded.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=header, header_style="bold")
    for column in columns:
        shape = Column(column) if isinstance(column, str) else column
        table.add_column(
            shape.name,
            justify="right" if shape.right else "left",
            overflow="fold",
            no_wrap=not shape.wrap,
            max_width=shape.max_width,
        )
    for row in rows:
        cells = ((cell, "") if isinstance(cell, str) else cell for cell in row)
        table.add_row(*(Text(printable(text), style=style) for text, style in cells))
    console().print(table)


def print_list(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, wide: bool = False
) -> None:
    """Print a table with one line per row; cells are shortened to fit the screen."""
    from rich.text import Text

    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if not wide:
        widths[:-1] = [min(width, MOST) for width in widths[:-1]]
        rest = shutil.get_terminal_size((NARROW, 24)).columns - sum(widths[:-1])
        widths[-1] = min(widths[-1], max(rest - 2 * (len(widths) - 1), LEAST))
    for k, row in enumerate([columns, *rows]):
        cells = [
            _shortened(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
        ]
        style = "bold" if k == 0 else ""
        console().print(Text("  ".join(cells).rstrip(), style=style), soft_wrap=True)


def _shortened(text: str, width: int) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= width else text[: width - 1].rstrip(" ,.;:") + "…"


def uses_colour() -> bool:
    """Whether stdout is a terminal that shows colours; ``$NO_COLOR`` turns them off."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def note(line: str) -> None:
    """Print a line on stderr."""
    click.echo(printable(line), err=True)


def write_output(output: str, text: str, option: str = "--output") -> None:
    """Write the file of an option atomically."""
    path = Path(output)
    with disk_errors("write", path, option), new_file(path, parents=False) as temporary:
        temporary.write_text(printable(text), encoding="utf-8")
