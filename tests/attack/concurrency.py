"""Run the same commands in several processes at once, on one results folder and one empty cache.

Run from the root: ``python -m tests.attack.concurrency [N ...]``; default: 2, 4, 8 and 16
processes. All start at the same moment. Afterwards each run has one complete record, equal to that
of one process, and nothing else is left.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from bench.records.store import Store
from tests.attack.kills import run, write_images
from tests.helpers import tiny

COMMANDS = (
    "run -m zscore,tvn -s {table} --seed 0 --no-controls",
    "run -m identity -s {images} --no-controls",
    "leaderboard",
)


def digests(root: Path) -> dict[str, str]:
    """Return the digests of the predictions by run id. Warnings are errors."""
    said: list[str] = []
    records = Store(root, warn=said.append).load_all()
    assert not said, said
    return {record.run_id: record.predictions_sha256 for record in records}


def together(folder: Path, n: int, delay: float = 1.0) -> tuple[dict[str, str], list[str]]:
    """Run the commands in ``n`` processes; return the records and the errors."""
    table, images = folder / "data" / "dataset.toml", folder / "images" / "dataset.toml"
    if not table.exists():
        tiny.write_table(folder / "data")
        write_images(folder / "images")
    results = folder / f"results-{n}"
    commands = [command.format(table=table, images=images) for command in COMMANDS]
    logs = [folder / f"log-{n}-{k}" for k in range(n)]
    start = time.time() + delay
    children = [_started(commands, results, folder / f"cache-{n}", start, log) for log in logs]
    status = [os.waitpid(pid, 0)[1] for pid in children]
    errors = [log.read_text() or "killed" for log, code in zip(logs, status, strict=True) if code]
    left = [str(path) for path in (results / "tmp").rglob("*") if path.is_file()]
    left += [str(path) for path in (results / "locks").glob("*")]
    return digests(results), errors + left


def _started(commands: list[str], results: Path, cache: Path, start: float, log: Path) -> int:
    """Start a fork of this process that runs commands at a time; return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ["BENCH_CACHE"] = str(cache)
        time.sleep(max(0.0, start - time.time()))
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                code = max(run(command, results) for command in commands)
            except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
                traceback.print_exc(file=file)
    finally:
        os._exit(code)


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
