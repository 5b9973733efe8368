"""How many rows of a new batch must be at hand before its own statistics help.

Every test batch is cut at random into the fewest pieces of at most k rows, of nearly equal size
(``bench.data.grouping``), and a method sees one piece at a time. The training is that of the
ordinary run, and so are the rows that are scored: each once, at every k. A method that needs more
rows than a piece holds takes its stated fallback, which the table counts. Lin and Lu 2022 (PMLR
200:74-93) leave open how large an inference batch must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._cells import Finding
from bench.studies._curves import (
    CLOSE,
    Curve,
    curve_table,
    draw_curves,
    fewest_within,
    grouped_curves,
    several,
    steady,
)
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell
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
ASKED = 8
"""Rows of the comparison that the reading is about, or the nearest number that was run."""


def run(lab: Lab) -> Finding:
    """Score every method with inference batches of each size."""

    def sizes(whole: Cell) -> dict[float, dict[str, object]]:
        largest = max(record["batches"]["rows_max"] for record in whole.records)
        return {k: {"kind": "rows", "rows": int(k)} for k in lab.points if 1 <= k < largest}

    curves = grouped_curves(lab, sizes)
    curves = [curve for curve in curves if curve.flat or curve.cells]
    studied = [curve for curve in curves if not curve.flat]
    for curve in studied:
        curve.cells[WHOLE] = curve.reference
    if not studied:
        return Finding([], _SHOWN, nothing(lab))
    points = sorted({point for curve in studied for point in curve.cells})
    places = {point: float(k) for k, point in enumerate(points)}
    ticks = {point: _name(point) for point in points}

    def draw(made: Canvas) -> None:
        draw_curves(made, lab, curves, places, ticks, "rows in an inference batch (at most)")

    table = curve_table(lab, curves, "rows", _name, "whole")
    return Finding(table, _SHOWN, _reading(lab, curves), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "rows": "rows",
    "mean": "score",
    "sd": "SD",
    "diff": "to whole",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
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


def _reading(lab: Lab, curves: list[Curve]) -> tuple[str, str, str]:
    named = several(curves)
    # Where every piece takes the fallback it is another method that is scored.
    few = {
        c.label: min(p for p, x in c.cells.items() if 2 * x.fallbacks < x.batches or p == WHOLE)
        for c in named
    }
    goes = listed(
        [
            f"{c.label} from {c.reference.words} with the whole test batch (median "
            f"{c.reference.rows:g} rows) to {c.cells[few[c.label]].words} with "
            f"{_name(few[c.label])}"
            for c in named
        ]
    )
    needs = [f"{c.label} needs {_name(fewest_within(c) or WHOLE)}" for c in named]
    first = f"{lab.metric_words.capitalize()} goes for {goes}{steady(curves)}."
    points = {point for curve in named for point in curve.cells if point != WHOLE}
    middle = min(points or {WHOLE}, key=lambda point: (abs(point - ASKED), point))
    gaps = [(c.label, lab.gap(c.cells[middle], c.reference)) for c in named if middle in c.cells]
    costs = listed([f"{name} {gap.words}" for name, gap in gaps])
    second = (
        f"To come within {CLOSE:g} of the whole test batch, and stay there, {listed(needs)} rows; "
        f"with {_name(middle)} rows the difference to the whole is {costs} ({spread(lab)})."
    )
    more = "whether the rows of a batch that was imaged in part are like a random part of it"
    return first, second, cannot_tell(lab, gaps, more)
