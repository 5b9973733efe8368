"""Progress and output of the command ``sweep``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bench.cli.output import console, note, print_json, print_line, print_table
from bench.cli.progress import run_line
from bench.core.words import count, duration, file_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from bench.cli.dry_run import Estimator
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.estimate import Total
    from bench.runs.job import Job
    from bench.runs.sweeps.graph import Graph, Task
    from bench.runs.sweeps.suite import Suite
    from bench.runs.sweeps.units import OpenUnit
    from bench.runs.sweeps.work import Result

LINES = 20
"""Running tasks that are shown with a bar of their own."""


class Display:
    """Progress of a sweep on stderr.

    On a terminal: one line per running task and a bar for all. Otherwise one line per finished run.
    With ``--json``: one JSON object per event.

    Parameters
    ----------
    graph
        The graph of the sweep.
    events
        Whether to print events as JSON.
    """

    def __init__(self, graph: Graph, *, events: bool) -> None:
        self._graph, self._events = graph, events
        self._ended = 0
        self._reasons: set[str] = set()
        self._progress: Progress | None = None
        self._all: TaskID | None = None
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        if sys.stderr.isatty() and not self._events:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console(stderr=True),
                transient=True,
            )
            self._progress.start()
            self._all = self._progress.add_task("all tasks", total=len(self._graph.tasks))
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _event(self, event: str, **values: object) -> None:
        note(json.dumps({"event": event, **values}))

    def say(self, line: str) -> None:
        """Print a line."""
        if self._events:
            self._event("message", text=line)
        else:
            note(line)

    def cluster(self, dashboard: str) -> None:
        """Print the address of Dask's dashboard."""
        if dashboard:
            self.say(f"dashboard: {dashboard}")

    def started(self, task: Task, worker: str) -> None:
        """Show a task that starts, or that starts again on another worker."""
        if self._events:
            self._event("start", task=task.key, label=task.label, worker=worker)
        elif self._progress is None or task.key in self._bars:
            return  # it starts again on another worker
        elif len(self._bars) < LINES:
            self._bars[task.key] = self._progress.add_task(task.label, total=None)

    def steps(self, task: Task, done: int, total: int) -> None:
        """Move the bar of a training."""
        if self._events:
            self._event("steps", task=task.key, done=done, total=total)
        elif self._progress is not None and task.key in self._bars:
            self._progress.update(self._bars[task.key], completed=done, total=total)

    def finished(self, task: Task, result: Result) -> None:
        """Remove the bar of a task; print the score of its run."""
        self._ended += 1
        records = result.read()
        if self._events:
            status = "failed" if result.failed else "ok"
            status = records[0].status if records else status
            self._event("end", task=task.key, label=task.label, status=status)
            return
        if self._progress is not None:
            assert self._all is not None
            self._progress.advance(self._all)
            if task.key in self._bars:
                self._progress.remove_task(self._bars.pop(task.key))
        elif result.failed and result.failed not in self._reasons:
            self._reasons.add(result.failed)  # tasks that depend on it fail with the same reason
            self.say(f"{task.label}: failed: {result.failed}")
        for record in records:
            if self._progress is None or record.status == "failed":
                self.say(f"[{self._ended}/{len(self._graph.tasks)}] {run_line(record)}")


# --------------------------------------------------------------------------- before


class Costs:
    """Expected cost of a sweep, added up unit by unit, so that no data stay open.

    Parameters
    ----------
    estimator
        Estimates the cost of a run.
    device
        ``--device`` of the command.
    """

    def __init__(self, estimator: Estimator, device: str) -> None:
        self._estimator, self._device = estimator, device
        self._counted: set[str] = set()
        self.seconds = self.gpu_seconds = 0.0
        self.peak_bytes = self.disk_bytes = self.n_unknown = 0

    def add(self, unit: OpenUnit, jobs: Sequence[Job]) -> None:
        """Add the runs of a unit that are not on disk."""
        from bench.runs.estimate import total

        pending = [job for job in jobs if not job.not_applicable]
        groups: list[list[Job]] = [[], []]
        for job in pending:
            on_gpu = any(stage.kind == "network" for stage in job.chain.stages)
            groups[self._device == "cuda" and on_gpu].append(job)
        for k, group in enumerate(groups):
            estimates = self._estimator.estimates(group)
            cost: Total = total(group, estimates, unit.store, self._counted)
            if k:
                self.gpu_seconds += cost.seconds
            else:
                self.seconds += cost.seconds
            self.peak_bytes = max(self.peak_bytes, cost.peak_bytes)
            self.disk_bytes += cost.disk_bytes
            self.n_unknown += cost.n_unknown

    @property
    def text(self) -> str:
        """The cost in words."""
        parts = [f"{self.seconds / 3600:.2g} core-hours"] if self.seconds else []
        parts += [f"{self.gpu_seconds / 3600:.2g} GPU-hours"] if self.gpu_seconds else []
        parts += [f"{file_size(self.peak_bytes)} memory per task"] if self.peak_bytes else []
        parts += [f"{file_size(self.disk_bytes)} disk"] if self.disk_bytes else []
        if self.n_unknown:
            parts.append(f"{count(self.n_unknown, 'run')} without an estimate not counted")
        return "; ".join(parts) or "nothing to estimate"

    @property
    def numbers(self) -> dict[str, float | int]:
        """The cost for ``--json``."""
        return {
            "core_hours": self.seconds / 3600,
            "gpu_hours": self.gpu_seconds / 3600,
            "peak_bytes": self.peak_bytes,
            "disk_bytes": self.disk_bytes,
            "n_unknown": self.n_unknown,
        }


