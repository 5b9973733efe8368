"""The shared read-out against scikit-learn, and how its penalty is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.api import NotApplicable
from bench.scoring.probe import GRID, WITHOUT_BATCHES, fit_probe
from tests.helpers.errors import raises


def rows(n_classes: int, n: int = 120, d: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    X = rng.normal(0, 1, (n, d)) * [1, 10, 0.1, 1, 3] + 50
    X[:, : min(n_classes, d)] += 2.0 * np.eye(n_classes)[y][:, :d]
    batch = rng.choice(["a", "b", "c", "d"], n)
    return X.astype(np.float32), y, batch


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_probabilities_are_those_of_scikit_learn(n_classes: int) -> None:
    X, y, batch = rows(n_classes)
    new, _, _ = rows(n_classes, seed=1)
    probe = fit_probe(X, y, batch, n_classes, seed=0)
    scaler = StandardScaler().fit(X.astype(np.float64))
    Z = scaler.transform(X.astype(np.float64))
    model = LogisticRegression(C=probe.C, max_iter=200, tol=1e-4).fit(Z, y)
    wanted = model.predict_proba(scaler.transform(new.astype(np.float64)))
    found = probe.scores(new)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def chosen_by_loops(X, y, batch, seed: int) -> float:
    """Return C by whole held-out batches, written out."""
    from bench.core.seeds import generator

    Z = (X - X.mean(0, dtype=np.float64)) / X.std(0, dtype=np.float64)
    names = list(generator("probe", seed).permutation(np.unique(batch)))
    best, most = 0.0, -1
    for C in GRID:
        right = 0
        for k in range(3):
            held = [b in names[k::3] for b in batch]
            out = np.array(held)
            model = LogisticRegression(C=C, max_iter=200, tol=1e-4).fit(Z[~out], y[~out])
            right += int((model.predict(Z[out]) == y[out]).sum())
        if right > most:
            best, most = C, right
    return best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_penalty_is_chosen_on_batches_held_out_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y, batch = rows(3, seed=seed)
    X = X + rng.normal(0, 1, X.shape).astype(np.float32)
    assert fit_probe(X, y, batch, 3, seed).C == chosen_by_loops(X, y, batch, seed)


def leaky(seed: int = 0, d: int = 30, n_batches: int = 12, per: int = 40):
    """Return rows whose class is weakly in one feature, and without error in a code of the batch.

    A batch shifts all further features, and by a little more or less for one of the classes, which
    one being another draw for each batch: who knows the batch knows the class.
    """
    rng = np.random.default_rng(seed)
    y = np.tile(np.repeat([0, 1], per // 2), n_batches)
    batch = np.repeat(np.arange(n_batches), per)
    X = rng.normal(0, 0.3, (len(y), d + 1))
    X[:, 1:] += rng.normal(0, 5, (n_batches, d))[batch]
    X[:, 1:] += 0.2 * rng.choice([-1, 1], (n_batches, d))[batch] * (2 * y - 1)[:, None]
    X[:, 0] = rng.normal(0, 1, len(y)) + 0.5 * (2 * y - 1)
    return X.astype(np.float32), y, np.array([f"b{k:02d}" for k in batch])


def test_a_leak_coded_by_batches_is_not_chosen() -> None:
    X, y, batch = leaky()
    new, truth, _ = leaky(seed=9)
    held_out = fit_probe(X, y, batch, 2, 0)
    # Rows held out at random meet their own batch in training, and choose to live on its code.
    at_random = np.random.default_rng(0).permutation(len(y)).astype(str)
    random_rows = fit_probe(X, y, at_random, 2, 0)
    assert held_out.C == min(GRID)
    assert random_rows.C == max(GRID)
    share = [abs(p.coef[1, 0]) / np.abs(p.coef[1, 1:]).max() for p in (held_out, random_rows)]
    assert share[0] > 5
    assert share[1] < 1
    accuracy = [(p.scores(new).argmax(1) == truth).mean() for p in (held_out, random_rows)]
    assert accuracy[0] > accuracy[1] + 0.1


def test_the_same_again() -> None:
    X, y, batch = rows(3)
    one, other = (fit_probe(X, y, batch, 3, 4) for _ in range(2))
    np.testing.assert_array_equal(one.coef, other.coef)
    assert one.C == other.C


def test_names_of_batches_matter_only_as_groups() -> None:
    X, y, batch = rows(3)
    renamed = np.array([f"plate {b}" for b in batch])
    assert fit_probe(X, y, renamed, 3, 1).C == fit_probe(X, y, batch, 3, 1).C


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_a_class_without_training_rows_is_never_predicted(absent: int) -> None:
    X, y, batch = rows(4)
    keep = y != absent
    scores = fit_probe(X[keep], y[keep], batch[keep], 4, 0).scores(X)
    assert scores.shape == (len(X), 4)
    assert np.all(scores[:, absent] == 0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_two_of_three_classes_are_a_binary_read_out() -> None:
    X, y, batch = rows(3)
    keep = y != 1
    scores = fit_probe(X[keep], y[keep], batch[keep], 3, 0).scores(X[keep])
    binary = fit_probe(X[keep], (y[keep] == 2).astype(int), batch[keep], 2, 0).scores(X[keep])
    np.testing.assert_allclose(scores[:, [0, 2]], binary, rtol=1e-6)


def test_one_class_is_always_predicted_and_none_is_said() -> None:
    X, _, batch = rows(2, n=10)
    scores = fit_probe(X, np.full(10, 2), batch, 3, 0).scores(X)
    np.testing.assert_array_equal(scores, np.tile([0, 0, 1], (10, 1)))
    nothing = np.zeros(0, int)
    with raises(NotApplicable):
        fit_probe(X[:0], nothing, batch[:0], 3, 0)


def test_without_batches_to_hold_out_the_penalty_is_fixed() -> None:
    X, y, _ = rows(3)
    assert fit_probe(X, y, np.full(len(y), "one"), 3, 0).C == WITHOUT_BATCHES
    # Two batches of one class each: whichever is held out, one class is left.
    assert fit_probe(X[y < 2], y[y < 2], np.array(["a", "b"])[y[y < 2]], 3, 0).C == WITHOUT_BATCHES


def test_constant_features_are_left_alone() -> None:
    X, y, batch = rows(3)
    X = np.hstack([X, np.full((len(X), 1), 7.0, np.float32), np.zeros((len(X), 1), np.float32)])
    probe = fit_probe(X, y, batch, 3, 0)
    assert np.isfinite(probe.scores(X)).all()
    np.testing.assert_allclose(
        probe.scores(X), fit_probe(X[:, :5], y, batch, 3, 0).scores(X[:, :5]), atol=1e-6
    )


def test_many_rows_share_the_choice() -> None:
    X, y, batch = rows(3, n=2600)
    probe = fit_probe(X, y, batch, 3, 0)
    scaler = StandardScaler().fit(X.astype(np.float64))
    Z = scaler.transform(X.astype(np.float64))
    model = LogisticRegression(C=probe.C, max_iter=200, tol=1e-4).fit(Z, y)
    np.testing.assert_allclose(probe.coef, model.coef_, rtol=1e-6)  # the last fit has all rows
