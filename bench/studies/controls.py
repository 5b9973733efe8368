"""How many negative controls of a new batch the corrections need that rest on them.

Each test batch keeps at most c of its negative controls, drawn at random; the others are left out
of the inference batch, and all treated rows stay. Training is untouched: its batches have all their
controls. A method whose stated minimum is not met takes its fallback, which the table counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.studies._cells import Arm, Finding
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
    "name": "controls",
    "version": 1,
    "question": "How many negative controls of a new batch do the corrections need?",
    "methods": ["erm", "adabn", "ben-controls", "center", "zscore", "robust", "tvn"],
    "point": "negative controls in a test batch",
    "points": [1, 2, 4, 8, 16, 32],
}

ALL = float("inf")


def run(lab: Lab) -> Finding:
    """Score every method that rests on controls with few of them."""
    opened = lab.target.opened
    if not opened.has_controls:
        lab.leave_out("all methods", f"{opened.name} has no negative controls")
        return Finding([], _SHOWN, nothing(lab))
    control = opened.index["control"].to_numpy(bool)

    def arm(method: str) -> Arm | None:
        last = method.split("+")[-1].strip()
        # A network that uses all rows of a test batch has a form that uses its controls alone.
        if last == "adabn":
            return Arm(method, {last: {"rows": "controls"}})
        made = Arm(method)
        chain = lab.job(made, lab.seeds[0]).chain
        seen = [stage for stage in chain.stages if stage.per_batch]
        if seen and not any("controls" in stage.needs for stage in seen):
            lab.leave_out(method, "it looks at the test batch, but not at its controls alone")
            return None
        return made

    def numbers(whole: Cell) -> dict[float, dict[str, object]]:
        level = lab.job(whole.arm, lab.seeds[0]).chain.stages[-1].level
        rows = np.concatenate([fold.test for fold in lab.target.folds])
        names = opened.index[level].to_numpy(str)[rows][control[rows]]
        most = int(np.unique(names, return_counts=True)[1].max())
        return {c: {"kind": "controls", "controls": int(c)} for c in lab.points if 1 <= c < most}

    curves = grouped_curves(lab, numbers, arm)
    curves = [curve for curve in curves if curve.flat or curve.cells]
    studied = [curve for curve in curves if not curve.flat]
    for curve in studied:
        curve.cells[ALL] = curve.reference
    if not studied:
        return Finding([], _SHOWN, nothing(lab))
    points = sorted({point for curve in studied for point in curve.cells})
    places = {point: float(k) for k, point in enumerate(points)}
    ticks = {point: _name(point) for point in points}

    def draw(made: Canvas) -> None:
        words = "negative controls in a test batch (at most)"
        draw_curves(made, lab, curves, places, ticks, words)

    table = curve_table(lab, curves, "controls", _name, "all")
    return Finding(table, _SHOWN, _reading(lab, curves), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "controls": "controls",
    "mean": "score",
    "sd": "SD",
    "diff": "to all",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
    "fallbacks": "fallbacks",
    "batches": "batches",
}
_NOTES = (
    "Controls are drawn at random, anew for each seed and the same for all methods; training "
    "batches keep all of theirs. Fallbacks are counted over test batches, a mean over seeds.",
)


def _name(point: float) -> str:
    return "all" if point == ALL else f"{point:g}"


def _reading(lab: Lab, curves: list[Curve]) -> tuple[str, str, str]:
    named = several(curves)
    few = {
        c.label: min(p for p, x in c.cells.items() if 2 * x.fallbacks < x.batches or p == ALL)
        for c in named
    }
    goes = listed(
        [
            f"{c.label} from {c.reference.words} with all controls to "
            f"{c.cells[few[c.label]].words} with {_name(few[c.label])}"
            for c in named
        ]
    )
    first = f"{lab.metric_words.capitalize()} goes for {goes}{steady(curves)}."
    gaps = [
        (f"{c.label} with {_name(few[c.label])}", lab.gap(c.cells[few[c.label]], c.reference))
        for c in named
        if few[c.label] != ALL
    ]
    needs = [f"{c.label} needs {_name(fewest_within(c) or ALL)}" for c in named]
    second = (
        f"To come within {CLOSE:g} of what all controls give, and stay there, {listed(needs)}; the "
        f"fewest that no fallback answers for cost "
        f"{listed([f'{name} {gap.words}' for name, gap in gaps]) or 'nothing that was run'} "
        f"({spread(lab)})."
    )
    more = "how methods would do that were trained with few controls too"
    return first, second, cannot_tell(lab, gaps, more)
