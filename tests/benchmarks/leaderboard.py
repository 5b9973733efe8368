"""How long boards and the report of 10,000 records take, and how much memory.

Run from the root: ``python -m tests.benchmarks.leaderboard [N]``. Boards are measured against
reading the same index with pandas, the best of three fresh processes, imports included; the report
once, as a person would make it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.core.canonical import pretty_json
from bench.core.seeds import generator
from bench.records.store import Store
from tests.helpers.factories import make_record

ROOT = Path(__file__).resolve().parents[2]
METHODS = [f"method-{k:02d}" for k in range(19)]
PANDAS = "import sys, pandas; pandas.read_parquet(sys.argv[1] + '/index.parquet')"
BOARDS = (
    "import sys\nfrom pathlib import Path\nfrom bench.records.store import Store\n"
    "from bench.boards.select import boards\nfrom bench.boards.render.dispatch import render\n"
    "made = boards(Store(Path(sys.argv[1])).load_all())\n"
    "sys.stdout.write(render(made, 'json'))"
)
REPORT = (
    "import sys\nfrom bench.cli.main import main\n"
    "main(['report', '--results', sys.argv[1], '--output', sys.argv[1] + '/report.html'])"
)


def fill(root: Path, n: int, n_clusters: int = 12) -> None:
    """Write ``n`` records: 20 methods, 5 seeds, as many splits as it takes."""
    methods = ["erm", *METHODS]
    for k in range(n):
        seed, method = k % 5, methods[k // 5 % len(methods)]
        split = f"own/split-{k // (5 * len(methods)):03d}"
        rng = generator("benchmark", k)
        values = rng.random(n_clusters).tolist()
        names = ("balanced_accuracy", "accuracy")
        clusters = {f"{way}{name}": values for way in ("", "head.", "probe.") for name in names}
        record = make_record(
            method,
            seed,
            sum(values) / n_clusters,
            split=split,
            clusters=clusters,
            readout="head",
            subsets={f"batch={i}": v for i, v in enumerate(values)},
        )
        folder = Store(root).path_of(record["run_id"])
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(pretty_json(record))


def best(code: str, root: Path, times: int = 3) -> float:
    """Return the shortest of some runs in seconds."""
    result = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code, str(root)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        result.append(time.perf_counter() - started)
    return min(result)


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root, n)
        first = best(BOARDS, root, times=1)
        size = (root / "index.parquet").stat().st_size / 2**20
        pandas_s, boards_s = best(PANDAS, root), best(BOARDS, root)
        report_s = best(REPORT, root, times=1)
        page = (root / "report.html").stat().st_size
        # Of the largest of the processes above; the kernel counts in KiB on Linux.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        sys.stdout.write(
            f"{n} records, index of {size:.1f} MiB\n"
            f"first time, index built     {first:6.2f} s\n"
            f"pandas.read_parquet(index)  {pandas_s:6.2f} s\n"
            f"all boards as JSON          {boards_s:6.2f} s   {boards_s / pandas_s:.1f} times\n"
            f"report                      {report_s:6.2f} s   {page / 1e6:.2f} MB\n"
            f"largest process             {peak:6.0f} MiB\n"
        )


if __name__ == "__main__":
    main()
