"""What a sweep costs besides its tasks: seconds per empty task on Dask.

    python -m tests.benchmarks.sweep [tasks] [workers]

Default: 10,000 tasks, each fourth one with three parents, on two local workers. The goal is less
than 50 ms per task. Prints JSON and writes ``docs/benchmarks/sweep.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

from bench.runs.sweeps.clusters import Where, connect
from bench.runs.sweeps.engine import DaskRun
from bench.runs.sweeps.graph import Graph, Task
from bench.runs.sweeps.units import Host, Unit
from bench.runs.sweeps.work import Result
from tests.benchmarks._measure import Figures

GOAL_S = 0.05


class Silent:
    """Watches without output."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def empty(task: Task, expected: object, n_gpus: int, *parents: Result) -> Result:
    """Do nothing."""
    return Result()


def graph(n: int, results: str) -> Graph:
    """Return a graph of ``n`` tasks."""
    unit = Unit(Host(results, results), 1, ("erm",), "ottawa")
    tasks = Graph()
    for k in range(n):
        key = f"run-empty-{k:08d}"
        parents = [f"run-empty-{j:08d}" for j in range(k - 3, k)] if k % 4 == 3 else []
        tasks.add(Task(key, "run", f"empty {k}", unit, k, tuple(parents)))
    return tasks


def main(n: int, n_workers: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = graph(n, folder)
        with connect(Where(jobs=n_workers), "cpu") as connection:
            run = DaskRun(tasks, connection, Silent())
            started = time.perf_counter()
            run.submit(empty)
            submitted = time.perf_counter()
            run.wait()
            ended = time.perf_counter()
    result = {
        "tasks": n,
        "workers": n_workers,
        "submit_s": round(submitted - started, 2),
        "total_s": round(ended - started, 2),
        "per_task_ms": round(1000 * (ended - started) / n, 3),
        "goal_ms": 1000 * GOAL_S,
    }
    print(json.dumps(result, indent=1))
    figures = Figures("sweep")
    figures.rows.append({"group": f"{n} tasks, {n_workers} workers", "what": "empty", **result})
    figures.write()


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(*(numbers + [10_000, 2][len(numbers) :]))
