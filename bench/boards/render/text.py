"""Boards as plain text, Markdown and CSV."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import TYPE_CHECKING

from bench.boards.board import COMPARISON_COLUMNS
from bench.boards.render.cells import (
    COLOURS,
    COLUMNS,
    EMPTY,
    LEGEND,
    PUBLISHED,
    TRACK_WORDS,
    budget_in_words,
    by_track,
    is_grey,
    notes_of,
    row_cells,
)
from bench.boards.render.terminal import new_table, printed
from bench.boards.render.to_json import to_json
from bench.core.words import DASH, csv_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bench.boards.board import Board

__all__ = ["markdown_text"]


def boards_table(boards: Sequence[Board], width: int, colour: bool) -> str:
    from rich.text import Text

    if not boards:
        return EMPTY

    def draw(console: Console) -> None:
        has_published = any(row.published for board in boards for row in board.rows)
        shown = [
            i
            for i, column in enumerate(COLUMNS)
            if width >= column.width and (has_published or column.name != PUBLISHED)
        ]
        for board in boards:
            table = new_table()
            for i in shown:
                text = COLUMNS[i].text
                table.add_column(
                    Text(COLUMNS[i].name),
                    justify="left" if text else "right",
                    overflow="fold",
                    no_wrap=not text,
                    min_width=10 if text else None,
                )
            for track, rows in by_track(board):
                table.add_row("", Text(track.partition(":")[0], style="italic"))
                for row in rows:
                    style = COLOURS.get(row.verdict, "" if row.rank else "dim")
                    style = "dim" if is_grey(board) else style
                    cells = row_cells(row)
                    table.add_row(*(Text(cells[i], style=style) for i in shown))
                table.add_section()
            console.print(Text(board.title, style="bold"))
            console.print(table)
            for note in notes_of(board):
                console.print(Text(note))
            console.print()
        tracks = dict.fromkeys(row.track for board in boards for row in board.rows)
        for track, description in TRACK_WORDS.items():
            if track in tracks:
                console.print(Text(description, style="dim"))
        console.print(Text(LEGEND, style="dim"))

    return printed(draw, width, colour)


def markdown_text(text: str) -> str:
    """Escape characters that Markdown, or HTML inside it, would interpret as markup."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)


def boards_markdown(boards: Sequence[Board]) -> str:
    if not boards:
        return EMPTY
    lines: list[str] = []
    head = ["track", *(column.name for column in COLUMNS)]
    rule = ["---", *("---" if column.text else "---:" for column in COLUMNS)]
    for board in boards:
        lines += [f"### {markdown_text(board.title)}", ""]
        lines += [f"| {' | '.join(map(markdown_text, head))} |", f"|{'|'.join(rule)}|"]
        for row in board.rows:
            lines.append(f"| {' | '.join(map(markdown_text, [row.track, *row_cells(row)]))} |")
        lines.append("")
        for note in notes_of(board):
            lines += [markdown_text(note), ""]
        lines += [f"Runs `{board.runs_digest}`.", ""]
    lines.append(markdown_text(LEGEND))
    return "\n".join(lines) + "\n"


_CSV_BOARD = ("split", "edition", "recipe", "selection", "metric", "readout", "runs_digest")
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
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    board_head = [*_CSV_BOARD, "dataset_settings", "recipe_overrides"]
    writer.writerow([*board_head, *_CSV_ROW, "published", "tuning", *_CSV_COST])
    for board in to_json(boards)["boards"]:
        shared = [board[name] for name in _CSV_BOARD]
        shared += [
            json.dumps(board[name], sort_keys=True) if board[name] else ""
            for name in ("dataset_settings", "recipe_overrides")
        ]
        for row in board["rows"]:
            cost = [row["cost"].get(name) for name in _CSV_COST]
            claimed = [
                f"{claim['value']:g} {claim['status']} ({claim['claim']})"
                for claim in row["published"]
            ]
            budget = budget_in_words(row["tuning"])
            tuning = "" if budget == DASH else budget
            cells = [*shared, *(row[name] for name in _CSV_ROW), "; ".join(claimed), tuning, *cost]
            writer.writerow(map(csv_cell, cells))
    return sink.getvalue()


def plain_table(boards: Sequence[Board]) -> str:
    return boards_table(boards, 120, False)
