"""Every pair of methods of a board: paired on clusters, adjusted, with what could be found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.advice.recommend import advise
from bench.boards.board import MIN_SEEDS
from bench.boards.pairing import TEST, Paired, span_of_mean
from bench.boards.pairing import pair as paired
from bench.boards.pairs import Comparison, compare, rank
from bench.boards.render.dispatch import render as render_boards
from bench.boards.render.pairs import FORMATS, render
from bench.boards.select import boards
from bench.boards.stats.intervals import interval
from bench.boards.stats.scores import MIN_CLUSTERS, Scores
from bench.boards.stats.tests import holm
from bench.core.canonical import digest
from tests.helpers.errors import mentions
from tests.helpers.factories import as_records, make_record

METHODS = ("erm", "ben", "adabn", "dann")


def records(
    n_clusters: int = 14, seeds: int = 3, gaps: tuple[float, ...] = (0.0, 0.06, 0.05, -0.02)
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    plates = rng.normal(0, 0.05, n_clusters)
    result = []
    for method, gap in zip(METHODS, gaps, strict=True):
        for seed in range(seeds):
            values = 0.6 + gap + plates + rng.normal(0, 0.02, n_clusters)
            result.append(
                make_record(
                    method,
                    seed,
                    float(values.mean()),
                    edition="real",
                    clusters=[float(v) for v in values],
                )
            )
    return result


def one(**shape: Any) -> Comparison:
    [board] = boards(as_records(records(**shape)))
    return compare(board)


def by_cluster(runs: list[dict[str, Any]], method: str) -> np.ndarray:
    rows = [r["clusters"]["values"]["balanced_accuracy"] for r in runs if r["method"] == method]
    return np.mean(rows, axis=0)


def table(runs: list[dict[str, Any]], method: str) -> np.ndarray:
    return np.array(
        [r["clusters"]["values"]["balanced_accuracy"] for r in runs if r["method"] == method]
    )


def test_pairs_equal_the_interval_of_differences_scipy_and_statsmodels() -> None:
    runs = records()
    result = one()
    assert len(result.pairs) == 6
    for pair in result.pairs:
        gaps = table(runs, pair.first) - table(runs, pair.second)
        expected = interval(gaps)
        assert pair.difference == pytest.approx(expected.mean)
        assert (pair.low, pair.high) == pytest.approx((expected.low, expected.high))
        assert pair.p == pytest.approx(expected.p)
        exact = stats.permutation_test(
            (gaps.mean(axis=0),), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert pair.p_sign_flip == pytest.approx(exact)
        assert pair.smallest_p == 2.0**-13
        assert (pair.n_seeds, pair.n_clusters) == (3, 14)
    ps = [pair.p for pair in result.pairs]
    adjusted = multipletests(ps, method="holm")[1]
    assert [pair.p_holm for pair in result.pairs] == pytest.approx(adjusted)
    assert list(adjusted) == sorted(adjusted)


def test_a_pair_has_one_p_value_everywhere() -> None:
    """The board, ``compare`` and ``recommend`` say the same of the same two methods."""
    runs = records(gaps=(0.0, 0.03, 0.01, -0.02))
    [board] = boards(as_records(runs))
    rows = {row.method: row for row in board.rows}
    named = [{**record, "method_id": record["method"]} for record in runs]
    advised = {row.method: row for row in advise(named, [], []).rows}
    holm_of = {name: rows[name].p_holm for name in advised}
    assert list(holm_of.values()) == holm([rows[name].p for name in advised])
    for pair in compare(board).pairs:
        if "erm" not in (pair.first, pair.second):
            continue
        sign = 1 if pair.second == "erm" else -1
        row = rows[pair.first if sign == 1 else pair.second]
        assert pair.p == row.p == row.diff_p
        assert sign * pair.difference == pytest.approx(row.diff_to_erm, abs=1e-15)
        assert advised[row.method].gain == row.diff_to_erm
        assert advised[row.method].p == holm_of[row.method]
    for text in (render([compare(board)], "md"), render_boards([board], "md")):
        assert TEST in text.replace("\\", "")
    for text in (render([compare(board)], "json"), render_boards([board], "json")):
        [entry] = next(iter(json.loads(text).values()))
        assert entry["test"] == TEST


def test_ranks_equal_a_loop_and_scipy() -> None:
    produced, result = records(), one()
    table = np.array([by_cluster(produced, method) for method in METHODS])
    ranks = np.mean([stats.rankdata(-table[:, j]) for j in range(14)], axis=0)
    assert result.ranks is not None
    assert dict(zip(result.methods, result.ranks.ranks, strict=True)) == pytest.approx(
        dict(zip(METHODS, ranks, strict=True))
    )
    assert result.ranks.statistic == pytest.approx(stats.friedmanchisquare(*table).statistic)
    assert list(result.ranks.ranks) == sorted(result.ranks.ranks)


def test_groups_are_what_the_critical_difference_cannot_part() -> None:
    result = one()
    assert result.ranks is not None
    values, limit = result.ranks.ranks, result.ranks.critical_difference
    together = {(i, j) for i in range(4) for j in range(i + 1, 4) if values[j] - values[i] < limit}
    in_groups = {
        (i, j) for a, b in result.groups for i in range(a, b + 1) for j in range(i + 1, b + 1)
    }
    assert in_groups == together
    assert together
    assert together != {(i, j) for i in range(4) for j in range(i + 1, 4)}


def test_with_four_clusters_there_is_no_p_and_a_note() -> None:
    result = one(n_clusters=4, gaps=(0.0, 0.3, 0.2, -0.3))
    assert {(pair.low, pair.p, pair.p_holm) for pair in result.pairs} == {(None, None, None)}
    assert min(pair.p_sign_flip or 1 for pair in result.pairs) == pytest.approx(0.125)
    mentions(result.notes, "6 of 6")


def test_one_seed_has_no_interval() -> None:
    assert all(pair.low is None for pair in one(seeds=1).pairs)
    mentions(one(seeds=1).notes, "3", "seeds")


def test_of_the_control_rows_only_the_baselines_are_compared() -> None:
    lone = [r for r in records() if r["method"] == "erm"]
    controls = {
        name: [make_record(name, s, 0.5, edition="real", clusters=[0.5] * 14) for s in range(3)]
        for name in ("label-oracle", "identity")
    }
    [board] = boards(as_records([*lone, *controls["label-oracle"]]))
    comparison = compare(board)
    assert comparison.pairs == ()
    assert comparison.ranks is None
    assert "nothing to compare" in comparison.notes[0]
    [board] = boards(as_records([*lone, *controls["label-oracle"], *controls["identity"]]))
    [pair] = compare(board).pairs
    assert (pair.first, pair.second) == ("erm", "identity")


def test_clusters_that_differ_in_part_are_paired_where_both_have_them() -> None:
    runs = records()
    for record in runs:
        if record["method"] == "dann":
            record["clusters"]["values"]["balanced_accuracy"][0] = None
    [board] = boards(as_records(runs))
    sizes = {p.n_clusters for p in compare(board).pairs if "dann" in (p.first, p.second)}
    assert sizes == {13}


def test_the_board_says_what_it_could_have_detected() -> None:
    """Deterministic rows: the t test over clusters of statsmodels, at the level of Holm's step."""
    from statsmodels.stats.power import TTestPower

    entries = records()
    for entry in entries:
        entry["predictions_sha256"] = digest(entry["method"])
        by_name = by_cluster(records(), entry["method"])
        entry["clusters"]["values"]["balanced_accuracy"] = by_name.tolist()
    [board] = boards(as_records(entries))
    rows = {row.method: row for row in board.rows}
    tested = [row for row in board.rows if row.p_holm is not None]
    effect = TTestPower().solve_power(nobs=14, alpha=0.05 / len(tested), power=0.8)
    for method in ("adabn", "ben"):
        gaps = by_cluster(records(), method) - by_cluster(records(), "erm")
        smallest = effect * np.std(gaps, ddof=1)
        assert rows[method].detectable == pytest.approx(smallest, rel=1e-5)
        assert any(f"{smallest:.3f}" in note for note in board.notes)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_same_records_give_the_same_bytes(form: str) -> None:
    runs = records()
    texts = {
        render([compare(b) for b in boards(as_records(order))], form)
        for order in (runs, runs[::-1])
    }
    [text] = texts
    assert "adabn" in text
    assert render([], form)


