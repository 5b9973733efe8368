"""Accuracy against fitting time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.output.canvas import Canvas, canvas
from bench.output.figures._panels import grid, lines_of
from bench.output.figures._shared import (
    mark,
    methods_of,
    metric_words,
    named_groups,
    nothing,
    row_facts,
    runs_digest,
    setting_without_metric,
    shared_subtitle,
)
from bench.output.style import PAGE, legend_lines

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "cost",
    "title": "Accuracy against fitting time",
    "summary": "Accuracy against fitting time in seconds.",
    "needs": ["records"],
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw the score against fitting time in seconds, one panel per split."""
    boards = [
        board
        for board in inputs.boards
        if any(row.mean is not None and row.cost.get("fit_s") is not None for row in board.rows)
    ]
    if not boards:
        return nothing(inputs, "No record says how long its fit took.")
    files: list[Path] = []
    for stem, members in named_groups(META["name"], boards, setting_without_metric):
        labels = methods_of(members)
        height = 2.1 * lines_of(len(members)) + 0.8 + 0.16 * legend_lines(labels)
        with canvas(inputs.out, stem, runs_digest(members), PAGE, height) as drawn:
            for ax, board in zip(grid(drawn.figure, len(members)), members, strict=True):
                _draw_cost(drawn, ax, board)
            drawn.legend(labels, {r.method: r.track for b in members for r in b.rows})
            below = "means over seeds, all stages of a chain"
            drawn.title(META["title"], f"{shared_subtitle(members[0])} · {below}")
        files += drawn.files
    return files


def _draw_cost(drawn: Canvas, ax: Axes, board: Board) -> None:
    ax.set_title(f"{board.split}", fontsize=8)
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    slowest = 10.0
    for row in board.rows:
        seconds = row.cost.get("fit_s")
        if row.mean is None or seconds is None:
            continue
        slowest = max(slowest, seconds)
        mark(ax, row, seconds, row.mean)
        entry = {"mean": row.mean, "fit_s": seconds, "apply_s": row.cost.get("apply_s")}
        drawn.table.append({**row_facts(board, row), **entry})
    ax.set_xlim(-0.2, slowest * 2)
    ticks = [0, *(10**k for k in range(9) if 10**k <= slowest * 2)]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("seconds to fit")
    ax.set_ylabel(metric_words(board.metric, board.readout))
    ax.margins(y=0.12)
