"""Peak memory of a profile method on a table that is larger than memory allows.

Run from the root: ``OMP_NUM_THREADS=1 python -m tests.benchmarks.large_tables`` (100,000 x 700), or
with ``--full`` (800,000 x 700, 2.2 GB, three times that on disk). A table of plates with 32
controls in 384 wells is written to disk plate by plate; a fresh process then does what a run does
with it: both sides as views, fit, apply to both plate by plate, the check of the outputs, and their
artifacts. The readout that follows in a run is not part of it: the probe keeps its training rows in
double precision.

Two numbers are printed, each against the size of the table: the process's own (anonymous) memory,
which nothing but a larger machine can give, and all that was resident, of which the pages of files
are dropped when memory is short. Exit code 1 if the bound on the first is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WELLS, CONTROLS, FEATURES = 384, 32, 700
FIXED, SHARE = 0.2e9, 0.12
"""Own memory at its peak beyond that of an idle process: bytes, and per byte of the table."""


def write(folder: Path, rows: int) -> None:
    """Write ``X.npy`` and ``index.parquet``, one plate in memory at a time."""
    rng = np.random.default_rng(0)
    mix = (rng.normal(size=(FEATURES, FEATURES)) / FEATURES**0.5).astype(np.float32)
    array = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (rows, FEATURES))
    for start in range(0, rows, WELLS):
        stop = min(rows, start + WELLS)
        noise = rng.standard_normal((stop - start, FEATURES), np.float32)
        array[start:stop] = noise @ mix + rng.normal(0, 1, FEATURES).astype(np.float32)
    array.flush()
    number = np.arange(rows)
    plate = np.char.add("p", (number // WELLS).astype(str))
    control = number % WELLS < CONTROLS
    pd.DataFrame(
        {
            "id": np.char.add("w", number.astype(str)),
            "label": np.where(control, "", np.char.add("c", (number % 97).astype(str))),
            "control": control,
            "plate": plate,
        }
    ).to_parquet(folder / "index.parquet", index=False)


def memory() -> tuple[int, int]:
    """Return own and all resident bytes of this process."""
    text = Path("/proc/self/status").read_text()
    result = {line.split(":")[0]: line.split() for line in text.splitlines()}
    return int(result["RssAnon"][1]) * 1024, int(result["VmRSS"][1]) * 1024


def go_through(folder: Path, name: str) -> dict[str, Any]:
    """Do with the table what a run does with a stage; return peaks in bytes and seconds."""
    from bench.datasets.jump import Mapped

    from bench.api import Access, Context, make_params
    from bench.data.views import make_partition
    from bench.records.store import Store
    from bench.runs.apply import apply_all, grouping_of
    from bench.scoring.result import check_output
    from tests.helpers.profiles import method_class

    index = pd.read_parquet(folder / "index.parquet")
    from bench.api import Opened

    data = Opened("large", index, Mapped(folder / "X.npy"), ("plate",), "plate", "fixture", "0")
    classes = tuple(sorted(set(index["label"]) - {""}))
    number = np.arange(len(index)) // WELLS
    held = number % 5 == 4
    peaks, stop = [0, 0], threading.Event()
    import scipy.special  # noqa: F401 - imported before memory is measured

    idle = memory()[0]

    def watch() -> None:
        while not stop.is_set():
            for k, value in enumerate(memory()):
                peaks[k] = max(peaks[k], value)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    cls = method_class(name)
    method = cls(make_params(name, cls.Params, {}))
    access = cls.access(method.params)
    partitions = {
        role: make_partition(
            data, np.flatnonzero(mask), classes, "plate", role, 0, labels=role == "train"
        )
        for role, mask in (("train", ~held), ("test", held))
    }
    batches = Access.TRAIN_BATCH in access
    view = partitions["train"].view(access, batches=batches, labels=True)
    method.fit(view, None, Context(0, {}))
    del view
    store = Store(folder / "results")
    outputs = {}
    for role, partition in partitions.items():
        view = partition.view(access, batches=True)
        outputs[role] = apply_all(method, view, grouping_of(view.batch, True), 0)
        check_output(name, outputs[role], len(partition), len(classes))
        key = {"train": "a" * 16, "test": "b" * 16}[role]
        store.write_artifact("apply", key, {"embeddings": outputs[role].X}, {})
    seconds = time.perf_counter() - started
    stop.set()
    watcher.join()
    table = (folder / "X.npy").stat().st_size
    return {"own": peaks[0] - idle, "all": peaks[1], "table": table, "seconds": seconds}


def main() -> None:
    """Write the table, measure each method in a process of its own, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="800,000 rows instead of 100,000")
    parser.add_argument("--methods", default="tvn,mad-int-select")
    parser.add_argument("--folder", help="where the table goes; by default a temporary folder")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "METHOD"), help="one process")
    passed = parser.parse_args()
    if passed.measure:
        peak = go_through(Path(passed.measure[0]), passed.measure[1])
        print(json.dumps(peak))
        return
    rows = 800_000 if passed.full else 100_000
    missed = False
    with tempfile.TemporaryDirectory(dir=passed.folder) as name:
        folder = Path(name)
        write(folder, rows)
        for method in passed.methods.split(","):
            environ = {
                **os.environ,
                "BENCH_CACHE": str(folder / "cache"),
                "BENCH_ARRAY_BYTES": str(1 << 26),
            }
            command = [sys.executable, "-m", "tests.benchmarks.large_tables", "--measure"]
            done = subprocess.run(
                [*command, name, method], env=environ, capture_output=True, text=True, check=True
            )
            peak = json.loads(done.stdout.splitlines()[-1])
            bound = FIXED + SHARE * peak["table"]
            bad = peak["own"] > bound
            missed = missed or bad
            print(
                f"{method}: {rows:,} x {FEATURES}, table {peak['table'] / 1e9:.2f} GB; own memory "
                f"at the peak {peak['own'] / 1e9:.2f} GB (at most {bound / 1e9:.2f}), "
                f"{peak['own'] / peak['table']:.2f} of the table; all that was resident "
                f"{peak['all'] / 1e9:.2f} GB; {peak['seconds']:.0f} s"
                f"{'   MISSED' if bad else ''}",
                flush=True,
            )
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
