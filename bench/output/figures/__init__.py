"""Named figures: one file each, records -> PDF, PNG and the CSV behind them.

A file of this package whose name begins with a letter is a figure. At its top stands a literal,
read without importing the file::

    META: dict[str, Any] = {
        "kind": "figure",
        "name": "degradation",      # as typed; "paper/table-1" is written into the folder paper/
        "title": "…",               # over the figure
        "summary": "…",             # one sentence, for `list figures`
        "needs": ["records"],       # of: records, predictions, embeddings, studies, examples
        "paper": "",                # its place in the seed paper, such as "Table 1"
    }

and the file has one function ``draw(given: Given) -> list[Path]``. What a figure lacks is said in a
sentence in its place (:func:`bench.output.figures._shared.nothing`); it never fails for want of
records.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import read_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.core.entry import Entry
    from bench.core.meta import Meta
    from bench.core.registry import Registry

__all__ = ["FIGURES", "Given", "NamedFigure", "draw"]

FIGURES: Mapping[str, NamedFigure]
"""Figures by name, those of the seed paper last."""


@dataclass(frozen=True)
class Given:
    """What a figure is drawn from, and where it goes.

    Attributes
    ----------
    records
        Committed runs, or mappings of the same form.
    out
        Folder for the files.
    results
        The results folder, for what lies beside the runs; None for records that are on no disk.
    """

    records: Sequence[Mapping[str, Any]]
    out: Path
    results: Path | None = None


@dataclass(frozen=True)
class NamedFigure:
    """A figure that can be asked for by name.

    Attributes
    ----------
    name
        As typed.
    title
        Over the figure.
    summary
        One sentence.
    needs
        Of :data:`bench.core.meta.FIGURE_NEEDS`.
    paper
        Its place in the seed paper, or empty.
    module
        Module of its ``draw``.
    entry
        Of a plugin file, instead of the module.
    """

    name: str
    title: str
    summary: str
    needs: tuple[str, ...]
    paper: str
    module: str = ""
    entry: Entry | None = None

    def draw(self, given: Given) -> list[Path]:
        """Draw it and return the files; its module is imported now."""
        function = self.entry.load() if self.entry else importlib.import_module(self.module).draw
        files: list[Path] = function(given)
        return files


def __getattr__(name: str) -> Any:
    if name == "FIGURES":
        return _figures()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _figures() -> dict[str, NamedFigure]:
    figures = [
        _named(meta, module=f"{__name__}.{path.stem}")
        for path, meta in read_folder(Path(__file__).parent, "figure").items()
    ]
    return {
        figure.name: figure for figure in sorted(figures, key=lambda f: ("/" in f.name, f.name))
    }


def _named(meta: Meta, *, module: str = "", entry: Entry | None = None) -> NamedFigure:
    return NamedFigure(
        meta["name"],
        meta["title"],
        meta["summary"],
        tuple(meta["needs"]),
        meta.get("paper", ""),
        module,
        entry,
    )


def known(registry: Registry | None = None) -> dict[str, NamedFigure]:
    """Return all figures by name, with those of a registry's plugin files.

    Raises
    ------
    BenchError
        If a plugin's figure has the name of a packaged one.
    """
    figures = dict(_figures())
    for entry in registry.entries("figure") if registry else ():
        if entry.name in figures:
            raise BenchError(
                f"two figures are named '{entry.name}': rename the one in {entry.path}"
            )
        figures[entry.name] = _named(entry.meta, entry=entry)
    return figures


def draw(
    records: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    out: Path,
    *,
    results: Path | None = None,
    registry: Registry | None = None,
) -> list[Path]:
    """Draw named figures, all if none is named, and return the files.

    Parameters
    ----------
    records
        Committed runs, or mappings of the same form.
    names
        Keys of :data:`FIGURES`; one that ends in ``/`` names all that begin so.
    out
        Folder, made if need be.
    results
        The results folder, for figures of what lies beside the runs.
    registry
        Adds the figures of its plugin files.

    Raises
    ------
    BenchError
        For an unknown name, or if the files cannot be written.
    """
    figures = known(registry)
    wanted: list[str] = []
    for name in names:
        group = [other for other in figures if name.endswith("/") and other.startswith(name)]
        if name not in figures and not group:
            raise BenchError(did_you_mean(name, list(figures), "figure"))
        wanted += group or [name]
    given = Given(list(records), out, results)
    files: list[Path] = []
    for name in dict.fromkeys(wanted or figures):
        files += figures[name].draw(given)
    return files
