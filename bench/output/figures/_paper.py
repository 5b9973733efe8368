"""The tables and figures of the seed paper (Lin & Lu 2022), beside what was measured here.

A number of ours stands beside one of theirs only if it was made of the real data on the same rows
(``bench.boards.claims``); where it does not, the reason stands in its place.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.claims import judge, published
from bench.core.canonical import digest
from bench.output.canvas import canvas
from bench.output.figures._scatter import chosen, key, scatter
from bench.output.figures._shared import nothing
from bench.output.style import PAGE, colour_of, marker_of, sentence
from bench.records.embeddings import embedding
from bench.records.record import Record
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bench.boards.claims import Judged
    from bench.output.figures import Given

__all__ = ["PAPER", "Side", "judged_table", "pair", "table"]

PAPER = "Lin & Lu 2022, PMLR 200"
THEIRS = "#666666"


# --------------------------------------------------------------------------- tables


def judged_table(given: Given, prefix: str) -> list[Judged]:
    """Return the claims whose names begin so, each with its status by our records."""
    return judge([one for one in published() if one.name.startswith(prefix)], given.records)


def table(given: Given, meta: Mapping[str, Any], prefix: str) -> list[Path]:
    """Draw a table of the paper: a row a method, a panel a metric, our numbers beside theirs.

    Parameters
    ----------
    given
        What to draw from.
    meta
        The literal of the figure.
    prefix
        How the names of its claims begin.
    """
    found = judged_table(given, prefix)
    metrics = list(dict.fromkeys(one.claim.reported_metric for one in found))
    methods = list(dict.fromkeys(one.claim.reported_method for one in found))
    place = {name: k for k, name in enumerate(methods)}
    notes = _notes(found)
    lines = sum(len(textwrap.wrap(note, 130)) for note in notes)
    labels = [textwrap.fill(name, 44) for name in methods]
    rows = sum(1 + label.count("\n") for label in labels)
    each = 0.2 if all(one.mean is None for one in found) else 0.31
    height = 1.25 + each * max(rows, 3) + 0.11 * lines
    with canvas(given.out, meta["name"], _digest(found), PAGE, height) as made:
        axes = made.figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for ax, metric in zip(axes, metrics, strict=True):
            ax.set_title(metric, fontsize=8, pad=3)
            mine = [one for one in found if one.claim.reported_metric == metric]
            for one in mine:
                _row(ax, one, place[one.claim.reported_method])
                made.table.append(_facts(one))
            ax.grid(visible=False, axis="y")
            ax.grid(visible=True, axis="x")
            ax.set_xlabel(f"{metric}, proportion", fontsize=7)
            ax.margins(x=0.25)
        axes[0].set_ylim(len(methods) - 0.4, -0.7)
        axes[0].set_yticks(range(len(methods)), labels)
        for tick in axes[0].get_yticklabels():
            tick.set_parse_math(False)
        made.title(f"{meta['paper']} of {PAPER}: {meta['title']}", _count(found))
        made.notes(notes, 130)
    return made.files


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
    """Say of every number without one of ours why there is none."""
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
            f"No record of the real data here for {names}; such a one is made by: "
            f"{waiting[0].claim.command}"
        )
    reasons: dict[str, list[str]] = {}
    for one in found:
        if not one.claim.comparable:
            reason = one.claim.unmatched
            if reason.startswith("no method here is "):  # the method's name stands before it
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


def _list(names: Any) -> str:
    return "; ".join(dict.fromkeys(names))


def _facts(one: Judged) -> dict[str, Any]:
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


# --------------------------------------------------------------------------- layouts


@dataclass(frozen=True)
class Side:
    """One half of a figure of two layouts.

    Attributes
    ----------
    title
        Over it.
    method_id
        Whose run.
    split
        On which split, real edition alone.
    batches
        How the names of the batches to show begin; all if empty.
    colour
        ``batch``, or ``class``.
    """

    title: str
    method_id: str
    split: str
    batches: tuple[str, ...] = ()
    colour: str = "batch"


def pair(
    given: Given, meta: Mapping[str, Any], sides: Sequence[Side], shows: str, why: str = ""
) -> list[Path]:
    """Draw t-SNE layouts as in the paper of our own runs, or say what is missing.

    Parameters
    ----------
    given, meta
        What to draw from, and the literal of the figure.
    sides
        One or several halves.
    shows
        What the paper shows there, a sentence.
    why
        Why there can be none of ours; empty if there can.
    """
    if why:
        return nothing(given, meta, f"{shows} Not drawn here: {why}")
    found = [_points(given, side) for side in sides]
    if all(one is None for one in found):
        first = sides[0]
        methods = ",".join(dict.fromkeys(side.method_id for side in sides))
        text = (
            f"{shows} No run of the real {first.split} with {methods} keeps its embeddings here; "
            f"they are made by: python -m bench run --method {methods} --split {first.split} "
            "--edition real --recipe paper"
        )
        return nothing(given, meta, text)
    from bench.output.layouts import RULE, layout

    runs = [None if one is None else one[0].run_id for one in found]
    with canvas(given.out, meta["name"], digest(runs), PAGE, 3.9) as made:
        axes = made.figure.subplots(
            1, 2 * len(sides), squeeze=False, width_ratios=[3, 1.3] * len(sides)
        )[0]
        for k, (side, one) in enumerate(zip(sides, found, strict=True)):
            ax, beside = axes[2 * k], axes[2 * k + 1]
            ax.set_title(side.title, fontsize=8, parse_math=False)
            if one is None:
                sentence(ax, "No such run of the real data keeps its embeddings here.", 34)
                beside.set_axis_off()
                made.table.append({"panel": side.title, "note": "no such run"})
                continue
            record, X, ids, names = one
            if len(X) < 4:
                sentence(ax, "Fewer than four such rows are in this run.", 34)
                beside.set_axis_off()
                continue
            xy = layout(X, "tsne")
            scatter(ax, xy, names)
            key(beside, names.tolist(), side.colour)
            for row, name, point in zip(ids.tolist(), names.tolist(), xy.tolist(), strict=True):
                made.table.append(
                    {
                        "panel": side.title,
                        "run_id": record.run_id,
                        "id": row,
                        side.colour: name,
                        "x": round(point[0], 5),
                        "y": round(point[1], 5),
                    }
                )
        where = str(meta["paper"])
        below = "our runs on the real data; the paper's own points are not published"
        made.title(f"{where} of {PAPER}: {meta['title']}", below)
        made.notes([f"{shows} Here: t-SNE, {RULE}."], 130)
    return made.files


def _points(
    given: Given, side: Side
) -> tuple[Record, NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]] | None:
    """Return a run's rows, their ids and what they are coloured by; None if there is none."""
    for record in given.records:
        if not isinstance(record, Record):
            continue
        one = record.summary
        known = (one["method_id"], one["split_id"], one["edition"], one.get("status"))
        if known != (side.method_id, side.split, "real", "ok") or one["recipe"] == "smoke":
            continue
        if side.colour == "class":
            made = _treatments(record)
        else:
            made = _rows(given, record, side)
        if made is not None:
            return record, *made
    return None


