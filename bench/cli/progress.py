"""Progress on stderr: bars on a terminal, otherwise one line per finished run."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from bench.cli.output import console, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, TaskID

    from bench.records.record import Record


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show a spinner on a terminal until the block ends; it leaves no line."""
    if not sys.stderr.isatty():
        yield
        return
    from bench.core.progress import listening

    with console(stderr=True).status(label) as status:  # noqa: SIM117 - the status must exist before the listener
        with listening(lambda what, done, n: status.update(f"{label}: {what}, {done} of {n}")):
            yield


class Bar:
    """A progress bar on a terminal, otherwise a line per finished run.

    Parameters
    ----------
    total
        Number of runs; with more than one, a bar shows the time left for all.
    pending
        Lines about the data. They are printed before the first other line or bar, so that an error
        before that is the only line on stderr.
    show
        Whether to draw bars; default: if stderr is a terminal.
    say
        Prints a line; default: on stderr.

    Attributes
    ----------
    n_notes
        Number of notes about the runs that were printed.
    """

    def __init__(
        self,
        total: int,
        pending: list[str],
        *,
        show: bool | None = None,
        say: Callable[[str], None] = note,
        also: Callable[[Record], None] | None = None,
    ) -> None:
        self.total, self._say, self._pending, self._also = total, say, pending, also
        self.show = sys.stderr.isatty() if show is None else show
        self._progress: Progress | None = None
        self._training: TaskID | None = None
        self._runs: TaskID | None = None
        self._label = ""
        self._not_applicable: set[tuple[str, str]] = set()
        self.n_notes = 0

    def say(self, line: str) -> None:
        """Print a note, after pending lines."""
        self.release()
        self.n_notes += 1
        self._say(line)

    def release(self) -> None:
        """Print the pending lines."""
        while self._pending:
            self._say(self._pending.pop(0))

    def __enter__(self) -> Bar:
        if self.show:
            self.release()
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                console=console(stderr=True),
                transient=True,
            )
            self._progress.start()
            if self.total > 1:
                self._runs = self._progress.add_task("runs", total=self.total)
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, label: str, done: int, total: int) -> None:
        """Move the bar of one training; a new label starts a new bar."""
        if self._progress is None:
            return
        if self._training is None or label != self._label:
            if self._training is not None:
                self._progress.remove_task(self._training)
            self._training = self._progress.add_task(label, total=total)
            self._label = label
        self._progress.update(self._training, completed=done, total=total)

    def done(self, record: Record) -> None:
        """Count a finished run; without bars, print its score."""
        self.release()
        run = record.method, record.split
        if self._progress is None:
            if run not in self._not_applicable:
                self._say(run_line(record))
        elif self._runs is not None:
            self._progress.advance(self._runs)
        if record.status == "not-applicable":  # the reason is the same for every seed
            self._not_applicable.add(run)
        if self._also is not None:
            self._also(record)


def run_line(record: Record) -> str:
    """Return method, split, seed and score of a run."""
    run = f"{record.method} on {record.split}, seed {record.seed}"
    run += "".join(
        f" ({reason.removeprefix('study: ')})"
        for reason in record.unranked_because
        if reason.startswith("study: ")
    )
    if not record.ok:
        return f"{run}: {record.status}: {record.reason}"
    value = record.value()
    return run if value is None else f"{run}: {record.primary} {value:.3f}"
