"""Change one operator or constant at a time, and count the changes that no test notices.

Run from the root: ``python -m tests.attack.mutation [N [SEED [SUBJECT ...]]]``; default: 25 mutants
of each entry of :data:`TARGETS`. Each mutant is a process that is forked after the libraries were
imported, imports the changed module, and runs the tests of the subject until one fails: first those
that run the changed line, the fastest first. Prints the share of killed mutants, and each survivor
with its line.
"""

from __future__ import annotations

import ast
import copy
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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import FrameType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "-x", "-q", "-n", "0", "-p", "no:cacheprovider",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
"""Plugins of libraries are imported before pytest starts."""
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
        ),
    ),
    "samplers": (("bench/training/samplers.py",), ("tests/training/test_samplers.py",)),
    "selection": (
        ("bench/records/selection.py", "bench/runs/holdouts.py"),
        ("tests/records/test_selection.py", "tests/runs/test_tune.py"),
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

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def mutated(node: ast.AST) -> ast.AST | None:
    """Return a node with another operator or constant, or None if there is none to change."""
    other = copy.deepcopy(node)
    if isinstance(other, ast.Compare) and type(other.ops[0]) in _COMPARED:
        other.ops[0] = _COMPARED[type(other.ops[0])]()
    elif isinstance(other, ast.BinOp | ast.AugAssign) and type(other.op) in _OPERATORS:
        other.op = _OPERATORS[type(other.op)]()
    elif isinstance(other, ast.BoolOp):
        other.op = ast.Or() if isinstance(other.op, ast.And) else ast.And()
    elif isinstance(other, ast.UnaryOp) and isinstance(other.op, ast.Not | ast.USub | ast.Invert):
        return other.operand
    elif isinstance(other, ast.Constant) and isinstance(other.value, bool):
        other.value = not other.value
    elif isinstance(other, ast.Constant) and isinstance(other.value, int | float):
        other.value = other.value + 1
    else:
        return None
    return other


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yield each node that can be changed, with its parent, the field, and the index in a list.

    Annotations, decorators, messages of errors, the option ``strict`` of ``zip``, blocks for type
    checkers and ``META``, which is read from the file, are left out.
    """
    for parent in _walk(tree):
        for name, value in ast.iter_fields(parent):
            if name in ("annotation", "returns", "type_params"):
                continue
            for k, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, ast.AST) and mutated(item) is not None:
                    yield parent, name, k if isinstance(value, list) else None, item


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.JoinedStr | ast.Raise):
        return
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "META":
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    yield from _walk(item)


def mutants(source: str) -> list[tuple[tuple[int, int], str, str, str]]:
    """Return first and last line, old text, new text and source of every mutant of a module."""
    tree, result = ast.parse(source), []
    for parent, name, k, node in list(places(tree)):
        new = mutated(node)
        assert new is not None
        _put(parent, name, k, new)
        ast.fix_missing_locations(tree)
        lines = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        result.append((lines, ast.unparse(node), ast.unparse(new), ast.unparse(tree)))
        _put(parent, name, k, node)
    return result


def _put(parent: ast.AST, name: str, k: int | None, node: ast.AST) -> None:
    if k is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[k] = node


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


class _Covered:
    """Notes the seconds of each test and the lines of some files that it runs."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = {str(ROOT / file): file for file in files}
        self.tests: dict[str, tuple[float, list[str]]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        lines: set[str] = set()

        def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            name = self.files.get(frame.f_code.co_filename)
            if name is None:
                return None
            if event == "line":
                lines.add(f"{name}:{frame.f_lineno}")
            return trace

        began = time.monotonic()
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self.tests[item.nodeid] = time.monotonic() - began, sorted(lines)


class _Ordered:
    """Runs tests in the given order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.places = {test: k for k, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.places.get(item.nodeid, len(self.places)))


def forked(tests: Sequence[str], plugin: object, seconds: float, finder: object = None) -> int:
    """Run tests in a forked process with a plugin and a limited time; return its status."""
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
            if finder is not None:
                sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
            code = int(pytest.main([*OPTIONS, *tests], plugins=[plugin]))
            if isinstance(plugin, _Covered):
                Path(os.environ["MUTATION_LINES"]).write_text(json.dumps(plugin.tests))
        finally:  # a fork must not return to the caller's code
            os._exit(min(code, 1))
    deadline = time.monotonic() + 10 * seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)


def covered(modules: Sequence[str], tests: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Run tests without a mutant; return the seconds and lines of each, and a limit of time.

    Raises
    ------
    SystemExit
        If a test fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.json"
        os.environ["MUTATION_LINES"] = str(path)
        if forked(tests, _Covered(modules), 3600):
            sys.exit(f"a test fails without a mutant: {' '.join(tests)}")
        seen = json.loads(path.read_text())
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return seen, SECONDS + TIMES * used


def ordered(seen: dict[str, Any], file: str, first: int, last: int) -> list[str]:
    """Return all tests: first those that run a line of a statement, the fastest first."""
    lines = {f"{file}:{line}" for line in range(first, last + 1)}
    return sorted(seen, key=lambda test: (lines.isdisjoint(seen[test][1]), seen[test][0]))


def attack(subject: str, n: int, seed: int) -> Counter[str]:
    """Try ``n`` mutants of the modules of a subject; print survivors, and return the counts."""
    modules, tests = TARGETS[subject]
    sites = [(file, *mutant) for file in modules for mutant in mutants(Path(file).read_text())]
    seen, seconds = covered(modules, tests)
    rng = random.Random(f"{subject} {seed}")
    outcomes: Counter[str] = Counter()
    for file, (first, last), old, new, source in rng.sample(sites, min(n, len(sites))):
        path = Path(file)
        finder = _Changed(".".join(path.with_suffix("").parts), ROOT / path, source)
        order = ordered(seen, file, first, last)
        if forked(tests, _Ordered(order), seconds, finder):
            outcomes["killed"] += 1
            continue
        outcomes["survived"] += 1
        text = path.read_text().splitlines()[first - 1].strip()
        sys.stdout.write(f"  survived: {file}:{first}  {old}  ->  {new}  in  {text}\n")
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
