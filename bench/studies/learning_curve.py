"""Measure how many training steps are enough, on held-out training batches.

About a quarter of the training batches of each fold are held out; the network is trained on the
others and scored on them. Test rows of the split are not read, so the length of a recipe can be
chosen by this study. Each number of steps is a training of its own with the full schedule of
warm-up and decay: a shorter training is not the beginning of a longer one.

Held out are batches of the data set's default level or, if a fold has fewer than three of them in
training, of the smallest level. Only the first folds are used: three of a table, one of images.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.data.views import column_of
from bench.runs.holdouts import held_out
from bench.studies._curves import CLOSE, Axis, Curve, curve_finding, fewest_within
from bench.studies._results import Condition, Finding
from bench.studies._sentences import differences_text, limits, listed, nothing, noun_of, spread

if TYPE_CHECKING:
    from bench.data.task import Task
    from bench.studies._context import StudyContext

META = {
    "kind": "study",
    "name": "learning-curve",
    "version": 1,
    "question": "How many training steps are enough, on held-out training batches?",
    "methods": ["erm", "ben"],
    "point": "training steps",
    "points": [125, 250, 500, 1000, 2000],
}

FOLDS = {"images": 1, "profiles": 3}
"""Maximum number of folds; the length of a training needs less precision than a comparison."""
FEWEST = 3
"""Fewest batches to hold out one of, so that two are left to train on."""

AXIS = Axis("steps", "steps", "training steps", "most steps", "{:.0f}".format)


def run(context: StudyContext) -> Finding:
    """Train every method for each number of steps, and score it on held-out training batches."""
    task, level = _held_out(context.task)
    if task is None:
        context.leave_out("all methods", "no training batch can be held out")
        return Finding([], {}, nothing(context))
    curves = []
    for method in context.methods:
        curve = None
        for steps in sorted((int(point) for point in context.points if point >= 1), reverse=True):
            result = context.result(Condition(method, task=task, recipe={"steps": steps}))
            if not result.ok:
                context.leave_out(f"{method}, {steps} steps", result.reason)
                continue
            curve = curve or Curve(result.label, result)
            curve.results[steps] = result
        if curve is not None:
            curve.results = dict(sorted(curve.results.items()))
            curves.append(curve)
    notes = (
        f"Held out is about a quarter of the training batches ({noun_of(level)}) of "
        f"{len(task.folds)} of {len(context.task.folds)} folds. Test rows of the split are not "
        "read. Each number of steps is a training with its own schedule.",
    )

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        scores = []
        for curve in named:
            low, high = min(curve.results), max(curve.results)
            scores.append(
                f"{curve.label} {curve.results[low].text} ({low:.0f} steps), "
                f"{curve.results[high].text} ({high:.0f})"
            )
        enough = [f"{curve.label} {fewest_within(curve):.0f}" for curve in named]
        differences = [
            (f"{curve.label}, {point:.0f} steps", gap)
            for curve in named
            for point, gap in list(curve.differences(context).items())[-1:]
        ]
        return (
            f"{context.metric_text.capitalize()} on held-out training batches ({noun_of(level)}): "
            f"{listed(scores, sep='; ')}.",
            f"Steps needed to stay within {CLOSE:g} of the longest training: {listed(enough)}. "
            "Difference of the second longest to it: "
            f"{differences_text(differences, sep='; ') or 'one length was run'}. {spread(context)}",
            limits(context, differences, "other learning rates, for which the length differs"),
        )

    return curve_finding(context, curves, AXIS, reading, notes)


def _held_out(task: Task) -> tuple[Task | None, str]:
    """Return a split of the training rows of the first folds, and the held-out level."""
    opened = task.opened
    if not task.supervised:
        return None, opened.level
    n_folds = FOLDS["images" if opened.is_images else "profiles"]
    first = dataclasses.replace(task, folds=task.folds[:n_folds])

    def fewest(level: str) -> int:
        column = column_of(opened, level)
        return min(len(set(column[fold.train].tolist())) for fold in first.folds)

    levels = [name for name in (opened.level, *opened.levels) if fewest(name) >= FEWEST]
    level = levels[0] if levels else opened.level
    return held_out(first, "held-out", level), level
