"""Leaderboards as a data frame (``bench.leaderboard``)."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from bench.boards.select import BoardSet
from bench.records.results import results_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from bench.boards.board import Board, Row

__all__ = ["COLUMNS", "frame_of", "leaderboard"]

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
    "diff_to_identity",
    "baseline",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "detectable",
    "verdict",
    "status",
    "reason",
)
COST_COLUMNS = ("fit_s", "apply_s", "peak_bytes")
COLUMNS = (*BOARD_COLUMNS, *ROW_COLUMNS, *COST_COLUMNS)
WHOLE_NUMBERS = ("rank", "n_seeds", "n_clusters", "peak_bytes")


def leaderboard(
    split: str | None = None,
    *,
    results: Path | str | None = None,
    reference: bool = False,
    metric: str | None = None,
    readout: str | None = None,
    edition: str | None = None,
    recipe: str | None = None,
    methods: Sequence[str] | None = None,
    studies: bool = False,
    overall: bool = False,
) -> pd.DataFrame:
    """Return the leaderboards of a results folder, one row per method and board.

    Parameters
    ----------
    split
        Canonical name of a split, or the name as typed for its runs, such as an alias or
        ``FILE.toml:NAME``; all splits by default.
    results
        Results folder; by default ``$BENCH_RESULTS``, else ``results``.
    reference
        Include the published records in the subfolder ``reference``.
    metric
        Name of a metric, also as ``head.NAME``, ``probe.NAME`` or ``knn1.NAME``; each split's
        primary metric by default.
    readout
        ``head``, ``probe``, ``knn1`` or ``auto``: the head if all methods of a board have one.
    edition, recipe, methods
        Filters; methods by name or chain.
    studies
        Include runs of studies, which are on separate boards.
    overall
        Return the comparison over all splits instead: one row per edition, kind of method and
        method, with mean rank and mean difference to the baseline (``bench.boards.overall``).

    Returns
    -------
    pandas.DataFrame
        Sorted by board, then by track and rank. Scores and differences are in the metric's unit
        (proportions in [0, 1] for accuracies); ``ci_low`` and ``ci_high`` are 95 % limits over
        seeds crossed with clusters. ``difference`` is the paired difference to ``baseline``, the
        row that the method is compared with (``bench.boards.baselines``), ``p`` its p value
        (``bench.boards.pairing.TEST``) and ``p_holm`` that p value adjusted for all rows of the
        board. ``diff_to_erm`` and ``diff_to_identity`` are the differences to these rows, whatever
        the baseline. ``fit_s`` and ``apply_s`` are seconds. Undefined values
        are missing, and ``reason`` states why a row has no rank. The frame is empty without
        records.

    Raises
    ------
    BenchError
        If no record has the split, metric, edition, recipe or readout, or if a record is damaged.

    Examples
    --------
    >>> import bench
    >>> board = bench.leaderboard("coos7/test4")  # doctest: +SKIP
    >>> board[["method", "rank", "mean"]]  # doctest: +SKIP
    """
    store = results_store(results)
    boards = BoardSet(store.load_all(reference), store.failures())
    selected = boards.select(
        split=split,
        metric=metric,
        readout=readout,
        edition=edition,
        recipe=recipe,
        methods=None if overall else methods,
        studies=studies,
    )
    return _overall_frame(selected, methods) if overall else frame_of(selected)


def frame_of(boards: Sequence[Board]) -> pd.DataFrame:
    """Return boards as a data frame with :data:`COLUMNS`."""
    import pandas as pd

    rows = [_values(board, row) for board in boards for row in board.rows]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def _overall_frame(boards: Sequence[Board], methods: Sequence[str] | None) -> pd.DataFrame:
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
