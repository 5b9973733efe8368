"""Draw example images of a data set, one column per class and rows by laboratory or microscope."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bench.core.errors import BenchError
from bench.core.seeds import generator

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bench.core.dataset import Opened
    from bench.core.types import Array, JsonObject

T = TypeVar("T")
GREEN, MAGENTA = (0.15, 1.0, 0.25), (0.85, 0.25, 1.0)
PER_PLACE = 3
"""Plates that are shown of each laboratory and microscope."""
MAX_CLASSES = 8
"""Classes that are shown, in alphabetical order."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Example images of a data set, which can be drawn without the data set.

    Attributes
    ----------
    name, edition, settings
        Of the data set.
    classes
        Column names.
    places, spans
        Name of each row, and its display range in counts.
    images
        ``(rows, columns, H, W, 3)`` uint8.
    ids
        ``(rows, columns)`` image ids; "" if a class has no image in the row.
    """

    name: str
    edition: str
    settings: str
    classes: tuple[str, ...]
    places: tuple[str, ...]
    spans: tuple[str, ...]
    images: NDArray[np.uint8]
    ids: NDArray[np.str_]
    channels: int

    @property
    def title(self) -> str:
        """``Examples of coos7, simulated, draw=1``; the real edition is not named."""
        edition = "" if self.edition == "real" else f", {self.edition}"
        return f"Examples of {self.name}{edition}{self.settings}"

    @property
    def caption(self) -> str:
        """How the images are displayed."""
        colours = "green: channel 0, magenta: channel 1; " if self.channels > 1 else ""
        where = "in counts, stated at its left"
        return f"{colours}one range a row and channel, {where}; square-root scale"


def make_sheet(opened: Opened) -> Sheet:
    """Choose and render example images.

    Columns are classes. Rows are grouped by place: the combination of laboratory and microscope
    as far as the index has them, else the largest batch level. Each row of a group shows a
    different plate. Two channels are overlaid, the first green and the second magenta. One
    channel, or the first of more than two, is grey. Each row has one display range per channel,
    from the 1st to the 99.8th percentile of its images on a square-root scale, and states it in
    counts. Brightness is therefore comparable within a row but not between rows.

    Raises
    ------
    BenchError
        If the data set contains profiles.
    """
    if not opened.is_images:
        raise BenchError(f"{opened.name} has profiles, not images: there are no example images")
    labels = opened.index["label"].to_numpy(dtype=str)
    names = opened.index["id"].to_numpy(dtype=str)
    classes = sorted(set(labels.tolist()) - {""})[:MAX_CLASSES]
    rows = _rows(opened)
    height, width = opened.source.shape[1:]
    images = np.zeros((len(rows), len(classes), height, width, 3), np.uint8)
    ids = np.full((len(rows), len(classes)), "", dtype=f"<U{max(map(len, names), default=1)}")
    spans = []
    for line, (name, mask) in enumerate(rows):
        picked = [
            _pick(np.flatnonzero(mask & (labels == kind)), opened.name, 0, name, kind)
            for kind in classes
        ]
        shown = np.array([i for i in picked if i is not None], dtype=np.int64)
        pixels = opened.source.read(shown)
        low, high = _range(pixels)
        place = {int(i): position for position, i in enumerate(shown)}
        for column, i in enumerate(picked):
            if i is not None:
                drawn = _composite(pixels[place[i]], low, high)
                images[line, column] = np.round(drawn * 255).astype(np.uint8)
                ids[line, column] = names[i]
        spans.append(" | ".join(f"{lo:.0f}-{hi:.0f}" for lo, hi in zip(low, high, strict=True)))
    return Sheet(
        opened.name,
        opened.edition,
        "".join(f", {key}={value}" for key, value in opened.settings.items()),
        tuple(classes),
        tuple(name for name, _ in rows),
        tuple(spans),
        images,
        ids,
        opened.source.shape[0],
    )


def fill(figure: Figure, sheet: Sheet, font: float = 8) -> None:
    """Draw a sheet on a figure, without titles."""
    axes = figure.subplots(len(sheet.places), len(sheet.classes), squeeze=False)
    for kind, axis in zip(sheet.classes, axes[0], strict=True):
        axis.set_title(_wrap(kind), fontsize=font, fontweight="normal", loc="center")
    for k, line in enumerate(axes):
        for column, axis in enumerate(line):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
            if sheet.ids[k, column]:
                axis.imshow(sheet.images[k, column], interpolation="nearest")
            else:
                axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=font - 1)
        spans = " | ".join(sheet.spans[k].split(" | ")[:2])
        line[0].set_ylabel(
            f"{sheet.places[k]}\n{spans}", rotation=0, ha="right", va="center", fontsize=font - 1
        )


def draw_examples(opened: Opened, path: Path) -> Path:
    """Draw a figure of example images (see :func:`make_sheet`) and write it to a file.

    Parameters
    ----------
    path
        Output file; its suffix determines the format.

    Raises
    ------
    BenchError
        If the data set contains profiles, or the file cannot be written.
    """
    sheet = make_sheet(opened)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    height = 1.22 * len(sheet.places) + 1.15
    figure = Figure(figsize=(1.22 * len(sheet.classes) + 1.9, height), dpi=150)
    fill(figure, sheet)
    figure.suptitle(sheet.title, fontsize=10, y=0.995, va="top")
    figure.text(0.5, 0.008, sheet.caption, ha="center", fontsize=7)
    figure.subplots_adjust(
        left=1.75 / figure.get_figwidth(),
        right=0.995,
        top=1 - 0.75 / height,
        bottom=0.25 / height,
        wspace=0.03,
        hspace=0.03,
    )
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise BenchError(
            f"the figure could not be written to {path} ({error}): name a .png, .pdf or .svg file "
            "in a folder that exists"
        ) from error
    return path


def save_sheet(sheet: Sheet, folder: Path) -> Path:
    """Save a sheet for ``figures examples``, without pickle; return its file."""
    from bench.core.disk import write_files

    facts = {
        "name": sheet.name,
        "edition": sheet.edition,
        "settings": sheet.settings,
        "classes": list(sheet.classes),
        "places": list(sheet.places),
        "spans": list(sheet.spans),
        "channels": sheet.channels,
    }
    sink = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    np.savez_compressed(sink, images=sheet.images, ids=sheet.ids, facts=text)
    words = re.sub(r"[^A-Za-z0-9.=-]+", "-", f"{sheet.name}_{sheet.edition}{sheet.settings}")
    [path] = write_files(folder, {f"{words}.npz": sink.getvalue()})
    return path


def load_sheets(folder: Path) -> list[Sheet]:
    """Return the sheets in a folder, sorted by file name; none if the folder does not exist.

    Raises
    ------
    BenchError
        If a file is damaged; the message names the file to delete.
    """
    sheets = []
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as kept:
                facts: JsonObject = json.loads(kept["facts"].tobytes().decode())
                arrays = {"images": kept["images"], "ids": kept["ids"]}
            facts |= {name: tuple(facts[name]) for name in ("classes", "places", "spans")}
            sheets.append(Sheet(**facts, **arrays))
        except Exception as error:
            raise BenchError(f"{path} is damaged ({error}): delete it and make it again") from error
    return sheets


def _rows(opened: Opened) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the name and the members of each row of the figure."""
    index = opened.index
    places = [name for name in ("laboratory", "microscope") if name in index.columns]
    if not places:
        places = [opened.levels[-1]]
    rows: list[tuple[str, NDArray[np.bool_]]] = []
    for values, members in index.groupby(places, sort=True):
        where = "\n".join(f"{name} {value}" for name, value in zip(places, values, strict=True))
        batch = opened.levels[0]
        if batch in places:
            rows.append((where, _mask(index, members)))
            continue
        for name in _spread(members[batch].unique().tolist(), PER_PLACE):
            chosen = members[members[batch] == name]
            rows.append((f"{where}\n{batch} {name}", _mask(index, chosen)))
    return rows


def _mask(index: pd.DataFrame, members: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(index["id"].isin(members["id"]), dtype=bool)


def _spread(names: list[T], count: int) -> list[T]:
    """Return up to ``count`` names, evenly spaced over the list."""
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[i] for i in places]


def _pick(rows: NDArray[np.int64], *address: str | int) -> int | None:
    if not len(rows):
        return None
    return int(generator("examples", *address).choice(rows))


def _range(pixels: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    flat = np.moveaxis(pixels, 1, 0).reshape(pixels.shape[1], -1)
    low, high = np.percentile(flat, [1, 99.8], axis=1)
    return low, np.maximum(high, low + 1)


def _composite(
    image: Array, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    span = (high - low)[:, None, None]
    scaled = np.sqrt(np.clip((image - low[:, None, None]) / span, 0, 1))
    if len(scaled) != 2:
        return np.repeat(scaled[0][..., None], 3, axis=2)
    mixed = scaled[0][..., None] * np.array(GREEN) + scaled[1][..., None] * np.array(MAGENTA) * 0.7
    return np.asarray(np.clip(mixed, 0, 1))


def _wrap(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, 16))
