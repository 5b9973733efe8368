"""Text helpers of the report."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.boards.baselines import IMPROVES, WORSENS

if TYPE_CHECKING:
    from markupsafe import Markup

    from bench.boards.board import Board, Row

SIGNS = {"better": "▲", "worse": "▼", "same": "≈", "": "·"}
"""Sign per kind of verdict, so that a verdict does not depend on colour."""
VERDICTS = {IMPROVES: "better", WORSENS: "worse"}
"""Kinds of verdicts by their text on a board; any other verdict is ``same``."""


def verdict_kind(row: Row) -> str:
    """Return ``better``, ``worse`` or ``same``; empty for a row without a verdict."""
    return VERDICTS.get(row.verdict, "same") if row.verdict else ""


def pieces(label: str) -> list[str]:
    """Split a label where a line can break: after one of ``( , + / _``."""
    return re.findall(r"[^(,+/_]*[(,+/_]?", label)[:-1] or [label]


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
