"""Records and leaderboards of a results folder: ``bench.load_records``, ``bench.leaderboard``.

Splits and methods are named as on the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.frame import frame_of, overall_frame
from bench.boards.select import BoardSet
from bench.core.errors import BenchError, did_you_mean
from bench.core.registry import registry_with
from bench.data.catalog import canonical_name
from bench.records.results import results_store
from bench.runs.arguments import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from bench.records.record import Record


def load_records(
    results: Path | str | None = None,
    *,
    reference: bool = False,
    split: str | None = None,
    methods: str | Iterable[str] | None = None,
    plugins: Iterable[Path | str] = (),
) -> list[Record]:
    """Return the records of a results folder, sorted by run id.

    Parameters
    ----------
    results
        The folder. Default: ``$BENCH_RESULTS`` if set, otherwise ``results``.
    reference
        Include the published records in its subfolder ``reference``.
    split
        Name, alias or ``FILE.toml:NAME``. Default: all splits.
    methods
        Names or chains: ``["erm", "ben+tvn"]`` or ``"erm,ben+tvn"``. Default: all methods.
    plugins
        Python files with splits that can be named.

    Raises
    ------
    BenchError
        If the folder cannot be read, or no record has the split or one of the methods.

    Examples
    --------
    >>> import bench
    >>> records = bench.load_records(reference=True, split="ottawa")  # doctest: +SKIP
    """
    records = results_store(results).load_all(reference)
    if split is not None:
        name = canonical_name(split, registry_with(plugins))
        splits = sorted({record.split_id for record in records})
        records = [record for record in records if name in (record.split_id, record.split)]
        if not records and splits:
            raise BenchError(f"no runs: {did_you_mean(split, splits, 'split')}")
    if methods is not None:
        chosen = names(methods, "methods")
        present = sorted({record.method_id for record in records})
        for method in chosen:
            if not any(method in (record.method, record.method_id) for record in records):
                raise BenchError(f"no runs: {did_you_mean(method, present, 'method')}")
        records = [r for r in records if r.method in chosen or r.method_id in chosen]
    return records


def leaderboard(
    split: str | None = None,
    *,
    results: Path | str | None = None,
    reference: bool = False,
    metric: str | None = None,
    readout: str | None = None,
    edition: str | None = None,
    recipe: str | None = None,
    methods: str | Iterable[str] | None = None,
    studies: bool = False,
    overall: bool = False,
    plugins: Iterable[Path | str] = (),
) -> pd.DataFrame:
    """Return the leaderboards of a results folder, one row per method and board.

    Parameters
    ----------
    split
        Name, alias or ``FILE.toml:NAME``. Default: all splits.
    results
        Results folder. Default: ``$BENCH_RESULTS`` if set, otherwise ``results``.
    reference
        Include the published records in the subfolder ``reference``.
    metric
        Name of a metric, also as ``head.NAME``, ``probe.NAME`` or ``knn1.NAME``. Default: each
        split's primary metric.
    readout
        ``head``, ``probe``, ``knn1`` or ``auto``, which is the probe.
    edition, recipe
        Filters.
    methods
        Names or chains: ``["erm", "ben+tvn"]`` or ``"erm,ben+tvn"``. Default: all methods.
    studies
        Include runs of studies, which are on separate boards.
    overall
        Return the comparison over all splits instead: one row per edition, kind of method and
        method, with mean rank and mean difference to the baseline (``bench.boards.overall``).
    plugins
        Python files with splits that can be named.

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
        If no record has the split, metric, edition, recipe or readout, or the folder cannot be
        read.

    Examples
    --------
    >>> import bench
    >>> board = bench.leaderboard("ottawa")  # doctest: +SKIP
    >>> board[["method", "rank", "mean"]]  # doctest: +SKIP
    """
    name = None if split is None else canonical_name(split, registry_with(plugins))
    chosen = None if methods is None else names(methods, "methods")
    store = results_store(results)
    boards = BoardSet(store.load_all(reference), store.failures()).select(
        split=name,
        metric=metric,
        readout=readout,
        edition=edition,
        recipe=recipe,
        methods=None if overall else chosen,
        studies=studies,
    )
    return overall_frame(boards, chosen) if overall else frame_of(boards)
