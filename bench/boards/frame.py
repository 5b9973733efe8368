"""Leaderboards as a data frame."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from bench.boards.board import COMPARISON_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bench.boards.board import Board, Row


BOARD_COLUMNS = ("split", "edition", "recipe", "selection", "metric", "readout")
ROW_COLUMNS = (
    "method",
    "method_id",
    "track",
    "rank",
    "mean",
    "sd",
    "ci_low",
    "ci_high",
    "n_seeds",
    "n_clusters",
    "cluster_level",
    "diff_to_erm",
    "diff_low",
    "diff_high",
    "diff_p",
    *COMPARISON_COLUMNS,
    "status",
    "reason",
)
COST_COLUMNS = ("fit_s", "apply_s", "peak_bytes")
COLUMNS = (*BOARD_COLUMNS, *ROW_COLUMNS, *COST_COLUMNS)
INTEGERS = ("rank", "n_seeds", "n_clusters", "peak_bytes")


def frame_of(boards: Sequence[Board]) -> pd.DataFrame:
    """Return boards as a data frame with :data:`COLUMNS`."""
    import pandas as pd

    rows = [_values(board, row) for board in boards for row in board.rows]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(INTEGERS, "Int64"))


def overall_frame(boards: Sequence[Board], methods: Sequence[str] | None) -> pd.DataFrame:
    """Return the comparison over all splits as a data frame (:mod:`bench.boards.overall`)."""
    import pandas as pd

    from bench.boards.overall import OverallRow
    from bench.boards.overall import overall as compare_over_splits

    names = [field.name for field in fields(OverallRow)]
    rows = [
        {"edition": result.edition, "kind": result.kind}
        | {name: getattr(row, name) for name in names}
        | {"n_datasets": row.n_datasets}
        for result in compare_over_splits(boards, methods)
        for row in result.rows
    ]
    return pd.DataFrame(rows, columns=["edition", "kind", *names, "n_datasets"])


def _values(board: Board, row: Row) -> dict[str, object]:
    return {
        **{name: getattr(board, name) for name in BOARD_COLUMNS},
        **{name: getattr(row, name) for name in ROW_COLUMNS if name != "diff_to_identity"},
        "diff_to_identity": row.difference_to("identity"),
        **{name: row.cost.get(name) for name in COST_COLUMNS},
    }
