"""Active treatments and consistent labels before and after each correction.

Definitions of copairs; see :mod:`bench.scoring.profiles.activity`. A correction that removes
biology with the batch effect makes treatments inactive: the change per treatment shows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import NotApplicable
from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.activity import ALPHA, Groups, activity, consistency
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "activity",
    "version": 1,
    "question": "Which treatments are active, and which lose activity by a correction?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
    "point": "",
    "points": [],
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
    f"Active: q < {ALPHA} (Benjamini and Hochberg) of the mean average precision of a treatment's "
    "wells among the negative controls of their own batch, against random rankings. Consistent: "
    "the same of labels, among active treatments.",
    "change: mean change of the normalised average precision per treatment.",
    "p: exact McNemar test of gained against lost treatments. The interval of the active share is "
    "Wilson's, over treatments; treatments share plates and controls.",
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
            context.leave_out(f"consistency after {method}", str(error))
        results[method] = _Result(groups, labels)
    if BASELINE not in results:
        return Finding([], SHOWN, nothing(context))
    table = [_row(method, result, results[BASELINE]) for method, result in results.items()]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, results)

    height = 1.6 + 0.28 * len(results)
    return Finding(table, SHOWN, _reading(context, table), draw, max(height, 3.2), NOTES)


def _row(method: str, result: _Result, base: _Result) -> dict[str, Cell]:
    from scipy.stats import binomtest

    groups, before = result.treatments, base.treatments
    n, active = len(groups.names), int(groups.significant.sum())
    low, high = _limits(active, n)
    row: dict[str, Cell] = {
        "method": method,
        "active": active / n,
        "active_low": low,
        "active_high": high,
        "n_active": active,
        "n_treatments": n,
        "normalised_map": float(groups.normalised.mean()),
        "skipped": groups.skipped,
    }
    if result is not base:
        gained = int((groups.significant & ~before.significant).sum())
        lost = int((before.significant & ~groups.significant).sum())
        changed = gained + lost
        row |= {
            "gained": gained,
            "lost": lost,
            "p": float(binomtest(gained, changed).pvalue) if changed else 1.0,
            "change": float((groups.normalised - before.normalised).mean()),
        }
    if result.labels is not None:
        labels = result.labels
        row |= {
            "consistent": float(labels.significant.mean()),
            "n_labels": len(labels.names),
            "labels_map": float(labels.normalised.mean()),
        }
    return row


def _limits(k: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


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
        f"Without correction, {base['n_active']} of {base['n_treatments']} treatments are active; "
        f"after {listed(changes, sep='; ') or 'no other method'}.",
        by_label,
        f"Not shown: activity on other plates than the {_plates(context)} of this table, and "
        "effects of the well position where replicates share it.",
    )


def _plates(context: StudyContext) -> int:
    opened = context.task.opened
    return int(opened.index[opened.level].nunique())


def _draw(canvas: Canvas, results: dict[str, _Result]) -> None:
    """Draw the share of active treatments, and the change of each treatment per method."""
    left, right = canvas.figure.subplots(1, 2, width_ratios=[1, 1.4])
    base = results[BASELINE].treatments
    names = list(results)
    for place, method in enumerate(names):
        groups = results[method].treatments
        active = int(groups.significant.sum())
        low, high = _limits(active, len(groups.names))
        colour = colour_of(method)
        left.hlines(place, low, high, color=colour)
        left.plot(active / len(groups.names), place, color=colour, marker=marker_of(method))
        change = groups.normalised - base.normalised
        if method != BASELINE:
            spread = (np.argsort(np.argsort(change)) / max(len(change) - 1, 1) - 0.5) * 0.6
            for kind, mask in (
                ("#bbbbbb", groups.significant == base.significant),
                ("#1b9e77", groups.significant & ~base.significant),
                ("#d95f02", base.significant & ~groups.significant),
            ):
                right.scatter(change[mask], place + spread[mask], s=4, color=kind, linewidths=0)
        canvas.table.extend(
            {
                "method": method,
                "treatment": name,
                "wells": int(n),
                "map": float(value),
                "normalised_map": float(normalised),
                "p": float(p),
                "q": float(q),
                "active": bool(q < ALPHA),
                "active_before": bool(before),
                "change": float(delta),
            }
            for name, n, value, normalised, p, q, before, delta in zip(
                groups.names,
                groups.n,
                groups.precision,
                groups.normalised,
                groups.p,
                groups.q,
                base.significant,
                change,
                strict=True,
            )
        )
    for ax in (left, right):
        ax.set_yticks(range(len(names)), names if ax is left else [])
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.minorticks_off()
    left.set_xlabel("share of active treatments")
    right.axvline(0, color="#888888", linewidth=0.8)
    right.set_xlabel("change of normalised mAP per treatment")
    for text, colour, at in (("gained", "#1b9e77", 0.98), ("lost", "#d95f02", 0.02)):
        right.text(
            at,
            0.99,
            text,
            color=colour,
            transform=right.transAxes,
            fontsize=7,
            va="top",
            ha="right" if at > 0.5 else "left",
        )
