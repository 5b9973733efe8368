"""Measure how many negative controls of a new batch control-based corrections need, from 2 to all.

Each test batch keeps at most c of its negative controls, drawn at random. The other controls are
removed from the inference batch; all treated rows stay. Training is unchanged and uses all
controls. A method that needs more controls uses its documented fallback; the table counts these
cases. ``sphering`` takes part with batches centred on their controls, and ``adabn`` with statistics
of controls alone; by default neither uses controls of a new batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
from bench.studies._results import Condition, Finding
from bench.studies._sentences import differences_text, limits, listed, nothing, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult

META = {
    "kind": "study",
    "name": "controls",
    "version": 2,
    "question": "How many negative controls of a new batch do the corrections need?",
    "methods": ["erm", "adabn", "ben-controls", "center", "zscore", "robust", "sphering", "tvn"],
    "point": "negative controls in a test batch",
    "points": [2, 4, 8, 16, 32, 64],
}

BY_CONTROLS: dict[str, dict[str, object]] = {
    "adabn": {"rows": "controls"},
    "sphering": {"centre": "controls"},
}
"""Parameters with which a method uses the controls of a new batch."""
NOTES = (
    "Controls are drawn at random for each seed, the same for all methods. Training batches keep "
    "all controls. Fallbacks: number of test batches that used the method's fallback, mean over "
    "seeds.",
)


def _name(point: float) -> str:
    return "all" if point == END else f"{point:g}"


AXIS = Axis("controls", "controls", "negative controls in a test batch (at most)", "all", _name)


def run(context: StudyContext) -> Finding:
    """Score every control-based method with few controls."""
    opened = context.task.opened
    if not opened.has_controls:
        context.leave_out("all methods", f"{opened.name} has no negative controls")
        return Finding([], {}, nothing(context))
    control = opened.index["control"].to_numpy(bool)

    def numbers(full: ConditionResult) -> dict[float, dict[str, object]]:
        level = context.job(full.condition, context.seeds[0]).chain.stages[-1].level
        rows = np.concatenate([fold.test for fold in context.task.folds])
        names = opened.index[level].to_numpy(str)[rows][control[rows]]
        most = int(np.unique(names, return_counts=True)[1].max())
        points = [c for c in context.points if 1 <= c < most]
        return {c: {"kind": "controls", "controls": int(c)} for c in points}

    curves = with_end(grouped_curves(context, numbers, lambda m: _condition(context, m)))

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        few = {c.label: smallest_without_fallback(c) for c in named}
        full = [f"{c.label} {c.reference.text}" for c in named]
        fewest = [
            f"{c.label} {c.results[few[c.label]].text} ({_name(few[c.label])})" for c in named
        ]
        differences = [
            (
                f"{c.label} with {_name(few[c.label])}",
                context.difference(c.results[few[c.label]], c.reference),
            )
            for c in named
            if few[c.label] != END
        ]
        needs = listed([f"{c.label} {_name(fewest_within(c))}" for c in named])
        return (
            f"{context.metric_text.capitalize()} with all controls: {listed(full)}. "
            f"With the fewest controls without a fallback: {listed(fewest)}.{flat_text(curves)}",
            f"Controls needed to stay within {CLOSE:g} of the score with all: {needs}. Difference "
            "with the fewest controls that need no fallback: "
            f"{differences_text(differences) or 'none was run'}. {spread(context)}",
            limits(context, differences, "the effect of few controls in training"),
        )

    more = {"fallbacks": "fallbacks", "batches": "batches"}
    return curve_finding(context, curves, AXIS, reading, NOTES, more)


def _condition(context: StudyContext, method: str) -> Condition | None:
    """Return the variant of a method that uses only controls; None if there is none (skipped)."""
    last = method.rsplit("+", maxsplit=1)[-1].strip()
    if last in BY_CONTROLS:
        return Condition(method, {last: BY_CONTROLS[last]})
    condition = Condition(method)
    used = [s for s in context.job(condition, context.seeds[0]).chain.stages if s.per_batch]
    if used and not any("controls" in stage.needs for stage in used):
        context.leave_out(method, "it uses the test batch, but not its controls alone")
        return None
    return condition
