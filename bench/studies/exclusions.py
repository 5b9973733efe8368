"""Sensitivity of scores and ranks to the rows that ``dataset.toml`` excludes.

Each method is run on the table as described, without any exclusion, and, with several reasons,
without each reason. In all of them the split and the methods are the same, so only the rows differ,
in training and test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.progress import report
from bench.data.catalog import parse_split_argument, resolve
from bench.data.own.exclusions import KEEP_ALL
from bench.output.style import colour_of, label_ends, marker_of
from bench.studies._results import Condition, Finding, difference_cells
from bench.studies._sentences import listed, nothing, spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.data.task import Task
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult, Difference

META = {
    "kind": "study",
    "name": "exclusions",
    "version": 1,
    "question": "Do the ranks of corrections depend on the rows that are excluded?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
BASELINE = "identity"
DESCRIBED = "as described"
SHOWN = {
    "rows": "rows",
    "method": "method",
    "mean": "mean",
    "rank": "rank",
    "was": "rank as described",
    "diff": "vs identity",
    "diff_low": "low",
    "diff_high": "high",
    "tau": "tau",
}
NOTES = (
    "rows: the table as described, with all excluded rows kept, or with those of one reason kept.",
    "tau: Kendall's rank correlation of the means with those of the table as described.",
    "Excluded rows return to both training and test, so means also depend on the difficulty of "
    "these rows. Compare ranks, and differences to no correction.",
)


def run(context: StudyContext) -> Finding:
    """Run every method with and without the exclusions."""
    typed = context.task.typed
    own = resolve(typed, context.registry).own if parse_split_argument(typed) else None
    reasons = [] if own is None else own.exclusions()
    if not reasons:
        context.leave_out("all methods", "the data set excludes no rows by exclude or exclude_if")
        return Finding([], SHOWN, nothing(context))
    tasks: dict[str, Task] = {DESCRIBED: context.task}
    for keep in (KEEP_ALL, *(reasons if len(reasons) > 1 else ())):
        name = "all kept" if keep == KEEP_ALL else f"kept: {keep}"
        try:
            tasks[name] = context.reopen(typed, {"keep": keep})
        except BenchError as error:  # such rows may lack values
            context.leave_out(name, str(error))
    methods = [BASELINE, *(m for m in context.methods if m != BASELINE)]
    results: dict[str, dict[str, ConditionResult]] = {}
    for k, (name, task) in enumerate(tasks.items()):
        for j, method in enumerate(methods):
            report("conditions", k * len(methods) + j, len(tasks) * len(methods))
            result = context.result(Condition(method, task=task))
            if result.ok:
                results.setdefault(name, {})[method] = result
            else:
                context.leave_out(result.label, result.reason)
    compared = {name: by for name, by in results.items() if BASELINE in by}
    if DESCRIBED not in compared or len(compared) < 2:
        return Finding([], SHOWN, nothing(context))
    differences = {
        name: {m: context.difference(own, by[BASELINE]) for m, own in by.items() if m != BASELINE}
        for name, by in compared.items()
    }
    table = _table(compared, differences, tasks)

    def draw(canvas: Canvas) -> None:
        _draw(canvas, differences)

    return Finding(table, SHOWN, _reading(context, compared, table), draw, 3.4, NOTES)


def ranks(by_method: Mapping[str, ConditionResult]) -> dict[str, int]:
    """Return method -> rank by the mean, 1 for the best; equal means share the better rank."""
    means = {method: result.mean for method, result in by_method.items()}
    return {m: 1 + sum(other > mean for other in means.values()) for m, mean in means.items()}


def tau(a: Mapping[str, ConditionResult], b: Mapping[str, ConditionResult]) -> float | None:
    """Return Kendall's tau-b of the means of common methods; None with fewer than three."""
    from scipy.stats import kendalltau

    common = [method for method in a if method in b]
    if len(common) < 3:
        return None
    value = kendalltau([a[m].mean for m in common], [b[m].mean for m in common]).statistic
    return None if value != value else float(value)  # noqa: PLR0124 - NaN if all means are equal


def _table(
    results: dict[str, dict[str, ConditionResult]],
    differences: dict[str, dict[str, Difference]],
    tasks: dict[str, Task],
) -> list[dict[str, Cell]]:
    before = ranks(results[DESCRIBED])
    table: list[dict[str, Cell]] = []
    for name, by_method in results.items():
        own = ranks(by_method)
        for method, result in by_method.items():
            table.append(
                {
                    "rows": name,
                    "n_rows": len(tasks[name].opened.index),
                    **result.facts(),
                    "rank": own[method],
                    "was": before.get(method),
                    **difference_cells(differences[name].get(method)),
                    "tau": tau(results[DESCRIBED], by_method) if name != DESCRIBED else None,
                }
            )
    return table


def _reading(
    context: StudyContext,
    results: dict[str, dict[str, ConditionResult]],
    table: list[dict[str, Cell]],
) -> tuple[str, str, str]:
    n_rows = {str(row["rows"]): row["n_rows"] for row in table}
    best = {
        name: next(iter(sorted(by, key=lambda method: (-by[method].mean, method))))
        for name, by in results.items()
    }
    others = [
        f"{name} ({n_rows[name]} rows): {best[name]}, tau "
        + ("undefined" if (value := tau(results[DESCRIBED], by)) is None else f"{value:.2f}")
        for name, by in results.items()
        if name != DESCRIBED
    ]
    moved = sorted(
        {str(row["method"]) for row in table if row["was"] and row["rank"] != row["was"]}
    )
    return (
        f"As described ({n_rows[DESCRIBED]} rows), {best[DESCRIBED]} has the highest "
        f"{context.metric_text}. Highest otherwise: {listed(others, sep='; ')}.",
        f"Methods that change their rank: {listed(moved) or 'none'}. {spread(context)}",
        "Not shown: exclusions that were made before this table. Ranks of methods with overlapping "
        "intervals may change by chance.",
    )


def _draw(canvas: Canvas, differences: dict[str, dict[str, Difference]]) -> None:
    """Draw the difference to no correction of each method, a line over the conditions."""
    ax = canvas.figure.subplots()
    names = list(differences)
    methods = list(differences[DESCRIBED])
    ends: dict[str, tuple[float, float]] = {}
    for k, method in enumerate(methods):
        colour = colour_of(method)
        offset = (k - (len(methods) - 1) / 2) * 0.05
        line = []
        for place, name in enumerate(names):
            difference = differences[name].get(method)
            if difference is None:
                continue
            line.append((place + offset, difference.mean))
            if difference.low is not None and difference.high is not None:
                ax.vlines(place + offset, difference.low, difference.high, color=colour, alpha=0.6)
            canvas.table.append({"rows": name, "method": method, **difference.facts("diff")})
        ax.plot(*zip(*line, strict=True), color=colour, marker=marker_of(method), markersize=3)
        ends[method] = line[-1]
    ax.axhline(0, color="#888888", linewidth=0.8)
    ax.set_xticks(range(len(names)), [name.replace(": ", ":\n") for name in names])
    ax.set_xlim(-0.3, len(names) - 1 + 0.28 * len(names))
    ax.minorticks_off()
    ax.set_ylabel("difference to no correction")
    label_ends(ax, ends, {method: colour_of(method) for method in ends})
