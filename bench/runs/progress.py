"""Progress of runs: the interface, nothing, and lines on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from bench.core.words import printable

if TYPE_CHECKING:
    from bench.records.record import Record


class Progress(Protocol):
    """Receives messages and progress while an experiment runs."""

    def say(self, line: str) -> None:
        """Show a one-line message, such as a note about a record."""

    def update(self, label: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a training are finished."""

    def done(self, record: Record) -> None:
        """Receive a finished run."""


class Silent:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Ignore a message."""

    def update(self, label: str, done: int, total: int) -> None:
        """Ignore a step."""

    def done(self, record: Record) -> None:
        """Ignore a finished run."""


class Stderr(Silent):
    """Prints messages on stderr, and one line of progress on a terminal or in a notebook."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._shown = 0

    def say(self, line: str) -> None:
        """Print a message in place of the line of progress."""
        self._replace("")
        sys.stderr.write(f"{printable(line)}\n")

    def update(self, label: str, done: int, total: int) -> None:
        """Replace the line of progress, where one is shown."""
        if self._live:
            bar = "#" * (20 * done // max(total, 1))
            self._replace(f"[{bar:20}] {done}/{total} {printable(label)}"[:79])
            if done >= total:
                self._replace("")

    def _replace(self, line: str) -> None:
        """Replace the line of progress; an empty one removes it."""
        if line or self._shown:
            end = "" if line else "\r"
            sys.stderr.write(f"\r{line:{self._shown}}{end}")
            sys.stderr.flush()
            self._shown = len(line)
