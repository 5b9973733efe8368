"""Order of the steps of a pipeline: centre, scale, project, whiten, correct.

``--method`` names the steps. Every sensible order of all steps is run, so all orders fit the same
steps on the same rows and none is tuned. Orders that undo a step are left out: scaling and
projecting come before whitening, which gives all directions unit variance.

The best of many orders is too good on the batches that chose it. The reading therefore also states
the score of the order that is chosen without each batch, on that batch.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.tests import holm
from bench.core.errors import BenchError
from bench.core.progress import report
from bench.studies._results import Condition, Finding, difference_cells
from bench.studies._sentences import nothing, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.output.canvas import Canvas
    from bench.records.schema import Cost
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult, Difference

META = {
    "kind": "study",
    "name": "pipeline",
    "version": 1,
    "question": "Which order of centring, scaling, components, whitening and correction is best?",
    "methods": ["center", "robust", "components", "sphering", "combat"],
}
BASELINE = "identity"
WHITENING = frozenset({"sphering", "sphering-all", "tvn"})
BEFORE_WHITENING = frozenset({"robust", "zscore", "components"})
MOST = 120
"""Most orders of one study."""
SHOWN = {
    "rank": "rank",
    "order": "order",
    "mean": "mean",
    "diff": "vs identity",
    "p_holm": "p (Holm)",
}
NOTES = (
    "All orders have the same steps with default parameters. Left out: orders that scale or "
    "project after whitening.",
    "p (Holm): difference to no correction, adjusted for the number of orders.",
    "Without negative controls, all rows take their place.",
    "seconds: fitting and applying all steps. Steps shared with an earlier order are not repeated.",
)


def orders(steps: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sensible orders of steps, the given one first if it is sensible."""
    return [order for order in permutations(steps) if _sensible(order)]


def _sensible(order: tuple[str, ...]) -> bool:
    whitened = False
    for step in order:
        if whitened and step in BEFORE_WHITENING:
            return False
        whitened |= step in WHITENING
    return True


def run(context: StudyContext) -> Finding:
    """Run every order, and compare each with no correction."""
    steps = [method for method in context.methods if method != BASELINE]
    if not context.task.opened.has_controls:
        steps = ["sphering-all" if step == "sphering" else step for step in steps]
    wanted = orders(steps)
    if len(steps) < 2 or len(set(steps)) < len(steps):
        raise BenchError("study pipeline orders steps: name two or more different ones in --method")
    if not 2 <= len(wanted) <= MOST:
        raise BenchError(
            f"{len(steps)} steps have {len(wanted)} sensible orders, and the study takes 2 to "
            f"{MOST}: name other steps in --method"
        )
    values: dict[str, dict[str, object]] = {}
    if not context.task.opened.has_controls:
        values = {step: {"rows": "all"} for step in steps if context.takes(step, "rows")}
    base = context.result(Condition(BASELINE))
    results: list[ConditionResult] = []
    for k, order in enumerate(wanted):
        report("orders", k, len(wanted))
        condition = Condition("+".join((BASELINE, *order)), values)
        result = replace(context.result(condition), label="+".join(order))
        if result.ok:
            results.append(result)
        else:
            context.leave_out(result.label, result.reason)
    if not base.ok or len(results) < 2:
        return Finding([], SHOWN, nothing(context))
    results.sort(key=lambda result: (-result.mean, result.label))
    differences = [context.difference(result, base) for result in results]
    table = _table(results, differences)

    def draw(canvas: Canvas) -> None:
        _draw(canvas, results, base, steps)

    reading = _reading(context, results, differences, base)
    return Finding(table, SHOWN, reading, draw, 1.6 + 0.15 * len(results), NOTES)


def _table(results: list[ConditionResult], differences: list[Difference]) -> list[dict[str, Cell]]:
    adjusted = holm([difference.p for difference in differences])
    return [
        {
            "rank": k + 1,
            "order": result.label,
            **result.facts(),
            **difference_cells(differences[k]),
            "p_holm": adjusted[k],
            "seconds": float(np.mean([_seconds(record.data["cost"]) for record in result.records])),
        }
        for k, result in enumerate(results)
    ]


def _seconds(cost: Cost) -> float:
    return cost["fit_s"] + cost["apply_s"]


def chosen_elsewhere(results: Sequence[ConditionResult]) -> float | None:
    """Return the mean over batches of the score of the order that is best on all other batches.

    None with fewer than three batches that every order was scored on.
    """
    scores = [result.scores for result in results if result.scores is not None]
    shared = set.intersection(*(set(own.clusters) for own in scores)) if scores else set()
    names = sorted(shared)
    columns = [
        own.values[:, [own.clusters.index(name) for name in names]].mean(axis=0) for own in scores
    ]
    values = np.array(columns).reshape(len(scores), len(names))
    values = values[:, np.isfinite(values).all(axis=0)]
    n = values.shape[1]
    if n < 3:
        return None
    others = values.sum(axis=1, keepdims=True) - values
    return float(values[others.argmax(axis=0), np.arange(n)].mean())


def _reading(
    context: StudyContext,
    results: list[ConditionResult],
    differences: list[Difference],
    base: ConditionResult,
) -> tuple[str, str, str]:
    best, worst = results[0], results[-1]
    gap = context.difference(best, worst)
    chosen = chosen_elsewhere(results)
    honest = (
        "Too few batches to choose the order without the batch that it is scored on"
        if chosen is None
        else f"The order chosen without each batch scores {chosen:.3f} on it (mean over batches)"
    )
    return (
        f"Of {len(results)} orders, {best.label} has the highest {context.metric_text}: "
        f"{best.text}. Lowest: {worst.label} {worst.text}. No correction: {base.text}.",
        f"Best minus worst order: {gap.text}. Best minus no correction: {differences[0].text}. "
        f"{honest}. {spread(context)}",
        "Not shown: other parameters of the steps, and other tables. The best of several orders is "
        "too good by the choice.",
    )


def _draw(
    canvas: Canvas, results: list[ConditionResult], base: ConditionResult, steps: list[str]
) -> None:
    """Draw the scores of all orders, and which step is at which place."""
    from matplotlib.colors import TABLEAU_COLORS

    left, right = canvas.figure.subplots(1, 2, width_ratios=[len(steps), 4], sharey=True)
    colours = dict(zip(steps, TABLEAU_COLORS, strict=False))
    for place, result in enumerate(results):
        order = result.label.split("+")
        for k, step in enumerate(order):
            left.barh(place, 1, left=k, color=colours.get(step, "#cccccc"), height=0.9, alpha=0.55)
            left.text(k + 0.5, place, step, ha="center", va="center", fontsize=5.5)
        if result.low is not None and result.high is not None:
            right.hlines(place, result.low, result.high, color="#888888", linewidth=0.8)
        right.plot(result.values, [place] * len(result.values), "o", color="#bbbbbb", markersize=2)
        right.plot(result.mean, place, "o", color="#000000", markersize=3)
        canvas.table.append({"order": result.label, **result.facts()})
    right.axvline(base.mean, color="#D55E00", linewidth=0.9, zorder=0)
    right.set_title("line: no correction", fontsize=7, color="#D55E00", loc="left")
    for ax in (left, right):
        ax.set_yticks([])
        ax.minorticks_off()
        ax.grid(visible=False, axis="y")
    left.set_ylim(len(results) - 0.5, -0.5)
    left.set_xlim(0, len(steps))
    left.set_xticks([k + 0.5 for k in range(len(steps))], [f"{k + 1}" for k in range(len(steps))])
    left.set_xlabel("step")
    right.set_xlabel("score, 95 % interval if there is one")
