"""Boards pooled over simulated draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.boards.draws import pooled_draws
from bench.boards.select import boards
from tests.helpers.factories import as_records, make_record

SHIFTS = {"erm": 0.0, "ben": 0.05}


def experiment(n_draws: int, *, edition: str = "simulated") -> tuple[list[Any], dict[str, Any]]:
    rng = np.random.default_rng(n_draws)
    scores = {
        method: 0.6 + shift + 0.02 * rng.normal(size=(3, n_draws))
        for method, shift in SHIFTS.items()
    }
    entries = []
    for method, table in scores.items():
        for seed, draw in np.ndindex(table.shape):
            value = float(table[seed, draw])
            settings = {"draw": 100 + draw} if draw else {}
            entries.append(
                make_record(
                    method,
                    seed,
                    value,
                    clusters=[value - 0.1, value + 0.1] * 5,
                    dataset_settings=settings,
                    edition=edition,
                )
            )
    return entries, scores


def test_the_draw_is_the_cluster_of_a_pooled_board() -> None:
    entries, scores = experiment(9)
    [board] = pooled_draws(boards(as_records(entries)))
    rows = {row.method: row for row in board.rows}
    for method, table in scores.items():
        row = rows[method]
        assert row.mean == pytest.approx(table.mean())
        assert row.values == pytest.approx(table.mean(axis=1))
        assert (row.n_seeds, row.n_clusters, row.cluster_level) == (3, 9, "draw")
        assert sorted(row.points.values()) == pytest.approx(sorted(table.mean(axis=0)))
    gaps = scores["ben"] - scores["erm"]
    assert rows["ben"].difference == pytest.approx(gaps.mean())
    assert rows["ben"].p is not None
    assert rows["ben"].verdict == "improves"
    # Without an effect of the seeds: close to the t test over draws.
    assert rows["ben"].p < 10 * stats.ttest_1samp(gaps.mean(axis=0), 0).pvalue
    assert "9 draws" in board.title
    assert "draw" not in board.settings
    assert len(board.run_ids) == len(entries)


def test_below_eight_draws_there_are_points_and_no_verdict() -> None:
    [board] = pooled_draws(boards(as_records(experiment(5)[0])))
    for row in board.rows:
        assert row.ci_low is None
        assert row.verdict == ""
        assert len(row.points) == 5


def test_a_method_without_all_draws_is_not_ranked() -> None:
    entries = experiment(5)[0]
    [board] = pooled_draws(boards(as_records(entries[:-1])))
    ranks = {row.method: (row.rank, row.n_seeds, row.n_clusters) for row in board.rows}
    assert ranks["ben"] == (None, 2, 5)  # its last draw has two seeds
    few = [e for e in entries if e["method"] == "erm" or not e["spec"]["dataset_settings"]]
    [board] = pooled_draws(boards(as_records(few)))
    rows = {row.method: row for row in board.rows}
    assert rows["ben"].rank is None
    assert "1 of 5" in rows["ben"].reason
    assert rows["erm"].rank == 1


def test_real_data_and_single_draws_are_not_pooled() -> None:
    assert pooled_draws(boards(as_records(experiment(9, edition="real")[0]))) == []
    assert pooled_draws(boards(as_records(experiment(1)[0]))) == []


def test_a_method_with_some_draws_is_compared_on_these() -> None:
    entries, scores = experiment(5)
    few = [
        entry
        for entry in entries
        if entry["spec"]["method_id"] == "erm" or entry["spec"]["dataset_settings"] == {"draw": 103}
    ]
    [board] = pooled_draws(boards(as_records(few)))
    ben = next(row for row in board.rows if row.method == "ben")
    # Draws differ by far more than methods.
    assert ben.difference == pytest.approx((scores["ben"] - scores["erm"])[:, 3].mean())
    assert ben.difference != pytest.approx(scores["ben"][:, 3].mean() - scores["erm"].mean())
    assert ben.reason
