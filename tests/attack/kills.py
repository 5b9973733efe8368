"""Kill commands before and after each write that they make durable, and at random times.

Run from the root: ``python -m tests.attack.kills [N [SEED [FILE]]]``. Each case is a process that
kills itself (SIGKILL): in three of four cases at one call of ``os.fsync``, ``os.rename`` or
``os.replace``, otherwise after a random time. Afterwards the results folder has only complete
records and files, and the same command gives what an undisturbed one gives. N is the number of
cases; default: all calls of all commands, each before and after. With more cases than that, the
others are killed at random times. With FILE, outcomes are kept there, and the same command
continues after the last one.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.main import main as command_line
from bench.records.store import Store
from tests.attack.counts import Counts
from tests.helpers import tiny

if TYPE_CHECKING:
    from collections import Counter

CALLS = ("fsync", "rename", "replace")
ACTIONS = {
    "run": "run -m zscore -s {table} --seed 0 --no-controls",
    "network": "run -m erm -s {table} --seed 0 --no-controls --set recipe.steps=3",
    "tune": "tune -m combat -s {table} --seed 0 --trials 2",
    "sweep": "sweep {suite}",
    "images": "run -m identity -s {images} --no-controls",
    "report": "report --no-figures --output {root}/report.html",
    "export": "export {run} --format parquet --output {root}/exported.parquet",
    "bundle": "bundle --output {root}/runs.zip",
}
"""Commands; the last three read the records of a folder that is copied."""
READING = ("report", "export", "bundle")


class Inputs:
    """Data, and a results folder with records that is copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = tiny.write_table(folder / "data")
        self.images = write_images(folder / "images")
        self.suite = folder / "suite.toml"
        self.suite.write_text(
            f'[[block]]\nmethods = ["zscore", "tvn"]\nsplits = ["{self.table}"]\nseeds = [0]\n'
            "controls = false\n"
        )
        self.records = folder / "records"
        assert not run(ACTIONS["run"].format(table=self.table), self.records)
        [self.run_id] = [path.name for path in self.records.glob("runs/*/*")]

    def command(self, name: str, root: Path) -> str:
        """Return a command for a results folder, which is created if the command reads records."""
        if name in READING and not root.exists():
            shutil.copytree(self.records, root)
        return ACTIONS[name].format(
            table=self.table, images=self.images, suite=self.suite, run=self.run_id, root=root
        )


def write_images(folder: Path) -> Path:
    """Write a data set of 24 images in files; return its TOML file."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    for k in range(24):
        plate, label = f"p{k // 8}", "ab"[k % 2]
        pixels = rng.integers(0, 128, (12, 12)) + 100 * (label == "a")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
        rows.append({"name": str(k), "label": label, "plate": plate, "path": f"{k}.png"})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    path = folder / "dataset.toml"
    path.write_text(
        'name = "pictures"\nkind = "images"\ntable = "table.csv"\nid = ["name"]\n'
        'label = "label"\nbatches = ["plate"]\nimages = ["path"]\n'
        '[splits.plates]\nhold_out = "plate"\n'
    )
    return path


def run(command: str, root: Path) -> int:
    """Run a command in this process; return its exit code."""
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(out):
            command_line([*command.split(), "--results", str(root)])
    except SystemExit as error:
        if error.code:
            sys.stdout.write(out.getvalue())
        return int(error.code or 0)
    return 0


def counted(kill_at: int, *, before: bool) -> list[str]:
    """Count calls in this process; kill it at one of them, counted from 0."""
    calls: list[str] = []

    def wrapped(name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            at = len(calls) - 1 == kill_at
            if at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name, getattr(os, name)))
    return calls


def child(
    command: str, root: Path, kill_at: int = -1, *, before: bool = False, seconds: float = 0.0
) -> tuple[int, int]:
    """Run a command in a forked process; return its status and its number of calls."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            calls = counted(kill_at, before=before)
            if seconds:  # the system kills it: no handler of Python runs
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                signal.setitimer(signal.ITIMER_REAL, seconds)
            code = run(command, root)
            os.write(writing, str(len(calls)).encode())
        except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
            traceback.print_exc()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    return os.waitpid(pid, 0)[1], int(text or 0)


def state(root: Path, said: list[str]) -> dict[str, str]:
    """Return the digests of all records and outputs of a results folder."""
    records = Store(root, warn=said.append).load_all() if (root / "runs").exists() else []
    result = {record.run_id: record.predictions_sha256 for record in records}
    for path in root.glob("[er]*.[hpz]*") if root.exists() else ():
        if path.name in ("report.html", "exported.parquet"):
            result[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "runs.zip":
            with zipfile.ZipFile(path) as file:
                result[path.name] = str(sorted((m.filename, m.CRC) for m in file.infolist()))
    return result


def attack(
    folder: Path,
    most: int | None = None,
    actions: tuple[str, ...] = tuple(ACTIONS),
    counts: Counts | None = None,
) -> Counter[str]:
    """Return the outcomes of kills of commands, at most ``most`` of them evenly spread."""
    counts = Counts() if counts is None else counts
    inputs, rng = Inputs(folder), random.Random(counts.seed)
    truths: dict[str, dict[str, str]] = {}
    cases: list[tuple[str, int, bool, float]] = []
    times: dict[str, float] = {}
    for name in actions:
        root = folder / f"truth-{name}"
        began = time.monotonic()
        status, n = child(inputs.command(name, root), root)
        times[name] = time.monotonic() - began
        assert status == 0, (name, status)
        truths[name] = state(root, [])
        assert truths[name], name
        for k in range(n):
            cases += [(name, k, before, 0.0) for before in (True, False)]
            if k % 3 == 0:
                cases.append((name, -1, False, rng.uniform(0.01, times[name])))
    most = len(cases) if most is None else most
    for k in range(most - len(cases)):
        name = actions[k % len(actions)]
        cases.append((name, -1, False, rng.uniform(0.01, times[name])))
    for number in range(counts.done, most):
        name, k, before, seconds = cases[number * len(cases) // most]
        root = folder / "case"
        command = inputs.command(name, root)
        status, _ = child(command, root, k, before=before, seconds=seconds)
        counts.add([f"{name}: {outcome(command, root, status, truths[name])}"])
        shutil.rmtree(root, ignore_errors=True)
    return counts.outcomes


def outcome(command: str, root: Path, status: int, truth: dict[str, str]) -> str:
    """Return what a kill left, and whether the next run is that of an undisturbed one."""
    killed = os.WIFSIGNALED(status)
    if not killed and status:
        return f"exit code {os.waitstatus_to_exitcode(status)}"
    said: list[str] = []
    left = state(root, said)
    if said or any(truth.get(name) != digest for name, digest in left.items()):
        return f"damaged: {said or left}"
    status, _ = child(command, root)
    if status or state(root, said) != truth or said:
        return f"the next command differs: {status} {said}"
    return "identical afterwards" if killed else "ended before the kill, identical"


def main() -> None:
    """Print the outcomes."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else None
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts = Counts(Path(sys.argv[3]) if len(sys.argv) > 3 else None, seed)
    with tempfile.TemporaryDirectory() as folder:
        attack(Path(folder), most, counts=counts)
    sys.stdout.write(str(counts))


if __name__ == "__main__":
    main()
