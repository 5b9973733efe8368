"""The cost of the distribution shift, and the optimism of ordinary hold-outs.

In-distribution minus out-of-distribution accuracy mixes two effects: the shift, and the different
difficulty of the two test sets. The gap is therefore measured on *one* test set, twice: by a model
trained as the split states, and by a model whose training set has other plates of the test set in
place of the same number of training rows (``mixed-to-test``; Koh et al. 2021, WILDS, section 5.1).
Both differences are shown.

The study also scores the same method on rows held out of its training set: random rows, random
wells, plates, laboratories. Such scores are reported when no other laboratory is available; their
difference to the test score is the optimism. Every held-out set is about a quarter of the training
rows, drawn once for all methods and seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.words import plural
from bench.output.style import colour_of
from bench.runs.holdouts import held_out, mixed_to_test
from bench.studies._results import Condition, Finding
from bench.studies._sentences import limits, listed, nothing, noun_of, spread

if TYPE_CHECKING:
    from bench.data.task import Task
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult, Difference

META = {
    "kind": "study",
    "name": "gap",
    "version": 1,
    "question": "What does the shift cost, and how much would an ordinary hold-out hide?",
    "methods": ["erm"],
}

TEST = "test"
MIXED = "mixed-to-test"


Results = dict[str, dict[str, "ConditionResult"]]
"""Method -> name of a test -> result."""

SHOWN = {
    "method": "method",
    "tested": "tested on",
    "train_rows": "training rows",
    "test_rows": "test rows",
    "mean": "score",
    "sd": "SD",
    "over": "above the test",
    "over_sd": "its SD",
    "over_low": "low",
    "over_high": "high",
    "over_p": "p",
}
NOTES = (
    "Mixed-to-test scores the rows of the test itself. Its difference is the effect of the shift "
    "and is paired by cluster.",
    "All other tests are on other rows. Their difference to the test also depends on how hard "
    "those rows are, and on training with fewer rows.",
    "Training rows are those of a fold, averaged over folds.",
)


@dataclass(frozen=True)
class _Kind:
    """A test scenario: its name, its text, and the opened split."""

    name: str
    text: str
    task: Task


def run(context: StudyContext) -> Finding:
    """Score every method on the split, on the test distribution, and on ordinary hold-outs."""
    if not context.task.supervised:
        context.leave_out("all methods", f"{context.task.split.name} has no training set")
        return Finding([], SHOWN, nothing(context))
    kinds = {kind.name: kind for kind in _kinds(context)}
    results: Results = {}
    for method in context.methods:
        scored: dict[str, ConditionResult] = {}
        for kind in kinds.values():
            task = None if kind.name == TEST else kind.task
            try:
                result = context.result(Condition(method, task=task))
            except BenchError as error:
                context.leave_out(f"{method}, {kind.text}", str(error))
                continue
            if result.ok:
                scored[kind.name] = result
            else:
                context.leave_out(f"{method}, {kind.text}", result.reason)
        if TEST in scored:
            results[method] = scored
    if not results:
        return Finding([], SHOWN, nothing(context))

    def draw(canvas: Canvas) -> None:
        _draw(canvas, context, results, kinds)

    return Finding(
        _table(context, results, kinds),
        SHOWN,
        _reading(context, results, kinds),
        draw,
        height=1.6 + 0.28 * len(kinds) * len(results),
        notes=NOTES,
    )


def _kinds(context: StudyContext) -> list[_Kind]:
    """Return the test scenarios that the data support; the others are skipped with a reason."""
    task = context.task
    kinds = [_Kind(TEST, "the test of the split", task)]
    mixed = mixed_to_test(task)
    if mixed is None:
        context.leave_out(MIXED, "a test set has one plate or one well, and cannot be halved")
    else:
        split, halved = mixed
        kinds.append(_Kind(MIXED, f"the test, trained with its other {_many(halved)}", split))
    plain = [(f"held-out:{level}", "held-out", level) for level in reversed(task.opened.levels)]
    plain += [("random-wells", "random-wells", ""), ("random-rows", "random-rows", "")]
    noun = "images" if task.opened.is_images else "rows"
    for name, kind, level in plain:
        text = {
            "random-wells": "random training wells",
            "random-rows": f"random training {noun}",
        }.get(kind, f"complete training {_many(level)}")
        held = held_out(task, kind, level)
        if held is None:
            context.leave_out(text, "the training rows do not allow it")
        else:
            kinds.append(_Kind(name, text, held))
    return kinds


def _many(level: str) -> str:
    """Return a column name as a plural noun."""
    return plural(noun_of(level))


def _over(context: StudyContext, scored: dict[str, ConditionResult], name: str) -> Difference:
    """Return a score minus that of the test: paired by cluster if both are on the same rows."""
    return context.difference(scored[name], scored[TEST], by_cluster=name == MIXED)


def _table(
    context: StudyContext, results: Results, kinds: dict[str, _Kind]
) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for scored in results.values():
        for name, result in scored.items():
            folds = [fold for fold in kinds[name].task.folds if fold.scored.any()]
            rows.append(
                {
                    **result.facts(),
                    "kind": name,
                    "tested": kinds[name].text,
                    "train_rows": round(sum(len(fold.train) for fold in folds) / len(folds)),
                    "test_rows": sum(int(fold.scored.sum()) for fold in folds),
                    **(_over(context, scored, name).facts("over") if name != TEST else {}),
                }
            )
    return rows


def _reading(
    context: StudyContext, results: Results, kinds: dict[str, _Kind]
) -> tuple[str, str, str]:
    costs, optimism, differences = [], [], []
    for scored in results.values():
        test = scored[TEST]
        if MIXED in scored:
            cost = _over(context, scored, MIXED)
            differences.append((f"the shift for {test.label}", cost))
            costs.append(
                f"{test.label} {cost.text} ({scored[MIXED].text} with test rows in training, "
                f"{test.text} without)"
            )
        else:
            costs.append(f"{test.label} unknown: no row of the test set can be trained on")
        over = [
            f"{kinds[name].text} {_over(context, scored, name).text}"
            for name in scored
            if name not in (TEST, MIXED)
        ]
        if over:
            optimism.append(f"{test.label} " + listed(over, most=6))
    return (
        f"Cost of the shift on the test rows of {context.task.split.name}, in "
        f"{context.metric_text}: {listed(costs)}.",
        f"Held-out training rows score above the test: {'. '.join(optimism)}. {spread(context)}"
        if optimism
        else "The training rows allow no hold-out of their own.",
        limits(
            context,
            differences,
            "how much of a hold-out's optimism is due to the shift. Its rows are not those of the "
            "test",
        ),
    )


def _draw(canvas: Canvas, context: StudyContext, results: Results, kinds: dict[str, _Kind]) -> None:
    axes = canvas.figure.subplots()
    names: list[str] = []
    for scored in results.values():
        for name, result in scored.items():
            y = -float(len(names))
            names.append(kinds[name].text + (f" · {result.label}" if len(results) > 1 else ""))
            colour = colour_of(result.label)
            axes.plot(
                result.values,
                [y] * len(result.values),
                linestyle="none",
                marker="|",
                markersize=7,
                color=colour,
                alpha=0.6,
            )
            same_rows = name in (TEST, MIXED)
            axes.plot(
                [result.mean],
                [y],
                marker="o" if same_rows else "s",
                color=colour,
                markerfacecolor=colour if same_rows else "white",
            )
            axes.axhline(y, color="#DDDDDD", linewidth=0.5, zorder=0)
            canvas.table.append(
                {
                    "method": result.label,
                    "tested": kinds[name].text,
                    "mean": result.mean,
                    "sd": result.sd,
                    "seeds": len(result.seeds),
                }
            )
        test = scored[TEST]
        axes.axvline(test.mean, color=colour_of(test.label), linewidth=0.6, alpha=0.5)
    axes.set_yticks([-float(i) for i in range(len(names))], names, parse_math=False)
    axes.set_xlabel(context.metric_text)
    axes.tick_params(axis="y", length=0)
    canvas.notes(
        [
            "Filled: the rows of the test. Open: rows held out of the training set. Ticks are "
            "seeds; the line is the score on the test."
        ],
        130,
    )
