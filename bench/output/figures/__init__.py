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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FIGURES", "NEEDS", "Given", "NamedFigure", "draw"]

NEEDS = ("records", "predictions", "embeddings", "studies", "examples")
"""What a figure may be made of: ``run.json``, the predictions beside it, ``artifacts/``,
``studies/`` and ``examples/`` of the results folder."""

FIGURES: Mapping[str, NamedFigure]
"""Figures by name, those of the seed paper last."""


@dataclass(frozen=True)
class FigureInput:
    """Input of a figure.

    Attributes
    ----------
    meta
        Its literal.
    records
        Runs, or mappings of the same form.
    out
        Output folder.
    results
        Results folder, for files next to the runs; None for records that are not on disk.
    get_boards
        Returns :attr:`boards`; called when a figure needs them.
    """

    meta: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    out: Path
    results: Path | None
    get_boards: Callable[[], Sequence[Board]]

    @property
    def boards(self) -> Sequence[Board]:
        """Leaderboards of the records, computed once for all figures."""
        return self.get_boards()


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
        Of :data:`NEEDS`.
    paper
        Its place in the seed paper, or empty.
    module
        Where its ``draw`` is.
    """

    name: str
    title: str
    summary: str
    needs: tuple[str, ...]
    paper: str
    module: str

    def draw(self, inputs: FigureInput) -> list[Path]:
        """Draw the figure and return its files; imports its module."""
        files: list[Path] = importlib.import_module(self.module).draw(inputs)
        return files


def __getattr__(name: str) -> Any:
    if name == "FIGURES":
        return _figures()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _figures() -> dict[str, NamedFigure]:
    from bench.core.meta import read_literal

    found: dict[str, NamedFigure] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        meta = read_literal(path)
        if meta is None or meta.get("kind") != "figure" or not meta.get("name"):
            raise BenchError(f"{path} needs a META = {{...}} of kind figure with a name at its top")
        name, needs = meta["name"], tuple(meta.get("needs", ()))
        if name in found:
            raise BenchError(f"two figures are named '{name}': rename the one in {path}")
        if unknown := sorted(set(needs) - set(NEEDS)):
            raise BenchError(f"META of {path} needs {unknown[0]}, which is none of {NEEDS}")
        module = f"{__name__}.{path.stem}"
        title, summary, paper = (str(meta.get(key, "")) for key in ("title", "summary", "paper"))
        found[name] = NamedFigure(name, title, summary, needs, paper, module)
    return dict(sorted(found.items(), key=lambda item: ("/" in item[0], item[0])))


def draw(
    records: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    out: Path,
    *,
    results: Path | None = None,
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

    Raises
    ------
    BenchError
        For an unknown name, or if the files cannot be written.
    """
    known = _figures()
    wanted: list[str] = []
    for name in names:
        group = [other for other in known if name.endswith("/") and other.startswith(name)]
        if name not in known and not group:
            raise BenchError(did_you_mean(name, list(known), "figure"))
        wanted += group or [name]
    given = Given(list(records), out, results)
    files: list[Path] = []
    for name in dict.fromkeys(wanted or known):
        files += known[name].draw(given)
    return files
