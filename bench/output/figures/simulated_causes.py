"""Differences to ``erm`` under one simulated cause at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    nothing,
    ordered_groups,
    row_facts,
    runs_digest,
    shared_subtitle,
)
from bench.output.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board, Row
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "simulated-causes",
    "title": "Gains and losses under one simulated cause at a time",
    "summary": "Difference to erm of each method on each simulated shift.",
    "needs": ["records"],
}
COLUMNS = {
    "sim/no-shift": "new days\nonly",
    "sim/laboratory": "new\nlaboratory",
    "sim/microscope": "new\nmicroscope",
    "sim/both": "laboratory,\nmicroscope",
    "sim/many-laboratories": "many\nlaboratories",
    "sim/new-markers": "new\nmarkers",
    "sim/label-shift": "label\nshift",
    "sim/confounded": "confounded\nclasses",
}
LIMIT = 0.3
"""Difference at the ends of the colour scale."""
TRACKS = ("inductive", "test-batch", "test-controls", "transductive")


def draw(inputs: FigureInput) -> list[Path]:
    """Draw a table of differences; differences with a verdict are in bold and framed."""
    boards = [board for board in inputs.boards if board.split in COLUMNS]
    if not boards:
        text = (
            "There are no records of simulated causes. Make some with: "
            "python -m bench run --method erm,ben,adabn --split sim/microscope,sim/label-shift"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for stem, members in ordered_groups(META["name"], boards, COLUMNS):
        rows = [{row.method: row for row in board.rows if _shown(row)} for board in members]
        names = _ordered(rows)
        height = 1.35 + 0.2 * max(1, len(names))
        with canvas(inputs.out, stem, runs_digest(members), PAGE, height) as drawn:
            _draw_table(drawn, members, rows, names)
        files += drawn.files
    return files


def _shown(row: Row) -> bool:
    return row.mean is not None and not is_control_row(row.track) and "erm" in row.differences


def _ordered(rows: Sequence[Mapping[str, Row]]) -> list[str]:
    """Return the methods by track, and within it from the best mean difference to the worst."""
    every: dict[str, list[Row]] = {}
    for by_name in rows:
        for name, row in by_name.items():
            every.setdefault(name, []).append(row)
    gain = {n: float(np.mean([_difference(row) for row in few])) for n, few in every.items()}
    track = {name: TRACKS.index(few[0].track) for name, few in every.items()}
    return sorted(every, key=lambda name: (track[name], -gain[name]))


def _difference(row: Row) -> float:
    return float(row.differences["erm"].difference)


def _draw_table(
    drawn: Canvas,
    boards: Sequence[Board],
    rows: Sequence[Mapping[str, Row]],
    names: Sequence[str],
) -> None:
    ax = drawn.figure.subplots()
    values = np.full((len(names), len(boards)), np.nan)
    for x, (board, by_name) in enumerate(zip(boards, rows, strict=True)):
        for y, name in enumerate(names):
            row = by_name.get(name)
            if row is None:
                continue
            values[y, x] = _difference(row)
            _mark(ax, x, y, row, values[y, x])
            pair = {"difference": values[y, x], "verdict": row.verdict, "n_seeds": row.n_seeds}
            drawn.table.append({**row_facts(board, row), **pair})
    ax.imshow(values, vmin=-LIMIT, vmax=LIMIT, cmap="RdBu", aspect="auto", alpha=0.75)
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(range(len(boards)), [COLUMNS[board.split] for board in boards], fontsize=6.5)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    tracks = [next(r[name].track for r in rows if name in r) for name in names]
    for y in range(1, len(names)):
        if tracks[y] != tracks[y - 1]:
            ax.axhline(y - 0.5, color="#444444", linewidth=0.8)
    drawn.title(META["title"], shared_subtitle(boards[0]))
    drawn.notes(
        [
            "Difference to erm in points of balanced accuracy. Bold and framed: a significant gain "
            "or loss (5 %, Holm over the rows of the board). Lines separate inductive methods, "
            "statistics of the test batch, and access to all test batches. One simulated draw."
        ],
        150,
    )


def _mark(ax: Axes, x: int, y: int, row: Row, value: float) -> None:
    """Write a difference in points, framed if it has a verdict."""
    sure = row.verdict in ("improves", "worsens")
    points = f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
    ax.text(
        x,
        y,
        "0.0" if points[1:] == "0.0" else points,
        ha="center",
        va="center",
        fontsize=6.5,
        fontweight="bold" if sure else "normal",
        color="white" if abs(value) > 0.8 * LIMIT else "black",
    )
    if sure:
        from matplotlib.patches import Rectangle

        ax.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, fill=False, linewidth=0.9))
