"""What a process of its own costs: seconds per fold on a table, and percent on images.

    python -m tests.benchmarks.isolation [repeats]

Runs methods in this process and isolated in turn, and compares the fastest of each, so that other
work on the machine matters little. The goals are 0.5 s per fold and 5 %. Prints JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.isolated import sandbox
from tests.helpers import tiny

if TYPE_CHECKING:
    from bench.data.task import Task

GOAL_S, GOAL_PERCENT = 0.5, 5.0


def fastest(folder: Path, method: str, task: Task, repeats: int, **recipe: object) -> list[float]:
    """Return seconds in this process and isolated, without the start of the server."""
    here, there = tiny.Bench(folder / "here"), tiny.Bench(folder / "there")
    there.registry = there.registry.isolating("all")
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats + 1):  # the first starts the server
        for bench_, list_ in zip((here, there), seconds, strict=True):
            started = time.perf_counter()
            [record] = bench_.run(method, task, if_exists="rerun", **recipe)
            list_.append(time.perf_counter() - started)
            assert record.status == "ok", record.reason
    return [min(list_[1:]) for list_ in seconds]


def images(n: int, size: int) -> Task:
    """Return a split of ``n`` random images in four plates."""
    index, _ = tiny.frame(per_class=n // 12, controls=0)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (len(index), 2, size, size), dtype=np.uint8)
    return tiny.task(dataclasses.replace(tiny.opened(index=index), source=tiny.Images(pixels)))


def main(repeats: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = tiny.task(tiny.opened(batches=8, per_class=60, controls=20), hold_out="plate")
        n_folds = len(table.folds)
        here, there = fastest(folder / "table", "zscore", table, repeats)
        recipe = {"steps": 100, "batch_size": 64, "width": 32}
        here_images, there_images = fastest(
            folder / "images", "erm", images(2400, 64), repeats, **recipe
        )
    result = {
        "isolation": sandbox.mode(),
        "table_s_per_fold": round((there - here) / n_folds, 3),
        "goal_s_per_fold": GOAL_S,
        "images_s": [round(here_images, 2), round(there_images, 2)],
        "images_percent": round(100 * (there_images / here_images - 1), 1),
        "goal_percent": GOAL_PERCENT,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
