"""Measure how many rows of a new batch make batch statistics useful.

Every test batch is split at random into the smallest number of pieces of at most k rows, of nearly
equal size (``bench.data.inference_batches``). A method processes one piece at a time. Training and
scored rows are those of the ordinary run: each row is scored once for every k. A method that needs
more rows than a piece has uses its documented fallback; the table counts these cases. Lin and Lu
2022 (PMLR 200:74-93) leave open how large an inference batch must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._curves import (
    CLOSE,
    END,
    Axis,
    Curve,
    curve_finding,
    fewest_within,
    flat_text,
    grouped_curves,
    smallest_without_fallback,
    with_end,
)
from bench.studies._sentences import differences_text, limits, listed, rows_text, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult, Finding

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

MIDDLE = 8
"""Number of rows compared in the reading, or the nearest number that was run."""
NOTES = (
    "Pieces are drawn from the test batches at random for each seed. They are the same for all "
    "methods, and every row is scored once. Fallbacks: number of inference batches that used the "
    "method's fallback, mean over seeds.",
)


def _name(point: float) -> str:
    return "whole" if point == END else f"{point:g}"


AXIS = Axis("rows", "rows", "rows in an inference batch (at most)", "whole", _name)


def run(context: StudyContext) -> Finding:
    """Score every method with inference batches of each size."""

    def sizes(full: ConditionResult) -> dict[float, dict[str, object]]:
        points = [k for k in context.points if 1 <= k < full.largest]
        return {k: {"kind": "rows", "rows": int(k)} for k in points}

    curves = with_end(grouped_curves(context, sizes))

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        few = {c.label: smallest_without_fallback(c) for c in named}
        full = [f"{c.label} {c.reference.text}" for c in named]
        fewest = [
            f"{c.label} {c.results[few[c.label]].text} ({_name(few[c.label])})" for c in named
        ]
        points = {point for curve in named for point in curve.results if point != END}
        middle = min(points or {END}, key=lambda point: (abs(point - MIDDLE), point))
        differences = [
            (c.label, context.difference(c.results[middle], c.reference))
            for c in named
            if middle in c.results
        ]
        needs = listed([f"{c.label} {_name(fewest_within(c))}" for c in named])
        return (
            f"{context.metric_text.capitalize()} with the full test batch "
            f"({rows_text(c.reference.rows for c in named)}): {listed(full)}. "
            f"With the fewest rows without a fallback: {listed(fewest)}.{flat_text(curves)}",
            f"Rows needed to stay within {CLOSE:g} of the full test batch: {needs}. Difference to "
            f"the full test batch with {_name(middle)} rows: {differences_text(differences)}. "
            f"{spread(context)}",
            limits(
                context,
                differences,
                "whether the rows of a partly imaged batch resemble a random part of it",
            ),
        )

    more = {"fallbacks": "fallbacks", "batches": "batches"}
    return curve_finding(context, curves, AXIS, reading, NOTES, more)