def _rows(
    given: Given, record: Record, side: Side
) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]] | None:
    from bench.output.layouts import MOST

    kept = None if given.results is None else embedding(Store(given.results), record, 0)
    if kept is None:
        return None
    names = np.array([_group(name, side.batches) for name in kept.batch.tolist()], dtype=str)
    shown = np.flatnonzero(names != "")
    picked = shown[chosen(kept.ids[shown], MOST)]
    return kept.X[picked], kept.ids[picked], names[picked]


def _group(batch: str, wanted: Sequence[str]) -> str:
    """Return which of the wanted experiments a batch belongs to: ``HUVEC-20`` of its plates."""
    if not wanted:
        return batch
    return next((name for name in wanted if batch == name or _begins(batch, name)), "")


def _begins(batch: str, name: str) -> bool:
    return batch.startswith(name) and not batch[len(name)].isalnum()


def _treatments(
    record: Record,
) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]] | None:
    """Return the mean profile of each treatment and its class, from a retrieval run."""
    table = record.predictions()
    if table is None or not {"profile", "treatment"} <= set(table):
        return None
    X, ids, names = [], [], []
    for treatment, rows in table.groupby("treatment", sort=True):
        X.append(np.stack(rows["profile"].to_list()).mean(axis=0))
        ids.append(str(treatment))
        names.append(str(record.classes[int(rows["y_true"].iloc[0])]))
    return np.asarray(X, dtype=np.float32), np.array(ids), np.array(names)
