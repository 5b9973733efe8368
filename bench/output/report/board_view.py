"""A board on the report page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

from bench.boards.render.cells import budget_in_words, notes_of, remark, reported, seconds
from bench.core.control_names import is_control_row
from bench.core.words import DASH, interval, number, plural
from bench.output.report.sentence import level_of
from bench.output.report.text import SIGNS, data_context, script_json, subtitle, verdict_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board, Row


class BoardView(TypedDict):
    """Board data for the template; ``details`` are for the script."""

    board: Board
    anchor: str
    data: str
    subtitle: str
    axis: tuple[str, str]
    chance_at: float
    erm_at: float
    published: bool
    tuned: bool
    rows: list[dict[str, object]]
    notes: list[str]
    details: dict[str, object]
    weight: int


def board_context(board: Board, anchor: str) -> BoardView:
    """Return the board data for the template and the script."""
    low, high = _axis(board)
    erm = next(
        (i for i, r in enumerate(board.rows) if r.method_id == "erm" and not r.params and r.seeds),
        None,
    )
    names = sorted({name for row in board.rows for name in row.points})
    levels = {level_of(row) for row in board.rows if row.points}
    details: dict[str, object] = {
        "metric": board.metric.replace("_", " "),
        "readout": board.readout,
        "level": levels.pop() if len(levels) == 1 else "batch",
        "names": names,
        "erm": erm,
        "rows": [_details(row, names) for row in board.rows],
    }
    rows = [_row(row, low, high) for row in board.rows]
    notes = [note for note in notes_of(board) if not note.startswith("Shift: ")]
    return {
        "board": board,
        "anchor": anchor,
        "data": data_context(board),
        "subtitle": subtitle(board),
        "axis": (number(low, 2), number(high, 2)),
        # Outside the drawing if there is no value.
        "chance_at": -999 if board.chance is None else _at(board.chance, low, high),
        "erm_at": -999 if erm is None else _at(board.rows[erm].mean or 0.0, low, high),
        "published": any(row.published for row in board.rows),
        "tuned": any(row.tuning is not None for row in board.rows),
        "rows": rows,
        "notes": notes,
        "details": details,
        "weight": len(script_json(details)) + 600 * len(rows) + 2400,
    }


def _axis(board: Board) -> tuple[float, float]:
    """Return round axis limits that contain every score, interval and batch of a board."""
    values = [value for row in board.rows for value in (row.mean, row.ci_low, row.ci_high)]
    values += [value for row in board.rows if row.ci_low is None for value in row.points.values()]
    values += [value for row in board.rows for value in row.values]
    shown = [value for value in [*values, board.chance] if value is not None]
    if not shown:
        return 0.0, 1.0
    step = 0.1 if max(shown) - min(shown) > 0.12 else 0.02
    low = math.floor(min(shown) / step + 1e-9) * step
    high = math.ceil(max(shown) / step - 1e-9) * step
    return round(low, 2), round(max(high, low + step), 2)


def _at(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 1)


def _row(row: Row, low: float, high: float) -> dict[str, object]:
    kind = verdict_kind(row)
    kinds = [kind] if kind in ("better", "worse") else []
    kinds += ["reference"] if is_control_row(row.track) else []
    kinds += ["unranked"] if row.rank is None else []
    span = None
    points: list[float] = []
    if row.ci_low is not None and row.ci_high is not None:
        start = _at(row.ci_low, low, high)
        span = (start, round(_at(row.ci_high, low, high) - start, 1))
    elif row.mean is not None:
        shown = list(row.points.values()) or list(row.values)
        points = sorted({_at(value, low, high) for value in shown})
    return {
        "row": row,
        "kind": " ".join(kinds),
        "rank": DASH if row.rank is None else str(row.rank),
        "span": span,
        "points": points,
        "at": 0 if row.mean is None else _at(row.mean, low, high),
        "mean": number(row.mean),
        "sd": "" if row.sd is None else number(row.sd),
        "n": _sizes(row),
        "diff": number(row.difference, sign=True),
        "diff_span": ""
        if row.difference_low is None
        else interval(row.difference_low, row.difference_high, sign=True),
        "reading": reading(row),
        "published": reported(row),
        "tuning": budget_in_words(row.tuning),
        "fit": seconds(row.cost.get("fit_s")),
    }


def reading(row: Row) -> str:
    """Return a row's remark, with a sign before its verdict that does not depend on colour."""
    text = remark(row)
    if row.verdict:
        text = f"{SIGNS[verdict_kind(row)]} {text}"
    return text or DASH


def _sizes(row: Row) -> str:
    if not row.n_seeds:
        return DASH
    if not row.n_clusters:
        return str(row.n_seeds)
    level = level_of(row)
    return f"{row.n_seeds} × {row.n_clusters} {level if row.n_clusters == 1 else plural(level)}"


def _details(row: Row, names: Sequence[str]) -> dict[str, object]:
    """Return the details of an expanded row; keys are short because there are thousands of rows."""
    cost = [row.cost.get(name) for name in ("apply_s", "steps", "images_seen", "peak_bytes")]
    details: dict[str, object] = {
        "k": [None if value is None else round(value, 2) for value in cost],
        "c": row.command,
    }
    pages = list(dict.fromkeys(row.method_id.split("+")))
    if pages != [row.method]:
        details["m"] = pages
    if row.ci_low is not None and row.ci_high is not None:
        details["i"] = interval(row.ci_low, row.ci_high)
    if row.access:
        details["a"] = ", ".join(row.access)
    if row.published:
        details["r"] = " ".join(judged.reading for judged in row.published)
    if row.seeds:
        details["s"], details["v"] = list(row.seeds), [round(value, 4) for value in row.values]
    if row.points:
        details["p"] = [
            round(row.points[name], 4) if name in row.points else None for name in names
        ]
    if row.typed and row.typed != (row.command,):
        details["t"] = list(row.typed)
    return details
