"""Variance explained by batch, position, number of cells and treatment, by correction.

See :mod:`bench.scoring.profiles.variance`. A correction should lower the share of the nuisances and
keep that of the treatments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.jackknife import FEWEST
from bench.scoring.profiles.variance import Explained, Share
from bench.studies._profiles import BASELINE, corrected
from bench.studies._results import Finding
from bench.studies._sentences import listed, nothing, noun_of

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "variance",
    "version": 1,
    "question": "How much variance do batch, position, cell count and treatment explain?",
    "methods": ["center", "robust", "zscore", "sphering", "tvn", "combat", "harmony"],
}
SHOWN = {
    "factor": "factor",
    "method": "method",
    "alone": "alone",
    "low": "low",
    "high": "high",
    "unique": "unique",
}
NOTES = (
    "alone: adjusted share of the variance that the factor explains alone. 0 is no more than a "
    "factor without effect. unique: what no other factor explains, all batch levels together.",
    "Features of the table are scaled to unit variance. Principal components keep their variance.",
    f"95 % intervals: jackknife over batches, none with fewer than {FEWEST}.",
    "If all plates have one layout, the position explains what the treatments do: see unique.",
)


def run(context: StudyContext) -> Finding:
    """Compute the explained variance after every correction."""
    context.describe("explained variance", "linear models")
    opened = context.task.opened
    if opened.is_images:
        context.leave_out("all methods", "profiles of images: score a table of embeddings")
        return Finding([], SHOWN, nothing(context))
    model = Explained(opened)
    for factor, reason in model.left_out.items():
        context.leave_out(factor, reason)
    results = {
        method: model.shares(X, scaled=X.shape[1] == opened.source.shape[0])
        for method, X in corrected(context)
    }
    table: list[dict[str, Cell]] = [
        {
            "factor": noun_of(own[k].factor),
            "method": method,
            "alone": own[k].alone,
            "low": own[k].low,
            "high": own[k].high,
            "unique": own[k].unique,
            "n_batches": model.n_batches,
        }
        for k in range(len(model.factors))
        for method, own in results.items()
    ]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, results, table)

    height = max(3.2, 1.9 + 0.22 * len(results))
    return Finding(table, SHOWN, _reading(results), draw, height, NOTES)


def _reading(results: dict[str, list[Share]]) -> tuple[str, str, str]:
    base = {share.factor: share for share in results[BASELINE]}
    before = [f"{noun_of(name)} {share.alone:.3f}" for name, share in base.items()]
    batch = results[BASELINE][0].factor
    changes = []
    for method, own in results.items():
        if method != BASELINE:
            after = {share.factor: share for share in own}
            changes.append(
                f"{method} {after[batch].alone - base[batch].alone:+.3f} and "
                f"{after['treatment'].alone - base['treatment'].alone:+.3f}"
            )
    return (
        f"Without correction, the shares explained alone are {listed(before, most=6)}.",
        f"Changes of {noun_of(batch)} and of treatment: "
        f"{listed(changes, sep='; ') or 'none scored'}.",
        "Not shown: effects that are not additive, and whether an explained share is biology. "
        "Treatments that differ by their batch explain variance too.",
    )


def _draw(canvas: Canvas, results: dict[str, list[Share]], table: list[dict[str, Cell]]) -> None:
    """Draw the explained variance per method, a panel per factor.

    Panels share their axis, so small shares overlap: both are also written next to the markers.
    """
    n = len(results[BASELINE])
    axes = canvas.figure.subplots(1, n, squeeze=False, sharey=True, sharex=True)[0]
    canvas.table.extend(table)
    for k, ax in enumerate(axes):
        for place, (method, own) in enumerate(results.items()):
            share, colour = own[k], colour_of(method)
            if share.low is not None and share.high is not None:
                ax.hlines(place, share.low, share.high, color=colour)
            ax.plot(share.alone, place, color=colour, marker=marker_of(method), linestyle="none")
            ax.plot(
                share.unique,
                place,
                color=colour,
                marker=marker_of(method),
                markerfacecolor="white",
                linestyle="none",
            )
        ax.axvline(0, color="#888888", linewidth=0.8, zorder=0)
        ax.set_title(noun_of(results[BASELINE][k].factor), fontsize=8)
        ax.set_yticks(range(len(results)), list(results))
        ax.set_ylim(len(results) - 0.5, -0.5)
        ax.minorticks_off()
    low, high = axes[0].get_xlim()
    axes[0].set_xlim(low, high)
    for k, ax in enumerate(axes):
        for place, own in enumerate(results.values()):
            share = own[k]
            ends = [v for v in (share.alone, share.unique, share.low, share.high) if v is not None]
            right = max(ends) < (low + high) / 2
            ax.annotate(
                f"{share.alone:.3f} / {share.unique:.3f}",
                (max(ends) if right else min(ends), place),
                xytext=(6 if right else -6, 0),
                textcoords="offset points",
                horizontalalignment="left" if right else "right",
                verticalalignment="center",
                fontsize=6,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
    text = "adjusted share of variance: filled (first number) alone, open (second number) unique"
    canvas.figure.supxlabel(text, fontsize=8)
