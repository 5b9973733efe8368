"""Named figures -> pictures inside a page: drawn as for a folder, made small, told in words.

Figures are reached through ``bench.output.figures`` alone, so that a new one is on the page at
once.
"""

from __future__ import annotations

import base64
import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Picture", "pictures"]

WIDEST = 1418
"""Pixels of a page figure at 200 dots an inch."""
SLOW = (
    "It is made of embeddings, which takes minutes: `python -m bench figures {name}` draws it, or "
    "says what is missing."
)
MOST = 4
"""Pictures of one figure of a study."""
COLOURS = 64
"""Of a picture's palette: lines and flat colours need no more."""


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes
    ----------
    name, stem
        Of the figure, and of this file of it: ``paper/table-1``.
    summary
        What it shows, a sentence.
    png
        Base64; empty where ``note`` says why there is none.
    width, height
        Pixels.
    table
        The CSV behind it, base64.
    note
        A sentence in the figure's place, or an empty string.
    """

    name: str
    stem: str
    summary: str
    png: str = ""
    width: int = 0
    height: int = 0
    table: str = ""
    note: str = ""

    @property
    def weight(self) -> int:
        """Bytes that it adds to a page."""
        return len(self.png) + len(self.table)


def pictures(
    first: Sequence[Mapping[str, Any]],
    rest: Sequence[Mapping[str, Any]] = (),
    names: Sequence[str] = (),
    results: Path | None = None,
) -> list[Picture]:
    """Draw named figures, all if none is named; one that cannot be drawn is a sentence.

    Parameters
    ----------
    first
        The runs to draw.
    rest
        Further runs, for the figures that have nothing to draw of the first: those of studies,
        which change settings one by one. Of such a figure the first :data:`MOST` pictures are kept.
    names
        Keys of :func:`bench.output.figures.all_figures`.
    results
        The results folder, for figures of what lies beside the runs. Those of embeddings are not
        drawn: they take minutes, and a sentence says how to have them.
    """
    from bench.output.figures import all_figures

    made = []
    figures = all_figures()
    for name in names or figures:
        meta = figures[name].meta
        place = results
        if "embeddings" in meta["needs"]:
            if _has_artifacts(results):
                made.append(Picture(name, name, meta["summary"], note=SLOW.format(name=name)))
                continue
            place = None
        found = _drawn(first, name, meta["summary"], place)
        if rest and all(picture.note for picture in found):
            found = _drawn([*first, *rest], name, meta["summary"], place)[:MOST]
        made += found
    return made


def _has_artifacts(results: Path | None) -> bool:
    return results is not None and (results / "artifacts").is_dir()


def _drawn(
    records: Sequence[Mapping[str, Any]], name: str, summary: str, results: Path | None
) -> list[Picture]:
    from bench.output.canvas import writing
    from bench.output.figures import draw

    with tempfile.TemporaryDirectory() as folder:
        try:
            with writing("png", "csv", quickly=True):
                files = draw(records, [name], Path(folder), results=results)
        except BenchError as error:
            return [Picture(name, name, summary, note=f"Not drawn: {error}.")]
        tables = sorted(file for file in files if file.suffix == ".csv")
        return [_picture(name, summary, file, Path(folder)) for file in tables]


def _picture(name: str, summary: str, table: Path, folder: Path) -> Picture:
    stem = table.relative_to(folder).with_suffix("").as_posix()
    rows = table.read_text(encoding="utf-8")
    note = _note(rows)
    if note:
        return Picture(name, stem, summary, note=note)
    png, width, height = _small(table.with_suffix(".png"))
    return Picture(name, stem, summary, png, width, height, _base64(rows.encode()))


def _note(table: str) -> str:
    """Return the sentence of a figure that could not be drawn: its table holds nothing else."""
    lines = list(csv.reader(io.StringIO(table)))
    if lines and lines[0] == ["note"]:
        return " ".join(cell for line in lines[1:] for cell in line)
    return ""


def _small(file: Path) -> tuple[str, int, int]:
    """Return a picture of few colours as base64, with its size; the same bytes for the same file.

    Photographs keep more colours than lines and flat areas need.
    """
    from PIL import Image

    with Image.open(file) as opened:
        image = opened.convert("RGB")
    if image.width > WIDEST:
        height = round(image.height * WIDEST / image.width)
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    many = image.getcolors(1 << 14) is None
    flat = image.quantize(
        256 if many else COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    sink = io.BytesIO()
    flat.save(sink, format="png", optimize=True)
    return _base64(sink.getvalue()), image.width, image.height


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
