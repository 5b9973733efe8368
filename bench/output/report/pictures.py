"""Render named figures as compressed pictures for the page.

Figures are accessed only through ``bench.output.figures``, so a new figure is included
automatically.
"""

from __future__ import annotations

import base64
import csv
import io
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from PIL import Image

    from bench.boards.board import Board
    from bench.core.entry import Entry
    from bench.core.registry import Registry
    from bench.output.canvas import Table
    from bench.records.record import Record


FIRST = ("real-images", "simulated-causes", "umap")
"""Figures that are first on the page."""
WIDEST = 1418
"""Maximum pixels of a page figure at 200 dots per inch."""
SLOW = "It needs embeddings and takes minutes: run `python -m bench figures {name}`."
MOST = 4
"""Maximum pictures per figure of a study."""
SMALLEST = 20_000
"""Bytes of a small figure; none is drawn where less is left."""
COLOURS = 64
"""Colours in a picture's palette; lines and flat areas need no more."""


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes
    ----------
    name, stem
        Name of the figure, and file name without suffix: ``paper/table-1``.
    png
        Base64; empty if ``note`` gives a reason.
    width, height
        Pixels.
    note
        A sentence that replaces the figure, or an empty string.
    left_out
        Whether the figure was not drawn because no room was left.
    """

    name: str
    stem: str
    summary: str
    png: str = ""
    width: int = 0
    height: int = 0
    table: str = ""
    note: str = ""
    left_out: bool = False

    @property
    def weight(self) -> int:
        """Size on the page in bytes."""
        return len(self.png) + len(self.table)


class _NoRoomError(Exception):
    """A figure has content, but no room on the page."""


@dataclass(frozen=True)
class Drawn:
    """Runs to draw."""

    records: Sequence[Record]
    boards: Sequence[Board] | None = None


def pictures(
    first: Drawn,
    *more: Drawn,
    names: Sequence[str] = (),
    results: Path | None = None,
    registry: Registry | None = None,
    splits: Collection[str] = (),
    room: float = math.inf,
) -> Iterator[Picture]:
    """Draw named figures one by one; a figure that cannot be drawn is replaced by a sentence.

    The last figure is the first one that exceeds ``room``. Drawing takes most of the time, so it is
    not drawn if less than :data:`SMALLEST` is left (:attr:`Picture.left_out`).

    Figures and tables of the original paper are left out if there is no measurement for them.

    Parameters
    ----------
    *more
        Other sets of runs, for figures that find no data in the first, such as those of
        studies that vary single settings. The first :data:`MOST` pictures of such a figure are
        kept.
    names
        Keys of :func:`bench.output.figures.all_figures`; all figures if empty, those of
        :data:`FIRST` first.
    results
        Results folder, for figures that need files next to the runs. Figures of embeddings are
        not drawn because they take minutes: published ones are in ``reference/figures/``, and a
        sentence states how to create others.
    splits
        Splits to show published figures of embeddings of; default: those of ``first``.
    room
        Bytes that the pictures may have together.
    """
    from bench.output.figures import all_figures

    figures = all_figures(registry)
    for name in names or [*FIRST, *(name for name in figures if name not in FIRST)]:
        meta = figures[name].meta
        if "embeddings" not in meta["needs"]:
            folder = results
        elif tables := _published(splits or {r.split_id for r in first.records}, name, results):
            drawn = [
                _picture(name, meta["summary"] + _one_fold(table), table, table.parent)
                for table in tables
            ]
            for picture in drawn:
                # Their tables have a line per row of the data.
                yield (shown := replace(picture, table=""))
                room -= shown.weight
                if room < 0:
                    return
            continue
        elif results is not None and (results / "artifacts").is_dir():
            yield Picture(name, name, meta["summary"], note=SLOW.format(name=name))
            continue
        else:
            folder = None
        place = (figures[name], folder, registry)
        new = _drawn(first, *place, room=room)
        for larger in more:
            if not all(picture.note for picture in new):
                break
            new = _drawn(larger, *place, most=MOST, room=room)
        if meta["paper"]:
            new = [picture for picture in new if not picture.note]
        for picture in new:
            yield picture
            room -= picture.weight
            if room < 0 or picture.left_out:
                return


def _published(splits: Collection[str], name: str, results: Path | None) -> list[Path]:
    """Return the tables of the published figures of embeddings on these splits."""
    from bench.output.figures._shared import slug

    if results is None:
        return []
    stems = [f"{name}_{slug(split)}_" for split in sorted(splits)]
    folder = results / "reference" / "figures"
    return [file for stem in stems for file in sorted(folder.glob(f"{stem}*.csv"))]


def _one_fold(table: Path) -> str:
    """Return a sentence that names the fold of a figure; empty without one."""
    with table.open(encoding="utf-8", newline="") as file:
        fold = next(csv.DictReader(file), {}).get("fold")
    return f" Only one fold is shown, with {fold} as the test set." if fold else ""


def _drawn(
    runs: Drawn,
    figure: Entry,
    results: Path | None,
    registry: Registry | None,
    *,
    most: int | None = None,
    room: float = math.inf,
) -> list[Picture]:
    from bench.output.canvas import writing
    from bench.output.figures import draw

    name, summary = figure.name, figure.meta["summary"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        try:
            with writing("png", "csv", shown=_is_shown if room >= SMALLEST else _raise_if_shown):
                files = draw(
                    runs.records,
                    [name],
                    out,
                    results=results,
                    registry=registry,
                    boards=runs.boards,
                )
        except _NoRoomError:
            return [Picture(name, name, summary, left_out=True)]
        except Exception as error:
            if isinstance(error, BenchError):
                reason = str(error)
            elif figure.provider == "labshift":
                raise
            else:  # the page must not depend on plugin code
                reason = f"{figure.origin} raised {type(error).__name__}: {error}"
            return [Picture(name, name, summary, note=f"Not drawn: {reason}.")]
        tables = sorted(file for file in files if file.suffix == ".csv")
        return [_picture(name, summary, table, out) for table in tables[:most]]


def _picture(name: str, summary: str, table: Path, folder: Path) -> Picture:
    stem = table.relative_to(folder).with_suffix("").as_posix()
    rows = table.read_text(encoding="utf-8")
    note = _note(rows)
    if note:
        return Picture(name, stem, summary, note=note)
    if not table.with_suffix(".png").is_file():
        return Picture(name, stem, summary, note="Nothing was measured for it.")
    png, width, height = _small(table.with_suffix(".png"))
    return Picture(name, stem, summary, png, width, height, _base64(rows.encode()))


def _is_shown(table: Table) -> bool:
    """Whether a figure has more than a sentence and, next to published numbers, a measured one."""
    if table and all(list(row) == ["note"] for row in table):
        return False
    measured = [row["measured"] for row in table if "measured" in row]
    return not measured or any(value not in {None, ""} for value in measured)


def _raise_if_shown(table: Table) -> bool:
    if _is_shown(table):
        raise _NoRoomError
    return False


def _note(table: str) -> str:
    """Return the sentence of a figure that was not drawn: its table contains nothing else."""
    lines = list(csv.reader(io.StringIO(table)))
    if lines and lines[0] == ["note"]:
        return " ".join(cell for line in lines[1:] for cell in line)
    return ""


def _small(file: Path) -> tuple[str, int, int]:
    """Return a picture with a reduced palette as base64, with its size; deterministic."""
    from PIL import Image

    with Image.open(file) as opened:
        image = opened.convert("RGB")
    if image.width > WIDEST:
        height = round(image.height * WIDEST / image.width)
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    flat = _reduced(image)
    sink = io.BytesIO()
    flat.save(sink, format="png")
    return _base64(sink.getvalue()), image.width, image.height


def _reduced(image: Image.Image) -> Image.Image:
    """Return an image with at most :data:`COLOURS` colours, each of them one of the original.

    Frequent and saturated colours are kept: averages, as of a median cut, would change the colours
    of methods. Photographs have 256 averages.
    """
    import numpy as np
    from PIL import Image

    packing = np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    counted = image.getcolors(1 << 14)
    if counted is None:
        return image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    counted.sort(key=lambda pair: pair[1])
    counts, rgb = (np.array(column, dtype=np.int64) for column in zip(*counted, strict=True))
    weight = counts * (4 + np.ptp(rgb, axis=1))
    kept = rgb[np.argsort(-weight, kind="stable")[:COLOURS]]
    distance = (rgb**2).sum(axis=1)[:, None] - 2 * rgb @ kept.T + (kept**2).sum(axis=1)
    nearest = np.zeros(1 << 24, dtype=np.uint8)
    nearest[rgb @ packing] = distance.argmin(axis=1)
    flat = Image.fromarray(nearest[np.asarray(image, dtype=np.int32) @ packing], "P")
    flat.putpalette(kept.astype(np.uint8).tobytes())
    return flat


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
