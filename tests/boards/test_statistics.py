"""Intervals, tests, ranks and coverage against scipy, statsmodels, scikit-posthocs and loops."""

import csv
import itertools
import math
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.boards import pairing
from bench.boards.stats import coverage, intervals, ranks, tests
from bench.boards.stats import scores as scores_module
from bench.core.errors import BenchError
from bench.core.seeds import generator
from tests.helpers.errors import mentions, raises


def scores(seed=0, n_seeds=4, n_clusters=12, shares=(0.3, 0.5, 0.2)):
    rng = np.random.default_rng(seed)
    a, b, e = np.sqrt(shares)
    return (
        0.7
        + a * 0.1 * rng.normal(size=(n_seeds, 1))
        + b * 0.1 * rng.normal(size=(1, n_clusters))
        + e * 0.1 * rng.normal(size=(n_seeds, n_clusters))
    )


def is_fair(cell: coverage.Coverage) -> bool:
    """Whether the complete range is within 92 to 98 %."""
    return cell.low >= 0.92 and cell.high <= 0.98


def test_the_interval_equals_the_mean_squares_of_a_two_way_table():
    statsmodels = pytest.importorskip("statsmodels.api")
    from statsmodels.formula.api import ols

    values = scores()
    s, c = values.shape
    frame = pd.DataFrame(
        [(values[i, j], f"s{i}", f"c{j}") for i in range(s) for j in range(c)],
        columns=["value", "seed", "cluster"],
    )
    table = statsmodels.stats.anova_lm(ols("value ~ C(seed) + C(cluster)", frame).fit())
    ms = table["mean_sq"]
    variance = (ms["C(seed)"] + ms["C(cluster)"] - ms["Residual"]) / (s * c)
    df = (variance * s * c) ** 2 / (ms**2 / table["df"]).sum()
    result = intervals.interval(values)
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert result.kind == "crossed"
    assert result.mean == pytest.approx(values.mean(), abs=1e-12)
    assert result.se == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert result.df == pytest.approx(df, rel=1e-9)
    assert (result.low, result.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=1e-12
    )
    assert result.sd_seeds == pytest.approx(values.mean(axis=1).std(ddof=1), abs=1e-12)


def test_one_seed_gives_the_t_interval_of_its_clusters():
    values = scores(n_seeds=1)
    result = intervals.interval(values)
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values[0]))
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-12)
    assert (result.kind, result.sd_seeds, result.df) == ("clusters", None, pytest.approx(11))
    assert result.p == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, rel=1e-9)


def test_seeds_without_any_cluster_effect_give_the_t_interval_of_seeds():
    values = np.array([0.5, 0.6, 0.8])[:, None] + np.zeros((1, 10))
    result = intervals.interval(values)
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values[:, 0]))
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-9)


def test_no_main_effect_pools_all_values():
    # Rows and columns of this table have mean 0: the estimated effects are negative.
    pattern = np.kron(np.ones((2, 5)), [[1.0, -1.0], [-1.0, 1.0]])
    result = intervals.interval(pattern)
    assert result.df == pytest.approx(39)
    assert result.se == pytest.approx(stats.sem(pattern.ravel()), rel=1e-9)


def test_below_eight_clusters_there_are_points_only():
    result = intervals.interval(scores(n_clusters=7))
    assert (result.kind, result.low, result.high, result.df, result.p) == ("points", *[None] * 4)
    assert result.n_clusters == 7
    assert result.sd_seeds is not None
    assert intervals.interval(scores(n_clusters=8)).low is not None


def test_undefined_clusters_are_left_out_and_counted():
    values = scores()
    holes = values.copy()
    holes[1, 3] = np.nan
    holes[:, 5] = np.nan
    result = intervals.interval(holes)
    expected = intervals.interval(np.delete(values, [3, 5], axis=1))
    assert (result.low, result.high) == (expected.low, expected.high)
    assert (result.n_clusters, result.n_left_out) == (10, 2)
    empty = intervals.interval(np.full((2, 9), np.nan))
    assert (empty.kind, empty.n_clusters, empty.n_left_out) == ("none", 0, 9)
    assert math.isnan(empty.mean)


def test_equal_values_give_no_interval():
    result = intervals.interval(np.full((3, 20), 0.9))
    assert (result.kind, result.low, result.p) == ("constant", None, None)
    assert result.mean == pytest.approx(0.9)


