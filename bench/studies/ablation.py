"""Which half of batch-wise normalisation does what: how batches are sampled, and whose statistics.

Nine arms, {mixed, one plate drawn with replacement, one plate in a covering order} in training x
{running averages, the test batch, its negative controls} at test:

=========  ===========================  ===========================  ============================
training   running                      batch                        controls
=========  ===========================  ===========================  ============================
mixed      ``erm``                      ``adabn``                    ``adabn(rows=controls)``
plate      ``erm-plate``                ``ben``                      ``ben-controls``
covering   ``erm-plate`` (covering)     ``ben`` (covering)           ``ben-controls`` (covering)
=========  ===========================  ===========================  ============================

The covering sampler visits every row once an epoch, so it parts what a plate in a batch does from
what drawing plates with replacement does. The published contrast (Lin and Lu 2022, table 3) changes
sampler and statistics at once. ``ben-controls`` takes the statistics of controls in training too:
there is no training on one plate with all rows' statistics whose network is made for controls.
Nothing is trained twice: arms of one row share a training except those of controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.output.style import colour_of
from bench.studies._cells import Arm, Finding, gap_columns
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell, Gap
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "ablation",
    "version": 1,
    "question": "Is it the sampling of training batches or the statistics at test?",
    "methods": ["erm", "adabn", "erm-plate", "ben", "ben-controls"],
    "point": "",
    "points": [],
}

SAMPLERS = ("mixed", "plate", "covering")
STATISTICS = ("running", "batch", "controls")


@dataclass(frozen=True)
class _Place:
    sampler: str
    statistics: str
    method: str
    params: dict[str, Any]

    @property
    def words(self) -> str:
        return f"{self.sampler}/{self.statistics}"


_COVERING = {"sampler": "covering"}
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
"""Single steps between two arms that differ in one thing: name, arm, arm before."""


def run(lab: Lab) -> Finding:
    """Score the arms whose method is among those asked for."""
    own = {place.method for place in PLACES}
    for method in lab.methods:
        if method not in own:
            lab.leave_out(method, "it is none of the arms")
    for method in sorted(own - set(lab.methods)):
        lab.leave_out(method, "it was not among the methods asked for")
    cells: dict[str, Cell] = {}
    for place in PLACES:
        if place.method in lab.methods:
            cell = lab.cell(Arm(place.method, {place.method: place.params}))
            if cell.ok:
                cells[place.words] = cell
            else:
                lab.leave_out(f"{place.words} ({cell.label})", cell.reason)
    if not cells:
        return Finding([], _SHOWN, nothing(lab))
    base = cells.get("mixed/running")
    table = []
    for place in PLACES:
        if place.words in cells:
            cell = cells[place.words]
            where = {"training": place.sampler, "statistics": place.statistics}
            gap = None if base is None or cell is base else lab.gap(cell, base)
            empty = dict.fromkeys(gap_columns("diff"))
            table.append({**where, **cell.facts(), **(gap.facts("diff") if gap else empty)})

    def draw(made: Canvas) -> None:
        _draw(made, lab, cells)

    return Finding(table, _SHOWN, _reading(lab, cells), draw, height=3.2, notes=_NOTES)


_SHOWN = {
    "training": "training batch",
    "statistics": "statistics",
    "method": "arm",
    "mean": "score",
    "sd": "SD",
    "diff": "to erm",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
}
_NOTES = (
    "Plate: a batch of the level that the data set acts on, drawn with replacement; covering: "
    "every row once an epoch. Arms of controls with plates use the controls' statistics in "
    "training too.",
)


def _steps(lab: Lab, cells: dict[str, Cell]) -> list[tuple[str, Gap]]:
    return [
        (words, lab.gap(cells[one], cells[other]))
        for words, one, other in STEPS
        if one in cells and other in cells
    ]


def _reading(lab: Lab, cells: dict[str, Cell]) -> tuple[str, str, str]:
    best = max(cells, key=lambda name: cells[name].mean)
    worst = min(cells, key=lambda name: cells[name].mean)
    base = cells.get("mixed/running")
    versus = f"; erm (mixed/running) has {base.words}" if base is not None else ""
    first = (
        f"Of {len(cells)} arms {best} scores highest ({cells[best].words}) and {worst} lowest "
        f"({cells[worst].words}){versus}."
    )
    steps = _steps(lab, cells)
    steps.sort(key=lambda step: -abs(step[1].mean))
    told = listed([f"{words} {gap.words}" for words, gap in steps], sep="; ")
    second = (
        f"Single steps, largest first: {told or 'no two arms differ in one thing'} ({spread(lab)})."
    )
    more = "whether the steps add up: they are differences along the edges of a table"
    return first, second, cannot_tell(lab, steps, more)


def _draw(made: Canvas, lab: Lab, cells: dict[str, Cell]) -> None:
    axes = made.figure.subplots(1, len(STATISTICS), sharey=True)
    for ax, statistics in zip(axes, STATISTICS, strict=True):
        ax.set_title(f"{statistics} statistics", fontsize=8)
        for x, sampler in enumerate(SAMPLERS):
            cell = cells.get(f"{sampler}/{statistics}")
            if cell is None:
                text = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": "#777777"}
                ax.text(x, 0.02, "not run", transform=ax.get_xaxis_transform(), **text)
                continue
            colour = colour_of(cell.arm.method)
            ax.scatter([x] * len(cell.values), cell.values, s=9, color=colour, alpha=0.5)
            ax.plot([x - 0.18, x + 0.18], [cell.mean] * 2, color=colour, linewidth=2)
            if cell.low is not None and cell.high is not None:
                ax.vlines(x, cell.low, cell.high, color=colour, linewidth=0.9)
            for seed, value in zip(cell.seeds, cell.values, strict=True):
                where = {"training": sampler, "statistics": statistics, "method": cell.label}
                span = {"ci_low": cell.low, "ci_high": cell.high}
                made.table.append({**where, "seed": seed, "value": value, **span})
        base = cells.get("mixed/running")
        if base is not None:
            style: dict[str, Any] = {"color": "#000000", "linewidth": 0.8, "linestyle": (0, (4, 2))}
            ax.axhline(base.mean, zorder=1, **style)
        ax.set_xticks(range(len(SAMPLERS)), SAMPLERS)
        ax.set_xlim(-0.5, len(SAMPLERS) - 0.5)
    axes[0].set_ylabel(f"{lab.metric_words} ({lab.readout})")
    axes[1].set_xlabel("training batch")
    words = "Points: seeds. Short line: mean. Bar: 95 % interval over seeds crossed with clusters"
    made.notes([f"{words}, where there are 8. Dashed: erm."], 130)
