"""How strong technical effects may be before a method breaks.

The physical deviations of a simulated data set are turned up together (``data.strength``), or one
alone if all others are switched off (``--set data.off=...``). At strength 0 training and test look
alike; a method *breaks* where its score has fallen half way from there to chance, between two
strengths by a straight line. Only simulated data have the knob.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.studies._cells import Arm, Finding
from bench.studies._curves import Curve, curve_table, draw_curves, several
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "strength",
    "version": 1,
    "question": "How strong may technical effects be before a method breaks?",
    "methods": ["erm", "adabn", "ben"],
    "point": "strength of the technical effects",
    "points": [0, 0.5, 1, 2, 4],
}


def run(lab: Lab) -> Finding:
    """Train and score every method at each strength."""
    reason = _why_not(lab)
    if reason:
        lab.leave_out("all methods", reason)
        return Finding([], _SHOWN, nothing(lab))
    targets = {s: lab.reopen(lab.target.typed, {"strength": s}) for s in lab.points}
    curves = []
    for method in lab.methods:
        cells: dict[float, Cell] = {}
        label = method
        for strength, target in targets.items():
            cell = lab.cell(Arm(method, target=target))
            if not cell.ok:
                lab.leave_out(f"{method} at strength {strength:g}", cell.reason)
                continue
            cells[strength], label = cell, cell.label
        if cells:
            curves.append(Curve(label, cells[min(cells)], cells))
    if not curves:
        return Finding([], _SHOWN, nothing(lab))

    def draw(made: Canvas) -> None:
        places = {s: s for s in lab.points}
        ticks = {s: f"{s:g}" for s in lab.points}
        draw_curves(made, lab, curves, places, ticks, "strength of the technical effects")

    table = curve_table(lab, curves, "strength", lambda s: f"{s:g}", "any")
    return Finding(table, _SHOWN, _reading(lab, curves), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "strength": "strength",
    "mean": "score",
    "sd": "SD",
    "diff": "to weakest",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
}
_NOTES = (
    "Each strength is another simulated data set of the same draw: trained and tested anew. A "
    "method breaks where its mean has fallen half way from the weakest effects to chance.",
)


def _why_not(lab: Lab) -> str:
    opened = lab.target.opened
    try:
        entry = lab.registry.entry("dataset", lab.target.split.dataset)
    except BenchError:
        return f"{opened.name} is a table: its effects have no knob"
    if "strength" not in {f.name for f in dataclasses.fields(entry.load().Settings)}:
        return f"{opened.name} has no setting 'strength'"
    if opened.edition != "simulated":
        return f"the {opened.edition} edition of {opened.name} has no knob: use --edition simulated"
    return ""


def breaks_at(means: dict[float, float], chance: float) -> float | None:
    """Return the strength at which a score has fallen half way to chance, or None.

    Parameters
    ----------
    means
        Strength -> score, of at least one strength.
    chance
        Score of guessing.
    """
    points = sorted(means)
    half = (means[points[0]] + chance) / 2
    for low, high in itertools.pairwise(points):
        if means[low] >= half > means[high]:
            share = (means[low] - half) / (means[low] - means[high])
            return low + share * (high - low)
    return None


def _reading(lab: Lab, curves: list[Curve]) -> tuple[str, str, str]:
    named = several(curves)
    chance = 1.0 / len(lab.target.classes)
    goes = listed(
        [
            f"{c.label} from {c.reference.words} at strength {min(c.cells):g} to "
            f"{c.cells[max(c.cells)].words} at {max(c.cells):g}"
            for c in named
        ]
    )
    first = f"{lab.metric_words.capitalize()} goes for {goes}."
    broken = []
    for curve in named:
        at = breaks_at({s: cell.mean for s, cell in curve.cells.items()}, chance)
        where = f"at strength {at:.2g}" if at is not None else "nowhere in the range"
        broken.append(f"{curve.label} {where}")
    gaps = [
        (f"{c.label} from {min(c.cells):g} to {max(c.cells):g}", c.gaps(lab)[max(c.cells)])
        for c in named
        if len(c.cells) > 1
    ]
    falls = listed([f"{name} {gap.words}" for name, gap in gaps])
    second = f"Half way to chance falls {listed(broken)}; the whole way is {falls} ({spread(lab)})."
    more = "what another draw of laboratories would show, or a real microscope"
    return first, second, cannot_tell(lab, gaps, more)
