"""Ablation of batch-wise normalisation: effect of batch sampling and of statistics.

Nine conditions: {mixed, one plate drawn with replacement, one plate in a covering order} in
training x {running averages, the test batch, its negative controls} at test:

=========  ===========================  ===========================  ============================
training   running                      batch                        controls
=========  ===========================  ===========================  ============================
mixed      ``erm``                      ``adabn``                    ``adabn(rows=controls)``
plate      ``erm-plate``                ``ben``                      ``ben-controls``
covering   ``erm-plate`` (covering)     ``ben`` (covering)           ``ben-controls`` (covering)
=========  ===========================  ===========================  ============================

The covering sampler visits every row once per epoch. It separates the effect of one plate per
batch from the effect of drawing plates with replacement. The published contrast (Lin and Lu 2022,
table 3) changes sampler and statistics at once. ``ben-controls`` also uses control statistics in
training, because training with statistics of all rows does not fit a network to controls. Nothing
is trained twice: conditions in the same row share a training, except those with controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.output.style import colour_of
from bench.studies._results import Condition, Finding, difference_cells
from bench.studies._sentences import NAMED, limits, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell, ConditionResult

META = {
    "kind": "study",
    "name": "ablation",
    "version": 1,
    "question": "Is it the sampling of training batches or the statistics at test?",
    "methods": ["erm", "adabn", "erm-plate", "ben", "ben-controls"],
}

SAMPLERS = ("mixed", "plate", "covering")
STATISTICS = ("running", "batch", "controls")
BASE = "mixed/running"
"""Plain training: the condition ``erm``."""


@dataclass(frozen=True)
class _Place:
    """A cell in the table of conditions."""

    sampler: str
    statistics: str
    method: str
    params: dict[str, object]

    @property
    def name(self) -> str:
        return f"{self.sampler}/{self.statistics}"


_COVERING: dict[str, object] = {"sampler": "covering"}
PLACES = (
    _Place("mixed", "running", "erm", {}),
    _Place("mixed", "batch", "adabn", {}),
    _Place("mixed", "controls", "adabn", {"rows": "controls"}),
    _Place("plate", "running", "erm-plate", {}),
    _Place("plate", "batch", "ben", {}),
    _Place("plate", "controls", "ben-controls", {}),
    _Place("covering", "running", "erm-plate", _COVERING),
    _Place("covering", "batch", "ben", _COVERING),
    _Place("covering", "controls", "ben-controls", _COVERING),
)
STEPS = (
    ("statistics of the batch, trained on mixtures", "mixed/batch", "mixed/running"),
    ("statistics of the batch, trained on plates", "plate/batch", "plate/running"),
    ("training on plates, running averages", "plate/running", "mixed/running"),
    ("training on plates, statistics of the batch", "plate/batch", "mixed/batch"),
    (
        "covering instead of with replacement, statistics of the batch",
        "covering/batch",
        "plate/batch",
    ),
    ("controls instead of all rows, trained on mixtures", "mixed/controls", "mixed/batch"),
    ("controls instead of all rows, trained on plates", "plate/controls", "plate/batch"),
)
"""Pairs of conditions that differ in one factor: name, condition, baseline condition."""
SHOWN = {
    "training": "training batch",
    "statistics": "statistics",
    "method": "method",
    "mean": "score",
    "sd": "SD",
    "diff": "to erm",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
}
NOTES = (
    "Plate: a batch of the data set's level, drawn with replacement. Covering: every row once an "
    "epoch. Conditions of controls with plates use the controls' statistics in training too.",
)


def run(context: StudyContext) -> Finding:
    """Score the conditions of the selected methods."""
    own = {place.method for place in PLACES}
    for method in context.methods:
        if method not in own:
            context.leave_out(method, "it is not a condition of this study")
    for method in sorted(own - set(context.methods)):
        context.leave_out(method, "it is not among the methods of this call")
    results: dict[str, ConditionResult] = {}
    for place in PLACES:
        if place.method in context.methods:
            result = context.result(Condition(place.method, {place.method: place.params}))
            if result.ok:
                results[place.name] = result
            else:
                context.leave_out(f"{place.name} ({result.label})", result.reason)
    if not results:
        return Finding([], SHOWN, nothing(context))

    def draw(canvas: Canvas) -> None:
        _draw(canvas, context, results)

    table, reading = _table(context, results), _reading(context, results)
    return Finding(table, SHOWN, reading, draw, height=3.2, notes=NOTES)


def _table(context: StudyContext, results: dict[str, ConditionResult]) -> list[dict[str, Cell]]:
    base = results.get(BASE)
    rows: list[dict[str, Cell]] = []
    for place in PLACES:
        result = results.get(place.name)
        if result is None:
            continue
        paired = None
        if base is not None and result is not base:
            paired = context.difference(result, base)
        columns = difference_cells(paired)
        where = {"training": place.sampler, "statistics": place.statistics}
        rows.append({**where, **result.facts(), **columns})
    return rows


def _reading(context: StudyContext, results: dict[str, ConditionResult]) -> tuple[str, str, str]:
    best = max(results, key=lambda name: results[name].mean)
    worst = min(results, key=lambda name: results[name].mean)
    base = results.get(BASE)
    versus = f" erm ({BASE}) has {base.text}." if base is not None else ""
    steps = [
        (name, context.difference(results[after], results[before]))
        for name, after, before in STEPS
        if after in results and before in results
    ]
    steps.sort(key=lambda step: -abs(step[1].mean))
    effects = [f"({k}) {name} {gap.text}" for k, (name, gap) in enumerate(steps[:NAMED], 1)]
    return (
        f"Of {len(results)} conditions {best} scores highest ({results[best].text}) and {worst} "
        f"lowest ({results[worst].text}).{versus}",
        f"Single changes, largest first: {'. '.join(effects) or 'none can be compared'}. "
        f"{spread(context)}",
        limits(context, steps, "whether the effects of single changes add up"),
    )


def _draw(canvas: Canvas, context: StudyContext, results: dict[str, ConditionResult]) -> None:
    axes = canvas.figure.subplots(1, len(STATISTICS), sharey=True)
    for ax, statistics in zip(axes, STATISTICS, strict=True):
        ax.set_title(f"{statistics} statistics", fontsize=8)
        for x, sampler in enumerate(SAMPLERS):
            result = results.get(f"{sampler}/{statistics}")
            if result is None:
                ax.text(
                    x,
                    0.02,
                    "not run",
                    transform=ax.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                    color="#777777",
                )
                continue
            colour = colour_of(result.condition.method)
            ax.scatter([x] * len(result.values), result.values, s=9, color=colour, alpha=0.5)
            ax.plot([x - 0.18, x + 0.18], [result.mean] * 2, color=colour, linewidth=2)
            if result.low is not None and result.high is not None:
                ax.vlines(x, result.low, result.high, color=colour, linewidth=0.9)
            for seed, value in zip(result.seeds, result.values, strict=True):
                where = {"training": sampler, "statistics": statistics, "method": result.label}
                span = {"ci_low": result.low, "ci_high": result.high}
                canvas.table.append({**where, "seed": seed, "value": value, **span})
        base = results.get(BASE)
        if base is not None:
            dashes = (0, (4, 2))
            ax.axhline(base.mean, zorder=1, color="#000000", linewidth=0.8, linestyle=dashes)
        ax.set_xticks(range(len(SAMPLERS)), SAMPLERS)
        ax.set_xlim(-0.5, len(SAMPLERS) - 0.5)
    axes[0].set_ylabel(f"{context.metric_text} ({context.readout})")
    axes[1].set_xlabel("training batch")
    canvas.notes(
        [
            "Points: seeds. Short line: mean. Bar: 95 % interval over seeds crossed with clusters, "
            "with at least 8 clusters. Dashed: erm."
        ],
        130,
    )
