"""Two realistic inference batches: a quarter of a plate, and a single class.

Each is compared with random pieces of the same size, because a smaller inference batch has its own
cost: quarters of the layout with random quarters, and single classes with random pieces as large as
the classes. Every row is scored once in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies._curves import Axis, Curve, curve_finding, flat_text, grouped_curves
from bench.studies._sentences import differences_text, limits, listed, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import Difference, Finding

META = {
    "kind": "study",
    "name": "composition",
    "version": 1,
    "question": "What if an inference batch is a quarter of a plate, or a single class?",
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
}

KINDS: dict[float, tuple[str, str, dict[str, object]]] = {
    1.0: ("random quarter", "random\nquarter", {"kind": "parts", "parts": 4}),
    2.0: ("quarter of the plate", "quarter of\nthe plate", {"kind": "quarter-plate"}),
    3.0: ("random, class-sized", "random,\nclass-sized", {"kind": "same-sizes"}),
    4.0: ("single class", "single\nclass", {"kind": "single-class"}),
}
"""Point -> name, tick and grouping; 0 is the full test batch."""
PAIRS = ((2.0, 1.0), (4.0, 3.0))
"""Each kind with its random pieces of the same size."""
NOTES = (
    "Quarters of the plate are those of the occupied layout, by row and column of the wells. "
    "Negative controls are distributed evenly where classes are separated. Every row is scored "
    "once.",
)


def _name(point: float) -> str:
    return KINDS[point][0] if point else "whole"


def _tick(point: float) -> str:
    return KINDS[point][1] if point else "whole"


AXIS = Axis(
    "rows_are",
    "an inference batch is",
    "rows of an inference batch",
    "whole",
    _name,
    _tick,
    joined=False,
)


def run(context: StudyContext) -> Finding:
    """Score every method with inference batches of each kind."""
    curves = grouped_curves(context, lambda full: {at: kind[2] for at, kind in KINDS.items()})
    for curve in curves:
        if not curve.flat:
            curve.results = {0.0: curve.reference, **curve.results}

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        scores = []
        for at in sorted({at for c in named for at in c.results if at % 2 == 0}):
            values = [f"{c.label} {c.results[at].text}" for c in named if at in c.results]
            scores.append(f"{context.metric_text.capitalize()}, {_name(at)}: {listed(values)}.")
        clauses = []
        differences: list[tuple[str, Difference]] = []
        for point, random in PAIRS:
            pairs = [
                (c.label, context.difference(c.results[point], c.results[random]))
                for c in named
                if point in c.results and random in c.results
            ]
            if pairs:
                name = f"{_name(point)} minus {_name(random)}".capitalize()
                clauses.append(f"{name}: {differences_text(pairs)}.")
                differences += [(f"{label} with {_name(point)}", gap) for label, gap in pairs]
        return (
            f"{' '.join(scores)}{flat_text(curves)}",
            f"Effect of the composition at equal size. {' '.join(clauses) or 'No pair was run.'} "
            f"{spread(context)}",
            limits(context, differences, "plates that are laid out in quarters or by class"),
        )

    more = {"rows_median": "rows", "fallbacks": "fallbacks", "batches": "batches"}
    return curve_finding(context, curves, AXIS, reading, NOTES, more)
