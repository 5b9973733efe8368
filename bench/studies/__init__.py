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
    from bench.studies._cells import Finding
    from bench.studies._lab import Lab

__all__ = ["known", "load"]


def known(registry: Registry | None = None) -> dict[str, Meta]:
    """Return the literals of all studies by name, without importing any.

    Parameters
    ----------
    registry
        Adds the studies of its plugin files.

    Raises
    ------
    BenchError
        If a plugin's study has the name of a packaged one.
    """
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


def load(name: str, registry: Registry | None = None) -> Callable[[Lab], Finding]:
    """Import a study and return its function.

    Raises
    ------
    BenchError
        For an unknown name, or a plugin file that cannot be imported.
    """
    if name not in known(registry):
        raise BenchError(did_you_mean(name, list(known(registry)), "study"))
    function: Callable[[Lab], Finding]
    for path, meta in _packaged():
        if meta["name"] == name:
            function = importlib.import_module(f"{__name__}.{path.stem}").run
            return function
    assert registry is not None
    function = registry.entry("study", name).load()
    return function
