"""Change one operator or constant at a time, and count the changes that no test notices.

Run from the root: ``python -m tests.attack.mutation [N [SEED [ROOM ...]]]``; default: 25 mutants of
each entry of :data:`TARGETS`. Each mutant is a process that is forked after the libraries were
imported, imports the changed module, and runs the tests of the module until one fails. Prints the
share of killed mutants, and each survivor with its line.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow")
SECONDS = 300
"""Processor time of one mutant. One that takes longer, such as an endless loop, is killed."""
LIBRARIES = (
    "numpy", "pandas", "scipy.stats", "sklearn.linear_model", "torch", "pyarrow.parquet", "pytest",
    "filelock", "safetensors.numpy", "h5py",
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

    Annotations, decorators, messages of errors, the option ``strict`` of ``zip`` and blocks for
    type checkers are left out.
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
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    yield from _walk(item)


def mutants(source: str) -> list[tuple[int, str, str, str]]:
    """Return line, old text, new text and source of every mutant of a module."""
    tree, result = ast.parse(source), []
    for parent, name, k, node in list(places(tree)):
        new = mutated(node)
        assert new is not None
        _put(parent, name, k, new)
        ast.fix_missing_locations(tree)
        lineno = getattr(node, "lineno", 0)
        result.append((lineno, ast.unparse(node), ast.unparse(new), ast.unparse(tree)))
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


def killed(module: str, path: Path, source: str, tests: Sequence[str]) -> bool:
    """Return whether a test of a forked process fails with a changed module."""
    pid = os.fork()
    if not pid:
        code = 0
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            import pytest

            sys.meta_path.insert(0, _Changed(module, path, source))
            code = int(pytest.main([*OPTIONS, *tests]))
        except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
            code = 1
        os._exit(min(code, 1))
    deadline = time.monotonic() + 4 * SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status != 0
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)


def attack(subject: str, n: int, seed: int) -> Counter[str]:
    """Try ``n`` mutants of the modules of a subject; print survivors, and return the counts."""
    modules, tests = TARGETS[subject]
    sites = [
        (Path(file), *mutant) for file in modules for mutant in mutants(Path(file).read_text())
    ]
    rng = random.Random(f"{subject} {seed}")
    outcomes: Counter[str] = Counter()
    for path, line, old, new, source in rng.sample(sites, min(n, len(sites))):
        module = ".".join(path.with_suffix("").parts)
        if killed(module, ROOT / path, source, tests):
            outcomes["killed"] += 1
            continue
        outcomes["survived"] += 1
        text = path.read_text().splitlines()[line - 1].strip()
        sys.stdout.write(f"  survived: {path}:{line}  {old}  ->  {new}  in  {text}\n")
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
        modules, tests = TARGETS[subject]
        path = Path(modules[0])
        module = ".".join(path.with_suffix("").parts)
        if killed(module, ROOT / path, path.read_text(), tests):
            sys.exit(f"{subject}: the tests fail without a mutant")
        outcomes = attack(subject, n, seed)
        total += outcomes
        sys.stdout.write(f"{subject}: {outcomes['killed']} of {outcomes.total()} killed\n")
        sys.stdout.flush()
    sys.stdout.write(f"total: {total['killed']} of {total.total()} killed\n")


if __name__ == "__main__":
    main()
