"""Studies that vary one setting: a curve per method, with differences to a reference point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.data.inference_batches import InferenceBatches
from bench.output.style import colour_of, label_ends, marker_of
from bench.studies._results import Condition, Finding, difference_cells
from bench.studies._sentences import NAMED, listed, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult, Difference


CLOSE = 0.01
"""A score counts as equal to the reference if it is at most this much lower."""
END = math.inf
"""The reference as the last point of the curve: the full test batch, all controls."""


@dataclass
class Curve:
    """Results of one method over the points of a study.

    Attributes
    ----------
    reference
        Baseline of the differences: the full test batch, a single plate, no effect.
    flat
        Whether the method cannot depend on the points: one result, drawn as a horizontal line.
    """

    label: str
    reference: ConditionResult
    results: dict[float, ConditionResult] = field(default_factory=dict)
    flat: bool = False

    def differences(self, context: StudyContext) -> dict[float, Difference]:
        """Return the paired difference of each point to the reference."""
        return {
            point: context.difference(result, self.reference)
            for point, result in self.results.items()
            if result.ok and result is not self.reference
        }


@dataclass(frozen=True)
class Axis:
    """The setting that a study varies.

    Attributes
    ----------
    column, heading
        Table column of the point, and its printed heading.
    reference
        The point that serves as baseline, as text.
    name
        Point -> text; by default the number.
    tick
        Point -> tick label; by default ``name``.
    to_scale
        Whether the axis is to scale, instead of evenly spaced.
    joined
        Whether a line joins the points; false if they have no order.
    """

    column: str
    heading: str
    label: str
    reference: str
    name: Callable[[float], str] = "{:g}".format
    tick: Callable[[float], str] | None = None
    to_scale: bool = False
    joined: bool = True


def curve_finding(
    context: StudyContext,
    curves: Sequence[Curve],
    axis: Axis,
    reading: Callable[[list[Curve]], tuple[str, str, str]],
    notes: tuple[str, ...],
    columns: Mapping[str, str] | None = None,
) -> Finding:
    """Return table, figure and reading of a set of curves.

    Parameters
    ----------
    reading
        Takes the curves to mention, at least one, and returns the reading.
    """
    shown = {
        "method": "method",
        axis.column: axis.heading,
        "mean": "score",
        "sd": "SD",
        "diff": f"to {axis.reference}",
        "diff_low": "low",
        "diff_high": "high",
        "diff_p": "p",
        **(columns or {}),
    }
    named = named_curves(curves)
    if not named:
        return Finding([], shown, nothing(context))

    def draw(canvas: Canvas) -> None:
        _draw(canvas, context, curves, axis)

    return Finding(_table(context, curves, axis), shown, reading(named), draw, notes=notes)


def _table(context: StudyContext, curves: Sequence[Curve], axis: Axis) -> list[dict[str, Cell]]:
    """Return one row per method and point."""
    rows: list[dict[str, Cell]] = []
    for curve in curves:
        differences = curve.differences(context)
        points: list[float | None] = [*([None] if curve.flat else []), *curve.results]
        for point in points:
            result = curve.reference if point is None else curve.results[point]
            facts = result.facts()
            del facts["method"]
            difference = None if point is None else differences.get(point)
            rows.append(
                {
                    "method": curve.label,
                    axis.column: "any" if point is None else axis.name(point),
                    **facts,
                    "rows_median": result.rows,
                    "batches": result.batches,
                    "fallbacks": result.fallbacks,
                    **difference_cells(difference),
                }
            )
    return rows


def _draw(canvas: Canvas, context: StudyContext, curves: Sequence[Curve], axis: Axis) -> None:
    """Draw one line per method; small points are seeds, bars are intervals."""
    ax = canvas.figure.subplots()
    drawn = [c for c in curves if c.reference.ok or any(x.ok for x in c.results.values())]
    points = sorted({point for curve in curves for point in curve.results})
    places = {point: point if axis.to_scale else float(k) for k, point in enumerate(points)}
    tick = axis.tick or axis.name
    ends: dict[str, tuple[float, float]] = {}
    left, right = min(places.values()), max(places.values())
    step = (right - left) / max(len(places) - 1, 1) or 1.0
    for k, curve in enumerate(drawn):
        colour, marker = colour_of(curve.label), marker_of(curve.label)
        if curve.flat:
            mean = curve.reference.mean
            ax.hlines(mean, left, right, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
            ends[curve.label] = (right, mean)
            _rows(canvas, curve, "any", curve.reference)
            continue
        offset = (k - (len(drawn) - 1) / 2) * min(0.06, 0.5 / max(len(drawn), 1)) * step
        line = []
        for point, result in curve.results.items():
            x = places[point] + offset
            line.append((x, result.mean if result.ok else math.nan))
            if not result.ok:
                continue
            ends[curve.label] = line[-1]
            xs = [x] * len(result.values)
            ax.scatter(xs, result.values, s=7, color=colour, alpha=0.45, linewidths=0, zorder=2)
            if result.low is not None and result.high is not None:
                ax.vlines(x, result.low, result.high, color=colour, linewidth=0.8, alpha=0.7)
            _rows(canvas, curve, tick(point), result)
        if line:
            style = "-" if axis.joined else "none"
            ax.plot(
                *zip(*line, strict=True), color=colour, marker=marker, linestyle=style, zorder=3
            )
    if context.metric in ("accuracy", "balanced_accuracy"):
        dashes = (0, (4, 3))
        ax.axhline(context.chance, color="#888888", linewidth=0.8, linestyle=dashes, zorder=1)
        x = left - 0.45 * step
        ax.text(x, context.chance, " chance", fontsize=6.5, color="#777777", va="bottom")
    ax.set_xticks([places[p] for p in places], [tick(p) for p in places])
    ax.minorticks_off()
    ax.set_xlim(left - 0.5 * step, right + 0.5 * step)
    ax.set_xlabel(axis.label)
    ax.set_ylabel(f"{context.metric_text} ({context.readout})")
    if axis.joined:
        label_ends(ax, ends, {curve.label: colour_of(curve.label) for curve in drawn})
    else:
        tracks = {c.label: c.reference.records[0].track for c in drawn}
        canvas.legend([curve.label for curve in drawn], tracks)


def _rows(canvas: Canvas, curve: Curve, point: str, result: ConditionResult) -> None:
    for seed, value in zip(result.seeds, result.values, strict=True):
        row = {"method": curve.label, "point": point, "seed": seed, "value": value}
        canvas.table.append({**row, "ci_low": result.low, "ci_high": result.high})


def grouped_curves(
    context: StudyContext,
    points_of: Callable[[ConditionResult], Mapping[float, Mapping[str, object]]],
    condition_of: Callable[[str], Condition | None] = Condition,
) -> list[Curve]:
    """Run every method with several groupings of the test rows.

    A method that does not use test batches has one result, drawn as a horizontal line.

    Parameters
    ----------
    points_of
        Takes the result with full test batches and returns a grouping per point.
    condition_of
        The condition of a method with full test batches; None if the method is skipped.
    """
    curves = []
    for method in context.methods:
        condition = condition_of(method)
        if condition is None:
            continue
        full = context.result(condition)
        if not full.ok:
            context.leave_out(full.label, full.reason)
            continue
        curve = Curve(full.label, full, flat=not context.per_batch(condition))
        if not curve.flat:
            for point, grouping in points_of(full).items():
                result = context.result(Condition(condition.method, condition.values, grouping))
                if result.ok:
                    curve.results[point] = result
                else:
                    name = f"{full.label}, {InferenceBatches.read(grouping).words}"
                    context.leave_out(name, result.reason)
            if not curve.results:
                context.leave_out(full.label, "no point is possible with these test batches")
        if curve.flat or curve.results:
            curves.append(curve)
    return curves


def with_end(curves: Sequence[Curve]) -> Sequence[Curve]:
    """Add the reference of each curve as its last point."""
    for curve in curves:
        if not curve.flat:
            curve.results[END] = curve.reference
    return curves


def named_curves(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves to mention in sentences: the first few that depend on the points."""
    return [c for c in curves if not c.flat and c.results][:NAMED]


def flat_text(curves: Sequence[Curve]) -> str:
    """Return a sentence that names the methods that cannot depend on the varied setting."""
    flat = [f"{c.label} {c.reference.text}" for c in curves if c.flat]
    return f" Independent of it: {listed(flat)}." if flat else ""


def fewest_within(curve: Curve) -> float:
    """Return the smallest point from which all scores are within :data:`CLOSE` of the reference.

    Returns :data:`END` if there is none.
    """
    fewest = END
    for point in sorted(curve.results, reverse=True):
        result = curve.results[point]
        if not result.ok or result.mean < curve.reference.mean - CLOSE:
            break
        fewest = point
    return fewest


def smallest_without_fallback(curve: Curve) -> float:
    """Return the smallest point at which most inference batches do not use the fallback.

    The fallback is a different method.
    """
    return min(
        point
        for point, result in curve.results.items()
        if 2 * result.fallbacks < result.batches or point == END
    )
