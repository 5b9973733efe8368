"""Treatments that reproduce in another plate, day or laboratory, before and after each correction.

See :mod:`bench.scoring.profiles.reproducibility`. A correction that removes a treatment's effect
together with the batch effect shows as a lost treatment: the table of the figure names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import NotApplicable
from bench.scoring.profiles.activity import ALPHA, Groups
from bench.scoring.profiles.reproducibility import reproducibility
from bench.scoring.profiles.restricted import restrictions
from bench.studies._groups import change_cells, draw_groups, share_cells
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing, noun_of

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "reproducibility",
    "version": 1,
    "question": "Which treatments reproduce in another batch, and which does a correction cost?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
SHOWN = {
    "across": "across",
    "method": "method",
    "n_reproducible": "number",
    "reproducible": "share",
    "gained": "gained",
    "lost": "lost",
    "p": "p",
    "change": "change",
    "change_low": "low",
    "change_high": "high",
}
NOTES = (
    "Reproducible: wells of a treatment retrieve its wells in other batches, among the treated "
    "wells there. The mean average precision is compared with random rankings: "
    f"q < {ALPHA} (Benjamini and Hochberg, over the treatments of a row).",
    "Each correction is fitted on all rows without classes. Treatments in one batch only are not "
    "tested.",
    "p: exact McNemar test of gained against lost treatments. change: mean change of the "
    "normalised average precision; its interval and Wilson's of the share are over treatments.",
    "The effect of the well position also reproduces if replicates share it. Where they do not, "
    "rows named after a level and the position leave out wells that share it.",
)


def run(context: StudyContext) -> Finding:
    """Compute the reproducibility of each treatment at every level after every correction."""
    context.describe("reproducibility", "mAP across batches")
    opened = context.task.opened
    results: dict[str, dict[str, Groups]] = {}
    for method, X in corrected(context):
        for name, columns in restrictions(opened).items():
            if not set(columns) & set(opened.levels):
                continue
            try:
                results.setdefault(name, {})[method] = reproducibility(opened, X, columns)
            except NotApplicable as error:
                context.leave_out(_shown(name), str(error))
    by_level = {name: own for name, own in results.items() if BASELINE in own}
    if not by_level:
        return Finding([], SHOWN, nothing(context))
    table = [
        _row(name, method, groups, own[BASELINE])
        for name, own in by_level.items()
        for method, groups in own.items()
    ]

    def draw(canvas: Canvas) -> None:
        axes = canvas.figure.subplots(len(by_level), 2, squeeze=False, width_ratios=[1, 1.4])
        for (left, right), (name, own) in zip(axes, by_level.items(), strict=True):
            draw_groups(canvas, left, right, own, "reproducible", across=_shown(name))
            left.set_title(f"in another {_shown(name)}", fontsize=8)

    height = len(by_level) * max(2.6, 1.2 + 0.24 * len(by_level[next(iter(by_level))]))
    return Finding(table, SHOWN, _reading(table), draw, height, NOTES)


def _shown(name: str) -> str:
    return " and ".join(noun_of(column) for column in name.split("+"))


def _row(name: str, method: str, groups: Groups, base: Groups) -> dict[str, Cell]:
    row: dict[str, Cell] = {"across": _shown(name), "method": method}
    row |= share_cells(groups, "reproducible")
    if groups is not base:
        row |= change_cells(groups, base)
    return row


def _reading(table: list[dict[str, Cell]]) -> tuple[str, str, str]:
    base = [row for row in table if row["method"] == BASELINE]
    highest = base[-1]["across"]
    shares = [
        f"{row['n_reproducible']} of {row['n_treatments']} in another {row['across']}"
        for row in base
    ]
    others = [row for row in table if row["across"] == highest and row not in base]
    changes = [
        f"{row['method']} {row['n_reproducible']} (+{row['gained']} -{row['lost']})"
        for row in sorted(others, key=lambda row: -int(row["n_reproducible"] or 0))
    ]
    return (
        f"Without correction, treatments reproduce: {listed(shares)}.",
        f"In another {highest} after correction: {listed(changes, sep='; ') or 'none scored'}.",
        "Not shown: batches that are not in this table. A treatment may also reproduce by its well "
        "position.",
    )
