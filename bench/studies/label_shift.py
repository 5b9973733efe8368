"""What happens to a correction when the classes of a test batch are mixed in other proportions.

Every test batch is cut into inference batches of one size whose class composition is drawn from a
Dirichlet distribution around the composition of the test batch: alpha 100 keeps it, alpha 0.01
gives nearly one class (``bench.data.grouping.pieces`` has the exact procedure). Rows are not
resampled: each is in one inference batch and is scored once, so all alphas are scored on the same
rows, only the company of a row changes, and a method that looks at no test batch cannot move.
Differences are to the largest alpha, which has inference batches of the same size; the step from
there to the whole test batch is what the smaller size costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._cells import Finding
from bench.studies._curves import Curve, curve_table, draw_curves, grouped_curves, several, steady
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "label-shift",
    "version": 1,
    "question": "What if the classes in an inference batch are mixed in other proportions?",
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
    "point": "Dirichlet alpha",
    "points": [0.01, 0.1, 1, 10, 100],
}

ROWS = 32
"""Rows in an inference batch; a quarter of the median test batch if that is less, at least 4."""
WHOLE = float("inf")


def run(lab: Lab) -> Finding:
    """Score every method with inference batches of each composition."""
    alphas = [alpha for alpha in lab.points if alpha > 0]

    def compositions(whole: Cell) -> dict[float, dict[str, object]]:
        rows = max(4, min(ROWS, int(whole.rows // 4)))
        return {a: {"kind": "dirichlet", "alpha": a, "rows": rows} for a in alphas}

    curves = grouped_curves(lab, compositions)
    wholes: dict[str, Cell] = {}
    for curve in curves:
        if not curve.flat and curve.cells:
            wholes[curve.label] = curve.reference
            curve.reference = curve.cells[max(curve.cells)]
            curve.cells[WHOLE] = wholes[curve.label]
    if not wholes:
        return Finding([], _SHOWN, nothing(lab))
    points = [*alphas, WHOLE]
    places = {point: float(k) for k, point in enumerate(points)}
    ticks = {point: _name(point) for point in points}

    def draw(made: Canvas) -> None:
        words = "Dirichlet alpha of the classes in an inference batch (small: nearly one class)"
        draw_curves(made, lab, curves, places, ticks, words)

    table = curve_table(lab, curves, "alpha", _name, _name(max(alphas)))
    return Finding(table, _SHOWN, _reading(lab, curves, wholes), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "alpha": "alpha",
    "mean": "score",
    "sd": "SD",
    "diff": "to largest alpha",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
    "rows_median": "rows",
    "fallbacks": "fallbacks",
}
_NOTES = (
    "Whole is the test batch undivided, as it is mixed. Every row is in one inference batch and is "
    "scored once; negative controls are dealt out evenly. Draws are anew for each seed and the "
    "same for all methods.",
)


def _name(point: float) -> str:
    return "whole" if point == WHOLE else f"{point:g}"


def _reading(lab: Lab, curves: list[Curve], wholes: dict[str, Cell]) -> tuple[str, str, str]:
    named = several(curves)
    low = {c.label: min(c.cells) for c in named}
    high = {c.label: max(p for p in c.cells if p != WHOLE) for c in named}
    goes = listed(
        [
            f"{c.label} from {c.reference.words} at alpha {high[c.label]:g} to "
            f"{c.cells[low[c.label]].words} at alpha {low[c.label]:g}"
            for c in named
        ]
    )
    first = (
        f"In inference batches of {named[0].reference.rows:g} rows, {lab.metric_words} goes for "
        f"{goes}{steady(curves)}."
    )
    gaps = [(c.label, lab.gap(c.cells[low[c.label]], c.reference)) for c in named]
    size = listed([f"{c.label} {lab.gap(c.reference, wholes[c.label]).words}" for c in named])
    second = (
        f"Composition alone costs {listed([f'{name} {gap.words}' for name, gap in gaps])}, and "
        f"the smaller inference batch by itself {size} ({spread(lab)})."
    )
    more = "what another way of drawing compositions, or classes that are new, would do"
    return first, second, cannot_tell(lab, gaps, more)
