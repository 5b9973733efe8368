"""Tables of the original paper (Lin & Lu 2022): published numbers and ours."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from bench.boards.claims import judge, published
from bench.core.canonical import digest
from bench.output.canvas import canvas
from bench.output.figures._shared import name_lines, vertical_grid
from bench.output.style import PAGE, colour_of, marker_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.claims import Judged
    from bench.output.figures import FigureInput


PAPER = "Lin & Lu 2022, PMLR 200"
THEIRS = "#666666"


def judged_table(inputs: FigureInput, prefix: str) -> list[Judged]:
    """Return the claims with a given name prefix, each with its status given our records."""
    return judge([claim for claim in published() if claim.name.startswith(prefix)], inputs.records)


def table(inputs: FigureInput, prefix: str) -> list[Path]:
    """Draw a table of the paper: one row per method, one panel per metric, with our numbers.

    Parameters
    ----------
    prefix
        Name prefix of the claims.
    """
    meta = inputs.meta
    results = judged_table(inputs, prefix)
    metrics = list(dict.fromkeys(result.claim.reported_metric for result in results))
    methods = list(dict.fromkeys(result.claim.reported_method for result in results))
    place = {name: k for k, name in enumerate(methods)}
    notes = _notes(results)
    lines = sum(len(textwrap.wrap(note, 130)) for note in notes)
    labels = [textwrap.fill(name, 44) for name in methods]
    rows = sum(1 + label.count("\n") for label in labels)
    each = 0.2 if all(result.mean is None for result in results) else 0.31
    height = 1.25 + each * max(rows, 3) + 0.11 * lines
    with canvas(inputs.out, meta["name"], _digest(results), PAGE, height) as drawn:
        axes = drawn.figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for ax, metric in zip(axes, metrics, strict=True):
            ax.set_title(metric, fontsize=8, pad=3)
            mine = [result for result in results if result.claim.reported_metric == metric]
            for result in mine:
                _row(ax, result, place[result.claim.reported_method])
                drawn.table.append(_facts(result))
            vertical_grid(ax)
            ax.set_xlabel(f"{metric}, proportion", fontsize=7)
            ax.margins(x=0.25)
        axes[0].set_ylim(len(methods) - 0.4, -0.7)
        name_lines(axes[0], labels)
        drawn.title(f"{meta['paper']} of {PAPER}: {meta['title']}", _count(results))
        drawn.notes(notes, 130)
    return drawn.files


def _row(ax: Axes, result: Judged, y: int) -> None:
    claim = result.claim
    ax.plot([claim.value], [y], marker="D", markersize=4.5, color=THEIRS, markerfacecolor="white")
    words = f"{claim.value:.{round(-math.log10(2 * claim.rounding))}f}"
    ax.annotate(
        words,
        (claim.value, y),
        (0, 4.5),
        textcoords="offset points",
        ha="center",
        fontsize=6,
        color=THEIRS,
    )
    if result.mean is None:
        return
    colour = colour_of(claim.method_id)
    if result.sd:
        ax.hlines(y, result.mean - result.sd, result.mean + result.sd, color=colour, linewidth=1.2)
    ax.plot([result.mean], [y], marker=marker_of(claim.method_id), color=colour, zorder=3)
    ax.annotate(
        f"{result.mean:.3f}",
        (result.mean, y),
        (0, -9),
        textcoords="offset points",
        ha="center",
        fontsize=6,
        color=colour,
    )


def _count(results: Sequence[Judged]) -> str:
    there = sum(result.mean is not None for result in results)
    words = "none measured here" if not there else f"{there} measured here (filled, ± SD of seeds)"
    return f"published (hollow): {len(results)} numbers · {words}"


def _notes(results: Sequence[Judged]) -> list[str]:
    """State why published numbers have no counterpart."""
    notes = []
    by_status: dict[str, list[str]] = {}
    for result in results:
        if result.mean is not None:
            name = f"{result.claim.reported_method} ({result.claim.reported_metric})"
            by_status.setdefault(result.status, []).append(name)
    for status in sorted(by_status):
        words = "measured with too few seeds" if status == "not run" else status
        notes.append(f"{words[0].upper()}{words[1:]}: {_list(by_status[status])}.")
    waiting = [result for result in results if result.mean is None and result.claim.comparable]
    if waiting:
        names = _list(result.claim.reported_method for result in waiting)
        notes.append(
            f"No record of the real data here for {names}; to create one: "
            f"{waiting[0].claim.command}"
        )
    reasons: dict[str, list[str]] = {}
    for result in results:
        if not result.claim.comparable:
            reason = result.claim.unmatched
            if reason.startswith("no method here is "):  # preceded by the name of the method
                reason = "no method here is that"
            reasons.setdefault(reason, []).append(result.claim.reported_method)
    for reason, methods in reasons.items():
        several = list(dict.fromkeys(methods))
        who = (
            _list(several) if len(several) < len({o.claim.reported_method for o in results}) else ""
        )
        notes.append(f"Never compared{': ' + who if who else ''}: {reason}.")
    remarks: dict[str, list[str]] = {}
    for result in results:
        if result.claim.note:
            remarks.setdefault(result.claim.note, []).append(result.claim.reported_method)
    for note, methods in remarks.items():
        several = list(dict.fromkeys(methods))
        everyone = len(several) == len({result.claim.reported_method for result in results})
        notes.append(f"{'All' if everyone else _list(several)}: {note}.")
    return notes


def _list(names: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(names))


def _facts(result: Judged) -> dict[str, object]:
    claim = result.claim
    low, high = result.interval or (None, None)
    return {
        "claim": claim.name,
        "reported_method": claim.reported_method,
        "reported_metric": claim.reported_metric,
        "published": claim.value,
        "published_sd": claim.sd,
        "measured": result.mean,
        "measured_sd": result.sd,
        "n_seeds": result.n_seeds,
        "difference": result.difference,
        "difference_low": low,
        "difference_high": high,
        "status": result.status if claim.comparable else "never compared",
        "why": claim.unmatched,
        "source": claim.source,
        "command": claim.command,
    }


def _digest(results: Sequence[Judged]) -> str:
    return digest([[result.claim.name, result.mean, list(result.run_ids)] for result in results])
