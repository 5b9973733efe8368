"""Scores on real images from a new scanner, laboratory or period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.units import level_name
from bench.core.words import count
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    metric_words,
    nothing,
    ordered_groups,
    row_facts,
    runs_digest,
    shared_subtitle,
    vertical_grid,
)
from bench.output.style import PAGE, colour_of, marker_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board, Row
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "real-images",
    "title": "Real images from a new scanner, laboratory or period",
    "summary": "One point per held-out scanner, laboratory or period, for the core methods.",
    "needs": ["records"],
}
PANELS = {
    "mitosis-scanners/phase": "Mitotic figures",
    "blood-objects/laboratories": "Blood cells",
    "mitocheck-cells/periods": "MitoCheck nuclei",
}
METHODS = (
    "erm",
    "instance-norm",
    "mixup",
    "dann",
    "deep-coral",
    "erm-plate",
    "adabn",
    "tent",
    "ben",
    "ben-multi",
    "erm+combat",
    "erm+coral-to-train",
    "erm+harmony",
)
"""From the top: no correction, training only, statistics of the new batch, corrected features."""
GROUPS = (1, 6, 10)
"""Rows before which a line separates two groups."""


def draw(inputs: FigureInput) -> list[Path]:
    """Draw a panel per data set, with a point per held-out unit and method, without intervals."""
    boards = [board for board in inputs.boards if board.split in PANELS]
    if not boards:
        text = (
            "There are no records of real images. Make some with: "
            "python -m bench run --method erm,ben,adabn --split mitosis-scanners/phase"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for stem, members in ordered_groups(META["name"], boards, PANELS):
        rows = [{row.method: row for row in board.rows if row.points} for board in members]
        names = [name for name in METHODS if any(name in by_name for by_name in rows)]
        with canvas(
            inputs.out, stem, runs_digest(members), PAGE, 1.55 + 0.16 * len(names)
        ) as drawn:
            _draw_panels(drawn, members, rows, names)
        files += drawn.files
    return files


def _draw_panels(
    drawn: Canvas,
    boards: Sequence[Board],
    rows: Sequence[Mapping[str, Row]],
    names: Sequence[str],
) -> None:
    axes = drawn.figure.subplots(1, len(boards), sharey=True, squeeze=False)[0]
    for ax, board, by_name in zip(axes, boards, rows, strict=True):
        _draw_panel(ax, board, by_name, names)
        for name in names:
            row = by_name.get(name)
            if row is None:
                continue
            for unit, value in row.points.items():
                where = {"cluster_level": row.cluster_level, "cluster": unit}
                value_of = {"value": value, "mean": row.mean, "n_seeds": row.n_seeds}
                drawn.table.append({**row_facts(board, row), **where, **value_of})
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    first = boards[0]
    axes[len(axes) // 2].set_xlabel(metric_words(first.metric, first.readout))
    drawn.title(META["title"], shared_subtitle(first))
    drawn.notes(
        [
            "Points: one held-out unit, mean over seeds. Bars: mean over units; grey line: mean of "
            "erm. There are too few units for intervals about new ones. Above the last line, "
            "networks; below it, corrected features of erm."
        ],
        150,
    )


def _draw_panel(ax: Axes, board: Board, rows: Mapping[str, Row], names: Sequence[str]) -> None:
    base = rows.get("erm")
    if base is not None and base.mean is not None:
        ax.axvline(base.mean, color="#BBBBBB", linewidth=0.9, zorder=1)
    for y, name in enumerate(names):
        if y in [names.index(METHODS[k]) for k in GROUPS if METHODS[k] in names]:
            ax.axhline(y - 0.5, color="#DDDDDD", linewidth=0.6, zorder=0)
        row = rows.get(name)
        if row is None or row.mean is None:
            continue
        values = list(row.points.values())
        ax.scatter(
            values,
            [y] * len(values),
            s=15,
            color=colour_of(name),
            marker=marker_of(name),
            alpha=0.6,
            linewidths=0,
            zorder=2,
        )
        ax.vlines(row.mean, y - 0.33, y + 0.33, color=colour_of(name), linewidth=1.6, zorder=3)
    level = {level_name(row.cluster_level) for row in rows.values()}
    n_units = max((row.n_clusters for row in rows.values()), default=0)
    unit = count(n_units, "new " + level.pop() if len(level) == 1 else "new unit")
    chance = f"; chance {board.chance:.2f}" if board.chance is not None else ""
    ax.set_title(f"{PANELS[board.split]}\n{unit}{chance}", fontsize=7.5)
    vertical_grid(ax)
