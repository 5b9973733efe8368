"""Execute the graph of a sweep: one task after another in this process, or on Dask."""

from __future__ import annotations

import os
import queue
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol

from bench.core.errors import BenchError
from bench.core.words import count
from bench.runs.progress import Silent
from bench.runs.sweeps.clusters import GPU, connect
from bench.runs.sweeps.devices import devices
from bench.runs.sweeps.work import Misfit, Result, execute, lost, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records.record import Record
    from bench.runs.sweeps.clusters import Connection, Where
    from bench.runs.sweeps.graph import Graph, Kind, Task
    from bench.runs.sweeps.work import Stamp

TOPIC = "labshift"
REPORT_S = 1.0
"""Seconds between two reports of the steps of a training."""
PRIORITIES: dict[Kind, int] = {"fold": 2, "tune": 2, "fit": 1, "apply": 1, "run": 0}
"""Tuning takes longest, because its trials follow each other, so it starts first. Trainings that
others wait for start before runs that nothing waits for."""
SILENT_S = 30.0
"""Seconds without a connection after which the scheduler is considered gone."""


class Watcher(Protocol):
    """Receives what happens in a sweep."""

    def say(self, line: str) -> None:
        """Show a message."""

    def cluster(self, dashboard: str) -> None:
        """Show the address of Dask's dashboard; empty without one."""

    def started(self, task: Task, worker: str) -> None:
        """Receive a task that starts."""

    def steps(self, task: Task, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a task are finished."""

    def finished(self, task: Task, result: Result) -> None:
        """Receive a task that ended."""


def execute_graph(
    graph: Graph, where: Where, watcher: Watcher, connection: Connection | None = None
) -> list[Record]:
    """Execute all tasks of a graph.

    Parameters
    ----------
    graph
        The graph.
    where
        Processes that execute it.
    watcher
        Receives progress.
    connection
        A cluster that several graphs share; by default one is started for this graph.

    Returns
    -------
    list of Record
        The records that were made, failed runs included, in the order of the graph's tasks.

    Raises
    ------
    BenchError
        For bad input or a cluster that cannot be used. Finished tasks stay on disk, and the same
        command continues.
    """
    if not graph.tasks:
        return []
    if connection is not None:
        results = _connected(graph, where, watcher, connection)
    else:
        results = (
            _serial(graph, watcher, where.devices)
            if where.serial
            else _on_dask(graph, where, watcher)
        )
    return [record for key in graph.tasks for record in results[key].read()]


# --------------------------------------------------------------------------- this process


class _Local(Silent):
    """Progress of a task in this process."""

    def __init__(self, watcher: Watcher, task: Task) -> None:
        self._watcher, self._task = watcher, task

    def say(self, line: str) -> None:
        self._watcher.say(line)

    def update(self, label: str, done: int, total: int) -> None:  # noqa: ARG002 - the task has a label
        self._watcher.steps(self._task, done, total)


def _serial(graph: Graph, watcher: Watcher, n_devices: int = 1) -> dict[str, Result]:
    results: dict[str, Result] = {}
    device = next(iter(graph.tasks.values())).unit.host.device
    with devices(n_devices, device) as pool:
        for key, task in graph.tasks.items():
            watcher.started(task, "")
            parents = [results[parent] for parent in task.parents]
            results[key] = pool.execute(task, parents, _Local(watcher, task), stamp())
            watcher.finished(task, results[key])
    return results


# --------------------------------------------------------------------------- Dask


class _Remote(Silent):
    """Progress of a task on a worker, sent to the command as events of Dask."""

    def __init__(self, worker: Any, key: str) -> None:  # noqa: ANN401 - Dask has no types
        self._worker, self._key, self._last = worker, key, 0.0

    def send(self, **event: object) -> None:
        self._worker.log_event(TOPIC, {"key": self._key, **event})

    def say(self, line: str) -> None:
        self.send(line=line)

    def update(self, label: str, done: int, total: int) -> None:  # noqa: ARG002 - the task has a label
        now = time.monotonic()
        if now - self._last >= REPORT_S or done == total:
            self._last = now
            self.send(done=done, total=total)


def _remote(task: Task, expected: Stamp, n_gpus: int, *parents: Result) -> Result:
    """Execute a task on a Dask worker."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise Misfit(
            f"worker {worker.address} has {worker.state.nthreads} threads: start it with "
            "--nthreads 1, because each task uses $BENCH_THREADS threads of its own"
        )
    if n_gpus > 1 and str(worker.name).isdigit():  # before torch is imported
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(int(worker.name) % n_gpus))
    progress = _Remote(worker, task.key)
    progress.send(start=f"{socket.gethostname()}:{os.getpid()}")
    return execute(task, parents, progress, expected)