def test_weights_give_the_pooled_mean_and_equal_weights_change_nothing():
    values, sizes = scores(), np.arange(1.0, 13)
    weighted = intervals.interval(values, weights=sizes)
    assert weighted.mean == pytest.approx(np.average(values.mean(axis=0), weights=sizes))
    plain, equal = intervals.interval(values), intervals.interval(values, weights=np.full(12, 7.0))
    assert (plain.low, plain.high, plain.df) == pytest.approx((equal.low, equal.high, equal.df))
    # A cluster of no rows is no cluster.
    padded = intervals.interval(np.c_[values, np.zeros(4)], weights=[*sizes, 0])
    assert (padded.low, padded.n_left_out) == (pytest.approx(weighted.low), 1)


def test_the_cluster_form_is_unbiased_with_unequal_weights():
    rng = np.random.default_rng(0)
    weights = rng.random(9)
    weights /= weights.sum()
    factor, df = intervals._cluster_form(weights)
    x = rng.normal(size=(200_000, 9))
    estimates = ((x - (x @ weights)[:, None]) ** 2) @ factor
    assert estimates.mean() == pytest.approx((weights**2).sum(), rel=0.01)
    # Satterthwaite: the variance of the estimate is 2 mean^2 / df.
    assert 2 * estimates.mean() ** 2 / estimates.var() == pytest.approx(df, rel=0.03)
    assert intervals._cluster_form(np.full(9, 1 / 9))[1] == pytest.approx(8)


def test_shift_and_scale_move_the_interval_and_order_does_not():
    values = scores()
    base, moved = intervals.interval(values), intervals.interval(3 * values - 1)
    assert (moved.low, moved.high) == pytest.approx((3 * base.low - 1, 3 * base.high - 1))
    rng = np.random.default_rng(1)
    mixed = values[rng.permutation(4)][:, rng.permutation(12)]
    assert intervals.interval(mixed).low == pytest.approx(base.low, abs=1e-12)
    wide = intervals.interval(values, level=0.99)
    assert wide.low < base.low < base.high < wide.high


@pytest.mark.parametrize(
    "values, weights, message",
    [
        (np.zeros((0, 3)), None, ()),
        (np.zeros((2, 3)), [1, 2], ("0",)),
        (np.zeros((2, 3)), [1, 2, -1], ("0",)),
    ],
)
def test_arrays_that_do_not_fit_are_explained(values, weights, message):
    with raises(BenchError, *message, fix=False):
        intervals.interval(values, weights=weights)


def test_resampling_nested_would_be_too_narrow_and_this_is_not():
    """Rows resampled as if independent cover far less than the crossed interval."""
    rng = np.random.default_rng(0)
    inside = naive = 0
    for _ in range(400):
        values = scores(int(rng.integers(1 << 31)), 5, 14, (0.4, 0.4, 0.2))
        result = intervals.interval(values)
        inside += result.low <= 0.7 <= result.high
        low, high = stats.t.interval(
            0.95, values.size - 1, values.mean(), stats.sem(values.ravel())
        )
        naive += low <= 0.7 <= high
    assert inside / 400 == pytest.approx(0.95, abs=0.035)
    assert naive / 400 < 0.75


def test_the_simulation_uses_the_interval_that_is_printed():
    values = np.stack([scores(k) for k in range(50)])
    weights = np.full(12, 1 / 12)
    mean, sd, variance, df = intervals.mean_variance(values, weights)
    for k in range(50):
        result = intervals.interval(values[k])
        assert (mean[k], sd[k], df[k]) == pytest.approx((result.mean, result.sd_seeds, result.df))
        assert math.sqrt(variance[k]) == pytest.approx(result.se)


def committed():
    text = files("bench.boards.stats").joinpath("coverage.csv").read_text(encoding="utf-8")
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(text.splitlines())]


def test_the_committed_table_is_the_whole_grid():
    cells = {(r["n_clusters"], r["n_seeds"]) for r in committed()}
    assert cells == set(itertools.product(coverage.GRID_CLUSTERS, coverage.GRID_SEEDS))
    assert len(committed()) == len(cells) * len(coverage.SHARES)
    assert {r["n_sim"] for r in committed()} == {coverage.TABLE_DRAWS}


def test_coverage_is_92_to_98_percent_from_14_clusters_and_5_seeds_on():
    for row in committed():
        if row["n_clusters"] >= 14 and row["n_seeds"] >= 5:
            assert 0.92 <= row["coverage"] <= 0.98, row


