"""Active treatments and consistent labels before and after each correction.

Definitions of copairs; see :mod:`bench.scoring.profiles.activity`. A correction that removes
biology with the batch effect makes treatments inactive: the change per treatment shows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import NotApplicable
from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.activity import ALPHA, Groups, activity, consistency
from bench.studies._groups import change_cells, draw_groups, share_cells, wilson
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "activity",
    "version": 1,
    "question": "Which treatments are active, and which lose activity by a correction?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
SHOWN = {
    "method": "method",
    "n_active": "active",
    "active": "share",
    "gained": "gained",
    "lost": "lost",
    "p": "p",
    "change": "change",
    "consistent": "consistent",
    "n_labels": "labels",
}
NOTES = (
    "Active: a treatment's wells retrieve each other among the negative controls of their batch. "
    f"The mean average precision is compared with random rankings: q < {ALPHA} (Benjamini and "
    "Hochberg). Consistent: the same of labels, among active treatments.",
    "change: mean change of the normalised average precision per treatment. Its interval over "
    "treatments is in table.csv.",
    "p: exact McNemar test of gained against lost treatments. The interval of the active share is "
    "Wilson's, over treatments. Treatments share plates and controls.",
)


@dataclass(frozen=True)
class _Result:
    treatments: Groups
    labels: Groups | None


def run(context: StudyContext) -> Finding:
    """Compute activity and consistency after every correction."""
    context.describe("phenotypic activity", "mAP against negative controls")
    opened = context.task.opened
    results: dict[str, _Result] = {}
    without: dict[str, list[str]] = {}
    for method, X in corrected(context):
        try:
            groups = activity(opened, X)
        except NotApplicable as error:
            context.leave_out("all methods", str(error))
            return Finding([], SHOWN, nothing(context))
        labels = None
        try:
            labels = consistency(opened, X, groups.names[groups.significant])
        except NotApplicable as error:
            without.setdefault(str(error), []).append(method)
        results[method] = _Result(groups, labels)
    for reason, methods in without.items():
        after = "" if len(methods) == len(results) else f" after {', '.join(methods)}"
        context.leave_out(f"consistency{after}", reason)
    if BASELINE not in results:
        return Finding([], SHOWN, nothing(context))
    table = [_row(method, result, results[BASELINE]) for method, result in results.items()]

    def draw(canvas: Canvas) -> None:
        left, right = canvas.figure.subplots(1, 2, width_ratios=[1, 1.4])
        by_method = {method: result.treatments for method, result in results.items()}
        draw_groups(canvas, left, right, by_method, "active")
        _draw_labels(left, results)

    height = 1.6 + 0.28 * len(results)
    return Finding(table, SHOWN, _reading(context, table), draw, max(height, 3.2), NOTES)


def _row(method: str, result: _Result, base: _Result) -> dict[str, Cell]:
    row: dict[str, Cell] = {"method": method, **share_cells(result.treatments, "active")}
    if result is not base:
        row |= change_cells(result.treatments, base.treatments)
    if result.labels is not None:
        labels = result.labels
        low, high = wilson(int(labels.significant.sum()), len(labels.names))
        row |= {
            "consistent": float(labels.significant.mean()),
            "consistent_low": low,
            "consistent_high": high,
            "n_labels": len(labels.names),
            "labels_map": float(labels.normalised.mean()),
        }
    return row


def _reading(context: StudyContext, table: list[dict[str, Cell]]) -> tuple[str, str, str]:
    base, others = table[0], table[1:]
    changes = [
        f"{row['method']} {row['n_active']} (+{row['gained']} -{row['lost']})" for row in others
    ]
    with_labels = [f"{r['method']} {r['consistent']:.3f}" for r in table if "consistent" in r]
    by_label = (
        f"Consistent share of labels: {listed(with_labels, sep='; ')}."
        if with_labels
        else "Labels are the treatments, or are not shared, so consistency is undefined."
    )
    return (
        f"Without correction, {base['n_active']} of {base['n_treatments']} treatments are active. "
        f"After correction: {listed(changes, sep='; ') or 'no other method'}.",
        by_label,
        f"Not shown: activity beyond the {_plates(context)} batches of this table, and effects of "
        "the well position where replicates share it.",
    )


def _plates(context: StudyContext) -> int:
    opened = context.task.opened
    return int(opened.index[opened.level].nunique())


def _draw_labels(ax: Axes, results: dict[str, _Result]) -> None:
    """Add the share of consistent labels, as open markers below those of active treatments."""
    labels = {m: result.labels for m, result in results.items() if result.labels is not None}
    for place, method in enumerate(results):
        if method not in labels:
            continue
        own, colour, y = labels[method], colour_of(method), place + 0.22
        n = len(own.names)
        ax.hlines(y, *wilson(int(own.significant.sum()), n), color=colour, linewidth=0.8)
        marker = marker_of(method)
        share = own.significant.mean()
        ax.plot(share, y, color=colour, marker=marker, markerfacecolor="white", markersize=4)
    if labels:
        ax.set_xlabel("share of active treatments; open: of consistent labels")
