"""Imports: rules that ``lint-imports`` cannot check, and the cost of starting the program.

The contracts of ``[tool.importlinter]`` check the layers of the harness. This file checks the two
folders without ``__init__.py``, and imports that must wait until they are needed.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "scanpy", "anndata", "sklearn", "matplotlib", "wilds", "optuna")
USES_TORCH = {
    "architectures", "batchnorm", "checkpoint", "curve", "determinism", "finite", "inference",
    "inputs", "lockstep", "loop", "losses", "model", "schedule", "streaming", "swap",
    "compiled", "per_channel", "parallel.averaged",
}  # fmt: skip
"""Modules of ``bench/training`` that may import torch at their top; all others import these in
functions."""
PLUGINS = sorted((ROOT / "methods").glob("*.py")) + sorted((ROOT / "datasets").rglob("*.py"))


def imports(path: Path, *, top: bool = False) -> Iterator[str]:
    """Yield the absolute names that a file imports; with ``top`` those that run at its import.

    ``from a import b`` yields ``a`` and ``a.b``, since ``b`` may be a module. What only a type
    checker reads is left out.
    """
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        todo += ast.iter_child_nodes(node)


def below(name: str, roots: tuple[str, ...] | list[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def test_the_reader_of_imports_sees_every_spelling(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nimport torch.nn as nn\n"
        "if TYPE_CHECKING:\n    import pandas\nelse:\n    import numpy\n"
        "class A:\n    from . import _scaling\n"
        "    def f(self):\n        from .erm import ERM\n"
    )
    path = ROOT / "methods" / "made-up.py"

    class Text(type(path)):  # type: ignore[misc]
        def read_text(self, *args: object, **kwargs: object) -> str:
            return text

    names = set(imports(Text(path)))
    assert {"torch.nn", "numpy", "methods._scaling", "methods.erm", "methods.erm.ERM"} <= names
    assert "pandas" not in names
    assert "methods.erm" not in set(imports(Text(path), top=True))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_methods_and_data_sets_stand_alone(path: Path) -> None:
    """Each is one file; what two of them share begins with ``_`` or is the simulator."""
    own = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for name in imports(path):
        assert not below(name, ["bench.methods", "bench.datasets"]), (
            f"{own} imports {name}: siblings are imported relatively"
        )
        if not below(name, ["methods", "datasets"]) or name in ("methods", "datasets"):
            continue
        parts = name.split(".")
        assert parts[0] == own.split(".")[0], f"{own} imports {name}, which is of another kind"
        assert parts[1].startswith("_") or parts[1] == "simulator", f"{own} imports {name}"


def test_the_harness_names_no_method_and_no_data_set() -> None:
    """All are found by their files; a new one needs no change elsewhere."""
    for path in sorted((ROOT / "bench").rglob("*.py")):
        for name in imports(path):
            deeper = name.removeprefix("bench.").split(".")
            named = below(name, ["bench.methods", "bench.datasets"]) and len(deeper) > 1
            assert not named, f"{path.name} imports {name}"


def test_torch_is_imported_at_the_top_of_few_modules() -> None:
    for path in [*sorted((ROOT / "bench").rglob("*.py")), *PLUGINS]:
        tops = [name for name in imports(path, top=True) if below(name, ["torch", "torchvision"])]
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        allowed = module.removeprefix("bench.training.") in USES_TORCH
        assert allowed or not tops, f"{path.name} imports {tops[0]} at its top"


def test_what_records_need_is_imported_without_anything_heavy() -> None:
    """Everything but the training stack is imported, and none of the heavy packages comes along."""
    skipped = {f"bench.training.{name}" for name in USES_TORCH} | IS_AN_ESTIMATOR
    files = sorted((ROOT / "bench").rglob("*.py"))
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if path.stem != "__main__"
    ]
    light = [name for name in modules if name not in skipped]
    code = (
        "import sys, importlib\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = sorted(set(sys.modules) & set({HEAVY!r}))\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != "BENCH_PLUGINS"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]


IS_AN_ESTIMATOR = {"bench.runs.corrector"}
"""Modules that define scikit-learn estimators; ``bench`` imports them on first use."""
WITH_EXTRA = {
    "_leiden.py": "scib",
    "clusters.py": "cluster",
    "encoders.py": "pretrained",
    "engine.py": "cluster",
    "objects.py": "s3",
    "scanorama.py": "scanorama",
    "trackers.py": "track",
}
"""Files that import the packages of one extra, with an error that names the extra."""


def test_whatever_is_imported_is_declared() -> None:
    """``pip install labshift`` without extras brings all that a run imports."""
    project = settings()["project"]
    always = {canonical(text) for text in project["dependencies"]}
    extras = {
        name: {canonical(text) for text in texts}
        for name, texts in project["optional-dependencies"].items()
    }
    owners = importlib.metadata.packages_distributions()
    own = {"bench", "methods", "datasets", "__future__"}
    for path in [*sorted((ROOT / "bench").rglob("*.py")), *PLUGINS]:
        declared = always | extras.get(WITH_EXTRA.get(path.name, ""), set())
        for name in {name.split(".")[0] for name in imports(path)} - own:
            if name in sys.stdlib_module_names:
                continue
            dists = {canonical(dist) for dist in owners.get(name, [name])}  # perhaps not installed
            assert dists & declared, f"{path.name} imports {name}, which is no dependency"


def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(requirement: str) -> str:
    """Return the name in a requirement, spelled as package indexes do."""
    [name] = re.findall(r"^[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()