KINDS = {
    "fit": "training",
    "apply": "inference",
    "fold": "tuned fold",
    "tune": "refit",
    "run": "run",
}


def print_plan(suite: Suite, graph: Graph, costs: Costs, *, as_json: bool) -> None:
    """Print the tasks of a sweep and their expected cost."""
    tasks = graph.count()
    if as_json:
        document = {
            "suite": suite.name,
            "tasks": tasks,
            "on_disk": len(graph.stored),
            "to_run": len(graph.runs),
            "estimate": costs.numbers,
            "unavailable": {item.split: item.reason for item in graph.unavailable},
            "skipped": graph.skipped,
        }
        print_json(document)
        return
    print_line(f"{suite.name}: {suite.title}", "bold")
    counted = [count(tasks[kind], noun) for kind, noun in KINDS.items() if kind in tasks]
    print_line(f"tasks: {', '.join(counted) or 'none'}; {count(len(graph.stored), 'run')} on disk")
    print_line(f"expected: {costs.text}")
    _print_left_out(graph)


# --------------------------------------------------------------------------- during


def counts(graph: Graph, store: Store) -> dict[str, dict[str, int]]:
    """Return how many runs of each split are in which state.

    Returns
    -------
    dict
        Split -> ``done``, ``not-applicable``, ``failed``, ``running`` or ``waiting`` -> number.
        Trainings and inferences that are running are not counted.
    """
    table: dict[str, Counter[str]] = {}
    for record in graph.stored.values():
        state: str = "done" if record.ok else record.status
        table.setdefault(record.split_id, Counter())[state] += 1
    failed = {failure["run_id"] for failure in store.failures()}
    for run_id, key in graph.runs.items():
        task = graph.tasks[key]
        state = "running" if store.is_locked(run_id) else "waiting"
        state = "failed" if run_id in failed and state == "waiting" else state
        split = task.label.partition(" on ")[2].rpartition(", seed")[0]
        table.setdefault(split, Counter())[state] += 1
    return {split: dict(counter) for split, counter in sorted(table.items())}


STATES = ("done", "not-applicable", "failed", "running", "waiting")


def print_status(suite: Suite, graph: Graph, store: Store, *, as_json: bool) -> None:
    """Print what is on disk, what is running and what is left."""
    table = counts(graph, store)
    running = [
        task.label for task in graph.tasks.values() if task.result and store.is_locked(task.result)
    ]
    if as_json:
        print_json(
            {
                "suite": suite.name,
                "splits": table,
                "running": running,
                "tasks": graph.count(),
                "unavailable": {item.split: item.reason for item in graph.unavailable},
            }
        )
        return
    print_line(f"{suite.name}: {suite.title}", "bold")
    rows = [[split, *(str(row.get(state, "")) for state in STATES)] for split, row in table.items()]
    sums = [str(sum(row.get(state, 0) for row in table.values())) for state in STATES]
    print_table(["split", *STATES], [*rows, ["all", *sums]])
    for label in running:
        print_line(f"running: {label}")
    _print_left_out(graph)


# --------------------------------------------------------------------------- after


def print_end(
    suite: Suite, graph: Graph, records: Sequence[Record], again: str, seconds: float
) -> None:
    """Print how many runs are done, what is not, and a command to run next.

    Parameters
    ----------
    suite, graph
        The suite and its graph.
    records
        The records that were made.
    again
        Options of a further command, such as ``--results``.
    seconds
        Duration of the sweep.
    """
    states = Counter("done" if record.ok else record.status for record in records)
    states.update(f"{'done' if r.ok else r.status} before" for r in graph.stored.values())
    rows = [[state, str(states[state]), str(states[f"{state} before"])] for state in STATES[:3]]
    print_line(f"{suite.name}: {len(graph.tasks)} tasks in {duration(seconds)}", "bold")
    print_table(["", "now", "before"], rows)
    for line in _reasons([*records, *graph.stored.values()]):
        print_line(line)
    _print_left_out(graph)
    command = "python -m bench"
    if any(record.status == "failed" for record in records):
        print_line(f"next: {command} show failed{again}; the same sweep repeats the failed runs")
    else:
        done = [record.split_id for record in (*records, *graph.stored.values()) if record.ok]
        where = f" --split {done[0]}" if len(set(done)) == 1 else ""
        print_line(f"next: {command} leaderboard{where}{again}")


def _reasons(records: Sequence[Record]) -> list[str]:
    """Return one line per reason with the methods and splits that it concerns."""
    splits: dict[tuple[str, str, str], dict[str, None]] = {}
    for record in records:
        if not record.ok:
            key = (record.status, record.reason, record.method)
            splits.setdefault(key, {})[record.split_id] = None
    methods: dict[tuple[str, str, str], list[str]] = {}
    for (status, reason, method), names in splits.items():
        methods.setdefault((status, reason, ", ".join(names)), []).append(method)
    return [
        f"{status}: {', '.join(names)} on {where}: {reason}"
        for (status, reason, where), names in sorted(methods.items())
    ]


def _print_left_out(graph: Graph) -> None:
    splits: dict[str, list[str]] = {}
    for item in graph.unavailable:
        splits.setdefault(item.reason, []).append(item.split)
    for reason, names in splits.items():
        print_line(f"no data for {', '.join(names)}: {reason}")
    for line in graph.skipped:
        print_line(f"not tuned: {line}")
