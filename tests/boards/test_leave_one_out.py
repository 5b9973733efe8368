"""Intervals of folds that share training rows, and their simulated coverage."""

import csv
import itertools
import math
from importlib.resources import files

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestCentroid

from bench.boards.pairing import pair, span_of_mean
from bench.boards.stats import coverage, intervals, leave_one_out
from bench.boards.stats.scores import Scores

MODERATE = leave_one_out.REGIMES[0]


def folds(values, **changes):
    values = np.atleast_2d(values)
    return Scores(values, n_folds=values.shape[1], **changes)


def is_fair(cell: coverage.Coverage) -> bool:
    """Whether the complete range is within 92 to 98 %."""
    return cell.low >= 0.92 and cell.high <= 0.98


@pytest.mark.parametrize("n", [8, 16, 40])
def test_deterministic_folds_have_the_corrected_t_interval_of_nadeau_and_bengio(n):
    values = np.random.default_rng(n).normal(0.7, 0.1, n)
    span = span_of_mean(folds(values, deterministic=True))
    se = math.sqrt((1 / n + 1 / (n - 1)) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, n - 1, values.mean(), se)
    assert (span.low, span.high) == pytest.approx((low, high))
    assert (span.se, span.df) == pytest.approx((se, n - 1))


@pytest.mark.parametrize("shares", [(0.0, 1.0), (1.0, 0.1), (0.4, 0.4)])
def test_with_seeds_the_correction_adds_the_shared_part_to_the_crossed_variance(shares):
    rng = np.random.default_rng(0)
    n, seeds = 12, 4
    values = shares[0] * rng.normal(size=(seeds, 1)) + shares[1] * rng.normal(size=(1, n))
    values = values + 0.2 * rng.normal(size=(seeds, n))
    plain, corrected = intervals.interval(values), intervals.interval(folds(values))
    extra = values.mean(axis=0).var(ddof=1) / (n - 1)
    assert corrected.se**2 == pytest.approx(plain.se**2 + extra)
    assert corrected.mean == pytest.approx(plain.mean)


def test_the_overlap_of_unequal_folds_is_the_mean_of_test_per_training_row():
    sizes = np.array([10.0, 20, 30, 40])
    expected = sum(n / 100 * n / (100 - n) for n in sizes)
    assert intervals.training_overlap(sizes / 100) == pytest.approx(expected)
    assert intervals.training_overlap(np.full(9, 1 / 9)) == pytest.approx(1 / 8)
    assert intervals.training_overlap(np.ones(1)) == 0


def test_the_paired_difference_of_folds_is_corrected_too():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.7, 0.1, (3, 10)), rng.normal(0.6, 0.1, (3, 10))
    gap, expected = pair(folds(a), folds(b)), intervals.interval(folds(a - b))
    assert (gap.low, gap.high, gap.p) == pytest.approx((expected.low, expected.high, expected.p))
    assert gap.high - gap.low > 1.2 * (pair(a, b).high - pair(a, b).low)


def test_clusters_that_were_held_out_together_have_no_interval():
    values = np.random.default_rng(2).normal(0.7, 0.1, (3, 12))
    assert span_of_mean(Scores(values, n_folds=12)).low is not None
    assert span_of_mean(Scores(values, n_folds=4)).low is None


def test_a_deterministic_method_counts_as_all_seeds():
    rng = np.random.default_rng(3)
    network, table = rng.normal(0.7, 0.1, (3, 9)), rng.normal(0.6, 0.1, 9)
    once = pair(network, Scores(table, seeds=(0,), deterministic=True))
    thrice = pair(network, np.tile(table, (3, 1)))
    assert once.n_seeds == 3
    assert (once.low, once.high, once.p) == pytest.approx((thrice.low, thrice.high, thrice.p))


@pytest.mark.parametrize("label_shift", [False, True])
def test_the_simulated_classifiers_are_those_of_scikit_learn(label_shift, monkeypatch):
    monkeypatch.setattr(leave_one_out, "LOGISTIC_STEPS", 1000)  # until it has converged
    rng = np.random.default_rng(5)
    X, y = leave_one_out.batch_rows(2, 8, rng, MODERATE, label_shift=label_shift)
    rng = np.random.default_rng(5)
    scores = leave_one_out.simulate_scores(
        2, 8, 1, rng, MODERATE, label_shift=label_shift, with_logistic=True
    )
    centred = X - X.mean(axis=2, keepdims=True)
    peers = {
        "nearest-centroid": (NearestCentroid(), X),
        "lda": (LinearDiscriminantAnalysis(solver="lsqr"), X),
        "centred-lda": (LinearDiscriminantAnalysis(solver="lsqr"), centred),
        "logistic": (LogisticRegression(C=1.0, tol=1e-8, max_iter=1000), X),
    }
    for name, (model, rows) in peers.items():
        for sim, fold in itertools.product(range(2), range(8)):
            train = np.arange(8) != fold
            model.fit(rows[sim, train].reshape(-1, rows.shape[-1]), y[sim, train].ravel())
            labels = model.predict(rows[sim, fold])
            hit = [(labels == k)[y[sim, fold] == k].mean() for k in np.unique(y[sim, fold])]
            assert scores[name][sim, 0, fold] == pytest.approx(np.mean(hit)), name
            if len(set(labels) - set(y[sim, fold])) == 0:
                peer = balanced_accuracy_score(y[sim, fold], labels)
                assert scores[name][sim, 0, fold] == pytest.approx(peer)


