"""Studies that vary one thing: a line a method, a table of differences to one end of the line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.data.grouping import Grouping
from bench.output.style import colour_of, label_ends, marker_of
from bench.studies._cells import Arm, gap_columns
from bench.studies._words import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell, Gap
    from bench.studies._lab import Lab

__all__ = [
    "CLOSE",
    "Curve",
    "curve_table",
    "draw_curves",
    "fewest_within",
    "grouped_curves",
    "several",
    "steady",
]

CLOSE = 0.01
"""A score counts as that of the reference if it is at most so much lower."""


@dataclass
class Curve:
    """One method over the points of a study.

    Attributes
    ----------
    label
        Name of the line.
    cells
        Point -> cell, in the order of the points.
    reference
        What the differences are to: the whole test batch, a single plate, no effect.
    flat
        Whether the method cannot depend on the points: one cell, drawn as a level line.
    """

    label: str
    reference: Cell
    cells: dict[float, Cell] = field(default_factory=dict)
    flat: bool = False

    def gaps(self, lab: Lab) -> dict[float, Gap]:
        """Return the paired difference of each point to the reference."""
        return {
            point: lab.gap(cell, self.reference)
            for point, cell in self.cells.items()
            if cell.ok and cell is not self.reference
        }


def curve_table(
    lab: Lab,
    curves: Sequence[Curve],
    point: str,
    names: Callable[[float], str],
    reference: str,
) -> list[dict[str, Any]]:
    """Return a row for each method and point.

    Parameters
    ----------
    lab
        The study's.
    curves
        The lines.
    point
        Column of the point.
    names
        The point in words.
    reference
        Point of the reference in words, for the row of methods that do not depend on it.
    """
    rows = []
    for curve in curves:
        gaps = curve.gaps(lab)
        cells = {reference: curve.reference} if curve.flat else {}
        cells |= {names(p): cell for p, cell in curve.cells.items()}
        by_name = {names(p): gap for p, gap in gaps.items()}
        for name, cell in cells.items():
            row = {**cell.facts(), "method": curve.label}
            row = {"method": row.pop("method"), point: "any" if curve.flat else name, **row}
            row["rows_median"], row["batches"] = cell.rows, cell.batches
            row["fallbacks"] = cell.fallbacks
            gap = by_name.get(name)
            empty = dict.fromkeys(gap_columns("diff"))
            rows.append({**row, **(empty if gap is None else gap.facts("diff"))})
    return rows


def fewest_within(curve: Curve, close: float = CLOSE) -> float | None:
    """Return the smallest point from which on all scores are within ``close`` of the reference."""
    found = None
    for point in sorted(curve.cells, reverse=True):
        cell = curve.cells[point]
        if not cell.ok or cell.mean < curve.reference.mean - close:
            break
        found = point
    return found


def draw_curves(
    made: Canvas,
    lab: Lab,
    curves: Sequence[Curve],
    places: Mapping[float, float],
    ticks: Mapping[float, str],
    xlabel: str,
    *,
    joined: bool = True,
) -> None:
    """Draw a line for each method; small points are seeds, bars are intervals.

    Parameters
    ----------
    made
        The open canvas.
    lab, curves
        The study's.
    places, ticks
        Point -> place on the axis, and its name there.
    xlabel
        Words under the axis.
    joined
        Whether points are joined by a line; not where they have no order.
    """
    ax = made.figure.subplots()
    drawn = [c for c in curves if c.reference.ok or any(x.ok for x in c.cells.values())]
    ends: dict[str, tuple[float, float]] = {}
    left, right = min(places.values()), max(places.values())
    step = (right - left) / max(len(places) - 1, 1) or 1.0
    for k, curve in enumerate(drawn):
        colour, marker = colour_of(curve.label), marker_of(curve.label)
        if curve.flat:
            level: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 2))}
            ax.hlines(curve.reference.mean, left, right, color=colour, **level)
            ends[curve.label] = (right, curve.reference.mean)
            _rows(made, curve, "any", curve.reference)
            continue
        offset = (k - (len(drawn) - 1) / 2) * min(0.06, 0.5 / max(len(drawn), 1)) * step
        line = []
        for point, cell in curve.cells.items():
            x = places[point] + offset
            line.append((x, cell.mean if cell.ok else math.nan))
            if not cell.ok:
                continue
            ends[curve.label] = line[-1]
            xs = [x] * len(cell.values)
            ax.scatter(xs, cell.values, s=7, color=colour, alpha=0.45, linewidths=0, zorder=2)
            if cell.low is not None and cell.high is not None:
                ax.vlines(x, cell.low, cell.high, color=colour, linewidth=0.8, alpha=0.7)
            _rows(made, curve, ticks[point], cell)
        if line:
            style = "-" if joined else "none"
            ax.plot(
                *zip(*line, strict=True), color=colour, marker=marker, linestyle=style, zorder=3
            )
    chance = 1.0 / len(lab.target.classes)
    if lab.metric in ("accuracy", "balanced_accuracy"):
        ax.axhline(chance, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        ax.text(left - 0.45 * step, chance, " chance", fontsize=6.5, color="#777777", va="bottom")
    ax.set_xticks([places[p] for p in ticks], list(ticks.values()))
    ax.minorticks_off()
    ax.set_xlim(left - 0.5 * step, right + 0.5 * step)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(f"{lab.metric_words} ({lab.readout})")
    if joined:
        label_ends(ax, ends, {curve.label: colour_of(curve.label) for curve in drawn})
    else:
        tracks = {c.label: str((c.reference.records[0])["track"]) for c in drawn}
        made.legend([curve.label for curve in drawn], tracks)


def _rows(made: Canvas, curve: Curve, point: str, cell: Cell) -> None:
    for seed, value in zip(cell.seeds, cell.values, strict=True):
        entry = {"method": curve.label, "point": point, "seed": seed, "value": value}
        made.table.append({**entry, "ci_low": cell.low, "ci_high": cell.high})


def grouped_curves(
    lab: Lab,
    points_of: Callable[[Cell], Mapping[float, Mapping[str, Any]]],
    arm_of: Callable[[str], Arm | None] = Arm,
) -> list[Curve]:
    """Run every method with test rows grouped in several ways; one level line if it looks at none.

    Parameters
    ----------
    lab
        The study's.
    points_of
        Takes the cell of whole test batches and returns a grouping for each point.
    arm_of
        The arm of a method with whole test batches; None leaves it out, after having said why.
    """
    curves = []
    for method in lab.methods:
        arm = arm_of(method)
        if arm is None:
            continue
        whole = lab.cell(arm)
        if not whole.ok:
            lab.leave_out(whole.label, whole.reason)
            continue
        curve = Curve(whole.label, whole, flat=not lab.per_batch(arm))
        if not curve.flat:
            for point, grouping in points_of(whole).items():
                cell = lab.cell(Arm(arm.method, arm.values, grouping))
                if cell.ok:
                    curve.cells[point] = cell
                else:
                    lab.leave_out(f"{whole.label}, {Grouping.read(grouping).words}", cell.reason)
            if not curve.cells:
                lab.leave_out(whole.label, "none of the points can be had with these test batches")
        curves.append(curve)
    return curves


def several(curves: Sequence[Curve], most: int = 4) -> list[Curve]:
    """Return the curves that a sentence is about."""
    return [c for c in curves if not c.flat and c.cells][:most]


def steady(curves: Sequence[Curve]) -> str:
    """Say which methods cannot depend on what is varied, as the end of a sentence."""
    flat = [f"{c.label} ({c.reference.words})" for c in curves if c.flat]
    return f"; {listed(flat)} cannot depend on it" if flat else ""