@pytest.mark.parametrize("n_clusters, n_seeds", [(8, 3), (14, 5), (55, 1), (55, 5)])
def test_the_committed_coverage_is_found_again(n_clusters, n_seeds):
    rng = np.random.default_rng(7)
    n = 4000
    rows = [r for r in committed() if (r["n_clusters"], r["n_seeds"]) == (n_clusters, n_seeds)]
    for row in rows:
        shares = (row["seed_share"], row["cluster_share"], row["residual_share"])
        again = coverage.simulate_coverage(n_clusters, n_seeds, n, rng, shares=shares)
        c = row["coverage"]
        error = math.sqrt(c * (1 - c) * (1 / n + 1 / row["n_sim"]))
        assert again == pytest.approx(c, abs=4.5 * error), row


def test_a_cell_of_the_table_can_be_repeated_alone():
    row = next(r for r in committed() if (r["n_clusters"], r["n_seeds"]) == (8, 3))
    shares = (row["seed_share"], row["cluster_share"], row["residual_share"])
    rng = generator("coverage", 8, 3, *map(str, shares))
    again = coverage.simulate_coverage(8, 3, coverage.TABLE_DRAWS, rng, shares=shares)
    # The same draws; another library of linear algebra may round one of them across the limit.
    assert again == pytest.approx(row["coverage"], abs=2e-4)


def test_unequal_clusters_are_covered_too():
    rng = np.random.default_rng(3)
    sizes = np.geomspace(1, 8, 14)
    for shares in ((0.1, 0.7, 0.2), (0.3, 0.4, 0.3)):
        result = coverage.simulate_coverage(14, 5, 4000, rng, shares=shares, sizes=sizes)
        assert result == pytest.approx(0.95, abs=0.025)


def test_proportions_of_plates_of_unequal_size_are_covered():
    """Accuracies, not normal numbers: binomial counts around plate and seed effects in logits."""
    rng = np.random.default_rng(5)
    rows = rng.integers(30, 150, 20)
    # The mean over new plates and seeds, by brute force.
    logit = 0.8 + 0.3 * rng.normal(size=1_000_000) + 0.6 * rng.normal(size=1_000_000)
    truth = (1 / (1 + np.exp(-logit))).mean()
    inside = 0
    for _ in range(1500):
        effect = 0.8 + 0.3 * rng.normal(size=(5, 1)) + 0.6 * rng.normal(size=(1, 20))
        result = intervals.interval(rng.binomial(rows, 1 / (1 + np.exp(-effect))) / rows)
        inside += result.low <= truth <= result.high
    assert inside / 1500 == pytest.approx(0.95, abs=0.025)


def test_printed_coverage_looks_up_the_next_smaller_cell():
    cell = coverage.printed_coverage(20, 4)
    assert (cell.n_clusters, cell.n_seeds, cell.exact) == (14, 3, False)
    assert coverage.printed_coverage(14, 5).exact
    assert is_fair(coverage.printed_coverage(14, 5))
    rows = [r["coverage"] for r in committed() if (r["n_clusters"], r["n_seeds"]) == (14, 3)]
    assert (cell.low, cell.high) == (min(rows), max(rows))
    mentions(cell.sentence, "14", "3")
    item = coverage.printed_coverage(300, 1)
    assert not is_fair(item)
    assert coverage.printed_coverage(2, 1).n_clusters == 4


def test_the_paired_difference_is_the_interval_of_the_differences():
    a, b = scores(1), scores(2) - 0.05
    result, expected = pairing.pair(a, b), intervals.interval(a - b)
    d = (a - b).mean(axis=0)
    assert result.difference == pytest.approx(expected.mean)
    assert result.sd == pytest.approx((a - b).mean(axis=1).std(ddof=1))
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert result.p == pytest.approx(expected.p)
    assert (result.p < 0.05) == result.excludes_zero
    np.testing.assert_allclose(result.by_cluster, d)
    exact = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert result.p_sign_flip == pytest.approx(exact.pvalue)
    assert result.detectable() == pytest.approx(expected.se * tests.detectable_effect(expected.df))
    assert result.detectable(5) > result.detectable()
    assert result.smallest_p == 2 / 2**12


def test_the_difference_is_that_of_the_pooled_metric_and_the_width_that_of_the_clusters():
    a, b = scores(1), scores(2)
    pooled = a.mean(axis=1) + 0.02
    result = pairing.pair(scores_module.Scores(a, pooled=tuple(pooled)), b)
    expected = intervals.interval(a - b)
    assert result.difference == pytest.approx(expected.mean + 0.02)
    assert result.high - result.low == pytest.approx(expected.high - expected.low)
    p = 2 * stats.t.sf(abs(result.difference) / expected.se, expected.df)
    assert result.p == pytest.approx(p)