def committed():
    text = files("bench.boards.stats").joinpath(coverage.HELD_OUT).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_the_committed_table_is_the_whole_grid():
    cells = {(r["regime"], int(r["n_clusters"]), int(r["n_seeds"])) for r in committed()}
    names = [regime.name for regime in leave_one_out.REGIMES]
    grid = (names, leave_one_out.GRID_BATCHES, leave_one_out.GRID_SEEDS)
    assert cells == set(itertools.product(*grid))
    assert {(r["label_shift"], r["kind"]) for r in committed()} == set(
        itertools.product("01", ("mean", "difference"))
    )


def test_the_nominal_95_percent_cover_at_least_93_from_8_batches_on():
    for row in committed():
        if int(row["n_clusters"]) >= 8:
            assert float(row["coverage"]) >= 0.93, row


@pytest.mark.slow
@pytest.mark.parametrize(("n_batches", "n_seeds"), [(8, 3)])
def test_a_cell_of_the_table_is_found_again(n_batches, n_seeds):
    regime = leave_one_out.REGIMES[1]
    cell = leave_one_out.coverage_cell(regime, n_batches, n_seeds, label_shift=True)
    rows = [
        row
        for row in committed()
        if (row["regime"], row["label_shift"]) == (regime.name, "1")
        and (int(row["n_clusters"]), int(row["n_seeds"])) == (n_batches, n_seeds)
    ]
    assert {f"{row['kind']}:{row['score']}" for row in rows} == set(cell)
    for row in rows:
        # The same draws; another library of linear algebra may move one of them.
        again, n = cell[f"{row['kind']}:{row['score']}"]
        assert n == int(row["n_sim"])
        assert again == pytest.approx(float(row["coverage"]), abs=2e-3)


def test_logistic_regression_is_fitted_for_the_first_blocks_only(monkeypatch):
    monkeypatch.setattr(leave_one_out, "BLOCK", 16)  # two data sets of 8 batches
    monkeypatch.setattr(leave_one_out, "LOGISTIC_BATCHES", 32)
    monkeypatch.setattr(leave_one_out, "LOGISTIC_STEPS", 2)
    cell = leave_one_out.coverage_cell(MODERATE, 8, 1, label_shift=False, n_sim=7)
    counts = {name: n for name, (_, n) in cell.items()}
    assert {n for name, n in counts.items() if "logistic" in name} == {4}
    assert {n for name, n in counts.items() if "logistic" not in name} == {7}
    for n_seeds, regime in ((3, MODERATE), (1, leave_one_out.REGIMES[2])):
        cell = leave_one_out.coverage_cell(regime, 8, n_seeds, label_shift=False, n_sim=2)
        assert not any("logistic" in name for name in cell)


def test_without_the_correction_leave_one_batch_out_is_not_covered():
    rng = np.random.default_rng(0)
    regime = leave_one_out.REGIMES[1]
    values = leave_one_out.simulate_scores(800, 8, 1, rng, regime, label_shift=False)["lda"]
    weights = np.full(8, 1 / 8)
    mean, _, variance, df = intervals.mean_variance(values, weights)
    naive = np.abs(mean - values.mean()) <= stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert naive.mean() < 0.9 < leave_one_out.covered(values).mean()


def test_printed_coverage_is_that_of_the_design():
    fixed = coverage.printed_coverage(9, 3)
    held_out = coverage.printed_coverage(9, 3, shared_training=True)
    rows = [r for r in committed() if (r["n_clusters"], r["n_seeds"]) == ("8", "3")]
    values = [float(row["coverage"]) for row in rows]
    assert (held_out.low, held_out.high) == (min(values), max(values))
    assert (held_out.n_clusters, held_out.n_seeds, held_out.exact) == (8, 3, False)
    assert fixed.low != held_out.low


def test_a_deterministic_method_has_the_coverage_without_variance_of_seeds():
    cell = coverage.printed_coverage(14, 3, deterministic=True)
    text = files("bench.boards.stats").joinpath(coverage.FIXED).read_text(encoding="utf-8")
    values = [
        float(row["coverage"])
        for row in csv.DictReader(text.splitlines())
        if (row["n_clusters"], row["n_seeds"]) == ("14", "1") and float(row["seed_share"]) == 0
    ]
    assert (cell.low, cell.high) == (min(values), max(values))
    assert is_fair(cell)
    assert not is_fair(coverage.printed_coverage(14, 1))
