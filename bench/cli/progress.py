"""How far a command is: bars on a terminal, a line for each finished run elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def waiting(label: str) -> Any:
    """Show on a terminal that something is going on; leaves no line behind."""
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext()
    return _status(label)


@contextmanager
def _status(label: str) -> Iterator[None]:
    from rich.console import Console

    from bench.core.progress import listening

    with Console(stderr=True).status(label) as status:
        with listening(lambda what, done, n: status.update(f"{label}: {what}, {done} of {n}")):
            yield


class Bar:
    """A progress bar on a terminal, else a line for each finished run.

    Lines about the data are held until there is something to say about a run, or a bar: what ends
    in an error before that leaves the error alone on stderr.

    Parameters
    ----------
    total
        Number of runs; of more than one there is a bar with the time left for all.
    show
        Whether to draw bars.
    say
        Prints a line.
    held
        Lines to print before the first other one.
    """

    def __init__(self, total: int, *, show: bool, say: Any, held: list[str]) -> None:
        self.total, self.show, self._say, self._held = total, show, say, held
        self._progress: Any = None
        self._task: Any = None
        self._runs: Any = None
        self._label = ""

    def say(self, line: str) -> None:
        """Print a line, after those that were held."""
        self.release()
        self._say(line)

    def release(self) -> None:
        """Print the lines that were held."""
        while self._held:
            self._say(self._held.pop(0))

    def __enter__(self) -> Bar:
        if self.show:
            self.release()
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
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
        if label != self._label:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(label, total=total)
            self._label = label
        self._progress.update(self._task, completed=done, total=total)

    def done(self, record: Mapping[str, Any]) -> None:
        """Count a finished run; where there are no bars, say its score."""
        self.release()
        if self.show:
            if self._runs is not None:
                self._progress.advance(self._runs)
            return
        what = f"{record['method']} on {record['split']}, seed {record['spec']['seed']}"
        what += "".join(
            f" ({why.removeprefix('study: ')})"
            for why in record["unranked_because"]
            if why.startswith("study: ")
        )
        if record["status"] == "ok":
            value = record["metrics"].get(record["primary"], {}).get("all")
            self.say(f"{what}: {record['primary']} {value:.3f}" if value is not None else what)
        else:
            self.say(f"{what}: {record['status']}: {record['reason']}")