def test_the_command_prints_json_alone(tmp_path: Any) -> None:
    from bench.cli.commands.compare import command
    from bench.records.store import Store

    store = Store(tmp_path)
    for record in records():
        store.commit(record, pd.DataFrame({"metric": ["accuracy"], "value": [0.5]}))
    done = CliRunner().invoke(command, ["--results", str(tmp_path), "--json", "-m", "erm,ben"])
    [result] = json.loads(done.output)["comparisons"]
    assert [(p["first"], p["second"]) for p in result["pairs"]] == [("erm", "ben")]
    assert result["ranks"]["n_blocks"] == 14


def test_the_figure_holds_the_ranks_and_their_groups(tmp_path: Any) -> None:
    from bench.output.figures import draw

    files = draw(as_records(records()), ["critical-difference"], tmp_path)
    [table] = [pd.read_csv(file) for file in files if file.suffix == ".csv"]
    result = one()
    assert result.ranks is not None
    assert list(table["method"]) == list(result.methods)
    assert list(table["rank"]) == pytest.approx(list(result.ranks.ranks))
    first, last = result.groups[0]
    assert all("1" in str(groups) for groups in table["groups"][first : last + 1])


def test_without_enough_clusters_a_sentence_stands_in_its_place(tmp_path: Any) -> None:
    from bench.output.figures import draw

    lone = [make_record("erm", s, 0.5, edition="real", clusters=[0.5]) for s in range(3)]
    files = draw(as_records(lone), ["critical-difference"], tmp_path)
    [table] = [pd.read_csv(file) for file in files if file.suffix == ".csv"]
    assert table["note"][0]


