"""Mixing of batches against conservation of biology, before and after each correction.

Mixing all rows scores well on iLISI although labels are lost. The robustness index, ciLISI, kBET
within labels and BRAS do not reward that; they have intervals over batches. The other metrics of
scIB and the overall score of Arevalo et al. are in ``table.csv``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.jackknife import FEWEST
from bench.scoring.profiles.mixing import POINTS, WITH_INTERVALS, Mixed, mixing
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing, noun_of

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "mixing",
    "version": 1,
    "question": "Do neighbours share biology or batch, and does mixing cost biology?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
DRAWN = (*WITH_INTERVALS, "ilisi", "clisi")
SHOWN = {
    "method": "method",
    "robustness_index": "robustness",
    "robustness_index_low": "low",
    "robustness_index_high": "high",
    "cilisi": "ciLISI",
    "kbet": "kBET",
    "bras": "BRAS",
    "ilisi": "iLISI",
    "clisi": "cLISI",
}
NOTES = (
    "robustness: nearest neighbours (15) of the same label and another batch, against those of "
    "another label and the same batch. ciLISI, kBET and BRAS: mixing within labels. iLISI also "
    "rewards merging labels. For all, 1 is best.",
    f"95 % intervals: jackknife over batches, none with fewer than {FEWEST}. The other metrics are "
    "in table.csv. pcr_comparison is scIB's: the share of the batch variance that is removed.",
    "Metrics of Leiden clusters need the extra scib.",
)


def run(context: StudyContext) -> Finding:
    """Compute the metrics after every correction."""
    context.describe("mixing and biology", "cosine neighbours")
    opened = context.task.opened
    results = {method: mixing(opened, X) for method, X in corrected(context)}
    if BASELINE not in results:
        return Finding([], SHOWN, nothing(context))
    for name, own in results[BASELINE].items():
        if math.isnan(own.value):
            context.leave_out(name, own.used)
    table = [_row(method, own, results[BASELINE]) for method, own in results.items()]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, results)

    height = max(3.2, 1.9 + 0.22 * len(results))
    level = noun_of(opened.level)
    return Finding(table, SHOWN, _reading(results, level), draw, height, NOTES)


def _row(method: str, own: dict[str, Mixed], base: dict[str, Mixed]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"method": method}
    for name in (*WITH_INTERVALS, *POINTS):
        mixed = own[name]
        row[name] = None if math.isnan(mixed.value) else mixed.value
        if name in WITH_INTERVALS:
            row[f"{name}_low"], row[f"{name}_high"] = mixed.low, mixed.high
    before, after = 1 - base["pcr"].value, 1 - own["pcr"].value
    if own is not base and before > 0 and not math.isnan(after):
        row["pcr_comparison"] = max(0.0, (before - after) / before)
    return row


def _reading(results: dict[str, dict[str, Mixed]], level: str) -> tuple[str, str, str]:
    def text(name: str, method: str) -> str:
        own = results[method][name]
        if math.isnan(own.value):
            return f"{method} –"
        between = "" if own.low is None else f" [{own.low:.3f}, {own.high:.3f}]"
        return f"{method} {own.value:.3f}{between}"

    def order(name: str) -> list[str]:
        values = {method: own[name].value for method, own in results.items()}
        return sorted(values, key=lambda m: -values[m] if not math.isnan(values[m]) else 1.0)

    robustness = [text("robustness_index", method) for method in order("robustness_index")]
    best = {name: order(name)[0] for name in ("ilisi", "cilisi")}
    same = (
        f"{best['ilisi']} has the highest iLISI and the highest ciLISI"
        if best["ilisi"] == best["cilisi"]
        else f"{best['ilisi']} has the highest iLISI, but {best['cilisi']} the highest ciLISI. "
        "ciLISI does not reward merging labels"
    )
    return (
        f"Robustness index by {level}: {listed(robustness, sep='; ')}.",
        f"{same}.",
        f"Not shown: values of {level} that are not in this table. Where labels differ between "
        "batches, a correction is judged by the labels that batches share.",
    )


def _draw(canvas: Canvas, results: dict[str, dict[str, Mixed]]) -> None:
    """Draw the metrics, a panel each and a point per method."""
    axes = canvas.figure.subplots(1, len(DRAWN), squeeze=False, sharey=True)[0]
    titles = {**SHOWN, "robustness_index": "robustness"}
    for ax, name in zip(axes, DRAWN, strict=True):
        for place, (method, own) in enumerate(results.items()):
            mixed, colour = own[name], colour_of(method)
            if mixed.low is not None and mixed.high is not None:
                ax.hlines(place, mixed.low, mixed.high, color=colour)
            if not math.isnan(mixed.value):
                ax.plot(mixed.value, place, color=colour, marker=marker_of(method))
            canvas.table.append(
                {
                    "metric": name,
                    "method": method,
                    "value": mixed.value,
                    "ci_low": mixed.low,
                    "ci_high": mixed.high,
                    "used": mixed.used,
                }
            )
        ax.set_title(titles[name], fontsize=8)
        ax.set_yticks(range(len(results)), list(results))
        ax.set_ylim(len(results) - 0.5, -0.5)
        ax.minorticks_off()
        ax.margins(x=0.15)
        ax.tick_params(axis="x", labelsize=6.5)
