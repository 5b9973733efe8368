"""Accuracy over increasingly shifted test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.output.canvas import Canvas, canvas
from bench.output.figures._shared import (
    chance_line,
    interval_words,
    methods_of,
    metric_words,
    named_groups,
    nothing,
    one_readout,
    row_facts,
    runs_digest,
    setting_of,
    subtitle,
)
from bench.output.style import PAGE, colour_of, label_ends, marker_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.boards.board import Board
    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "degradation",
    "title": "Accuracy on increasingly different test sets",
    "summary": "Accuracy on the four test sets of COOS-7, one line per method.",
    "needs": ["records"],
}
TESTS = {
    "coos7/test1": "test 1\nrandom\nhold-out",
    "coos7/test2": "test 2\nnew wells",
    "coos7/test3": "test 3\nnew plates\nand days",
    "coos7/test4": "test 4 (Ottawa)\nnew laboratory\nand microscope",
}
"""The tests of COOS-7, ordered by the amount of shift."""


def draw(inputs: FigureInput) -> list[Path]:
    """Draw the score over the four tests of COOS-7, one line per method, one point per seed."""
    boards = [board for board in inputs.boards if board.split in TESTS]
    if not boards:
        text = (
            "There are no records of COOS-7. Make some with: "
            "python -m bench run --method erm,ben --split ottawa"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for stem, group in named_groups(META["name"], boards, setting_of):
        members = one_readout(inputs.records, group)
        height = max(3.5, 1.75 + 0.135 * len(methods_of(members)))  # space for the labels
        with canvas(inputs.out, stem, runs_digest(members), PAGE, height) as drawn:
            _draw_degradation(drawn, members)
        files += drawn.files
    return files


def _draw_degradation(drawn: Canvas, boards: Sequence[Board]) -> None:
    by_split = {board.split: board for board in boards}
    ax = drawn.figure.subplots()
    tests = list(TESTS)
    labels = methods_of(boards)
    ends: dict[str, tuple[float, float]] = {}
    for k, label in enumerate(labels):
        colour, marker = colour_of(label), marker_of(label)
        offset = (k - (len(labels) - 1) / 2) * min(0.06, 0.4 / max(len(labels), 1))
        line: list[tuple[float, float]] = []
        for position, split in enumerate(tests):
            board = by_split.get(split)
            row = next((r for r in board.rows if r.method == label), None) if board else None
            if board is None or row is None or row.mean is None:
                line.append((position + offset, float("nan")))  # interrupts the line
                continue
            line.append((position + offset, row.mean))
            ends[label] = (position + offset, row.mean)
            ax.scatter(
                [position + offset] * row.n_seeds,
                row.values,
                s=7,
                color=colour,
                alpha=0.45,
                linewidths=0,
                zorder=2,
            )
            if row.ci_low is not None and row.ci_high is not None:
                ax.vlines(position + offset, row.ci_low, row.ci_high, color=colour, linewidth=0.9)
            for seed, value in zip(row.seeds, row.values, strict=True):
                entry = {"seed": seed, "value": value, "mean": row.mean}
                span = {"ci_low": row.ci_low, "ci_high": row.ci_high}
                drawn.table.append({**row_facts(board, row), **entry, **span})
        xs, ys = zip(*line, strict=True)
        reference = all(
            is_control_row(r.track) for b in boards for r in b.rows if r.method == label
        )
        style = (0, (1, 1.5)) if reference else "-"
        ax.plot(xs, ys, color=colour, marker=marker, linestyle=style, zorder=3)
    chance_line(ax, boards)
    ax.set_xlim(-0.35, len(tests) - 0.65)
    ax.set_xticks(range(len(tests)), list(TESTS.values()))
    first = boards[0]
    ax.set_ylabel(metric_words(first.metric, first.readout))
    data = "simulated" if first.edition == "simulated" else "real images"
    drawn.title(f"COOS-7 ({data}): from a random hold-out to another laboratory", subtitle(first))
    if first.chance is not None:
        ax.text(-0.33, first.chance, " chance", fontsize=6.5, color="#777777", va="bottom")
    label_ends(ax, ends, {label: colour_of(label) for label in labels})
    missing = [TESTS[split].split("\n")[0] for split in tests if split not in by_split]
    notes = [interval_words(row for board in boards for row in board.rows)]
    if missing:
        notes.append(f"No records for {', '.join(missing)}: a gap.")
    notes.append("Small points: seeds.")
    drawn.notes([" ".join(notes)], 130)
