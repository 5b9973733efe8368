"""Boards of simulated data pooled over draws, with the draw as the cluster.

Every draw of the simulator has laboratories and microscopes of its own, for training and for test.
A board of one draw says how methods differ within its one new laboratory; the pooled board says how
they differ across laboratories. Trainings of different draws share no rows.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.baselines import compared
from bench.boards.board import EDITIONS, SELECTIONS, sorted_json
from bench.boards.notes import coverage, detectable, missing_baselines, without_verdicts
from bench.boards.pairing import span_of_mean
from bench.boards.ranking import ranked, sorted_rows
from bench.boards.stats.scores import Scores
from bench.boards.values import in_range
from bench.core.canonical import digest
from bench.core.words import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.boards.board import Board, Row


DRAW = "draw"
"""Setting of a simulated data set that selects the draw."""
DEFAULT = "default"
"""Name of the draw of records without the setting."""


def pooled_draws(boards: Iterable[Board]) -> list[Board]:
    """Return one board per group of boards that differ only in their draw.

    Parameters
    ----------
    boards
        Boards of any data; those with a single draw are skipped.

    Returns
    -------
    list of Board
        Each row has the mean over seeds and draws of the primary score. The clusters are the draws;
        with fewer than 8 there are points and no interval.
    """
    groups: dict[str, dict[str, Board]] = {}
    for board in boards:
        if board.edition != "simulated":
            continue
        settings = {key: value for key, value in board.settings.items() if key != DRAW}
        key = sorted_json(
            [
                board.split,
                board.recipe,
                board.metric,
                board.readout,
                board.selection,
                board.release,
                board.overrides,
                settings,
            ]
        )
        groups.setdefault(key, {})[str(board.settings.get(DRAW, DEFAULT))] = board
    return [_pooled(by_draw) for _, by_draw in sorted(groups.items()) if len(by_draw) > 1]


def _pooled(by_draw: Mapping[str, Board]) -> Board:
    draws = sorted(by_draw)
    first = by_draw[draws[0]]
    rows: dict[str, dict[str, Row]] = {}
    for draw in draws:
        for row in by_draw[draw].rows:
            if row.scores is not None:
                rows.setdefault(row.method, {})[draw] = row
    oracle = next((b.oracle for b in by_draw.values() if b.oracle is not None), None)
    higher = first.higher_is_better
    candidates = [_row(members, len(draws), first.metric) for members in rows.values()]
    pooled = [row for row in candidates if row is not None]
    pooled = compared(pooled, higher=higher, verdicts=oracle is None)
    notes = [
        f"Pooled over draws {', '.join(draws)}. Intervals refer to further draws, each with new "
        "laboratories and microscopes in training and test.",
        *without_verdicts(oracle),
        *coverage(pooled),
        *detectable(pooled),
        *missing_baselines(pooled),
    ]
    settings = {key: value for key, value in first.settings.items() if key != DRAW}
    return dataclasses.replace(
        first,
        settings=settings,
        scope="",
        oracle=oracle,
        title=_title(first, len(draws), settings),
        runs_digest=digest([by_draw[draw].runs_digest for draw in draws]),
        run_ids=frozenset().union(*(board.run_ids for board in by_draw.values())),
        rows=tuple(sorted_rows(ranked(pooled, higher=higher), higher=higher)),
        notes=tuple(notes),
    )


def _title(board: Board, n_draws: int, settings: Mapping[str, object]) -> str:
    changed = {**settings, **board.overrides}
    parts = [
        board.split,
        f"new: {count(n_draws, DRAW)} of laboratories",
        EDITIONS[board.edition],
        f"recipe {board.recipe}",
        *(f"{key}={changed[key]}" for key in sorted(changed)),
        SELECTIONS.get(board.selection, board.selection),
        f"{board.metric} by {board.readout}",
        f"release {board.release}" if board.release else "no release",
    ]
    return " · ".join(parts)


def _row(members: Mapping[str, Row], n_draws: int, metric: str) -> Row | None:
    """Return a method's row over its draws, for the seeds that all of them have; None if none.

    A method that lacks draws is not ranked, because draws differ in difficulty.
    """
    values = {draw: dict(zip(row.seeds, row.values, strict=True)) for draw, row in members.items()}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in values.values())))
    if not seeds:
        return None
    table = np.array([[values[draw][seed] for draw in members] for seed in seeds])
    deterministic = all(row.deterministic for row in members.values())
    scores = Scores(table, tuple(seeds), tuple(members), additive=True, deterministic=deterministic)
    span = span_of_mean(scores)
    low, high = in_range(metric, span.low, span.high)
    first = next(iter(members.values()))
    reasons = [row.reason for row in members.values() if row.reason]
    if len(members) < n_draws:
        reasons.append(f"has {len(members)} of {n_draws} draws")
    by_seed = scores.pooled
    return dataclasses.replace(
        first,
        reason="; ".join(dict.fromkeys(reasons)),
        mean=math.fsum(by_seed) / len(by_seed),
        sd=float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
        seeds=tuple(seeds),
        values=by_seed,
        n_clusters=len(members),
        cluster_level=DRAW,
        points={draw: float(v) for draw, v in zip(members, table.mean(axis=0), strict=True)},
        ci_low=low,
        ci_high=high,
        cost=_mean_cost([row.cost for row in members.values()]),
        command="\n".join(row.command for row in members.values() if row.command),
        published=(),
        scores=scores,
    )


def _mean_cost(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean cost of a draw; the memory is the maximum."""
    names = set.intersection(*(set(cost) for cost in costs))
    means = {name: math.fsum(cost[name] for cost in costs) / len(costs) for name in sorted(names)}
    if "peak_bytes" in means:
        means["peak_bytes"] = int(max(cost["peak_bytes"] for cost in costs))
    return means
