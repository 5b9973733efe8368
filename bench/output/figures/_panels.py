"""Grids of panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.output.style import PAGE, fitted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""Columns of :func:`grid`."""


def lines_of(n: int) -> int:
    """Return the number of rows of :func:`grid`."""
    return -(-n // COLUMNS)


def grid(figure: Figure, n: int, *, sharey: bool = False) -> list[Axes]:
    """Return ``n`` axes in rows of three; unused axes are switched off."""
    axes = figure.subplots(lines_of(n), min(COLUMNS, n), squeeze=False, sharey=sharey)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return list(axes.flat[:n])


def shape(n: int) -> tuple[int, int, float]:
    """Return rows, columns and the panel size in inches, for ``n`` panels on a page."""
    columns = min(4, max(2, n))
    lines = -(-n // columns)
    return lines, columns, (PAGE - 0.7) / columns


def panels(figure: Figure, labels: Sequence[str]) -> Iterator[tuple[str, Axes]]:
    """Yield each label with its titled axes; unused axes are switched off."""
    lines, columns, side = shape(len(labels))
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    width = int(side * 13)
    for ax in axes.flat[len(labels) :]:
        ax.set_axis_off()
    for position, (label, ax) in enumerate(zip(labels, axes.flat, strict=False)):
        ax.set_title(
            fitted(label, width, 2), fontsize=7.5, fontweight="bold", pad=3, parse_math=False
        )
        if position + columns >= len(labels):  # the lowest panel of its column has the ticks
            ax.xaxis.set_tick_params(labelbottom=True)
        yield label, ax