class DaskRun:
    """A graph on a cluster. Events of Dask arrive in a queue and are handled in one thread."""

    def __init__(self, graph: Graph, connection: Connection, watcher: Watcher) -> None:
        self.graph, self.connection, self.watcher = graph, connection, watcher
        self.client = connection.client
        self.results: dict[str, Result] = {}
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}  # Dask forgets tasks without a future
        self._away = 0.0
        self._n_refused = 0

    def submit(self, function: Callable[..., Result] = _remote) -> None:
        """Send all tasks; parents come first. Benchmarks replace the function of a task."""
        put = self._queue.put
        self.client.subscribe_topic(TOPIC, lambda event: put(lambda: self._event(event)))
        expected, futures = stamp(), self._futures
        for key, task in self.graph.tasks.items():
            gpu = task.network and task.unit.host.device == "cuda"
            futures[key] = self.client.submit(
                function,
                task,
                expected,
                self.connection.local_gpus,
                *(futures[parent] for parent in task.parents),
                key=key,
                priority=PRIORITIES[task.kind],
                resources={GPU: 1} if gpu else None,
            )
        for key, future in futures.items():
            task = self.graph.tasks[key]
            future.add_done_callback(
                lambda future, task=task: put(lambda: self._done(task, future))
            )

    def wait(self) -> None:
        """Handle events until all tasks have ended."""
        while len(self.results) < len(self.graph.tasks):
            self._check_jobs()
            try:
                self._queue.get(timeout=REPORT_S)()
            except queue.Empty:
                self._check_connection()

    def _check_jobs(self) -> None:
        """Raise if the batch system refused all jobs; report if it refused some."""
        refused = self.connection.refused
        if refused and len(refused) >= self.connection.n_jobs:
            raise BenchError(f"the batch system refused the jobs: {refused[0]}; correct --profile")
        for answer in refused[self._n_refused :]:
            self.watcher.say(f"the batch system refused a job: {answer}")
        self._n_refused = len(refused)

    def _check_connection(self) -> None:
        if self.client.status == "running":
            self._away = 0.0
        elif not self._away:
            self._away = time.monotonic()
        elif time.monotonic() - self._away > SILENT_S:
            raise self._gone()

    def _gone(self) -> BenchError:
        return BenchError(
            "the Dask scheduler is gone; finished tasks are on disk: start it and run the same "
            "command again"
        )

    def _event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        task = self.graph.tasks.get(message.get("key", ""))
        if task is None or task.key in self.results:
            return
        if "start" in message:
            self.watcher.started(task, message["start"])
        elif "line" in message:
            self.watcher.say(message["line"])
        else:
            self.watcher.steps(task, message["done"], message["total"])

    def _done(self, task: Task, future: Any) -> None:  # noqa: ANN401 - Dask has no types
        if future.status == "finished":
            result = future.result()
        elif future.status == "error":
            result = self._failure(task, future.exception())
        else:
            raise self._gone()
        self.results[task.key] = result
        self.watcher.finished(task, result)

    def _failure(self, task: Task, error: BaseException) -> Result:
        """Return the result of a task after its workers were killed; raise any other exception."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            cause = self.graph.tasks.get(str(error.task), task)
            times = count(error.allowed_failures + 1, "time")
            return lost(
                task,
                f"the worker of '{cause.label}' was killed {times}, the last one on "
                f"{error.last_worker.address}: memory or time limit? Increase the limit of the "
                "workers and run the same command again",
            )
        if isinstance(error, ImportError | AttributeError) and not isinstance(error, BenchError):
            raise BenchError(
                f"a worker cannot load a task ({error}): install the same labshift there"
            ) from error
        raise error


def _on_dask(graph: Graph, where: Where, watcher: Watcher) -> dict[str, Result]:
    device = next(iter(graph.tasks.values())).unit.host.device
    with connect(where, device) as connection:
        return _connected(graph, where, watcher, connection)


def _connected(
    graph: Graph, where: Where, watcher: Watcher, connection: Connection
) -> dict[str, Result]:
    watcher.cluster(connection.dashboard)
    run = DaskRun(graph, connection, watcher)
    run.submit()
    if where.scheduler is not None and not connection.client.nthreads():
        watcher.say(f"waiting for workers: dask worker {where.scheduler} --nthreads 1 --nworkers N")
    run.wait()
    return run.results
