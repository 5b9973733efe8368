"""Separate the effect of confounded classes from the effect of small inference batches.

Batches with few classes are often small, so both effects appear together in real data. Here the
rows of each test batch are partitioned twice into pieces of the same sizes: pieces with only k
classes, and pieces of random rows. Random pieces minus the whole test batch is the effect of the
size; pieces of k classes minus random pieces is the effect of confounding. Every row is scored
once in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._curves import Axis, Curve, curve_finding, flat_text, grouped_curves
from bench.studies._sentences import differences_text, limits, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult, Difference, Finding

META = {
    "kind": "study",
    "name": "confounding",
    "version": 1,
    "question": "Do small inference batches lose accuracy by their size or by confounded classes?",
    "methods": ["erm", "adabn", "ben", "ben-multi", "arm-bn", "zscore", "combat", "coral-to-train"],
    "point": "classes in an inference batch",
    "points": [1, 2, 4, 8],
}

ROWS = 16
"""Maximum rows of an inference batch."""
RANDOM = 0.5
"""The random pieces of point k are at k - RANDOM."""
NOTES = (
    f"Inference batches have at most {ROWS} rows. Random rows are in pieces of the same sizes as "
    "the pieces with k classes. Negative controls are distributed in proportion to the sizes.",
)


def _is_random(point: float) -> bool:
    return point != int(point)


def _classes(point: float) -> int:
    return int(point + RANDOM) if _is_random(point) else int(point)


def _name(point: float) -> str:
    n = _classes(point)
    if not point:
        return "whole"
    text = f"{n} class{'es' * (n > 1)}"
    return f"random, sized as {text}" if _is_random(point) else text


def _tick(point: float) -> str:
    return _name(point).replace(", ", ",\n")


AXIS = Axis(
    "classes",
    "an inference batch has",
    "rows of an inference batch",
    "whole",
    _name,
    _tick,
    joined=False,
)


def run(context: StudyContext) -> Finding:
    """Score every method with inference batches of k classes and of random rows."""
    n_classes = len(context.task.classes)
    numbers = [int(k) for k in context.points if 1 <= k < n_classes]

    def points_of(_: ConditionResult) -> dict[float, dict[str, object]]:
        groupings: dict[float, dict[str, object]] = {}
        for k in numbers:
            sizes = {"classes": k, "rows": ROWS}
            groupings[k - RANDOM] = {"kind": "few-classes-sizes", **sizes}
            groupings[float(k)] = {"kind": "few-classes", **sizes}
        return groupings

    curves = grouped_curves(context, points_of)
    for curve in curves:
        if not curve.flat:
            curve.results = {0.0: curve.reference, **curve.results}

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        k = float(min(numbers))
        size = _differences(context, named, k - RANDOM, 0.0)
        confounding = _differences(context, named, k, k - RANDOM)
        return (
            f"Effect of the size (random rows − whole batch): {differences_text(size) or '–'}"
            f".{flat_text(curves)}",
            f"Effect of confounding at equal size ({_name(k)} − random rows): "
            f"{differences_text(confounding) or '–'}. {spread(context)}",
            limits(context, [*size, *confounding], "confounded batches in training"),
        )

    more = {"rows_median": "rows", "fallbacks": "fallbacks", "batches": "batches"}
    return curve_finding(context, curves, AXIS, reading, NOTES, more)


def _differences(
    context: StudyContext, curves: list[Curve], point: float, reference: float
) -> list[tuple[str, Difference]]:
    """Return the paired difference between two points for each method that has both."""
    return [
        (curve.label, context.difference(curve.results[point], curve.results[reference]))
        for curve in curves
        if point in curve.results and reference in curve.results
    ]
