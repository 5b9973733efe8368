"""Scores per held-out batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    chance_line,
    metric_words,
    name_rows,
    nothing,
    row_facts,
    slug,
    subtitle,
)
from bench.output.style import PAGE, colour_of, marker_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.boards.board import Board, Row
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "per-batch",
    "title": "Held-out batches, one by one",
    "summary": "A point for each held-out batch and method.",
    "needs": ["records"],
    "paper": "",
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw a point per held-out batch and method, with lines between the methods."""
    found = [board for board in inputs.boards if any(len(row.points) > 1 for row in board.rows)]
    if not found:
        text = "No record has a score for more than one held-out batch."
        return nothing(inputs, text)
    files: list[Path] = []
    stems = {id(board): f"{META['name']}_{slug(board.split)}" for board in found}
    for board in found:
        stem = stems[id(board)]
        if list(stems.values()).count(stem) > 1:
            stem = f"{stem}_{slug(f'{board.edition}_{board.recipe}')}_{board.runs_digest[:8]}"
        rows = [row for row in board.rows if len(row.points) > 1]
        with canvas(inputs.out, stem, board.runs_digest, PAGE, 1.35 + 0.27 * len(rows)) as made:
            _draw_per_batch(made, board, rows)
        files += made.files
    return files


def _draw_per_batch(made: Canvas, board: Board, rows: Sequence[Row]) -> None:
    ax = made.figure.subplots()
    names = sorted({name for row in rows for name in row.points})
    for name in names:
        xs = [row.points.get(name, float("nan")) for row in rows]
        ax.plot(xs, range(len(rows)), color="#C4C4C4", linewidth=0.6, zorder=1)
    for place, row in enumerate(rows):
        values = [row.points[name] for name in names if name in row.points]
        ax.scatter(
            values,
            [place] * len(values),
            s=16,
            color=colour_of(row.method),
            marker=marker_of(row.method),
            facecolors="white" if is_control_row(row.track) else None,
            linewidths=0.8 if is_control_row(row.track) else 0,
            zorder=2,
        )
        mean = sum(values) / len(values)
        ax.vlines(mean, place - 0.32, place + 0.32, color="#222222", linewidth=1.3, zorder=3)
        for name in names:
            if name in row.points:
                where = {"cluster_level": row.cluster_level, "cluster": name}
                value = {"value": row.points[name], "n_seeds": row.n_seeds}
                made.table.append({**row_facts(board, row), **where, **value})
    chance_line(ax, [board], vertical=True)
    name_rows(ax, rows)
    ax.set_xlabel(metric_words(board.metric, board.readout))
    made.title(f"{board.split}: held-out batches, one by one", subtitle(board))
    levels = {row.cluster_level for row in rows}
    level = levels.pop() if len(levels) == 1 else "cluster"
    text = f"A point: one {level}, mean over seeds. A line joins the same {level}. Bar: their mean."
    if board.chance is not None:
        text += " Dashed: chance."
    made.notes([text], 130)
