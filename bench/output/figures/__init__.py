"""Named figures: records -> PDF, PNG and a CSV with the numbers of each.

A file of this package whose name begins with a letter is a figure, or a list of similar figures.
It begins with a literal, which is read without importing the file::

    META: Meta = {
        "kind": "figure",
        "name": "degradation",      # as typed; "paper/table-1" is written into the folder paper/
        "title": "…",               # title of the figure
        "summary": "…",             # one sentence, for `list figures`
        "needs": ["records"],       # of: records, predictions, embeddings, studies, examples
        "paper": "Table 1",         # optional: its place in the original paper
    }

Several figures have a list of such dicts. The file has one function,
``draw(inputs: FigureInput) -> list[Path]``. A figure without data states in one sentence what is
missing (:func:`bench.output.figures._shared.nothing`); missing records never raise.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.entry import Entry
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import Meta, read_folder
from bench.records.record import Record, as_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.boards.board import Board
    from bench.core.registry import Registry

__all__ = ["FigureInput", "all_figures", "draw"]


@dataclass(frozen=True)
class FigureInput:
    """Input of a figure.

    Attributes
    ----------
    results
        Results folder, for files next to the runs; None if the records are not on disk.
    get_boards
        Returns :attr:`boards`; called on first use.
    """

    meta: Meta
    records: Sequence[Record]
    out: Path
    results: Path | None
    get_boards: Callable[[], Sequence[Board]]

    @property
    def boards(self) -> Sequence[Board]:
        """Leaderboards of the records, computed once for all figures."""
        return self.get_boards()


@functools.cache
def _packaged() -> dict[str, Entry]:
    entries = [
        Entry("figure", meta["name"], "labshift", meta, f"{__name__}.{path.stem}", path)
        for path, meta in read_folder(Path(__file__).parent, "figure")
    ]
    return {entry.name: entry for entry in sorted(entries, key=lambda e: ("/" in e.name, e.name))}


def all_figures(registry: Registry | None = None) -> dict[str, Entry]:
    """Return all figures by name, those of the original paper last."""
    figures = dict(_packaged())
    for entry in registry.entries("figure") if registry else ():
        if entry.name in figures:
            raise BenchError(
                f"two figures are named '{entry.name}': rename the one in {entry.path}"
            )
        figures[entry.name] = entry
    return figures


def draw(
    records: Iterable[Record | Mapping[str, object]],
    names: Sequence[str],
    out: Path,
    *,
    results: Path | None = None,
    registry: Registry | None = None,
    boards: Sequence[Board] | None = None,
) -> list[Path]:
    """Draw named figures and return the files.

    Parameters
    ----------
    records
        Committed runs, or mappings of the same form.
    names
        Keys of :func:`all_figures`; a name that ends in ``/`` selects all with this prefix. All
        figures if empty.
    results
        Results folder, for figures that need files next to the runs.
    boards
        Leaderboards of the records; by default computed when a figure needs them.

    Raises
    ------
    BenchError
        For an unknown name, or if the files cannot be written.
    """
    figures = all_figures(registry)
    wanted: list[str] = []
    for name in names:
        group = [other for other in figures if name.endswith("/") and other.startswith(name)]
        if name not in figures and not group:
            raise BenchError(did_you_mean(name, list(figures), "figure"))
        wanted += group or [name]
    runs = [as_record(record) for record in records]

    @functools.cache
    def get_boards() -> Sequence[Board]:
        from bench.boards.select import boards as compute

        return compute(runs) if boards is None else boards

    files: list[Path] = []
    for name in dict.fromkeys(wanted or figures):
        figure = figures[name]
        files += figure.load()(FigureInput(figure.meta, runs, out, results, get_boards))
    return files
