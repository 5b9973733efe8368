"""Studies: one question each, answered by a table, a figure and three sentences of numbers.

One file a study, found by its name, with a literal ``META`` at its top that is read without
importing it, and a function ``run``:

``META``
    ``kind`` (``"study"``), ``name``, ``version`` (a change of numbers bumps it), ``question`` (one
    sentence with a question mark), ``methods`` (what is studied without ``--method``), ``point``
    (what ``--points`` varies, or ``""``) and ``points`` (its default values, or ``[]``).
``run(lab)``
    Takes a :class:`bench.studies._lab.Lab` and returns a :class:`bench.studies._cells.Finding`. The
    lab makes the runs that it is asked for, or finds them on record (``lab.cell``), tells apart
    what cannot be studied (``lab.leave_out``) and computes paired differences (``lab.gap``). A
    study holds no labels, writes no file and takes no clock: its finding is a function of records
    (or of fitted networks), so the same records give the same bytes.

What studies share stands in files whose names begin with an underscore. A new study is a new file:
``list studies`` and ``study NAME`` find it.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.studies._cells import Finding
    from bench.studies._lab import Lab

__all__ = ["known", "load"]

_NEEDED = ("kind", "name", "version", "question", "methods", "point", "points")


@functools.cache
def known() -> dict[str, dict[str, Any]]:
    """Return the literals of all studies by name, without importing any."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        meta = _literal(path)
        missing = [key for key in _NEEDED if key not in meta]
        if missing or meta["kind"] != "study":
            raise BenchError(f"{path.name}: META of a study has {', '.join(_NEEDED)}")
        if meta["name"] != path.stem.replace("_", "-"):
            raise BenchError(f"{path.name}: the study is called {meta['name']}: rename one")
        found[meta["name"]] = meta
    return found


def _literal(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "META":
            return dict(ast.literal_eval(node.value))
    return {}


def load(name: str) -> Callable[[Lab], Finding]:
    """Import a study and return its function.

    Raises
    ------
    BenchError
        For an unknown name.
    """
    if name not in known():
        raise BenchError(did_you_mean(name, list(known()), "study"))
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    function: Callable[[Lab], Finding] = module.run
    return function
