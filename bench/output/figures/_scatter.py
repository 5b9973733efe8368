"""Layouts of embeddings, coloured by category."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.seeds import generator
from bench.output.style import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray


SHOWN = 12
"""With more categories, colours follow a scale and are not named."""
_NAMED = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#332288",
    "#117733",
    "#999933",
    "#882255",
    "#44AA99",
    "#555555",
)
"""Palettes of Okabe & Ito 2008, then Tol 2021; safe for colour-blind readers."""


def category_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per category, in the order of their names."""
    known = sorted(set(names) - {""})
    if len(known) <= SHOWN:
        colours = dict(zip(known, _NAMED, strict=False))
    else:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        places = np.linspace(0, 0.95, len(known))
        scale = colormaps["viridis"]
        colours = {name: to_hex(scale(place)) for name, place in zip(known, places, strict=True)}
    return {**colours, "": "#C8C8C8"}


def chosen(ids: NDArray[np.str_], most: int) -> NDArray[np.int64]:
    """Return the positions of at most ``most`` rows, selected and ordered only by their ids."""
    order = np.argsort(ids, kind="stable")
    if len(order) <= most:
        return order
    picked = generator("layout").permutation(len(order))[:most]
    return order[np.sort(picked)]


def scatter(ax: Axes, xy: NDArray[np.float64], names: NDArray[np.str_]) -> None:
    """Draw points in a fixed shuffled order, so that no category covers another."""
    colours = category_colours(names.tolist())
    order = generator("scatter", 0).permutation(len(xy))
    order = order[np.argsort(names[order] != "", kind="stable")]  # rows without one are below
    size = float(np.clip(4000 / max(len(xy), 1), 2.0, 14.0))
    ax.scatter(
        xy[order, 0],
        xy[order, 1],
        s=size,
        c=[colours[name] for name in names[order].tolist()],
        alpha=0.8,
        linewidths=0,
        rasterized=len(xy) > 500,
    )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def key(ax: Axes, names: Sequence[str], title: str, none: str = "") -> None:
    """Draw the legend of colours in separate axes, or state the number of categories."""
    from matplotlib.lines import Line2D

    ax.set_axis_off()
    known = sorted(set(names) - {""})
    colours = category_colours(known)
    lines = [(name, colours[name]) for name in known] if len(known) <= SHOWN else []
    if none and "" in set(names):
        lines.append((none, colours[""]))
    heading = f"{title} ({len(known)})"
    if len(known) > SHOWN:
        heading += ",\nby their names\nfrom dark to light"
    handles = [Line2D([], [], linestyle="none", marker="o", color=colour) for _, colour in lines]
    words = [shortened(name, 26) for name, _ in lines]
    legend = ax.legend(
        handles,
        words,
        title=heading,
        loc="center left",
        bbox_to_anchor=(0, 0.5),
        borderaxespad=0,
        handletextpad=0.2,
        fontsize=6.5,
        title_fontsize=7,
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
