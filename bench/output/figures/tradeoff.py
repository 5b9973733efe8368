"""Batch mixing against preserved biology."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._panels import COLUMNS, grid, lines_of
from bench.output.figures._runs import Group, group_stems, grouped, label, mixing_value
from bench.output.figures._shared import metric_words, nothing, row_facts
from bench.output.style import PAGE, colour_of, legend_lines, marker_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "tradeoff",
    "title": "Batch mixing against biology",
    "summary": "Batch mixing against class separation in the embedding.",
    "needs": ["records"],
}
MIXING = {
    "batch_1nn": "batch 1-NN accuracy\n(to the right: less batch left)",
    "ilisi": "iLISI of batches\n(to the right: mixed)",
    "silhouette_batch": "batch silhouette\n(to the right: mixed)",
    "graph_connectivity": "graph connectivity\n(to the right: classes connected)",
    "pcr": "variance not explained by batch\n(to the right: less batch left)",
}
"""Metrics of batch mixing and their axis labels; the axis of the first is reversed."""
LOWER = ("batch_1nn",)


def draw(inputs: FigureInput) -> list[Path]:
    """Draw one point per method: mixing on the x axis, the split's primary metric on the y axis."""
    pairs = []
    for group in grouped(inputs.records):
        values = _values(group)
        if values:
            pairs.append((group, values))
    if not pairs:
        text = (
            "No record scores how its batches mix. Runs on splits with several test batches score "
            "batch_1nn; a split asks for more in its list metrics, such as "
            'metrics = ["ilisi", "silhouette_batch"].'
        )
        return nothing(inputs, text)
    files: list[Path] = []
    stems = group_stems(META["name"], [group for group, _ in pairs])
    for stem, (group, values) in zip(stems, pairs, strict=True):
        board = next(iter(group.boards(inputs.boards)), None)
        if board is None:
            continue
        labels = group.in_order({name for by_label in values.values() for name in by_label})
        height = 2.6 * lines_of(len(values)) + 0.75 + 0.16 * legend_lines(labels)
        with canvas(inputs.out, stem, group.runs_digest, PAGE, height) as drawn:
            axes = grid(drawn.figure, len(values), sharey=True)
            for ax, (metric, points) in zip(axes, values.items(), strict=True):
                _panel(drawn, ax, board, metric, points)
            for ax in axes[::COLUMNS]:
                ax.set_ylabel(metric_words(board.metric, board.readout))
            tracks = {label(record): record.track for record in group.records}
            drawn.legend(labels, tracks)
            below = "large: mean over seeds, small: seeds"
            if len(group.records[0].folds) > 1:
                below += "; mixing: mean over folds"
            drawn.title(f"{META['title']}: {group.split}", f"{group.subtitle} · {below}")
        files += drawn.files
    return files


def _values(group: Group) -> dict[str, dict[str, dict[int, float]]]:
    """Return mixing metric -> label -> seed -> value, for metrics that any run has."""
    by_metric: dict[str, dict[str, dict[int, float]]] = {}
    for metric in MIXING:
        for record in group.records:
            if metric not in record.metrics and metric not in record.metric_versions:
                continue
            value = mixing_value(record, metric)
            if np.isfinite(value):
                place = by_metric.setdefault(metric, {}).setdefault(label(record), {})
                place[record.seed] = value
    return by_metric


def _panel(
    drawn: Canvas, ax: Axes, board: Board, metric: str, points: dict[str, dict[int, float]]
) -> None:
    for row in board.rows:
        mine = points.get(row.method)
        if row.mean is None or mine is None:
            continue
        colour = colour_of(row.method)
        pairs = [
            (mine[seed], value)
            for seed, value in zip(row.seeds, row.values, strict=True)
            if seed in mine
        ]
        if not pairs:
            continue
        xs, ys = zip(*pairs, strict=True)
        x, y = float(np.mean(xs)), float(np.mean(ys))
        ax.scatter(xs, ys, s=6, color=colour, alpha=0.4, linewidths=0, zorder=2)
        face = "white" if is_control_row(row.track) else colour
        ax.plot(
            [x], [y], marker=marker_of(row.method), color=colour, markerfacecolor=face, zorder=3
        )
        drawn.table.append(
            {**row_facts(board, row), "mixing": metric, "x": x, "y": y, "n_seeds": len(pairs)}
        )
    ax.set_xlabel(MIXING[metric])
    ax.grid(visible=True, axis="x")
    ax.margins(0.08)
    if metric in LOWER:
        ax.invert_xaxis()
