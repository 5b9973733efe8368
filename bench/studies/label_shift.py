"""How label shift in test batches affects a correction.

Every test batch is split into inference batches of equal size. Their class composition is drawn
from a Dirichlet distribution around the composition of the test batch: alpha 100 preserves it,
alpha 0.01 gives nearly one class (``bench.data.inference_batches.pieces`` documents the procedure).
Rows are not resampled: each is in one inference batch and is scored once, so all alphas are scored
on the same rows. Only the other rows in the inference batch change. A method that does not use test
batches has the same score at every alpha. Differences are to the largest alpha, whose inference
batches have the same size. The remaining difference to the full test batch is the cost of the
smaller size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._curves import END, Axis, Curve, curve_finding, flat_text, grouped_curves
from bench.studies._sentences import differences_text, limits, listed, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult, Finding

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
"""Rows per inference batch; a quarter of the median test batch if that is less, at least 4."""
LABEL = "Dirichlet alpha of the classes in an inference batch (small: nearly one class)"
NOTES = (
    "Whole is the full test batch, as it is mixed. Every row is in one inference batch and is "
    "scored once. Negative controls are distributed evenly. Draws differ by seed and are the same "
    "for all methods.",
)


def _name(point: float) -> str:
    return "whole" if point == END else f"{point:g}"


AXIS = Axis("alpha", "alpha", LABEL, "largest alpha", _name)


def run(context: StudyContext) -> Finding:
    """Score every method with inference batches of each composition."""
    alphas = [alpha for alpha in context.points if alpha > 0]

    def compositions(full: ConditionResult) -> dict[float, dict[str, object]]:
        rows = max(4, min(ROWS, int(full.rows // 4)))
        return {a: {"kind": "dirichlet", "alpha": a, "rows": rows} for a in alphas}

    curves = grouped_curves(context, compositions)
    full = {curve.label: curve.reference for curve in curves if not curve.flat}
    for curve in curves:
        if not curve.flat:
            curve.reference = curve.results[max(curve.results)]
            curve.results[END] = full[curve.label]

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        low = {c.label: min(c.results) for c in named}
        high = {c.label: max(p for p in c.results if p != END) for c in named}
        even = [f"{c.label} {c.reference.text} ({high[c.label]:g})" for c in named]
        uneven = [f"{c.label} {c.results[low[c.label]].text} ({low[c.label]:g})" for c in named]
        differences = [
            (c.label, context.difference(c.results[low[c.label]], c.reference)) for c in named
        ]
        sizes = [(c.label, context.difference(c.reference, full[c.label])) for c in named]
        return (
            f"{context.metric_text.capitalize()} in inference batches of "
            f"{named[0].reference.rows:g} rows at the largest alpha: {listed(even)}. "
            f"At the smallest alpha: {listed(uneven)}.{flat_text(curves)}",
            f"Effect of the composition: {differences_text(differences)}. Effect of the smaller "
            f"inference batch: {differences_text(sizes)}. {spread(context)}",
            limits(context, differences, "other ways to draw compositions, and new classes"),
        )

    more = {"rows_median": "rows", "fallbacks": "fallbacks"}
    return curve_finding(context, curves, AXIS, reading, NOTES, more)
