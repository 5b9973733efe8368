"""How many rows of a new batch must be at hand before its own statistics help.

Every test batch is cut at random into the fewest pieces of at most k rows, of nearly equal size
(``bench.grouping``), and a method sees one piece at a time. The training is that of the ordinary
run, and so are the rows that are scored: each once, at every k. A method that needs more rows than
a piece holds takes its stated fallback, which the table counts. Lin and Lu 2022 (PMLR 200:74-93)
leave open how large an inference batch must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._curves import CLOSE, Curve, curve_table, draw_curves, fewest_within
from bench.studies._lab import Arm, Finding
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.plots import Canvas
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "batch-size",
    "version": 1,
    "question": "How many rows of a new batch must an inference batch hold?",
    "methods": [
        "erm",
        "adabn",
        "ben",
        "ben-multi",
        "arm-bn",
        "tent",
        "zscore",
        "combat",
        "coral-to-train",
    ],
    "point": "rows in an inference batch",
    "points": [1, 2, 4, 8, 16, 32, 64, 128, 256],
}

WHOLE = float("inf")


def run(lab: Lab) -> Finding:
    """Score every method with inference batches of each size."""
    curves: list[Curve] = []
    for method in lab.methods:
        whole = lab.cell(Arm(method))
        if not whole.ok:
            lab.leave_out(method, whole.reason)
            continue
        if not lab.per_batch(method):
            curves.append(Curve(whole.label, whole, flat=True))
            continue
        curve = Curve(whole.label, whole)
        largest = max(record["batches"]["rows_max"] for record in whole.records)
        for rows in lab.points:
            if rows < largest:
                cell = lab.cell(Arm(method, grouping={"kind": "rows", "rows": int(rows)}))
                if not cell.ok:
                    lab.leave_out(method, cell.reason)
                    break
                curve.cells[rows] = cell
        else:
            curve.cells[WHOLE] = whole
            curves.append(curve)
    studied = [curve for curve in curves if not curve.flat]
    if not studied:
        return Finding([], _SHOWN, nothing(lab))
    table = curve_table(lab, curves, "rows", _name, "whole")

    points = sorted({point for curve in studied for point in curve.cells})
    places = {point: float(k) for k, point in enumerate(points)}
    ticks = {point: _name(point) for point in points}

    def draw(made: Canvas) -> None:
        draw_curves(made, lab, curves, places, ticks, "rows in an inference batch (at most)")

    return Finding(table, _SHOWN, _reading(lab, curves, studied), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "rows": "rows",
    "mean": "score",
    "sd": "SD",
    "diff": "to whole",
    "diff_low": "low",
    "diff_high": "high",
    "fallbacks": "fallbacks",
    "batches": "batches",
}
_NOTES = (
    "Pieces are drawn from the test batches at random, anew for each seed and the same for all "
    "methods; every row is scored once. Fallbacks are counted over inference batches, a mean over "
    "seeds.",
)


def _name(point: float) -> str:
    return "whole" if point == WHOLE else f"{point:g}"


def _reading(lab: Lab, curves: list[Curve], studied: list[Curve]) -> tuple[str, str, str]:
    few = {c.label: min(c.cells) for c in studied}
    falls = listed(
        [
            f"{c.label} from {c.reference.words} with the whole test batch (median "
            f"{c.reference.rows:g} rows) to {c.cells[few[c.label]].words} with {few[c.label]:g}"
            for c in studied
        ]
    )
    flat = [f"{c.label} ({c.reference.words})" for c in curves if c.flat]
    still = f"; {listed(flat)} cannot depend on it" if flat else ""
    first = f"On {lab.target.split.name}, {lab.metric_words} goes for {falls}{still}."
    needs = []
    for curve in studied:
        fewest = fewest_within(curve)
        needs.append(
            f"{curve.label} needs the whole test batch"
            if fewest in (None, WHOLE)
            else f"{curve.label} needs {fewest:g}"
        )
    middle = _middle(studied)
    costs = listed(
        [
            f"{c.label} {lab.gap(c.cells[middle], c.reference).words}"
            for c in studied
            if middle in c.cells
        ]
    )
    second = (
        f"To stay within {CLOSE:g} of the whole test batch {listed(needs)} rows; with {middle:g} "
        f"rows the difference is {costs} ({spread(lab)})."
    )
    gaps = [
        (f"{c.label} at {middle:g} rows", lab.gap(c.cells[middle], c.reference))
        for c in studied
        if middle in c.cells
    ]
    more = "whether rows of a batch that was imaged in part are like a random part of it"
    return first, second, cannot_tell(lab, gaps, more)


def _middle(studied: list[Curve]) -> float:
    """Return the point nearest to eight rows that some curve has."""
    points = {point for curve in studied for point in curve.cells if point != WHOLE}
    return min(points or {WHOLE}, key=lambda point: (abs(point - 8), point))
