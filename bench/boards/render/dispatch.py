"""Render boards in a format chosen by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.boards.render.html import boards_html
from bench.boards.render.latex import boards_latex
from bench.boards.render.parts import check_format
from bench.boards.render.text import boards_csv, boards_markdown, boards_table
from bench.boards.render.to_json import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.board import Board


def render(boards: Sequence[Board], form: str, *, width: int = 120, colour: bool = False) -> str:
    """Return boards as text.

    Parameters
    ----------
    width, colour
        Terminal settings for ``table``; narrow terminals omit the cost columns.
    """
    check_format(form, FORMATS)
    if form == "table":
        return boards_table(boards, width, colour)
    return FORMATS[form](boards)


def boards_json(boards: Sequence[Board]) -> str:
    """Return JSON with one line per row: full indentation takes seconds for ten thousand runs."""
    encode = json.JSONEncoder(allow_nan=False).encode
    texts = []
    for board in to_json(boards)["boards"]:
        lines = []
        for key, value in board.items():
            if key == "rows":
                lines.append('"rows": [\n   ' + ",\n   ".join(map(encode, value)) + "\n  ]")
            else:
                lines.append(f"{encode(key)}: {encode(value)}")
        texts.append("{\n  " + ",\n  ".join(lines) + "\n }")
    return '{"boards": [' + ", ".join(texts) + "]}\n"


FORMATS: Mapping[str, Callable[[Sequence[Board]], str]] = {
    "table": lambda boards: boards_table(boards, 120, False),
    "md": boards_markdown,
    "csv": boards_csv,
    "html": boards_html,
    "latex": boards_latex,
    "json": boards_json,
}
"""Formats by their name on the command line."""
