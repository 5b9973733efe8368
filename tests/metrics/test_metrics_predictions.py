"""Metrics of predictions and scores against scikit-learn, closed forms and loops."""

import numpy as np
import pytest
from sklearn import metrics as reference

from bench import metrics
from bench.core.errors import BenchError
from bench.metrics.calibration_error import calibration_error
from tests.helpers.errors import raises


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def predictions(rng, n=400, k=7):
    y = rng.integers(0, k, n)
    guess = np.where(rng.random(n) < 0.6, y, rng.integers(0, k, n))
    return y, guess, np.array([f"plate{i}" for i in rng.integers(0, 9, n)])


def probabilities(rng, n, k):
    p = rng.random((n, k)) ** 3
    return p / p.sum(axis=1, keepdims=True)


def test_accuracy_and_balanced_accuracy_equal_scikit_learn(rng):
    y, guess, _ = predictions(rng)
    y[y == 3] = 2
    value = metrics.compute("accuracy", y_true=y, y_pred=guess)
    assert value.value == pytest.approx(reference.accuracy_score(y, guess), abs=1e-12)
    assert value.n == 400
    # Class 3 is predicted but never occurs: scikit-learn warns, and counts recall alone too.
    with pytest.warns(UserWarning, match="y_pred"):
        expected = reference.balanced_accuracy_score(y, guess)
    result = metrics.compute("balanced_accuracy", y_true=y, y_pred=guess)
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert "6 classes" in result.used


def test_rows_without_a_class_are_left_out_and_counted(rng):
    y, guess, batch = predictions(rng)
    hidden = np.concatenate([y, [-1, -1, -1]])
    more, where = np.concatenate([guess, [0, 1, 2]]), np.concatenate([batch, ["x", "x", "x"]])
    for name in ("accuracy", "balanced_accuracy", "worst_batch_accuracy"):
        value = metrics.compute(name, y_true=hidden, y_pred=more, batch=where)
        assert value.value == metrics.compute(name, y_true=y, y_pred=guess, batch=batch).value
        assert "3 rows without a class left out" in value.used
    nothing = metrics.compute("accuracy", y_true=[-1], y_pred=[0])
    assert np.isnan(nothing.value)
    assert nothing.n == 0


def test_worst_batch_accuracy_equals_a_loop_and_states_small_batches(rng):
    y, guess, batch = predictions(rng)
    batch[:4] = "tiny"
    guess[:4] = (y[:4] + 1) % 7
    value = metrics.compute("worst_batch_accuracy", y_true=y, y_pred=guess, batch=batch)
    loop = min(
        np.mean([g == t for t, g, b in zip(y, guess, batch, strict=True) if b == name])
        for name in set(batch)
    )
    assert value.value == loop == 0
    assert "the lowest is tiny with 4 rows" in value.used
    assert "1 of them with fewer than 10" in value.used


def test_top5_equals_scikit_learn_and_ties_give_chance(rng):
    y, scores = rng.integers(0, 12, 300), rng.random((300, 12))
    value = metrics.compute("top5_accuracy", y_true=y, scores=scores)
    assert value.value == pytest.approx(reference.top_k_accuracy_score(y, scores, k=5), abs=1e-12)
    flat = metrics.compute("top5_accuracy", y_true=y, scores=np.ones((300, 12)))
    assert flat.value == pytest.approx(5 / 12, abs=1e-12)
    few = metrics.compute("top5_accuracy", y_true=y % 4, scores=scores[:, :4])
    assert few.value == 1
    assert "always 1" in few.used


def test_calibration_error_equals_a_loop(rng):
    y, p = rng.integers(0, 4, 500), probabilities(rng, 500, 4)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    expected = 0.0
    for i in range(15):
        inside = [j for j in range(500) if i / 15 < confidence[j] <= (i + 1) / 15]
        if inside:
            expected += len(inside) / 500 * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(y, p).value == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_known_forecasts(rng):
    y = rng.integers(0, 4, 1000)
    sure = np.eye(4)[y]
    assert calibration_error(y, sure).value == 0
    assert calibration_error((y + 1) % 4, sure).value == 1
    flat = np.full((1000, 4), 0.25)
    assert calibration_error(y, flat).value == pytest.approx(abs((y == 0).mean() - 0.25))
    with raises(BenchError, "calibration_error"):
        calibration_error(y, 3 * sure)


def test_guessing_gives_chance_and_the_truth_gives_one(rng):
    y = rng.integers(0, 7, 20_000)
    batch = np.array(["a", "b"])[rng.integers(0, 2, 20_000)]
    shuffled = rng.permutation(y)
    # Four standard errors of a share of 1/7 in 20,000 rows is 0.01.
    for name in ("accuracy", "balanced_accuracy", "worst_batch_accuracy"):
        chance = metrics.compute(name, y_true=y, y_pred=shuffled, batch=batch).value
        assert chance == pytest.approx(1 / 7, abs=0.015)
        assert metrics.compute(name, y_true=y, y_pred=y, batch=batch).value == 1
    scores = np.eye(7)[shuffled] + rng.random((20_000, 7)) * 0.1
    top5 = metrics.compute("top5_accuracy", y_true=y, scores=scores)
    assert top5.value == pytest.approx(5 / 7, abs=0.015)


def test_row_order_and_batch_names_do_not_matter(rng):
    y, guess, batch = predictions(rng)
    order = rng.permutation(len(y))
    for name in ("accuracy", "balanced_accuracy", "worst_batch_accuracy"):
        first = metrics.compute(name, y_true=y, y_pred=guess, batch=batch)
        second = metrics.compute(
            name, y_true=y[order], y_pred=guess[order], batch=np.char.add("z", batch[order])
        )
        assert first.value == pytest.approx(second.value, abs=1e-12)
        assert first.n == second.n


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"y_true": [0, 1], "y_pred": [0]}, ("y_true", "2", "y_pred", "1")),
        ({"y_true": [0.5, 1], "y_pred": [0, 1]}, ()),
        ({"y_true": [0, 1]}, ("y_pred",)),
    ],
)
def test_arrays_that_do_not_fit_are_explained(arrays, message):
    with raises(BenchError, *message):
        metrics.compute("accuracy", **arrays)


def test_scores_that_do_not_fit_are_explained():
    with raises(BenchError, "3", "2"):
        metrics.compute("top5_accuracy", y_true=[0, 3], scores=np.ones((2, 2)))
    with raises(BenchError, "NaN", fix=False):
        metrics.compute("top5_accuracy", y_true=[0], scores=[[np.nan, 1]])
