"""Style of all figures: sizes, colours and markers of methods, labels.

matplotlib is imported when a figure is drawn, not with this module. pyplot is never imported, so
there is no window and no global state.
"""

from __future__ import annotations

import hashlib
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes


COLUMN = 3.46
"""Column width of a journal in inches (88 mm)."""
PAGE = 7.09
"""Page width of a journal in inches (180 mm)."""

KNOWN = {
    "erm": "#000000",
    "ben": "#D55E00",
    "ben-controls": "#B07D00",
    "adabn": "#0072B2",
    "erm-plate": "#56A0CC",
    "zscore": "#009E73",
    "robust": "#CC79A7",
    "identity": "#8A8A8A",
    "pca": "#7A8A9A",
    "pca-100": "#7A9A8A",
    "shuffle": "#B0B0B0",
    "batch-mean": "#A09080",
    "label-oracle": "#707070",
    "position-only": "#9A9AB0",
    "batch-only": "#909A90",
    "cell-count-only": "#9AA0B8",
}
"""Colours of well-known methods; safe for colour-blind readers (Okabe & Ito 2008, darkened where
too faint on white)."""
OTHERS = (
    "#332288",
    "#117733",
    "#882255",
    "#44AA99",
    "#AA4499",
    "#7A7A1F",
    "#661100",
    "#2F5D8A",
    "#8C510A",
    "#5E3C99",
)
"""Colours of all other methods, selected by name only: a new method does not change others."""
FORMATS = ("pdf", "png", "csv")
"""Output formats of figures."""
_END = 34
"""Maximum characters of a name at the end of a line."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p")


APART = {
    "ben+robust": "D",
    "ben+sphering-all": "v",
    "erm+center": "X",
    "erm+scanorama": "d",
    "erm+sphering": "v",
    "fixed-knn": "h",
    "fixed-logistic": "s",
    "group-dro": "D",
    "instance-norm": "*",
    "minclr": "s",
    "minclr-ben": "P",
    "mmd": "H",
    "simclr": ">",
    "sphering-all": "d",
    "tvn": "8",
}
"""Markers of packaged methods that would otherwise share colour and marker with another. Only add
entries, so that a method has the same marker in every release."""


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _alone(method: str) -> str:
    """Return a label without the stage for an uncorrected table."""
    return method.removeprefix("identity+")


def colour_of(method: str) -> str:
    """Return the colour of a method, the same in every figure.

    Parameters
    ----------
    method
        Name, chain or label: ``ben(level=week)`` has the colour of ``ben`` and a different marker
        (:func:`marker_of`).
    """
    name = "+".join(stage.partition("(")[0] for stage in _alone(method).split(" ")[0].split("+"))
    return KNOWN.get(name) or OTHERS[_hash(name) % len(OTHERS)]


def marker_of(method: str) -> str:
    """Return the marker of a label: a circle for a known method with default parameters."""
    method = _alone(method)
    if method in KNOWN:
        return MARKERS[0]
    if method in APART:
        return APART[method]
    return MARKERS[1 + _hash(method) % (len(MARKERS) - 1)]


def fitted(label: str, width: int, lines: int = 1) -> str:
    """Return a name on a limited number of lines, with an ellipsis; the CSV has the full name."""
    wrapped = textwrap.wrap(label, width)
    if len(wrapped) <= lines:
        return "\n".join(wrapped)
    kept = "".join(wrapped)[: lines * width - 1]
    return "\n".join(kept[k : k + width] for k in range(0, len(kept), width)) + "…"


def shortened(name: str, width: int) -> str:
    """Return a long name without its middle, because its beginning and end identify it."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[len(name) - end :]}"


def legend_shape(labels: Sequence[str]) -> tuple[int, int]:
    """Return the number of legend columns, and the maximum characters of a name in a column.

    One name in ten may be longer and is wrapped, so that it does not reduce the number of columns.
    """
    lengths = sorted(map(len, labels)) or [1]
    usual = lengths[int(0.9 * (len(lengths) - 1))]
    columns = max(2, min(4, 108 // (usual + 6)))
    return columns, 108 // columns - 6


def legend_lines(labels: Sequence[str]) -> int:
    """Return the number of lines of a legend with these labels, to reserve space."""
    columns, width = legend_shape(labels)
    heights = [1 + fitted(label, width, 3).count("\n") for label in labels]
    each, more = divmod(len(labels), columns)
    sums, start = [0], 0
    for column in range(columns):
        stop = start + each + (column < more)
        sums.append(sum(heights[start:stop]))
        start = stop
    return max(sums)


def sentence(ax: Axes, text: str, width: int = 70) -> None:
    """Draw a sentence instead of a figure, wrapped at ``width`` characters."""
    ax.set_axis_off()
    ax.text(
        0.02,
        0.5,
        textwrap.fill(text, width),
        transform=ax.transAxes,
        va="center",
        fontsize=8,
        color="#444444",
        parse_math=False,
    )


def label_ends(
    ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]
) -> None:
    """Label lines at their right ends, and move labels that overlap.

    Parameters
    ----------
    ax
        Axes whose limits and data are final.
    ends
        ``label -> (x, y)`` of the last point, in data units.
    """
    if not ends:
        return
    figure = ax.figure
    texts = {
        label: ax.text(
            x,
            y,
            fitted(label, _END),
            color=colours[label],
            fontsize=7.5,
            va="center",
            parse_math=False,
        )
        for label, (x, y) in ends.items()
    }
    right = max(x for x, _ in ends.values())
    span = ax.get_xlim()[1] - ax.get_xlim()[0]
    start = right + 0.035 * span
    for text in texts.values():
        text.set_x(start)
    figure.draw_without_rendering()  # type: ignore[union-attr]
    low, high = ax.get_ylim()
    points = ax.get_window_extent().height * 72 / figure.dpi
    gap = 7.5 * 1.2 * (high - low) / max(points, 1.0)
    placed = within(spread([y for _, y in ends.values()], gap), gap, low, high)
    for (label, (x, y)), at in zip(ends.items(), placed, strict=True):
        texts[label].set_y(at)
        ax.plot(
            [x, start - 0.008 * span],
            [y, at],
            color=colours[label],
            linewidth=0.5,
            alpha=0.6,
            clip_on=False,
            scalex=False,
            scaley=False,
        )


def within(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Shift positions into the limits and keep their gaps; unchanged if they do not fit."""
    if (len(places) - 1) * gap > high - low:
        return list(places)
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for rank, i in enumerate(order):
        moved[i] = max(moved[i], low + rank * gap)
    for rank, i in enumerate(reversed(order)):
        moved[i] = min(moved[i], high - rank * gap)
    return moved


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Return positions near ``values``, in the same order, at least ``gap`` apart.

    Neighbours that are too close are merged into blocks centred on their mean, as in isotonic
    regression, which minimises the sum of squared shifts.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    blocks: list[tuple[float, list[int]]] = []
    for rank, i in enumerate(order):
        blocks.append((values[i] - rank * gap, [i]))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, first), (b, second) = blocks[-2:]
            merged = (a * len(first) + b * len(second)) / (len(first) + len(second))
            blocks[-2:] = [(merged, first + second)]
    placed = [0.0] * len(values)
    rank = 0
    for level, members in blocks:
        for i in members:
            placed[i] = level + rank * gap
            rank += 1
    return placed
