"""Draw example images of a data set, one column a class and one row a place they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError
from bench.seeds import generator

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bench.api import Opened

GREEN, MAGENTA = (0.15, 1.0, 0.25), (0.85, 0.25, 1.0)


def draw_examples(
    opened: Opened, path: Path, *, per_place: int = 3, seed: int = 0, max_classes: int = 8
) -> Path:
    """Draw a figure of example images and write it to a file.

    Columns are classes. Rows are grouped by place, the combination of laboratory and microscope
    as far as the index names them (else the largest batch level), and each row of a group shows
    another plate. Two channels are laid over each other, the first green and the second magenta;
    one channel, or the first of more than two, is grey. Each row has one display range for each
    channel, from the 1st to the 99.8th percentile of its images on a square-root scale, and
    states it in counts: so brightness can be compared along a row but not between rows.

    Parameters
    ----------
    opened
        A data set of images.
    path
        File to write; its ending decides the format.
    per_place
        Rows of each place.
    seed
        Decides which images are shown.
    max_classes
        Classes shown; the first ones in alphabetical order if there are more.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    BenchError
        If the data set holds profiles, or the file cannot be written.
    """
    if not opened.is_images:
        raise BenchError(f"{opened.name} holds profiles, not images: it has no example images")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    index = opened.index
    labels = index["label"].to_numpy(dtype=str)
    classes = sorted(set(labels.tolist()) - {""})[:max_classes]
    rows = _rows(opened, per_place)
    height = 1.22 * len(rows) + 1.15
    figure = Figure(figsize=(1.22 * len(classes) + 1.9, height), dpi=150)
    axes = figure.subplots(len(rows), len(classes), squeeze=False)
    for kind, axis in zip(classes, axes[0], strict=True):
        axis.set_title(_wrap(kind), fontsize=8)
    for line, (name, mask) in zip(axes, rows, strict=True):
        picked = [
            _pick(np.flatnonzero(mask & (labels == kind)), opened.name, seed, name, kind)
            for kind in classes
        ]
        shown = np.array([i for i in picked if i is not None], dtype=np.int64)
        pixels = opened.source.read(shown)
        low, high = _range(pixels)
        place = {int(i): position for position, i in enumerate(shown)}
        for axis, i in zip(line, picked, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if i is None:
                axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=7)
            else:
                axis.imshow(_composite(pixels[place[i]], low, high), interpolation="nearest")
        spans = [f"{lo:.0f}-{hi:.0f}" for lo, hi in zip(low, high, strict=True)]
        line[0].set_ylabel(
            f"{name}\n{' | '.join(spans[:2])}", rotation=0, ha="right", va="center", fontsize=7
        )
    edition = "" if opened.edition == "real" else f", {opened.edition}"
    settings = "".join(f", {key}={value}" for key, value in opened.settings.items())
    figure.suptitle(f"Examples of {opened.name}{edition}{settings}", fontsize=10, y=0.995, va="top")
    colours = "green: channel 0, magenta: channel 1; " if opened.source.shape[0] > 1 else ""
    figure.text(
        0.5,
        0.008,
        f"{colours}one range a row and channel, in counts, stated at its left; square-root scale",
        ha="center",
        fontsize=7,
    )
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


def _rows(opened: Opened, per_place: int) -> list[tuple[str, NDArray[np.bool_]]]:
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
        for name in _spread(members[batch].unique().tolist(), per_place):
            chosen = members[members[batch] == name]
            rows.append((f"{where}\n{batch} {name}", _mask(index, chosen)))
    return rows


def _mask(index: pd.DataFrame, members: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(index["id"].isin(members["id"]), dtype=bool)


def _spread(names: list[Any], count: int) -> list[Any]:
    """Return up to ``count`` names from all over the list."""
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[i] for i in places]


def _pick(rows: NDArray[np.int64], *address: str | int) -> int | None:
    if not len(rows):
        return None
    return int(generator("examples", *address).choice(rows))


def _range(pixels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    flat = np.moveaxis(pixels, 1, 0).reshape(pixels.shape[1], -1)
    low, high = np.percentile(flat, [1, 99.8], axis=1)
    return low, np.maximum(high, low + 1)


def _composite(
    image: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    span = (high - low)[:, None, None]
    scaled = np.sqrt(np.clip((image - low[:, None, None]) / span, 0, 1))
    if len(scaled) != 2:
        return np.repeat(scaled[0][..., None], 3, axis=2)
    mixed = scaled[0][..., None] * np.array(GREEN) + scaled[1][..., None] * np.array(MAGENTA) * 0.7
    return np.asarray(np.clip(mixed, 0, 1))


def _wrap(name: str, width: int = 16) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, width))
