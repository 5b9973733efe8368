"""Change one operator or constant at a time, and count the changes that no test notices.

Run from the root: ``python -m tests.attack.mutation [N [SEED [SUBJECT ...]]]``; default: 25 mutants
of each entry of :data:`TARGETS`. The tests of a subject are collected once. Each mutant is a forked
process in which the module is changed in memory, and tests run until one fails: first those that
run the changed line, the fastest first. The unchanged modules are executed again in the same way
before; all tests must then pass. If not, each mutant is imported. Other modules may keep what they
imported, so each survivor is tried again in a process that imports the changed module. Prints the
share of killed mutants, and each survivor with its line.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.attack.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "-x", "-q", "-n", "0", "-p", "no:cacheprovider",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
"""Plugins of libraries are imported before pytest starts."""
LONGEST = 600.0
"""Processor time of a subject that cannot be changed in memory, in seconds."""
TIMES, SECONDS, BYTES = 4, 20, 8 << 30
"""Limits of a mutant: multiple of the processor time of the tests without one and a constant, in
seconds, and memory. One that needs more, such as an endless loop, counts as killed."""
LIBRARIES = (
    "numpy", "pandas", "scipy.stats", "sklearn.linear_model", "sklearn.metrics", "torch", "pytest",
    "pyarrow.parquet", "filelock", "safetensors.numpy", "h5py", "zarr", "anndata", "pydantic",
    "click", "rich.table", "jinja2", "optuna", "statsmodels.api", "hypothesis",
)  # fmt: skip
TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "grouping": (
        ("bench/data/inference_batches.py",),
        ("tests/data/test_inference_batches.py",),
    ),
    "normalisation": (
        ("bench/data/rescale.py", "bench/core/moments.py", "bench/training/statistics.py"),
        (
            "tests/data/test_rescale.py",
            "tests/core/test_moments.py",
            "tests/training/test_batch_statistics.py",
            "tests/training/test_training.py",
            "tests/methods/test_deterministic.py",
        ),
    ),
    "pairing": (
        ("bench/boards/pairing.py", "bench/boards/pairs.py"),
        ("tests/boards/test_compare.py", "tests/boards/test_leaderboard.py"),
    ),
    "store": (
        ("bench/records/store.py", "bench/records/digests.py", "bench/records/folder.py"),
        (
            "tests/records/test_store.py",
            "tests/records/test_digests.py",
            "tests/records/test_record.py",
            "tests/records/test_damage.py",
            "tests/records/test_published.py",
        ),
    ),
    "samplers": (("bench/training/samplers.py",), ("tests/training/test_samplers.py",)),
    "selection": (
        ("bench/records/selection.py", "bench/runs/holdouts.py"),
        ("tests/records/test_selection.py", "tests/runs/test_tune.py", "tests/studies/test_gap.py"),
    ),
    "probe": (
        ("bench/scoring/probe.py", "bench/scoring/logistic.py"),
        ("tests/scoring/test_probe.py",),
    ),
    "metrics": (
        tuple(sorted(map(str, Path("bench/metrics").glob("[!_]*.py"))))
        + tuple(sorted(map(str, Path("bench/metrics").glob("_[!_]*.py")))),
        (
            "tests/metrics/test_metrics_predictions.py",
            "tests/metrics/test_metrics_bbbc021.py",
            "tests/metrics/test_metrics_within_labels.py",
            "tests/metrics/test_metrics_asked.py",
            "tests/metrics/test_metrics_embedding.py",
            "tests/metrics/test_golden_values.py",
        ),
    ),
    "statistics": (
        tuple(sorted(map(str, Path("bench/boards/stats").glob("[!_]*.py")))),
        (
            "tests/boards/test_statistics.py",
            "tests/boards/test_leave_one_out.py",
            "tests/boards/test_overall.py",
            "tests/boards/test_claims.py",
        ),
    ),
    "audit": (("bench/runs/apply.py",), ("tests/runs/test_runner.py",)),
}
"""Modules and the tests that must notice a mutant, by their subject."""


class Mutant(NamedTuple):
    """A changed module: its file, first and last changed line, old and new text, and source."""

    file: str
    first: int
    last: int
    old: str
    new: str
    source: str


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self.path))
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(self.path), "exec"), vars(module))


class _Collected:
    """Tries mutants on tests that are collected once.

    Attributes
    ----------
    tests
        Seconds of each test and the lines of the modules that it runs.
    survivors
        Positions of the mutants that no test noticed.
    """

    def __init__(self, modules: Sequence[str], chosen: Sequence[Mutant]) -> None:
        self.modules, self.chosen = modules, chosen
        self.tests: dict[str, tuple[float, list[str]]] = {}
        self.seconds = 0.0
        self.survivors: list[int] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("tests cannot be collected")
        self.items = {item.nodeid: item for item in session.items}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.json"
            used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            if forked(lambda: self._unchanged(path), 3600):
                raise session.Interrupted("a test fails without a mutant")
            self.tests = json.loads(path.read_text())
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
        self.seconds = SECONDS + TIMES * used
        for k, mutant in enumerate(self.chosen):
            order = ordered(self.tests, mutant)
            if not forked(lambda m=mutant, o=order: self._changed(m, o), self.seconds):
                self.survivors.append(k)
        return True

    def _unchanged(self, path: Path) -> int:
        """Run all tests with modules that are executed again; write the lines that they run."""
        for file in self.modules:
            change_in_memory(file, Path(file).read_text())
        files = {str(ROOT / file): file for file in self.modules}
        seen = {}
        for name in self.items:
            lines: set[str] = set()

            def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
                file = files.get(frame.f_code.co_filename)
                if file is None:
                    return None
                if event == "line":
                    lines.add(f"{file}:{frame.f_lineno}")  # noqa: B023 - used at once
                return trace

            began = time.monotonic()
            threading.settrace(trace)
            sys.settrace(trace)
            try:
                if self._run([name]):
                    return 1
            finally:
                sys.settrace(None)
                threading.settrace(None)  # type: ignore[arg-type]
            seen[name] = time.monotonic() - began, sorted(lines)
        path.write_text(json.dumps(seen))
        return 0

    def _changed(self, mutant: Mutant, order: Sequence[str]) -> int:
        change_in_memory(mutant.file, mutant.source)
        return self._run(order)

    def _run(self, names: Sequence[str]) -> int:
        for name, after in zip(names, [*names[1:], ""], strict=True):
            item = self.items[name]
            next_item = self.items.get(after)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
            if item.session.testsfailed:
                return 1
        return 0


def change_in_memory(file: str, source: str) -> None:
    """Execute another source of an imported module, and replace what others imported from it."""
    name = ".".join(Path(file).with_suffix("").parts)
    module = importlib.import_module(name)
    before = dict(vars(module))
    exec(compile(source, str(ROOT / file), "exec"), vars(module))
    now = vars(module)
    own = {
        id(value): now[key]
        for key, value in before.items()
        if getattr(value, "__module__", None) == name and callable(value)
    }
    for other in list(sys.modules.values()):
        if other is module or not isinstance(getattr(other, "__dict__", None), dict):
            continue
        for key, value in list(vars(other).items()):
            if id(value) in own:
                setattr(other, key, own[id(value)])
            elif key in before and value is before[key] and not key.startswith("__"):
                setattr(other, key, now[key])


class _Ordered:
    """Runs tests in the given order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.places = {test: k for k, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.places.get(item.nodeid, len(self.places)))


