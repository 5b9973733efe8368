"""Methods by primary metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    chance_line,
    control_lines,
    interval_words,
    mark,
    metric_words,
    name_rows,
    named_groups,
    nothing,
    pages,
    row_facts,
    runs_digest,
    setting_without_metric,
    shared_subtitle,
)
from bench.output.style import PAGE, colour_of, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.boards.board import Board
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "ranking",
    "title": "Methods by primary metric",
    "summary": "Methods by primary metric on each split; control rows are lines.",
    "needs": ["records"],
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw the methods by primary metric, one panel per split, with intervals."""
    boards = inputs.boards
    if not boards:
        return nothing(inputs, "There are no records to rank: run some first.")
    files: list[Path] = []
    groups = named_groups(META["name"], boards, setting_without_metric)
    for stem, page, heights in pages(groups, _height):
        total = sum(heights) + 0.95
        with canvas(inputs.out, stem, runs_digest(page), PAGE, total) as drawn:
            axes = drawn.figure.subplots(len(page), 1, squeeze=False, height_ratios=heights)
            for ax, board in zip(axes[:, 0], page, strict=True):
                _draw_ranking(drawn, ax, board)
            _share_scale(axes[:, 0], page)
            drawn.title(META["title"], shared_subtitle(page[0]))
            methods = [row for board in page for row in board.rows if not is_control_row(row.track)]
            text = f"{interval_words(methods)} Small points: seeds. Grey names: not ranked."
            drawn.notes([f"{text} Vertical lines: control rows."], 130)
        files += drawn.files
    return files


def _height(board: Board) -> float:
    scored = [row for row in board.rows if row.mean is not None]
    n = sum(not is_control_row(row.track) for row in scored)
    # Names of the control rows are above the methods.
    return 0.19 * max(1, n) + 0.42 + (0.4 if n < len(scored) else 0.0)


def _share_scale(axes: Iterable[Axes], members: Sequence[Board]) -> None:
    """Use the same scale in all panels of a metric, so that splits can be compared."""
    drawn = [(ax, b.metric) for ax, b in zip(axes, members, strict=True) if ax.axison]
    for metric in {metric for _, metric in drawn}:
        same = [ax for ax, name in drawn if name == metric]
        low, high = min(ax.get_xlim()[0] for ax in same), max(ax.get_xlim()[1] for ax in same)
        for ax in same:
            ax.set_xlim(low, high)


def _draw_ranking(drawn: Canvas, ax: Axes, board: Board) -> None:
    rows = [row for row in board.rows if row.mean is not None]
    rows.sort(
        key=lambda row: ((row.mean or 0.0) * (-1 if board.higher_is_better else 1), row.method)
    )
    ax.set_title(f"{board.split} · {metric_words(board.metric, board.readout)}", fontsize=8, pad=3)
    if not rows:
        sentence(ax, "No method has a score on this split.")
        return
    methods = [row for row in rows if not is_control_row(row.track)]
    controls = [row for row in rows if is_control_row(row.track)]
    for place, row in enumerate(methods):
        colour = colour_of(row.method)
        if row.ci_low is not None and row.ci_high is not None:
            ax.hlines(place, row.ci_low, row.ci_high, color=colour, linewidth=1.4)
        ax.scatter(row.values, [place] * row.n_seeds, s=7, color=colour, alpha=0.45, linewidths=0)
        mark(ax, row, row.mean or 0.0, place)
    for row in rows:
        entry = {"mean": row.mean, "sd": row.sd, "n_seeds": row.n_seeds, "rank": row.rank}
        entry |= {"ci_low": row.ci_low, "ci_high": row.ci_high, "n_clusters": row.n_clusters}
        drawn.table.append({**row_facts(board, row), **entry})
    chance_line(ax, [board], vertical=True)
    lines = control_lines(ax, controls)
    name_rows(ax, methods, above=0.55 * lines)
