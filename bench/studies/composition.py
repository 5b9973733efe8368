"""Two inference batches that happen in a laboratory: a quarter of a plate, and a single class.

Each is held against rows drawn at random in pieces of the same size, since a smaller inference
batch costs something by itself: quarters of the layout against random quarters, one class at a time
against random pieces as large as the classes. Every row is scored once in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.studies._cells import Finding
from bench.studies._curves import Curve, curve_table, draw_curves, grouped_curves, several, steady
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Gap
    from bench.studies._lab import Lab

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
    "point": "",
    "points": [],
}

KINDS: dict[float, tuple[str, str, dict[str, Any]]] = {
    1.0: ("random quarter", "random\nquarter", {"kind": "parts", "parts": 4}),
    2.0: ("quarter of the plate", "quarter of\nthe plate", {"kind": "quarter-plate"}),
    3.0: ("random, class-sized", "random,\nclass-sized", {"kind": "same-sizes"}),
    4.0: ("single class", "single\nclass", {"kind": "single-class"}),
}
"""Place -> name, tick and grouping."""
PAIRS = ((2.0, 1.0), (4.0, 3.0))
"""Which kind is held against which of the same size."""


def run(lab: Lab) -> Finding:
    """Score every method with inference batches of each kind."""
    curves = grouped_curves(lab, lambda whole: {at: kind[2] for at, kind in KINDS.items()})
    for curve in curves:
        if not curve.flat:
            curve.cells = {0.0: curve.reference, **curve.cells}
    if not any(len(curve.cells) > 1 for curve in curves):
        return Finding([], _SHOWN, nothing(lab))
    used = [0.0, *(at for at in KINDS if any(at in curve.cells for curve in curves))]
    places = {at: float(k) for k, at in enumerate(used)}
    ticks = {at: "whole" if not at else KINDS[at][1] for at in used}

    def draw(made: Canvas) -> None:
        words = "rows of an inference batch"
        draw_curves(made, lab, curves, places, ticks, words, joined=False)

    table = curve_table(lab, curves, "rows_are", _name, "whole")
    return Finding(table, _SHOWN, _reading(lab, curves), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "rows_are": "an inference batch is",
    "mean": "score",
    "sd": "SD",
    "diff": "to whole",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
    "rows_median": "rows",
    "fallbacks": "fallbacks",
    "batches": "batches",
}
_NOTES = (
    "Quarters of the plate are those of the occupied layout, by row and column of the wells. "
    "Negative controls are dealt out evenly where classes are apart. Every row is scored once.",
)


def _name(at: float) -> str:
    return "whole" if not at else KINDS[at][0]


def _pairs(lab: Lab, curve: Curve) -> dict[float, Gap]:
    return {
        one: lab.gap(curve.cells[one], curve.cells[other])
        for one, other in PAIRS
        if one in curve.cells and other in curve.cells
    }


def _reading(lab: Lab, curves: list[Curve]) -> tuple[str, str, str]:
    named = several(curves)
    goes = listed(
        [
            f"{c.label} "
            + ", ".join(
                f"{x.words} with {_name(at)}" for at, x in c.cells.items() if at in (0, 2, 4)
            )
            for c in named
        ],
        sep="; ",
    )
    first = f"{lab.metric_words.capitalize()} is for {goes}{steady(curves)}."
    words, gaps = [], []
    for one, other in PAIRS:
        found = {c.label: _pairs(lab, c)[one] for c in named if one in _pairs(lab, c)}
        if found:
            inner = listed([f"{label} {gap.words}" for label, gap in found.items()])
            words.append(f"{_name(one)} against {_name(other)}: {inner}")
            gaps += [(f"{label} with {_name(one)}", gap) for label, gap in found.items()]
    second = f"At equal size the composition makes: {'; '.join(words)} ({spread(lab)})."
    more = "how plates would do that were laid out in quarters or by class from the start"
    return first, second, cannot_tell(lab, gaps, more)
