"""Run the same commands in several processes at once, on one results folder and one empty cache.

Run from the root: ``python -m tests.attack.concurrency [N ...]``; default: 2, 4, 8 and 16
processes. All start at the same moment. Afterwards each run has one complete record, equal to that
of one process, and nothing else is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.records.store import Store
from tests.attack.kills import write_images
from tests.helpers import tiny

COMMANDS = (
    "run -m zscore,tvn -s {table} --seed 0 --no-controls",
    "run -m identity -s {images} --no-controls",
    "leaderboard",
)
CODE = """
import sys, time
from bench.cli.main import main
commands, start = sys.argv[1].splitlines(), float(sys.argv[2])
time.sleep(max(0.0, start - time.time()))
for command in commands:
    try:
        main(command.split())
    except SystemExit as end:
        if end.code:
            raise
"""


def digests(root: Path) -> dict[str, str]:
    """Return the digests of the predictions by run id. Warnings are errors."""
    said: list[str] = []
    records = Store(root, warn=said.append).load_all()
    assert not said, said
    return {record.run_id: record.predictions_sha256 for record in records}


def together(folder: Path, n: int, delay: float = 5.0) -> tuple[dict[str, str], list[str]]:
    """Run the commands in ``n`` processes; return the records and the errors."""
    table, images = folder / "data" / "dataset.toml", folder / "images" / "dataset.toml"
    if not table.exists():
        tiny.write_table(folder / "data")
        write_images(folder / "images")
    results = folder / f"results-{n}"
    text = "\n".join(
        f"{command.format(table=table, images=images)} --results {results}" for command in COMMANDS
    )
    environment = {**os.environ, "BENCH_CACHE": str(folder / f"cache-{n}")}
    start = str(time.time() + delay)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, text, start],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(n)
    ]
    errors = [
        error for process in processes if (error := process.communicate()[1]) and process.returncode
    ]
    left = [str(path) for path in (results / "tmp").rglob("*") if path.is_file()]
    left += [str(path) for path in (results / "locks").glob("*")]
    return digests(results), errors + left


def main() -> None:
    """Print the outcome for each number of processes."""
    numbers = [int(text) for text in sys.argv[1:]] or [2, 4, 8, 16]
    with tempfile.TemporaryDirectory() as name:
        truth, errors = together(Path(name), 1, 0.0)
        assert not errors, errors
        for n in numbers:
            records, errors = together(Path(name), n)
            equal = "equal" if records == truth else "DIFFERENT"
            sys.stdout.write(f"{n:3d} processes: {len(records)} records, {equal}, ")
            sys.stdout.write(f"{len(errors)} errors or files left\n")
            for error in errors[:3]:
                sys.stdout.write(f"    {error[-300:]}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
