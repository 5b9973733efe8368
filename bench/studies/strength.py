"""Measure how strong technical effects can be before a method breaks.

The physical deviations of a simulated data set are scaled together (``data.strength``), or one at a
time if all others are switched off (``--set data.off=...``). At strength 0 training and test have
the same distribution. A method *breaks* at the strength where it has lost half of its margin over
chance, by linear interpolation between two strengths. Only simulated data have this setting.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.studies._curves import Axis, Curve, curve_finding
from bench.studies._results import Condition, Finding
from bench.studies._sentences import differences_text, limits, listed, nothing, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult

META = {
    "kind": "study",
    "name": "strength",
    "version": 1,
    "question": "How strong may technical effects be before a method breaks?",
    "methods": ["erm", "adabn", "ben"],
    "point": "strength of the technical effects",
    "points": [0, 0.5, 1, 2, 4],
}

NOTES = (
    "Each strength is another simulated data set of the same draw: trained and tested anew. A "
    "method breaks where its mean has lost half of its margin over chance.",
)
AXIS = Axis("strength", "strength", "strength of the technical effects", "weakest", to_scale=True)


def run(context: StudyContext) -> Finding:
    """Train and score every method at each strength."""
    reason = _why_not(context)
    if reason:
        context.leave_out("all methods", reason)
        return Finding([], {}, nothing(context))
    tasks = {s: context.reopen(context.task.typed, {"strength": s}) for s in context.points}
    curves = []
    for method in context.methods:
        results: dict[float, ConditionResult] = {}
        label = method
        for strength, task in tasks.items():
            result = context.result(Condition(method, task=task))
            if not result.ok:
                context.leave_out(f"{method} at strength {strength:g}", result.reason)
                continue
            results[strength], label = result, result.label
        if results:
            curves.append(Curve(label, results[min(results)], results))

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        scores, breaks = [], []
        for curve in named:
            results = curve.results
            scores.append(
                f"{curve.label} {curve.reference.text} ({min(results):g}), "
                f"{results[max(results)].text} ({max(results):g})"
            )
            at = breaks_at({s: result.mean for s, result in results.items()}, context.chance)
            where = "never" if at is None else f"{at:.2g}"
            breaks.append(f"{curve.label} {where}")
        differences = [
            (
                f"{c.label} from {min(c.results):g} to {max(c.results):g}",
                c.differences(context)[max(c.results)],
            )
            for c in named
            if len(c.results) > 1
        ]
        return (
            f"{context.metric_text.capitalize()} by strength: {listed(scores, sep='; ')}.",
            f"Strength at which half of the margin over chance is lost: {listed(breaks)}. Total "
            f"difference: {differences_text(differences) or 'one strength was run'}. "
            f"{spread(context)}",
            limits(context, differences, "another draw of laboratories, or a real microscope"),
        )

    return curve_finding(context, curves, AXIS, reading, NOTES)


def _why_not(context: StudyContext) -> str:
    opened = context.task.opened
    try:
        entry = context.registry.entry("dataset", context.task.split.dataset)
    except BenchError:
        return f"{opened.name} is a table: the strength of its effects cannot be set"
    if "strength" not in {f.name for f in dataclasses.fields(entry.load().Settings)}:
        return f"{opened.name} has no setting 'strength'"
    if opened.edition != "simulated":
        return f"the {opened.edition} edition of {opened.name} has none: use --edition simulated"
    return ""


def breaks_at(means: dict[float, float], chance: float) -> float | None:
    """Return the strength at which a score has lost half of its margin over chance, or None.

    Parameters
    ----------
    means
        Strength -> score, at least one strength.
    """
    points = sorted(means)
    half = (means[points[0]] + chance) / 2
    for low, high in itertools.pairwise(points):
        if means[low] >= half > means[high]:
            share = (means[low] - half) / (means[low] - means[high])
            return low + share * (high - low)
    return None
