"""Repeat runs in one process and watch memory, open files, processes and disk.

Run from the root: ``python -m tests.attack.soak [SECONDS [FILE]]``; default: an hour. A round
repeats a packaged method, a network and an isolated plugin, and reads the records. Prints what is
used after the first and the last round. FILE gets a line of JSON after each round.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.runs.provenance import peak_bytes, reset_peak
from tests.helpers import tiny

WARM_UP = 3
"""Rounds in which libraries are imported and caches are filled."""


@dataclass(frozen=True)
class Use:
    """What this process and its results folder use.

    Attributes
    ----------
    memory, disk
        Resident memory of this process and size of the folder, in bytes.
    files, processes
        Open file descriptors and child processes.
    """

    memory: int
    disk: int
    files: int
    processes: int


def used(folder: Path) -> Use:
    """Return the present use."""
    gc.collect()
    reset_peak()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Use(
        peak_bytes(), sum(sizes), sum(1 for _ in Path("/proc/self/fd").iterdir()), len(children)
    )


def rounds(
    folder: Path,
    seconds: float,
    fewest: int = 6,
    methods: str = "zscore,mine,erm",
    file: Path | None = None,
) -> list[Use]:
    """Repeat runs for some seconds; return the use after each round, without the first ones."""
    plugin = tiny.write_method(folder / "plugins", "mine", "class M(Profile):\n    pass\n")
    bench_ = tiny.Bench(folder / "results", plugin)
    bench_.registry = bench_.registry.isolating("plugins")
    task = tiny.task()
    uses: list[Use] = []
    end = time.monotonic() + seconds
    while len(uses) < WARM_UP + fewest or time.monotonic() < end:
        for record in bench_.run(methods, task, if_exists="rerun"):
            assert record.status == "ok", record.reason
        assert len(bench_.store.load_all()) == len(methods.split(","))
        bench_.said.clear()
        uses.append(used(folder))
        if file is not None:
            with file.open("a") as lines:
                lines.write(json.dumps(asdict(uses[-1])) + "\n")
    return uses[WARM_UP:]


def main() -> None:
    """Print the use after the first and the last rounds."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    file = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder:
        uses = rounds(Path(folder), seconds, file=file)
    growth = (uses[-1].memory - uses[0].memory) / max(1, len(uses) - 1)
    result = {
        "rounds": len(uses),
        "most": {name: max(asdict(use)[name] for use in uses) for name in asdict(uses[0])},
        "first": asdict(uses[0]),
        "last": asdict(uses[-1]),
        "memory_bytes_per_round": round(growth),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