def test_intervals_of_ranks_are_percentiles_of_resampled_blocks() -> None:
    from bench.boards.stats.ranks import average_ranks
    from bench.core.seeds import generator

    values = np.random.default_rng(3).normal(size=(3, 9)) + np.array([[0.0], [0.5], [1.0]])
    ranks = np.array([stats.rankdata(-values[:, j]) for j in range(9)])
    draws = generator("ranks", 3, 9).integers(0, 9, (2000, 9))
    means = np.sort([ranks[draw].mean(axis=0) for draw in draws], axis=0)
    result = average_ranks(values)
    # Linear interpolation between the values at 2.5 and 97.5 % of 1999 steps.
    for limit, at in ((result.low, 0.025 * 1999), (result.high, 0.975 * 1999)):
        k = int(at)
        assert limit == pytest.approx(means[k] + (at - k) * (means[k + 1] - means[k]))
    assert (result.low <= result.ranks).all()
    assert (result.ranks <= result.high).all()


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [
        (0.0, 0.5, False),
        (-0.5, 0.0, False),
        (-0.5, 0.5, False),
        (0.01, 0.5, True),
        (-0.5, -0.01, True),
        (None, None, False),
        (None, -0.1, False),
        (0.1, None, False),
    ],
)
def test_an_interval_that_ends_at_zero_does_not_exclude_it(
    low: float | None, high: float | None, excluded: bool
) -> None:
    gap = Paired(0.1, None, low, high, None, 3, np.zeros(9))
    assert gap.excludes_zero == excluded
    assert gap.detectable() is None
    assert Paired(0.1, None, low, high, None, 3, np.zeros(9), se=0.1).detectable() is None


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("n_clusters", [MIN_CLUSTERS - 1, MIN_CLUSTERS])
@pytest.mark.parametrize("deterministic", [False, True])
def test_eight_clusters_and_two_trainings_have_an_interval(
    seeds: int, n_clusters: int, deterministic: bool
) -> None:
    values = np.random.default_rng(0).normal(size=(seeds, n_clusters))
    span = span_of_mean(Scores(values, deterministic=deterministic))
    expected = n_clusters >= MIN_CLUSTERS and (seeds >= 2 or deterministic)
    assert (span.p is not None) == expected
    if expected and seeds == 1:
        assert span.p == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue)


