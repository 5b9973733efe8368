"""Boards as plain text, Markdown and CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.boards.baselines import NO_DIFFERENCE
from bench.boards.board import COMPARISON_COLUMNS, MIN_SEEDS
from bench.boards.render.cells import (
    COLOURS,
    COLUMNS,
    EMPTY,
    LEGEND,
    PUBLISHED,
    TRACK_WORDS,
    WITH_P,
    budget_in_words,
    by_track,
    is_grey,
    notes_of,
    row_cells,
)
from bench.boards.render.parts import (
    BOARD,
    Part,
    csv_text,
    markdown_text,
    new_table,
    part_markdown,
    printed,
)
from bench.boards.render.to_json import to_json
from bench.core.words import DASH, count, csv_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    from bench.boards.board import Board, Row
    from bench.boards.render.cells import Column


def boards_table(boards: Sequence[Board], width: int, colour: bool) -> str:
    """Return boards for a terminal of that width in characters."""
    from rich.text import Text

    if not boards:
        return EMPTY

    def draw(console: Console) -> None:
        for board in boards:
            console.print(Text(board.title, style="bold"))
            console.print(_board_table(board, width))
            for note in [*notes_of(board), *_not_applicable(board)]:
                console.print(Text(note))
            console.print()
        tracks = dict.fromkeys(row.track for board in boards for row in board.rows)
        for track, description in TRACK_WORDS.items():
            if track in tracks:
                console.print(Text(description, style="dim"))
        console.print(Text(f"{LEGEND} none: {NO_DIFFERENCE}.", style="dim"))

    return printed(draw, width, colour)


def _board_table(board: Board, width: int) -> Table:
    """Return the table of a board; narrow terminals omit columns."""
    from rich.text import Text

    rows = [row for row in board.rows if row.status != "not-applicable"]
    has_published = any(row.published for row in rows)
    shown = [
        column
        for column in COLUMNS
        if width >= column.width and (has_published or column.name != PUBLISHED)
    ]
    table = new_table()
    longest = max((len(_method(row)) for row in rows), default=0)
    least = {"method": min(22, longest), "remark": 8 if width < WITH_P else 23}
    for column in shown:
        table.add_column(
            Text(column.name),
            justify="left" if column.text else "right",
            overflow="fold",
            no_wrap=not column.text,
            min_width=least.get(column.name),
        )
    for track, members in by_track(board):
        ranked = [row for row in members if row in rows]
        if not ranked:
            continue
        table.add_row("", Text(track.partition(":")[0], style="italic"))
        for row in ranked:
            style = COLOURS.get(row.verdict, "" if row.rank else "dim")
            style = "dim" if is_grey(board) else style
            cells = (_terminal_cell(column, row, width) for column in shown)
            table.add_row(*(Text(cell, style=style) for cell in cells))
        table.add_section()
    return table


def _terminal_cell(column: Column, row: Row, width: int) -> str:
    """Return a cell; what the title or the rank already says is left out."""
    if column.name == "method":
        return _method(row)
    text = column.cell(row)
    if column.name == "95 % interval":
        return text.partition(", n = ")[0]
    if column.name != "remark":
        return text
    if row.reason and row.n_seeds < MIN_SEEDS and not row.deterministic:
        text = text.replace(f"not ranked: {row.reason}", count(row.n_seeds, "seed"))
    text = text.replace(NO_DIFFERENCE, "none")
    return text.partition(";")[0] if width < WITH_P else text


def _method(row: Row) -> str:
    """Return the label without the implicit first stage of a correction."""
    return row.method.removeprefix("identity+")


def _not_applicable(board: Board) -> list[str]:
    """Return a line with the methods that do not apply, by reason."""
    reasons: dict[str, list[str]] = {}
    for row in board.rows:
        if row.status == "not-applicable":
            last = row.method_id.rpartition("+")[2]
            names = reasons.setdefault(row.reason.removeprefix(f"{last} "), [])
            names.append(_method(row))
    if not reasons:
        return []
    parts = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return [f"Not applicable: {'; '.join(parts)}."]


def boards_markdown(boards: Sequence[Board]) -> str:
    """Return boards as Markdown."""
    if not boards:
        return EMPTY
    lines: list[str] = []
    head = ["track", *(column.name for column in COLUMNS)]
    rule = f"|---|{'|'.join('---' if column.text else '---:' for column in COLUMNS)}|"
    for board in boards:
        rows = [[row.track, *row_cells(row)] for row in board.rows]
        lines += part_markdown(Part(board.title, [(head, rows)], notes_of(board)), lambda _: rule)
        lines += [f"Runs `{board.runs_digest}`.", ""]
    lines.append(markdown_text(LEGEND))
    return "\n".join(lines) + "\n"


_CSV_CHANGED = ("dataset_settings", "recipe_overrides")
_CSV_ROW = (
    "method",
    "method_id",
    "track",
    "status",
    "rank",
    "mean",
    "sd",
    "n_seeds",
    "n_clusters",
    "cluster_level",
    "ci_low",
    "ci_high",
    "diff_to_erm",
    "diff_low",
    "diff_high",
    "diff_p",
    "diff_seeds",
    *COMPARISON_COLUMNS,
    "reason",
    "command",
)
_CSV_COST = ("fit_s", "apply_s", "peak_bytes", "steps", "images_seen")


def boards_csv(boards: Sequence[Board]) -> str:
    """Return all rows of the boards as one CSV file."""
    head = [*BOARD, *_CSV_CHANGED, *_CSV_ROW, "published", "tuning", *_CSV_COST]
    return csv_text(head, ([csv_cell(cell) for cell in cells] for cells in _csv_rows(boards)))


def _csv_rows(boards: Sequence[Board]) -> Iterator[list[object]]:
    for board in to_json(boards)["boards"]:
        shared = [board[name] for name in BOARD]
        shared += [
            json.dumps(board[name], sort_keys=True) if board[name] else "" for name in _CSV_CHANGED
        ]
        for row in board["rows"]:
            claimed = [
                f"{claim['value']:g} {claim['status']} ({claim['claim']})"
                for claim in row["published"]
            ]
            budget = budget_in_words(row["tuning"])
            own = [row[name] for name in _CSV_ROW]
            own += ["; ".join(claimed), "" if budget == DASH else budget]
            yield [*shared, *own, *(row["cost"].get(name) for name in _CSV_COST)]
