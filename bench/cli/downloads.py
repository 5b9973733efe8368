"""Messages, the question and the progress bar of a download, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bench.cli.output import console, note
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from bench.data.fetch.tree import Desk


LABEL = 36
"""Characters of the label of a bar; a longer text is cut at its start."""


class Downloads:
    """Messages, the question and the progress bar of a download.

    Without a terminal for the question, lines are held until the end, so that the error of an
    unanswered question is the only line on stderr.
    """

    def __init__(self, *, quiet: bool, yes: bool) -> None:
        self._yes = yes
        self._held: list[str] | None = None if yes or sys.stdin.isatty() else []
        self._show_bar = sys.stderr.isatty() and not quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""

    def __enter__(self) -> Desk:
        from bench.data.fetch.tree import Desk

        return Desk(say=self._say, confirm=self._confirm, show=self._show)

    def __exit__(self, error: object, *_: object) -> None:
        self._stop()
        if error is None:
            for line in self._held or ():
                note(line)

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _say(self, line: str) -> None:
        self._stop()
        if self._held is not None:
            self._held.append(line)
        else:
            note(line)

    def _confirm(self, question: str) -> bool:
        self._stop()
        if self._yes:
            note(f"{question} yes")
            return True
        if self._held is not None:
            lines = "; ".join(self._held)
            raise BenchError(f"{lines}; {question} There is no terminal to ask: add --yes to agree")
        return click.confirm(question, err=True)

    def _show(self, label: str, done: int, total: int, unit: str) -> None:
        if not self._show_bar:
            return
        if self._progress is None or self._task is None or label != self._label:
            self._stop()
            self._progress = _progress(unit)
            self._progress.start()
            short = label if len(label) <= LABEL else f"…{label[1 - LABEL :]}"
            self._task = self._progress.add_task(short, total=total or None)
            self._label = label
        self._progress.update(self._task, completed=done, total=total or None)


def _progress(unit: str) -> Progress:
    from rich import progress

    columns: list[ProgressColumn] = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
    ]
    if unit == "bytes":
        columns += [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    else:
        columns += [progress.MofNCompleteColumn()]
    columns.append(progress.TimeRemainingColumn())
    return progress.Progress(*columns, console=console(stderr=True))
