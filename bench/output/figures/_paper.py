"""Tables of the original paper (Lin & Lu 2022): published numbers and ours."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from bench.boards.claims import judge, published
from bench.core.canonical import digest
from bench.output.canvas import canvas
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
    return judge([one for one in published() if one.name.startswith(prefix)], inputs.records)


def table(inputs: FigureInput, prefix: str) -> list[Path]:
    """Draw a table of the paper: one row per method, one panel per metric, with our numbers.

    Parameters
    ----------
    prefix
        Name prefix of the claims.
    """
    meta = inputs.meta
    found = judged_table(inputs, prefix)
    metrics = list(dict.fromkeys(one.claim.reported_metric for one in found))
    methods = list(dict.fromkeys(one.claim.reported_method for one in found))
    place = {name: k for k, name in enumerate(methods)}
    notes = _notes(found)
    lines = sum(len(textwrap.wrap(note, 130)) for note in notes)
    labels = [textwrap.fill(name, 44) for name in methods]
    rows = sum(1 + label.count("\n") for label in labels)
    each = 0.2 if all(one.mean is None for one in found) else 0.31
    height = 1.25 + each * max(rows, 3) + 0.11 * lines
    with canvas(inputs.out, meta["name"], _digest(found), PAGE, height) as drawn:
        axes = drawn.figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for ax, metric in zip(axes, metrics, strict=True):
            ax.set_title(metric, fontsize=8, pad=3)
            mine = [one for one in found if one.claim.reported_metric == metric]
            for one in mine:
                _row(ax, one, place[one.claim.reported_method])
                drawn.table.append(_facts(one))
            ax.grid(visible=False, axis="y")
            ax.grid(visible=True, axis="x")
            ax.set_xlabel(f"{metric}, proportion", fontsize=7)
            ax.margins(x=0.25)
        axes[0].set_ylim(len(methods) - 0.4, -0.7)
        axes[0].set_yticks(range(len(methods)), labels)
        for tick in axes[0].get_yticklabels():
            tick.set_parse_math(False)
        drawn.title(f"{meta['paper']} of {PAPER}: {meta['title']}", _count(found))
        drawn.notes(notes, 130)
    return drawn.files


def _row(ax: Axes, one: Judged, y: int) -> None:
    claim = one.claim
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
    if one.mean is None:
        return
    colour = colour_of(claim.method_id)
    if one.sd:
        ax.hlines(y, one.mean - one.sd, one.mean + one.sd, color=colour, linewidth=1.2)
    ax.plot([one.mean], [y], marker=marker_of(claim.method_id), color=colour, zorder=3)
    ax.annotate(
        f"{one.mean:.3f}",
        (one.mean, y),
        (0, -9),
        textcoords="offset points",
        ha="center",
        fontsize=6,
        color=colour,
    )


def _count(found: Sequence[Judged]) -> str:
    there = sum(one.mean is not None for one in found)
    words = "none measured here" if not there else f"{there} measured here (filled, ± SD of seeds)"
    return f"published (hollow): {len(found)} numbers · {words}"


def _notes(found: Sequence[Judged]) -> list[str]:
    """State why published numbers have no counterpart."""
    notes = []
    by_status: dict[str, list[str]] = {}
    for one in found:
        if one.mean is not None:
            name = f"{one.claim.reported_method} ({one.claim.reported_metric})"
            by_status.setdefault(one.status, []).append(name)
    for status in sorted(by_status):
        words = "measured with too few seeds" if status == "not run" else status
        notes.append(f"{words[0].upper()}{words[1:]}: {_list(by_status[status])}.")
    waiting = [one for one in found if one.mean is None and one.claim.comparable]
    if waiting:
        names = _list(one.claim.reported_method for one in waiting)
        notes.append(
            f"No record of the real data here for {names}; to create one: "
            f"{waiting[0].claim.command}"
        )
    reasons: dict[str, list[str]] = {}
    for one in found:
        if not one.claim.comparable:
            reason = one.claim.unmatched
            if reason.startswith("no method here is "):  # preceded by the name of the method
                reason = "no method here is that"
            reasons.setdefault(reason, []).append(one.claim.reported_method)
    for reason, methods in reasons.items():
        several = list(dict.fromkeys(methods))
        who = _list(several) if len(several) < len({o.claim.reported_method for o in found}) else ""
        notes.append(f"Never compared{': ' + who if who else ''}: {reason}.")
    remarks: dict[str, list[str]] = {}
    for one in found:
        if one.claim.note:
            remarks.setdefault(one.claim.note, []).append(one.claim.reported_method)
    for note, methods in remarks.items():
        several = list(dict.fromkeys(methods))
        everyone = len(several) == len({one.claim.reported_method for one in found})
        notes.append(f"{'All' if everyone else _list(several)}: {note}.")
    return notes


def _list(names: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(names))


def _facts(one: Judged) -> dict[str, object]:
    claim = one.claim
    low, high = one.interval or (None, None)
    return {
        "claim": claim.name,
        "reported_method": claim.reported_method,
        "reported_metric": claim.reported_metric,
        "published": claim.value,
        "published_sd": claim.sd,
        "measured": one.mean,
        "measured_sd": one.sd,
        "n_seeds": one.n_seeds,
        "difference": one.difference,
        "difference_low": low,
        "difference_high": high,
        "status": one.status if claim.comparable else "never compared",
        "why": claim.unmatched,
        "source": claim.source,
        "command": claim.command,
    }


def _digest(found: Sequence[Judged]) -> str:
    return digest([[one.claim.name, one.mean, list(one.run_ids)] for one in found])