@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_sign_flips_are_counted_exactly(n):
    d = np.random.default_rng(n).normal(0.4, 1, n).round(1)
    sums = [abs(np.dot(s, d)) for s in itertools.product((-1, 1), repeat=n)]
    expected = np.mean([s >= abs(d.sum()) - 1e-9 for s in sums])
    assert tests.sign_flip_p(d) == pytest.approx(expected, abs=1e-12)
    assert tests.sign_flip_p(np.arange(1, n + 1)) == tests.smallest_p(n)


def test_meeting_in_the_middle_and_random_flips_agree_with_t():
    d = np.random.default_rng(0).normal(0.35, 1, 33)
    sampled, exact = tests.sign_flip_p(d), tests.sign_flip_p(d[:32])
    assert sampled == tests.sign_flip_p(d)  # a fixed seed
    # For normal data the sign-flip test and the t test nearly agree.
    assert sampled == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=0.1)
    assert exact == pytest.approx(stats.ttest_1samp(d[:32], 0).pvalue, rel=0.1)
    assert tests.smallest_p(33) == 1 / 100_000
    assert tests.smallest_p(32) == 2.0**-31
    assert tests.smallest_p(4) == 0.125


def test_no_difference_has_no_p_value_and_a_balanced_one_has_one():
    same = pairing.pair(scores(), scores())
    assert (same.difference, same.low, same.p, same.p_sign_flip) == (0, None, None, None)
    assert same.detectable() is None
    assert tests.sign_flip_p([1, -1, 2, -2]) == 1
    assert tests.sign_flip_p([0.3]) is None


def test_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(0)
    flips, crossed = [], []
    for _ in range(800):
        values = 0.5 * rng.normal(size=(5, 1)) + rng.normal(size=14) + rng.normal(size=(5, 14))
        d = values.mean(axis=0) - values.mean() + rng.normal(0, 0.5)
        crossed.append(intervals.interval(values).p)
        d = rng.normal(size=12)
        flips.append(tests.sign_flip_p(d))
    for p in (flips, crossed):
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_methods_are_matched_by_name():
    values = scores(n_seeds=3, n_clusters=10)
    names = tuple("abcdefghij")
    a = scores_module.Scores(values, (0, 1, 2), names, np.arange(1, 11))
    order, seeds = [9, 3, 4, 5, 6, 7, 8, 0], [2, 0]
    b = scores_module.Scores(
        values[np.ix_(seeds, order)] - 0.1,
        (2, 0),
        tuple(names[i] for i in order),
        np.arange(1, 11)[order],
    )
    result = pairing.pair(a, b)
    assert (result.n_seeds, result.n_clusters) == (2, 8)
    np.testing.assert_allclose(result.by_cluster, 0.1)
    np.testing.assert_allclose(pairing.pair(b, a).by_cluster, -0.1)
    with pytest.raises(BenchError):
        scores_module.Scores(values, pooled=(0.5,))


def test_methods_that_do_not_compare_by_cluster_have_a_difference_alone():
    values = np.zeros((2, 9))
    names = tuple("abcdefghi")
    a = scores_module.Scores(values, (0, 1), names, np.ones(9), (0.5, 0.6))
    assert pairing.pair(a, scores_module.Scores(values, (7, 8), names)) is None
    changed = np.ones(9)
    changed[3] = 2
    for other in (
        scores_module.Scores(values + 0.1, (0, 1), tuple("pqrstuvwx")),
        scores_module.Scores(values + 0.1, (0, 1), names, changed),
        scores_module.Scores(values + 0.1, (0, 1), names, np.ones(9), additive=True),
    ):
        result = pairing.pair(a, other)
        assert result.difference == pytest.approx(0.45)
        assert (result.n_clusters, result.low, result.p) == (0, None, None)
    values = np.zeros((2, 3))
    with raises(BenchError, fix=False):
        scores_module.Scores(values, (0, 1), ("x", "x", "z"))
    with raises(BenchError, "1", "3"):
        scores_module.Scores(values, (0,), ("x", "y", "z"))


def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = [0.04, 0.001, 0.2, 0.011, 0.011, 0.9]
    assert tests.holm(p) == pytest.approx(list(multitest.multipletests(p, method="holm")[1]))
    # Tests that could not be made do not count.
    assert tests.holm([0.02, None, math.nan, 0.03]) == [0.04, None, None, 0.04]
    assert tests.holm([]) == []


