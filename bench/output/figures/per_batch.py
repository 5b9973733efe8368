"""Scores per held-out batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    chance_line,
    control_lines,
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
    "title": "Scores per held-out batch",
    "summary": "One point per held-out batch and method; control rows are lines.",
    "needs": ["records"],
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw a point per held-out batch and method, with lines between the methods.

    Control rows are vertical lines.
    """
    boards = [board for board in inputs.boards if any(len(row.points) > 1 for row in board.rows)]
    if not boards:
        text = "No record has a score for more than one held-out batch."
        return nothing(inputs, text)
    files: list[Path] = []
    stems = {id(board): f"{META['name']}_{slug(board.split)}" for board in boards}
    for board in boards:
        stem = stems[id(board)]
        if list(stems.values()).count(stem) > 1:
            stem = f"{stem}_{slug(f'{board.edition}_{board.recipe}')}_{board.runs_digest[:8]}"
        rows = [row for row in board.rows if len(row.points) > 1]
        height = 1.75 + 0.27 * sum(not is_control_row(row.track) for row in rows)
        with canvas(inputs.out, stem, board.runs_digest, PAGE, height) as drawn:
            _draw_per_batch(drawn, board, rows)
        files += drawn.files
    return files


def _draw_per_batch(drawn: Canvas, board: Board, rows: Sequence[Row]) -> None:
    ax = drawn.figure.subplots()
    names = sorted({name for row in rows for name in row.points})
    methods = [row for row in rows if not is_control_row(row.track)]
    for name in names:
        xs = [row.points.get(name, float("nan")) for row in methods]
        ax.plot(xs, range(len(methods)), color="#C4C4C4", linewidth=0.6, zorder=1)
    for place, row in enumerate(methods):
        values = [row.points[name] for name in names if name in row.points]
        ax.scatter(
            values,
            [place] * len(values),
            s=16,
            color=colour_of(row.method),
            marker=marker_of(row.method),
            linewidths=0,
            zorder=2,
        )
        mean = sum(values) / len(values)
        ax.vlines(mean, place - 0.32, place + 0.32, color="#222222", linewidth=1.3, zorder=3)
    for row in rows:
        for name in names:
            if name in row.points:
                where = {"cluster_level": row.cluster_level, "cluster": name}
                value = {"value": row.points[name], "n_seeds": row.n_seeds}
                drawn.table.append({**row_facts(board, row), **where, **value})
    chance_line(ax, [board], vertical=True)
    lines = control_lines(ax, [row for row in rows if is_control_row(row.track)])
    name_rows(ax, methods, above=0.35 * lines)
    ax.set_xlabel(metric_words(board.metric, board.readout))
    drawn.title(f"{board.split}: scores per held-out batch", subtitle(board))
    levels = {row.cluster_level for row in rows}
    level = levels.pop() if len(levels) == 1 else "cluster"
    text = f"Points: one {level}, mean over seeds; grey lines join the same {level}. Bars: means."
    if len(methods) < len(rows):
        text += " Vertical lines: control rows."
    if board.chance is not None:
        text += " Dashed: chance."
    drawn.notes([text], 130)
