"""A Dask scheduler and workers as separate processes, as on several machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.processes import wait_for

ROOT = Path(__file__).resolve().parents[2]
DASK = (sys.executable, "-m", "dask")


class DaskCluster:
    """A scheduler and workers, each with a working folder and a cache of its own.

    Parameters
    ----------
    folder
        Folder of the processes.
    workers
        Number of workers, without nannies: a killed worker stays away.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.n = folder, workers
        self.workers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> DaskCluster:
        file = self.folder / "scheduler.json"
        self.folder.mkdir(parents=True)
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_for(lambda: file.is_file() and file.stat().st_size > 0, self.scheduler)
        self.address = str(json.loads(file.read_text())["address"])
        options = ("--nthreads", "1", "--no-nanny", "--death-timeout", "60")
        self.workers = [self._start("worker", self.address, *options) for _ in range(self.n)]
        return self

    def __exit__(self, *_: object) -> None:
        # A worker without its scheduler may wait for minutes before it ends by itself.
        for process in (*self.workers, self.scheduler):
            process.kill()
        for process in (*self.workers, self.scheduler):
            process.wait()

    def cache(self, number: int) -> Path:
        """Return the cache of a worker."""
        return self.folder / f"machine-{number + 1}" / "cache"

    def _start(self, *command: str) -> subprocess.Popen[str]:
        folder = self.folder / f"machine-{len(list(self.folder.glob('machine-*')))}"
        folder.mkdir()
        return subprocess.Popen(
            [*DASK, *command, "--no-dashboard"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            text=True,
            env={**os.environ, "BENCH_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        )
