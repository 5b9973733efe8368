"""Measure what a batch-wise method gains from more training experiments, or from more plates.

BEN's published gain is on RxRx1, whose 33 training experiments differ as its test experiments do.
``sim/many-laboratories`` has the same design. Two explanations are separated at equal numbers of
training images: the *span* of training (2 to 12 experiments of two plates) and the *number of
batches* (1 to 8 plates in each of four experiments). The test experiments are always the same.
Each difference is to the first method, which is trained on the same images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.words import count
from bench.output.style import colour_of, label_ends, marker_of
from bench.studies._results import Condition, Finding, difference_cells
from bench.studies._sentences import differences_text, limits, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult, Difference

META = {
    "kind": "study",
    "name": "span",
    "version": 1,
    "question": "Does a correction need many training experiments, or many batches?",
    "methods": ["erm", "ben"],
    "point": "training experiments",
    "points": [2, 4, 8, 12],
}

USUAL_PLATES = 2
"""Plates per experiment while the number of experiments varies."""
USUAL_EXPERIMENTS = 4
"""Training experiments while the number of plates varies."""
PLATES = (1, 2, 4, 8)

SHOWN = {
    "varied": "varied",
    "experiments": "experiments",
    "plates": "plates each",
    "method": "method",
    "mean": "score",
    "sd": "SD",
    "diff": "to first method",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
}
NOTES = (
    "All designs have the same number of training images and the same test experiments. Designs "
    "with fewer experiments use the first ones. The difference is to the first method, trained on "
    "the same images.",
)


@dataclass(frozen=True)
class _Design:
    """A training set: its number of experiments, and of plates per experiment."""

    experiments: int
    plates: int


@dataclass(frozen=True)
class _Series:
    """The designs of one panel."""

    varied: str
    noun: str
    label: str
    designs: dict[int, _Design]


def run(context: StudyContext) -> Finding:
    """Train every method on each design and compare it with the first method."""
    reason = _why_not(context)
    if reason:
        context.leave_out("all methods", reason)
        return Finding([], {}, nothing(context))
    counts = [int(point) for point in context.points if point >= 1]
    both = (
        _Series(
            "experiments",
            "experiment",
            f"training experiments, {USUAL_PLATES} plates each",
            {n: _Design(n, USUAL_PLATES) for n in counts},
        ),
        _Series(
            "plates",
            "plate",
            f"plates in each of {USUAL_EXPERIMENTS} experiments",
            {n: _Design(USUAL_EXPERIMENTS, n) for n in PLATES},
        ),
    )
    results = _results(context, [d for series in both for d in series.designs.values()])
    if not results:
        return Finding([], SHOWN, nothing(context))
    first = context.methods[0]
    gains = {
        key: context.difference(result, results[first, key[1]])
        for key, result in results.items()
        if key[0] != first and (first, key[1]) in results
    }

    def draw(canvas: Canvas) -> None:
        _draw(canvas, context, both, gains)

    table = _table(context, both, results, gains)
    return Finding(table, SHOWN, _reading(context, both, results, gains), draw, notes=NOTES)


def _why_not(context: StudyContext) -> str:
    opened = context.task.opened
    try:
        settings = context.registry.entry("dataset", context.task.split.dataset).load().Settings
    except BenchError:
        settings = None
    names = set() if settings is None else {f.name for f in dataclasses.fields(settings)}
    if not {"experiments", "plates"} <= names:
        return f"the number of training experiments of {opened.name} cannot be set"
    if context.task.split.name != "sim/many-laboratories":
        return f"{context.task.split.name} has no training experiments: use sim/many-laboratories"
    return ""


_Key = tuple[str, _Design]


def _results(context: StudyContext, designs: list[_Design]) -> dict[_Key, ConditionResult]:
    """Return the results with scores by method and design."""
    results: dict[_Key, ConditionResult] = {}
    for design in dict.fromkeys(designs):
        task = context.reopen(context.task.typed, dataclasses.asdict(design))
        for method in context.methods:
            result = context.result(Condition(method, task=task))
            if result.ok:
                results[method, design] = result
            else:
                name = f"{method}, {design.experiments} experiments of {design.plates} plates"
                context.leave_out(name, result.reason)
    return results


def _table(
    context: StudyContext,
    both: tuple[_Series, ...],
    results: dict[_Key, ConditionResult],
    gains: dict[_Key, Difference],
) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for series in both:
        for design in series.designs.values():
            for method in context.methods:
                key = (method, design)
                if key not in results:
                    continue
                rows.append(
                    {
                        "varied": series.varied,
                        "experiments": design.experiments,
                        "plates": design.plates,
                        **results[key].facts(),
                        **difference_cells(gains.get(key)),
                    }
                )
    return rows


def _reading(
    context: StudyContext,
    both: tuple[_Series, ...],
    results: dict[_Key, ConditionResult],
    gains: dict[_Key, Difference],
) -> tuple[str, str, str]:
    first = context.methods[0]
    most = both[0].designs[max(both[0].designs)]
    scores = [
        f"{results[method, most].label} {results[method, most].text}"
        for method in context.methods
        if (method, most) in results
    ]
    changes: list[tuple[str, Difference]] = []
    for method in context.methods[1:]:
        for series in both:
            points = [n for n, design in series.designs.items() if (method, design) in gains]
            for n in dict.fromkeys((points[:1] or []) + points[-1:]):
                name = f"{method}, {count(n, series.noun)}"
                changes.append((name, gains[method, series.designs[n]]))
    return (
        f"{context.metric_text.capitalize()} on new experiments after training on "
        f"{most.experiments}: {listed(scores)}.",
        f"Difference to {first}: {differences_text(changes, sep='; ') or 'one method was run'}. "
        f"{spread(context)}",
        limits(context, changes, "another draw of laboratories and microscopes, or real ones"),
    )


def _draw(
    canvas: Canvas, context: StudyContext, both: tuple[_Series, ...], gains: dict[_Key, Difference]
) -> None:
    """Draw the difference of each method to the first one, a panel per varied number."""
    axes = canvas.figure.subplots(1, len(both), sharey=True)
    methods = context.methods[1:]
    for ax, series in zip(axes, both, strict=True):
        places = {n: float(k) for k, n in enumerate(series.designs)}
        ends: dict[str, tuple[float, float]] = {}
        for k, method in enumerate(methods):
            colour = colour_of(method)
            offset = (k - (len(methods) - 1) / 2) * 0.08
            line = []
            for n, design in series.designs.items():
                gain = gains.get((method, design))
                if gain is None:
                    continue
                x = places[n] + offset
                line.append((x, gain.mean))
                if gain.low is not None and gain.high is not None:
                    ax.vlines(x, gain.low, gain.high, color=colour, linewidth=0.9, alpha=0.8)
                canvas.table.append(
                    {
                        "varied": series.varied,
                        "point": n,
                        "method": method,
                        "value": gain.mean,
                        "ci_low": gain.low,
                        "ci_high": gain.high,
                    }
                )
            if line:
                ax.plot(*zip(*line, strict=True), color=colour, marker=marker_of(method))
                ends[method] = line[-1]
        ax.axhline(0, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        ax.set_xticks(list(places.values()), [str(n) for n in places])
        ax.minorticks_off()
        ax.set_xlim(-0.4, len(places) - 0.6)
        ax.set_xlabel(series.label)
        if ends:
            label_ends(ax, ends, {method: colour_of(method) for method in ends})
    first = context.methods[0]
    axes[0].set_ylabel(f"{context.metric_text} ({context.readout}) minus {first}")