def forked(run: Callable[[], int], seconds: float) -> int:
    """Return the status of a forked process that runs a function in a limited time."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setsid()
            limit = int(seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            code = int(run())
        finally:  # a fork must not return to the caller's code
            os._exit(min(code, 1))
    deadline = time.monotonic() + 10 * seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.01)


def ordered(seen: dict[str, Any], mutant: Mutant) -> list[str]:
    """Return all tests: first those that run a line of a mutant, the fastest first."""
    lines = {f"{mutant.file}:{line}" for line in range(mutant.first, mutant.last + 1)}
    return sorted(seen, key=lambda test: (lines.isdisjoint(seen[test][1]), seen[test][0]))


def collected(subject: str, chosen: Sequence[Mutant], path: Path) -> int:
    """Try mutants on tests that are collected once; write what remains to be done."""
    modules, tests = TARGETS[subject]
    plugin = _Collected(modules, chosen)
    code = int(pytest.main([*OPTIONS, "-s", *tests], plugins=[plugin]))
    path.write_text(json.dumps([plugin.survivors, plugin.tests, plugin.seconds]))
    return 0 if code in (0, 5) else 1


def imported(mutant: Mutant, tests: Sequence[str], order: Sequence[str]) -> int:
    """Run tests in a process that imports a changed module; return the exit code."""
    path = Path(mutant.file)
    name = ".".join(path.with_suffix("").parts)
    sys.meta_path.insert(0, _Changed(name, ROOT / path, mutant.source))
    return int(pytest.main([*OPTIONS, *tests], plugins=[_Ordered(order)]))


def attack(subject: str, n: int, seed: int) -> Counter[str]:
    """Try ``n`` mutants of the modules of a subject; print survivors, and return the counts."""
    modules, tests = TARGETS[subject]
    sites = [
        Mutant(file, *lines, old, new, source)
        for file in modules
        for lines, old, new, source in mutants(Path(file).read_text())
    ]
    chosen = random.Random(f"{subject} {seed}").sample(sites, min(n, len(sites)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "left.json"
        if not forked(lambda: collected(subject, chosen, path), 1e6):
            left, seen, seconds = json.loads(path.read_text())
        else:  # these modules cannot be changed in memory: import each mutant
            left, seen, seconds = list(range(len(chosen))), {}, LONGEST
            same = Mutant(modules[0], 0, 0, "", "", Path(modules[0]).read_text())
            if forked(lambda: imported(same, tests, []), LONGEST):
                sys.exit(f"{subject}: a test fails without a mutant")
    for k in left:
        mutant = chosen[k]
        sys.stdout.write(f"  tried again: {mutant.file}:{mutant.first}  {mutant.old}\n")
    sys.stdout.flush()
    outcomes = Counter({"killed": len(chosen) - len(left), "survived": 0})
    for mutant in (chosen[k] for k in left):
        order = ordered(seen, mutant)
        if forked(lambda m=mutant, o=order: imported(m, tests, o), seconds):
            outcomes["killed"] += 1
            continue
        outcomes["survived"] += 1
        text = Path(mutant.file).read_text().splitlines()[mutant.first - 1].strip()
        place = f"{mutant.file}:{mutant.first}"
        sys.stdout.write(f"  survived: {place}  {mutant.old}  ->  {mutant.new}  in  {text}\n")
        sys.stdout.flush()
    return outcomes


def main() -> None:
    """Print the share of killed mutants of each subject."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    os.chdir(ROOT)
    for library in LIBRARIES:
        importlib.import_module(library)
    total: Counter[str] = Counter()
    for subject in sys.argv[3:] or TARGETS:
        outcomes = attack(subject, n, seed)
        total += outcomes
        sys.stdout.write(f"{subject}: {outcomes['killed']} of {outcomes.total()} killed\n")
        sys.stdout.flush()
    sys.stdout.write(f"total: {total['killed']} of {total.total()} killed\n")


if __name__ == "__main__":
    main()
