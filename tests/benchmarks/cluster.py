"""How a suite would be spread over the workers of a cluster, on measured task times.

    python -m tests.benchmarks.cluster [SUITE] [WORKERS]

The graph of the suite is that of ``sweep``. Seconds of a task are those of published records:
``fit_s`` and ``apply_s`` of the same run, divided by its folds, or the mean over the same kind of
task of the method, or of all methods. Scoring is not in records; ``SCORE_S`` is added to each run.
A worker takes the ready task with the highest priority of the sweep, first come first served, and
each task costs ``OVERHEAD_S`` more. Writes ``docs/benchmarks/cluster.json``.
"""

from __future__ import annotations

import heapq
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.records.store import Store
from bench.runs.sweeps.engine import PRIORITIES
from bench.runs.sweeps.graph import build
from bench.runs.sweeps.suite import read_suite
from bench.runs.sweeps.units import Host, opened, units_of
from tests.benchmarks._measure import Figures

ROOT = Path(__file__).resolve().parents[2]
OVERHEAD_S = 0.0034
"""Seconds per empty task, measured by ``tests.benchmarks.sweep``."""
SCORE_S = 2.0
"""Seconds to score a run, the median of control rows on the tables of the suite."""
WORKERS = (1, 8, 16, 32, 64, 128)


def spread(
    seconds: dict[str, float],
    parents: dict[str, tuple[str, ...]],
    priority: dict[str, int],
    workers: int,
) -> float:
    """Return the seconds until all tasks have ended, with list scheduling."""
    children: dict[str, list[str]] = {}
    waiting = {key: len(parents[key]) for key in seconds}
    for key, before in parents.items():
        for parent in before:
            children.setdefault(parent, []).append(key)
    order = {key: number for number, key in enumerate(seconds)}
    ready = [(-priority[key], order[key], key) for key in seconds if not waiting[key]]
    heapq.heapify(ready)
    running: list[tuple[float, int, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, number, key = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[key], number, key))
        now, _, key = heapq.heappop(running)
        for child in children.get(key, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (-priority[child], order[child], child))
    return now


def critical_path(
    seconds: dict[str, float], parents: dict[str, tuple[str, ...]]
) -> tuple[float, list[str]]:
    """Return the longest chain of tasks, in seconds and by key; tasks are in order of parents."""
    end: dict[str, float] = {}
    before: dict[str, str] = {}
    for key, spent in seconds.items():
        last = max(parents[key], key=lambda parent: end[parent], default="")
        end[key] = spent + (end[last] if last else 0.0)
        before[key] = last
    key = max(end, key=lambda name: end[name])
    total, path = end[key], []
    while key:
        path.append(key)
        key = before[key]
    return total, path[::-1]


class Times:
    """Seconds of a stage of a method on a split, from published records."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], list[float]] = {}
        for record in Store(ROOT / "results").load_reference():
            if not record.ok:
                continue
            n = max(len(record.folds), 1)
            method = record.method_id.removeprefix("identity+").partition("+")[0]
            for stage in ("fit", "apply"):
                value = float(record.cost[f"{stage}_s"]) / n
                keys = ((stage, method, record.split_id), (stage, method), (stage,))
                for key in keys:
                    self._known.setdefault(key, []).append(value)

    def of(self, stage: str, method: str, split: str) -> float:
        """Return the median of the nearest records."""
        for key in ((stage, method, split), (stage, method), (stage,)):
            if key in self._known:
                return statistics.median(self._known[key])
        raise KeyError(stage)


def seconds_of(tasks: dict[str, Any], times: Times) -> dict[str, float]:
    """Return the seconds of each task."""
    result = {}
    for key, task in tasks.items():
        unit = opened(task.unit)
        if unit.tunings:
            tuning = unit.tunings[task.number]
            job = tuning.base
            n_folds = sum(bool(fold.scored.any()) for fold in job.task.folds)
            n_trials = tuning.budget.trials * tuning.budget.parts if task.kind == "fold" else 1
            n_trials *= 1 if task.kind == "fold" else n_folds
        else:
            job = unit.jobs[task.number]
            n_folds, n_trials = len(job.task.folds), 1
        method = job.chain.method_id.removeprefix("identity+").partition("+")[0]
        split = job.task.split.name
        fit, apply = times.of("fit", method, split), times.of("apply", method, split)
        if task.kind == "fit":
            spent = fit
        elif task.kind == "apply":
            spent = apply
        elif task.kind in ("fold", "tune"):
            spent = n_trials * (fit + apply + SCORE_S / max(n_folds, 1))
        else:
            profile = not task.parents
            spent = SCORE_S + (fit + apply) * n_folds * profile
        result[key] = spent + OVERHEAD_S
    return result


def main(suite: str, workers: int) -> None:
    """Simulate and print."""
    figures = Figures("cluster")
    with tempfile.TemporaryDirectory() as folder:
        graph = build(units_of(read_suite(suite), Host(folder, str(Path.cwd()), device="cpu")))
        tasks = graph.tasks
        seconds = seconds_of(tasks, Times())
    parents = {key: task.parents for key, task in tasks.items()}
    priority = {key: PRIORITIES[task.kind] for key, task in tasks.items()}
    work = sum(seconds.values())
    longest, path = critical_path(seconds, parents)
    for n in sorted({*WORKERS, workers}):
        total = spread(seconds, parents, priority, n)
        row = {
            "group": suite,
            "what": f"{n} workers",
            "workers": n,
            "hours": round(total / 3600, 3),
            "efficiency": round(work / (n * total), 3),
            "bound_hours": round(max(work / n, longest) / 3600, 3),
        }
        figures.rows.append(row)
        print(row, flush=True)
    figures.other = {
        "tasks": graph.count(),
        "unavailable": sorted({item.split for item in graph.unavailable}),
        "core_hours": round(work / 3600, 2),
        "critical_path_hours": round(longest / 3600, 3),
        "critical_path": [tasks[key].label for key in path],
        "score_s": SCORE_S,
        "overhead_s": OVERHEAD_S,
    }
    print(figures.other)
    figures.write()


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("default", "64")[len(sys.argv) - 1 :]]
    main(arguments[0], int(arguments[1]))
