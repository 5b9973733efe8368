"""Select and group records into leaderboards."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from bench.boards.board import (
    PREFIXES,
    READOUTS,
    Board,  # TC
    sorted_json,
)
from bench.boards.build import build_board
from bench.boards.values import bare_metric
from bench.core.errors import BenchError, did_you_mean
from bench.records.record import flat
from bench.records.summary import is_derived

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    pass

__all__ = ["boards"]


# --------------------------------------------------------------------------- choosing records


def boards(
    records: Iterable[Mapping[str, Any]],
    *,
    split: str | None = None,
    metric: str | None = None,
    readout: str | None = None,
    edition: str | None = None,
    recipe: str | None = None,
    methods: Sequence[str] | None = None,
    failures: Iterable[Mapping[str, Any]] = (),
    studies: bool = False,
) -> list[Board]:
    """Return the boards of some records, sorted by split, edition and recipe.

    Parameters
    ----------
    records
        Committed runs (``Store.load_all``) or mappings of the same form. Those of fixtures are
        left out: no board is made of them.
    split
        Canonical name, or the name that was typed when the runs were made; all by default, without
        those that were made of another split's rows for validation or a study.
    metric
        Name of a metric, also as ``head.NAME``, ``probe.NAME`` or ``knn1.NAME``; each
        split's primary metric by default.
    readout
        ``head``, ``probe``, ``knn1`` (class of the nearest training profile), or ``auto``: by
        probe if any row of the board has no head, since like is compared with like.
    edition, recipe, methods
        Keep only these; methods by typed name or chain.
    failures
        As from ``Store.failures``: named in the notes, never shown as rows.
    studies
        Whether runs of studies, whose test rows were grouped in another way, have boards of their
        own. They never stand on the board of ordinary runs.

    Raises
    ------
    BenchError
        For a split, metric, edition, recipe or read-out that no record has.
    """
    chosen = readout or "auto"
    if chosen not in READOUTS:
        raise BenchError(did_you_mean(chosen, list(READOUTS), "read-out"))
    if metric is not None:
        prefix, _, bare = metric.partition(".")
        if f"{prefix}." in PREFIXES and bare:
            metric, chosen = bare, prefix
    runs = [flat(record) for record in records]
    runs = [run for run in runs if run.get("edition") != "fixture"]
    if not studies:
        runs = [run for run in runs if not run.get("grouping")]
    runs.sort(key=lambda run: str(run["run_id"]))
    if split is not None:
        named = {str(run["split_id"]) for run in runs if split in (run["split_id"], run["split"])}
        known = {str(run["split_id"]) for run in runs}
        if not named and runs:
            raise BenchError(f"no runs: {did_you_mean(split, sorted(known), 'split')}")
        runs = [run for run in runs if run["split_id"] in named]
    else:
        runs = [run for run in runs if not is_derived(str(run["split_id"]))]
    runs = _only(runs, "edition", edition)
    runs = _only(runs, "recipe", recipe)
    if methods is not None:
        wanted = set(methods)
        runs = [run for run in runs if run["method"] in wanted or run["method_id"] in wanted]
    if metric is not None and runs:
        _check_metric(metric, runs)
    groups = _grouped(runs, metric)
    failed = list(failures)
    made = []
    for key in sorted(groups, key=lambda key: tuple(map(str, key))):
        board = build_board(groups[key], str(key[0]), chosen, failed)
        if board is not None:
            made.append(board)
    return _distinct(made)


def _only(runs: list[dict[str, Any]], name: str, value: str | None) -> list[dict[str, Any]]:
    if value is None or not runs:
        return runs
    kept = [run for run in runs if run[name] == value]
    if not kept:
        raise BenchError(
            f"no runs: {did_you_mean(value, sorted({str(run[name]) for run in runs}), name)}"
        )
    return kept


def _check_metric(metric: str, runs: list[dict[str, Any]]) -> None:
    known = {bare_metric(name) for r in runs for name in r["metrics"]}
    if metric not in known and known:
        raise BenchError(f"no runs: {did_you_mean(metric, sorted(known), 'metric')}")


_SHOWN = (
    "split_id",
    "edition",
    "recipe",
    "selection",
    "dataset_settings",
    "recipe_overrides",
    "grouping",
)
_HIDDEN = ("split_digest", "data_digest", "recipe_digest", "standardise", "score_unit")


def _key(run: Mapping[str, Any], metric: str | None) -> tuple[Any, ...]:
    """Return all that must agree for two runs to stand on one board; the metric comes first."""
    name = metric or str(run.get("primary"))
    shown = [
        sorted_json(value) if isinstance(value, dict) else value for value in map(run.get, _SHOWN)
    ]
    version = run.get("metric_versions", {}).get(name)
    return (name, *shown, *map(run.get, _HIDDEN), version)


def _grouped(
    runs: list[dict[str, Any]], metric: str | None
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return the runs of each board.

    Where runs of one split stand for different metrics, each of these has a board, on which the
    other runs stand too, with or without a value: what was told a label has no official score.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(_key(run, metric), []).append(run)
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
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
                    if run.get("metric_versions", {}).get(key[0]) in (None, key[-1])
                ]
    return groups


def _distinct(made: list[Board]) -> list[Board]:
    """Sort the boards, and tell apart those whose titles agree although their data do not."""
    made.sort(key=lambda board: (board.split, board.edition, board.recipe, board.title))
    titles = [board.title for board in made]
    if len(set(titles)) == len(titles):
        return made
    return [
        dataclasses.replace(board, title=f"{board.title} · runs {board.runs_digest[:8]}")
        if titles.count(board.title) > 1
        else board
        for board in made
    ]
