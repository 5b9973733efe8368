"""Select and group records into leaderboards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bench.boards.board import READOUTS, Board, sorted_json  # TC
from bench.boards.build import build_board
from bench.core.errors import BenchError, did_you_mean
from bench.records.record import Record, as_record
from bench.records.summary import is_derived, parse_metric

if TYPE_CHECKING:
    from collections.abc import Sequence


UNSELECTED = "last"
"""Selection rule of runs without a search of parameters."""
Entries = Iterable[Record | Mapping[str, object]]
Key = tuple[str | None, ...]
"""Key shared by the runs of a board: metric, the values that :func:`_key` compares, and the
version of the metric."""


class BoardSet:
    """The boards of a set of records, each computed once.

    A report and its figures select boards of the same records in several ways. Pass one instance to
    all of them.
    """

    def __init__(self, records: Entries, failures: Iterable[Mapping[str, object]] = ()) -> None:
        self.records = [as_record(record) for record in records]
        self._failures = list(failures)
        self._boards: dict[tuple[object, ...], Board | None] = {}

    def only(self, records: Entries) -> BoardSet:
        """Return the instance for a subset of the records; it shares the computed boards."""
        subset = BoardSet(records, self._failures)
        subset._boards = self._boards
        return subset

    def select(
        self,
        *,
        split: str | None = None,
        metric: str | None = None,
        readout: str | None = None,
        edition: str | None = None,
        recipe: str | None = None,
        methods: Sequence[str] | None = None,
        studies: bool = False,
    ) -> list[Board]:
        """Return boards; parameters as for :func:`boards`."""
        chosen = readout or "auto"
        if chosen not in READOUTS:
            raise BenchError(did_you_mean(chosen, list(READOUTS), "read-out"))
        if metric is not None:
            prefix, metric = parse_metric(metric)
            chosen = prefix or chosen
        runs = [run for run in self.records if run.edition != "fixture"]
        if not studies:
            runs = [run for run in runs if not run.grouping]
        runs.sort(key=lambda run: run.run_id)
        if split is not None:
            named = {run.split_id for run in runs if split in (run.split_id, run.split)}
            if not named and runs:
                splits = sorted({run.split_id for run in runs})
                raise BenchError(f"no runs: {did_you_mean(split, splits, 'split')}")
            runs = [run for run in runs if run.split_id in named]
        else:
            runs = [run for run in runs if not is_derived(run.split_id)]
        runs = _only(runs, "edition", edition)
        runs = _only(runs, "recipe", recipe)
        if methods is not None:
            wanted = set(methods)
            runs = [run for run in runs if run.method in wanted or run.method_id in wanted]
        if metric is not None and runs:
            names = {name for run in runs for name in run.metric_names}
            if metric not in names and names:
                _raise_undefined(runs, metric)
                raise BenchError(f"no runs: {did_you_mean(metric, sorted(names), 'metric')}")
        groups = _grouped(runs, metric)
        built = [
            self._board(groups[key], str(key[0]), chosen)
            for key in sorted(groups, key=lambda key: tuple(map(str, key)))
        ]
        return _distinct([board for board in built if board is not None])

    def _board(self, runs: Sequence[Record], metric: str, readout: str) -> Board | None:
        # A row's command and the notes on failures depend on the typed method and split names.
        key = (metric, readout, *((run.run_id, run.method, run.split) for run in runs))
        if key not in self._boards:
            self._boards[key] = build_board(runs, metric, readout, self._failures)
        return self._boards[key]


def boards(
    records: Entries,
    *,
    split: str | None = None,
    metric: str | None = None,
    readout: str | None = None,
    edition: str | None = None,
    recipe: str | None = None,
    methods: Sequence[str] | None = None,
    failures: Iterable[Mapping[str, object]] = (),
    studies: bool = False,
) -> list[Board]:
    """Return the boards of some records, sorted by split, edition and recipe.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form. Fixtures are skipped.
    split
        Canonical name, or the name as typed for the runs. By default all splits, except those
        derived from another split's rows for validation or a study.
    metric
        Name of a metric, also as ``head.NAME``, ``probe.NAME`` or ``knn1.NAME``; each
        split's primary metric by default.
    readout
        ``head``, ``probe``, ``knn1`` (class of the nearest training profile), or ``auto``: the
        probe; see :mod:`bench.boards.readouts`.
    edition, recipe, methods
        Filters; methods by typed name or chain.
    failures
        As from ``Store.failures``; listed in the notes, never shown as rows.
    studies
        Whether to include runs of studies, which group test rows differently. They are on separate
        boards, never with ordinary runs.

    Raises
    ------
    BenchError
        If no record has the split, metric, edition, recipe or readout.
    """
    return BoardSet(records, failures).select(
        split=split,
        metric=metric,
        readout=readout,
        edition=edition,
        recipe=recipe,
        methods=methods,
        studies=studies,
    )


def plain_boards(boards: Sequence[Board]) -> list[Board]:
    """Return the main board of each split and edition.

    A board is plain if its data and recipe have no changed values, its parameters were not selected
    by a search, and its recipe is ``default``. A split and edition without such a board keeps all.
    Of several plain boards, such as those of two versions of the numerics, the ones of a benchmark
    release are kept, if there are any.
    """
    plain = [board for board in boards if is_plain(board)]
    with_plain = {(board.split, board.edition) for board in plain}
    released = {(board.split, board.edition) for board in plain if board.release}
    return [
        board
        for board in boards
        if (board.split, board.edition) not in with_plain
        or (is_plain(board) and (board.release or (board.split, board.edition) not in released))
    ]


def is_plain(board: Board) -> bool:
    """Return whether a board has the default recipe and data, without changes and selection."""
    changed = board.settings or board.overrides or board.selection != UNSELECTED
    return board.recipe == "default" and not changed


def _raise_undefined(runs: Sequence[Record], metric: str) -> None:
    """Raise :class:`BenchError` if a metric was requested and is undefined on these runs."""
    for run in runs:
        reason = run.data.get("undefined", {}).get(metric)
        if reason:
            raise BenchError(
                f"{metric} is undefined for {run.method} on {run.split_id}: {reason}; choose "
                "another metric"
            )


def _only(runs: list[Record], name: str, value: str | None) -> list[Record]:
    if value is None or not runs:
        return runs
    kept = [run for run in runs if getattr(run, name) == value]
    if not kept:
        values = sorted({str(getattr(run, name)) for run in runs})
        raise BenchError(f"no runs: {did_you_mean(value, values, name)}")
    return kept


_SHOWN = (
    "split_id",
    "edition",
    "recipe",
    "selection",
    "dataset_settings",
    "recipe_overrides",
    "grouping",
)
_HIDDEN = (
    "split_digest",
    "data_digest",
    "recipe_digest",
    "standardise",
    "score_unit",
    "numerics",
)


def _key(run: Record, metric: str | None) -> Key:
    """Return the values that two runs on one board must share; the metric comes first."""
    name = metric or run.primary
    values = [run.summary[key] for key in (*_SHOWN, *_HIDDEN)]
    texts = [
        sorted_json(value) if isinstance(value, dict) else None if value is None else str(value)
        for value in values
    ]
    version = run.metric_versions.get(name)
    return (name, *texts, None if version is None else str(version))


def _grouped(runs: list[Record], metric: str | None) -> dict[Key, list[Record]]:
    """Return the runs of each board.

    If the runs of a split have different primary metrics, each metric has a board with all runs,
    with or without a value: a method that uses labels has no official score.
    """
    groups: dict[Key, list[Record]] = {}
    for run in runs:
        groups.setdefault(_key(run, metric), []).append(run)
    alike: dict[Key, list[Key]] = {}
    for key in groups:
        alike.setdefault(key[1:-1], []).append(key)
    own = {key: list(members) for key, members in groups.items()}
    for keys in alike.values():
        for key in keys:
            for other in keys:
                if other[0] == key[0]:
                    continue
                groups[key] += [
                    run
                    for run in own[other]
                    if run.metric_versions.get(str(key[0])) is None
                    or str(run.metric_versions[str(key[0])]) == key[-1]
                ]
    return groups


def _distinct(boards: list[Board]) -> list[Board]:
    """Sort the boards, and distinguish those with equal titles but different data."""
    boards.sort(key=lambda board: (board.split, board.edition, board.recipe, board.title))
    titles = [board.title for board in boards]
    if len(set(titles)) == len(titles):
        return boards
    return [
        dataclasses.replace(board, title=f"{board.title} · runs {board.runs_digest[:8]}")
        if titles.count(board.title) > 1
        else board
        for board in boards
    ]
