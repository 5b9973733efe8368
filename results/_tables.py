"""Helpers of ``findings.py``: rows of published boards as Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.boards.select import boards

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.boards.board import Board, Row

ARMS = {
    "erm": "mixed / running",
    "adabn": "mixed / batch",
    "erm-plate": "plate / running",
    "ben": "plate / batch",
}
"""The 2x2 of the published contrast: training batches / statistics at test."""

_BOARDS: dict[tuple[int, str, str], list[Board]] = {}
"""Boards by the list of records, split and readout: each is computed once."""


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def score_of(row: Row | None) -> str:
    if row is None or row.mean is None:
        return "–"
    return f"{row.mean:.3f} ± {row.sd:.3f}" if row.sd is not None else f"{row.mean:.3f}"


def difference_of(row: Row) -> str:
    if row.diff_to_erm is None:
        return "–"
    text = f"{row.diff_to_erm:+.3f}"
    if row.diff_low is not None and row.diff_high is not None:
        text += f" [{row.diff_low:+.3f}, {row.diff_high:+.3f}]"
    return text


def boards_of(
    records: list[Any],
    split: str,
    overrides: Mapping[str, Any] | None = None,
    readout: str = "auto",
    **settings: Any,  # noqa: ANN401 - settings of the data set
) -> list[Board]:
    key = (id(records), split, readout)
    if key not in _BOARDS:
        on_split = [record for record in records if record.split_id == split]
        _BOARDS[key] = boards(on_split, recipe="default", readout=readout) if on_split else []
    wanted = dict(overrides or {})
    return [
        b for b in _BOARDS[key] if dict(b.settings) == settings and _plain(b.overrides) == wanted
    ]


def _plain(overrides: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in overrides.items()}


def row_of(of: list[Board], method: str, params: Mapping[str, Any] | None = None) -> Row | None:
    wanted = dict(params or {})
    for board in of:
        for row in board.rows:
            if row.method_id == method and dict(row.params.get(method, {})) == wanted:
                return row
    return None
