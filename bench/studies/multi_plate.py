"""One or several plates per training batch, each normalised separately.

With k plates, a training batch of K rows has K / k rows of each. A gradient step then averages over
plates, but statistics come from fewer rows. Lin and Lu 2022 (PMLR 200:74-93) name this an open
question of BEN. There is one curve per method with the parameter ``per_batch``. ``ben`` with
several plates is the same training as ``ben-multi``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.studies._curves import Axis, Curve, curve_finding, flat_text
from bench.studies._results import Condition
from bench.studies._sentences import differences_text, limits, listed, spread

if TYPE_CHECKING:
    from bench.studies._context import StudyContext
    from bench.studies._results import ConditionResult, Finding

META = {
    "kind": "study",
    "name": "multi-plate",
    "version": 1,
    "question": "Should a training batch hold one plate or several?",
    "methods": ["erm", "adabn", "ben", "arm-bn"],
    "point": "plates in a training batch",
    "points": [1, 2, 4, 8],
}

NOTES = (
    "A plate is a batch of the level that the data set acts on. All trainings have the same steps "
    "and rows in a training batch.",
)
AXIS = Axis("plates", "plates in a batch", "plates in a training batch", "fewest")


def run(context: StudyContext) -> Finding:
    """Train every supported method with each number of plates."""
    curves: list[Curve] = []
    for method in dict.fromkeys("ben" if m == "ben-multi" else m for m in context.methods):
        if context.takes(method, "per_batch"):
            results = _results(context, method)
            if results:
                curves.append(Curve(method, results[min(results)], results))
            continue
        result = context.result(Condition(method))
        if result.ok:
            curves.append(Curve(result.label, result, flat=True))
        else:
            context.leave_out(method, result.reason)

    def reading(named: list[Curve]) -> tuple[str, str, str]:
        scores = [
            f"{c.label} " + ", ".join(f"{x.text} ({k:g})" for k, x in c.results.items())
            for c in named
        ]
        differences = [
            (
                f"{c.label} ({max(c.results):g} minus {min(c.results):g})",
                c.differences(context)[max(c.results)],
            )
            for c in named
            if len(c.results) > 1
        ]
        best = [
            f"{c.label} with {max(c.results, key=lambda k: c.results[k].mean):g}" for c in named
        ]
        return (
            f"{context.metric_text.capitalize()} by plates in a training batch: "
            f"{listed(scores, sep='; ')}.{flat_text(curves)}",
            f"Highest mean: {listed(best)}. Difference between the ends: "
            f"{differences_text(differences) or 'one point was run'}. {spread(context)}",
            limits(
                context,
                differences,
                "whether the best number is the same on other data. It was chosen on held-out "
                "batches",
            ),
        )

    return curve_finding(context, curves, AXIS, reading, NOTES)


def _results(context: StudyContext, method: str) -> dict[float, ConditionResult]:
    """Return the scores of a method by number of plates; invalid numbers are skipped."""
    results: dict[float, ConditionResult] = {}
    for k in context.points:
        try:
            result = context.result(_condition(method, int(k)))
        except BenchError as error:
            context.leave_out(f"{method} with {k:g}", str(error))
            continue
        if result.ok:
            results[k] = result
        else:
            context.leave_out(f"{method} with {k:g}", result.reason)
    return results


def _condition(method: str, k: int) -> Condition:
    if method == "ben" and k > 1:
        return Condition("ben-multi", {"ben-multi": {"per_batch": k}})
    name = method.split("+", maxsplit=1)[0].strip()
    return Condition(method, {name: {"per_batch": k}})
