"""Table cells and panels of studies of groups, such as treatments, with q values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.output.style import colour_of, marker_of
from bench.scoring.profiles.activity import ALPHA
from bench.studies._profiles import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from bench.output.canvas import Canvas
    from bench.scoring.profiles.activity import Groups
    from bench.studies._results import Cell

GAINED, LOST, SAME = "#1b9e77", "#d95f02", "#bbbbbb"
"""Colours of treatments that become significant, lose it, or do not change."""


def share_cells(groups: Groups, name: str) -> dict[str, Cell]:
    """Return the number and share of significant groups with Wilson's 95 % interval."""
    n, k = len(groups.names), int(groups.significant.sum())
    low, high = wilson(k, n)
    return {
        f"n_{name}": k,
        "n_treatments": n,
        name: k / n,
        f"{name}_low": low,
        f"{name}_high": high,
        "normalised_map": float(groups.normalised.mean()),
        "skipped": groups.skipped,
    }


def change_cells(groups: Groups, before: Groups) -> dict[str, Cell]:
    """Return gained and lost groups with McNemar's p, and the mean change with its 95 % limits.

    The interval of the change is that of a paired t test over groups.
    """
    from scipy.stats import binomtest, t

    gained = int((groups.significant & ~before.significant).sum())
    lost = int((before.significant & ~groups.significant).sum())
    change = groups.normalised - before.normalised
    n, mean = len(change), float(change.mean())
    half = float(t.ppf(0.975, n - 1) * change.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return {
        "gained": gained,
        "lost": lost,
        "p": float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
        "change": mean,
        "change_low": None if half is None else mean - half,
        "change_high": None if half is None else mean + half,
    }


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def draw_groups(
    canvas: Canvas,
    left: Axes,
    right: Axes,
    results: Mapping[str, Groups],
    name: str,
    **columns: str,
) -> None:
    """Draw the share of significant groups per method, and the change of each group.

    Parameters
    ----------
    left, right
        Axes of the shares and of the changes.
    results
        Method -> groups, the uncorrected table among them.
    name
        What a significant group is: ``active``.
    columns
        Further columns of the rows that are added to the CSV of the figure.
    """
    base = results[BASELINE]
    for place, (method, groups) in enumerate(results.items()):
        k, n = int(groups.significant.sum()), len(groups.names)
        colour = colour_of(method)
        left.hlines(place, *wilson(k, n), color=colour)
        left.plot(k / n, place, color=colour, marker=marker_of(method))
        change = groups.normalised - base.normalised
        if method != BASELINE:
            spread = (np.argsort(np.argsort(change)) / max(len(change) - 1, 1) - 0.5) * 0.6
            for shade, mask in (
                (SAME, groups.significant == base.significant),
                (GAINED, groups.significant & ~base.significant),
                (LOST, base.significant & ~groups.significant),
            ):
                right.scatter(change[mask], place + spread[mask], s=4, color=shade, linewidths=0)
        canvas.table.extend(
            {
                **columns,
                "method": method,
                "treatment": treatment,
                "wells": int(groups.n[g]),
                "map": float(groups.precision[g]),
                "normalised_map": float(groups.normalised[g]),
                "p": float(groups.p[g]),
                "q": float(groups.q[g]),
                name: bool(groups.q[g] < ALPHA),
                f"{name}_before": bool(base.significant[g]),
                "change": float(change[g]),
            }
            for g, treatment in enumerate(groups.names.tolist())
        )
    for ax in (left, right):
        ax.set_yticks(range(len(results)), list(results) if ax is left else [])
        ax.set_ylim(len(results) - 0.5, -0.5)
        ax.minorticks_off()
    left.set_xlabel(f"share of {name} treatments")
    right.axvline(0, color="#888888", linewidth=0.8)
    right.set_xlabel("change of normalised mAP per treatment")
    for text, colour, at in (("gained", GAINED, 0.98), ("lost", LOST, 0.02)):
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
