"""Text helpers of the report."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.boards.baselines import IMPROVES, NO_DIFFERENCE, WORSENS

if TYPE_CHECKING:
    from markupsafe import Markup

    from bench.boards.board import Board

SIGNS = {IMPROVES: "▲", WORSENS: "▼", NO_DIFFERENCE: "≈", "": "·"}
KINDS = {IMPROVES: "helps", WORSENS: "hurts"}
"""Verdict -> class of its rows in the page."""


def pieces(label: str) -> list[str]:
    """Split a label where a line can break: after a bracket, a comma or a plus sign."""
    return re.findall(r"[^(,+]*[(,+]?", label)[:-1] or [label]


CODE = re.compile(r"``(.+?)``|:math:`(.+?)`|:[a-z:]+:`(.+?)`|`([^`]+)`")


def script_json(data: object) -> Markup:
    """Return JSON that an HTML parser cannot interpret as markup."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def data_context(board: Board) -> str:
    """Return the name of a board's data set."""
    return board.split.split("/")[0]


def subtitle(board: Board) -> str:
    """Return the title of a board without its first part."""
    return " · ".join(board.title.split(" · ")[1:])
