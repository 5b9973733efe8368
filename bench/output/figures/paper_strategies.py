"""Gain of BEN in supervised, self-supervised and transfer learning: published and ours."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from bench.core.canonical import digest
from bench.output.canvas import Canvas, canvas
from bench.output.figures._paper import PAPER, THEIRS, judged_table
from bench.output.figures._runs import grouped
from bench.output.figures._shared import name_lines
from bench.output.style import PAGE, colour_of, marker_of, sentence

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.claims import Judged
    from bench.core.meta import Meta
    from bench.core.types import JsonObject
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "paper/strategies",
    "title": "BEN minus no BEN, by kind of training",
    "summary": "What BEN adds in supervised, self-supervised and transfer learning.",
    "needs": ["records"],
    "paper": "Tables 1, 2 and 6",
}
_T1, _T2, _T6 = "ben-2022-table1/", "ben-2022-table2/", "ben-2022-table6/"
THEIR_PAIRS = (
    ("supervised: RxRx1, top-1", f"{_T1}ben/test-top1", f"{_T1}vanilla/test-top1"),
    (
        "supervised: single cells, top-1",
        f"{_T2}supervised-single-cell-classifier-with-ben/cells-top1",
        f"{_T2}supervised-single-cell-classifier-without-ben/cells-top1",
    ),
    (
        "self-supervised: SimCLR, top-1",
        f"{_T2}simclr-k-5-with-ben/cells-top1",
        f"{_T2}simclr-k-5-without-ben/cells-top1",
    ),
    (
        "self-supervised: MinCLR, top-1",
        f"{_T2}minclr-k-5-with-ben/cells-top1",
        f"{_T2}minclr-k-5-without-ben/cells-top1",
    ),
    (
        "transfer: BBBC021, NSCB, all rows",
        f"{_T6}minclr-ben-no-correction/bbbc021-nscb",
        f"{_T6}minclr-no-ben-no-correction/bbbc021-nscb",
    ),
    (
        "transfer: BBBC021, NSCB, controls",
        f"{_T6}minclr-ben-controls-no-correction/bbbc021-nscb",
        f"{_T6}minclr-no-ben-no-correction/bbbc021-nscb",
    ),
    (
        "transfer: the same after TVN, controls",
        f"{_T6}minclr-ben-controls-tvn/bbbc021-nscb",
        f"{_T6}minclr-no-ben-tvn/bbbc021-nscb",
    ),
)
"""Rows of the figure: label, claim with BEN, claim without BEN."""
OUR_PAIRS = (
    ("ben", "erm", "supervised"),
    ("ben-controls", "erm", "supervised"),
    ("simclr-ben", "simclr", "self-supervised"),
    ("minclr-ben", "minclr", "self-supervised"),
)


def draw(inputs: FigureInput) -> list[Path]:
    """Draw the published differences, ours from the same settings, and ours on other data."""
    judged = {
        result.claim.name: result for p in (_T1, _T2, _T6) for result in judged_table(inputs, p)
    }
    ours = _ours(inputs)
    # Real and simulated data never share an axis.
    kinds = [
        (edition, mine)
        for edition in dict.fromkeys(row["edition"] for row in ours)
        if (mine := [row for row in ours if row["edition"] == edition])
    ] or [("", [])]
    rooms = [max(1.5 * len(mine), 4) for _, mine in kinds]
    lines = len(THEIR_PAIRS) + sum(rooms) + 1.5 * (len(kinds) - 1)
    used = [result for result in judged.values() if result.mean is not None]
    groups = {id(row["group"]): row["group"] for row in ours}.values()
    identity = digest(
        [
            sorted(r for result in used for r in result.run_ids),
            sorted(g.runs_digest for g in groups),
        ]
    )
    with canvas(inputs.out, META["name"], identity, PAGE, 1.95 + 0.24 * lines) as drawn:
        above, *below = drawn.figure.subplots(
            1 + len(kinds), 1, height_ratios=[len(THEIR_PAIRS), *rooms], sharex=bool(ours)
        )
        missing = _theirs(drawn, above, judged)
        for ax, (edition, mine) in zip(below, kinds, strict=True):
            _measured(drawn, ax, mine)
            ax.set_title(f"{edition} data" if edition else "", fontsize="small", loc="left")
        drawn.title(f"{META['title']}", f"{PAPER}, {META['paper']}, above; measured here, below")
        notes = [
            "Hollow: published, single runs without an interval. Filled: ours; bars: 95 % interval "
            "of the paired difference, where there are clusters enough for one."
        ]
        if missing:
            notes.append(
                "Above, no record of ours on the same rows of the real data for: "
                f"{'; '.join(missing)}. The table below shows other data."
            )
        drawn.notes(notes, 130)
    return drawn.files


def _theirs(drawn: Canvas, ax: Axes, judged: dict[str, Judged]) -> list[str]:
    missing = []
    for place, (words, with_ben, without) in enumerate(THEIR_PAIRS):
        a, b = judged[with_ben], judged[without]
        theirs = a.claim.value - b.claim.value
        one_of_ours = a.mean is not None and b.mean is not None
        ax.plot([theirs], [place], marker="D", color=THEIRS, markerfacecolor="white")
        _beside(ax, theirs, place - 0.2 if one_of_ours else place, THEIRS)
        ours = None
        if a.mean is not None and b.mean is not None:
            ours = a.mean - b.mean
            colour = colour_of(a.claim.method_id)
            ax.plot([ours], [place], marker=marker_of(a.claim.method_id), color=colour)
            _beside(ax, ours, place + 0.25, colour)
        else:
            missing.append(words.partition(":")[2].strip())
        drawn.table.append(
            {
                "what": words,
                "with": with_ben,
                "without": without,
                "published": round(theirs, 6),
                "measured": ours,
                "edition": "real",
                "why": a.claim.unmatched or b.claim.unmatched,
            }
        )
    _style(ax, [words for words, _, _ in THEIR_PAIRS])
    return missing


def _beside(ax: Axes, x: float, y: float, colour: str) -> None:
    """Write a difference at the right end of its line."""
    ax.text(
        1.005,
        y,
        f"{x:+.3f}",
        transform=ax.get_yaxis_transform(),
        va="center",
        fontsize=6.5,
        color=colour,
    )


def _style(ax: Axes, labels: list[str]) -> None:
    ax.axvline(0, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    name_lines(ax, labels, fontsize=6.5)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.margins(x=0.15)


def _ours(inputs: FigureInput) -> list[JsonObject]:
    """Return the paired difference of every pair on every board of our records."""
    rows: list[JsonObject] = []
    for group in grouped(inputs.records):
        for board in group.boards(inputs.boards):
            by_label = {row.method: row for row in board.rows if row.mean is not None}
            for label, base, kind in OUR_PAIRS:
                own, other = by_label.get(label), by_label.get(base)
                if own is None or other is None:
                    continue
                theirs = dict(zip(other.seeds, other.values, strict=True))
                mine = dict(zip(own.seeds, own.values, strict=True))
                shared = [seed for seed in mine if seed in theirs]
                if not shared:
                    continue
                value = math.fsum(mine[seed] - theirs[seed] for seed in shared) / len(shared)
                low, high = (own.diff_low, own.diff_high) if base == "erm" else (None, None)
                where = textwrap.shorten(" · ".join(group.subtitle.split(" · ")[:2]), 72)
                rows.append(
                    {
                        "words": f"{kind}: {label} − {base} on {board.split}\n{where}",
                        "method": label,
                        "base": base,
                        "split": board.split,
                        "edition": board.edition,
                        "recipe": board.recipe,
                        "metric": board.metric,
                        "readout": board.readout,
                        "measured": value,
                        "low": low,
                        "high": high,
                        "n_seeds": len(shared),
                        "group": group,
                    }
                )
    return sorted(rows, key=lambda row: (row["edition"], row["split"], row["words"]))


def _measured(drawn: Canvas, ax: Axes, rows: list[JsonObject]) -> None:
    if not rows:
        text = (
            "No record of ours has BEN and its counterpart on one split. Make some with: "
            "python -m bench run --method erm,ben --split ottawa --seeds 3"
        )
        sentence(ax, text)
        drawn.table.append({"what": text})
        return
    for place, row in enumerate(rows):
        colour = colour_of(row["method"])
        if row["low"] is not None:
            ax.hlines(place, row["low"], row["high"], color=colour, linewidth=1.2)
        ax.plot([row["measured"]], [place], marker=marker_of(row["method"]), color=colour)
        _beside(ax, row["measured"], place, colour)
        facts = {k: v for k, v in row.items() if k not in ("words", "group")}
        drawn.table.append({"what": row["words"].replace("\n", " · "), **facts})
    _style(ax, [row["words"] for row in rows])
    metrics = sorted({row["metric"].replace("_", " ") for row in rows})
    ax.set_xlabel(f"difference of {' or '.join(metrics)}")