def test_the_mean_is_that_of_the_common_clusters_only_where_they_differ() -> None:
    rng = np.random.default_rng(1)
    names = tuple("abcdefghij")
    first = Scores(rng.normal(size=(3, 10)), clusters=names, pooled=(5.0, 6.0, 7.0), additive=True)
    second = Scores(
        rng.normal(size=(3, 9)), clusters=names[:9], pooled=(1.0, 2.0, 4.0), additive=True
    )
    gap = paired(first, second)
    assert gap is not None
    assert gap.n_clusters == 9
    assert gap.difference == pytest.approx((first.values[:, :9] - second.values).mean())
    same = Scores(second.values, clusters=names[:9], pooled=(1.0, 2.0, 4.0), additive=True)
    gap = paired(Scores(same.values + 1, clusters=names[:9], pooled=(5.0, 6.0, 7.0)), same)
    assert gap is not None
    assert gap.n_clusters == 0  # a pooled metric without terms
    plain = Scores(first.values, clusters=names, pooled=(5.0, 6.0, 7.0))
    other = Scores(second.values, clusters=names[:9], pooled=(1.0, 2.0, 4.0))
    gap = paired(plain, other)
    assert gap is not None
    assert gap.n_clusters == 9
    assert gap.difference == pytest.approx((4 + 4 + 3) / 3)
    gap = paired(same, Scores(same.values + 1, clusters=names[:9], pooled=(2.0, 2.0, 2.0)))
    assert gap is not None
    assert gap.by_cluster.shape == (0,)


def test_seeds_are_matched_by_their_numbers() -> None:
    values = np.random.default_rng(2).normal(size=(3, 9))
    gap = paired(Scores(values, seeds=(0, 1, 2)), Scores(values[:2], seeds=(2, 1)))
    assert gap is not None
    expected = (values[1] - values[1] + values[2] - values[0]) / 2
    assert gap.n_seeds == 2
    np.testing.assert_allclose(gap.by_cluster, expected)
    lone = paired(Scores(values, seeds=(0, 1, 2)), Scores(values[:1], seeds=(2,)))
    assert lone is not None
    assert (lone.n_seeds, lone.sd) == (1, None)
    assert paired(Scores(values[:1], seeds=(0,)), Scores(values[:1], seeds=(1,))) is None


@pytest.mark.parametrize(("seeds", "noted"), [(MIN_SEEDS - 1, True), (MIN_SEEDS, False)])
def test_only_methods_with_few_seeds_are_noted(seeds: int, noted: bool) -> None:
    notes = one(seeds=seeds).notes
    assert any(note.startswith("4 of 4 methods") for note in notes) == noted
    entries = records(seeds=seeds)
    for entry in entries:
        entry["predictions_sha256"] = digest(entry["method"])
    [board] = boards(as_records(entries))
    assert not any("of 4 methods" in note for note in compare(board).notes)


def test_a_group_within_another_is_left_out() -> None:
    """Four methods in an order that each cluster repeats, and three without any order."""
    for gaps, groups in (
        ((0.0, 0.0, 0.0, -9.0), ((0, 2),)),
        ((0.0, 0.0, -9.0, -9.0), ((0, 1), (2, 3))),
    ):
        entries = [
            make_record(
                method,
                seed,
                gap,
                edition="real",
                clusters=[gap + 0.1 * ((cluster + k) % 4) for cluster in range(40)],
            )
            for k, (method, gap) in enumerate(zip(METHODS, gaps, strict=True))
            for seed in range(3)
        ]
        [board] = boards(as_records(entries))
        assert rank(board).groups == groups


def test_pairs_of_equal_p_are_sorted_by_the_size_of_the_difference() -> None:
    result = one(n_clusters=4, gaps=(0.0, 0.3, 0.2, -0.3))
    sizes = [abs(pair.difference) for pair in result.pairs]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("n_clusters", [1, 2])
def test_two_methods_and_two_clusters_have_ranks(n_clusters: int) -> None:
    entries = [r for r in records(n_clusters=n_clusters) if r["method"] in ("erm", "ben")]
    [board] = boards(as_records(entries))
    assert (rank(board).ranks is not None) == (n_clusters == 2)