@pytest.mark.parametrize("n", [2, 4, 14, 55])
def test_the_detectable_difference_equals_statsmodels(n):
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    for wanted, alpha in itertools.product((0.5, 0.8, 0.95), (0.05, 0.005)):
        # statsmodels counts in standard deviations, not in standard errors.
        effect = tests.detectable_effect(n - 1, wanted, alpha) / math.sqrt(n)
        achieved = power.power(effect, n, alpha)
        if math.isnan(achieved):  # its other tail, below 1e-10, for some effects at two clusters
            achieved = power.power(effect, n, alpha / 2, alternative="larger")
        assert achieved == pytest.approx(wanted, abs=1e-6)
    expected = power.solve_power(nobs=14, alpha=0.05, power=0.8)
    assert tests.detectable_effect(13) / math.sqrt(14) == pytest.approx(expected, rel=1e-6)


def test_ranks_equal_scipy_and_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 16)) + np.array([0, 0.2, 0.5, 1, 1.5])[:, None]
    values[0, :3] = values[1, :3]  # ties
    result = ranks.average_ranks(values)
    expected = stats.friedmanchisquare(*values)
    assert result.statistic == pytest.approx(expected.statistic)
    assert result.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(result.ranks, stats.rankdata(-values, axis=0).mean(axis=1))
    p = posthocs.posthoc_nemenyi_friedman(values.T).to_numpy()
    apart = np.abs(result.ranks[:, None] - result.ranks[None]) >= result.critical_difference
    np.testing.assert_array_equal(apart, p < 0.05)
    assert (result.low <= result.ranks).all()
    assert (result.ranks <= result.high).all()


def test_the_critical_difference_is_the_published_one():
    # Demsar 2006, table 5: q(0.05) = 2.569 for 4 classifiers; its example has 14 data sets.
    result = ranks.average_ranks(np.random.default_rng(0).normal(size=(4, 14)))
    assert result.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 84), abs=5e-4)


@pytest.mark.parametrize("k", [2, 34, 81])
def test_points_of_the_studentized_range_are_those_of_scipy(k):
    expected = stats.studentized_range.ppf(0.95, k, np.inf)
    assert ranks.STUDENTIZED_RANGE[k - 2] == pytest.approx(expected, rel=1e-9)


def test_ranks_direction_and_missing_values():
    values = np.array([[3.0, 3, 3, np.nan], [2, 2, 2, 2], [1, 1, 1, 1]])
    result = ranks.average_ranks(values)
    assert result.ranks.tolist() == [1, 2, 3]
    assert (result.n_blocks, result.n_left_out) == (3, 1)
    assert ranks.average_ranks(values, higher_is_better=False).ranks.tolist() == [3, 2, 1]
    tied = ranks.average_ranks(np.ones((3, 4)))
    assert (tied.statistic, tied.p) == (0, 1)
    with raises(BenchError, "1"):
        ranks.average_ranks(values[:, 2:])
    with raises(BenchError, "1", "4"):
        ranks.average_ranks(values[:1])


def test_the_shares_of_variance_of_the_table_are_complete():
    assert len(set(coverage.SHARES)) == len(coverage.SHARES)
    for shares in coverage.SHARES:
        assert math.fsum(shares) == pytest.approx(1.0)
    assert max(shares[0] for shares in coverage.SHARES) >= 0.3
    assert max(shares[1] for shares in coverage.SHARES) >= 0.5


def test_a_written_table_is_read_as_it_was_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "__file__", str(tmp_path / "coverage.py"))
    monkeypatch.setattr(coverage, "GRID_CLUSTERS", (8,))
    monkeypatch.setattr(coverage, "GRID_SEEDS", (3,))
    rows = coverage.coverage_table(200)
    coverage._write("some.csv", rows)
    lines = (tmp_path / "some.csv").read_text().splitlines()
    read = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]
    assert read == [{k: float(v) for k, v in row.items()} for row in rows]
    assert len(read) == len(coverage.SHARES)
    for row in read:
        shares = (row["seed_share"], row["cluster_share"], row["residual_share"])
        rng = generator("coverage", 8, 3, *map(str, shares))
        again = coverage.simulate_coverage(8, 3, 200, rng, shares=shares)
        assert row["coverage"] == pytest.approx(again, abs=1e-9)


def test_seeds_of_deterministic_methods_are_named_so():
    one = coverage.Coverage(14, 1, 0.94, 0.96, exact=True)
    several = coverage.Coverage(14, 3, 0.94, 0.96, exact=True)
    sure = coverage.Coverage(14, 1, 0.94, 0.96, exact=True, deterministic=True)
    assert len({one.sentence, several.sentence, sure.sentence}) == 3
    mentions(sure.sentence, "deterministic")
    mentions(one.sentence, "new training")
    assert "new training" not in sure.sentence
