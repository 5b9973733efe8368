"""Studies: each answers one question with a table, a figure and a short reading.

Each study is one file, found by its name, with a literal ``META`` that is read without importing
the file, and a function ``run``:

``META``
    ``kind`` (``"study"``), ``name``, ``version`` (increased when numbers change), ``question`` (one
    sentence with a question mark), ``methods`` (default for ``--method``) and, if it varies a
    number, ``point`` (what ``--points`` varies) and ``points`` (its default values).
``run(context)``
    Takes a :class:`StudyContext` and returns a :class:`Finding`. ``context.result(Condition(...))``
    runs a method or reads its records, ``context.difference`` computes a paired difference, and
    ``context.leave_out`` states what is skipped. A study reads no labels, writes no file and uses
    no clock: its finding is a function of records (or of fitted networks), so the same records
    give the same bytes.

Files whose names begin with an underscore are shared by studies. ``list studies`` and ``study
NAME`` find new files automatically.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import read_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.meta import Meta
    from bench.core.registry import Registry
    from bench.studies._context import StudyContext
    from bench.studies._results import Condition, ConditionResult, Difference, Finding
    from bench.studies._workers import context_of, records_of
    from bench.studies._write import cell_text, folder_of, markdown, subtitle, write

__all__ = [
    "Condition",
    "ConditionResult",
    "Difference",
    "Finding",
    "StudyContext",
    "cell_text",
    "context_of",
    "folder_of",
    "known",
    "load",
    "markdown",
    "records_of",
    "subtitle",
    "write",
]

_LAZY = {
    "_context": ("StudyContext",),
    "_results": ("Condition", "ConditionResult", "Difference", "Finding"),
    "_workers": ("context_of", "records_of"),
    "_write": ("cell_text", "folder_of", "markdown", "subtitle", "write"),
}
"""Module of this package -> its names that are imported on first use."""


def __getattr__(name: str) -> object:
    """Import the names of studies on first use, so that listing studies is fast."""
    for module, names in _LAZY.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def known(registry: Registry | None = None) -> dict[str, Meta]:
    """Return the literals of all studies by name, without importing any."""
    metas = {meta["name"]: meta for _, meta in _packaged()}
    for entry in registry.entries("study") if registry else ():
        if entry.name in metas:
            raise BenchError(
                f"two studies are named '{entry.name}': rename the one in {entry.path}"
            )
        metas[entry.name] = entry.meta
    return metas


@functools.cache
def _packaged() -> list[tuple[Path, Meta]]:
    return read_folder(Path(__file__).parent, "study")


def load(name: str, registry: Registry | None = None) -> Callable[[StudyContext], Finding]:
    """Import a study and return its function.

    Raises
    ------
    BenchError
        For an unknown name, or a plugin file that cannot be imported.
    """
    if name not in known(registry):
        raise BenchError(did_you_mean(name, list(known(registry)), "study"))
    function: Callable[[StudyContext], Finding]
    for path, meta in _packaged():
        if meta["name"] == name:
            function = importlib.import_module(f"{__name__}.{path.stem}").run
            return function
    assert registry is not None
    function = registry.entry("study", name).load()
    return function
