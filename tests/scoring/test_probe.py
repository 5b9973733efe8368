"""The shared probe against scikit-learn, and how its penalty is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from bench.api import NotApplicable
from bench.scoring.logistic import _principal_axes, balanced_weights, logistic_path
from bench.scoring.probe import CHOICE_ROWS, DEFAULT, FOLDS, GRID, choice_folds, fit_probe
from tests.helpers.errors import raises


def rows(n_classes: int, n: int = 120, d: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n) * (rng.random(n) < 0.8)  # class 0 is the largest
    X = rng.normal(0, 1, (n, d)) * [1, 10, 0.1, 1, 3][:d] + 50
    X[:, : min(n_classes, d)] += 2.0 * np.eye(n_classes)[y][:, :d]
    batch = rng.choice(["a", "b", "c", "d"], n)
    return X.astype(np.float32), y, batch


def reference(Z, y, C: float) -> LogisticRegression:
    """Return scikit-learn's fit. With two classes it has one coefficient, not two: C doubles."""
    C = C * 2 if len(np.unique(y)) == 2 else C
    options = {"solver": "newton-cholesky", "tol": 1e-14}  # strong penalties need a small tolerance
    return LogisticRegression(C=C, class_weight="balanced", **options).fit(Z, y)


def scaled(X) -> tuple[StandardScaler, np.ndarray]:
    scaler = StandardScaler().fit(X.astype(np.float64))
    return scaler, scaler.transform(X.astype(np.float64))


@pytest.mark.parametrize("n_classes, d", [(2, 5), (3, 5), (5, 5), (3, 90)])
@pytest.mark.parametrize("C", [1e-5, 1e-2, 1.0])
def test_coefficients_are_those_of_scikit_learn(n_classes: int, d: int, C: float) -> None:
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(n_classes), np.arange(1, n_classes + 1) * 4)
    Z = rng.normal(0, 1, (len(y), d)) + rng.normal(0, 0.5, (n_classes, d))[y]
    wanted = reference(Z, y, C).predict_proba(Z)
    *_, fit = logistic_path(Z.copy(), y, [C / 100, C])
    z = Z @ fit.coef.T + fit.intercept
    p = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True), wanted, rtol=0, atol=2e-3)


def test_weights_are_the_balanced_ones_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array([0, 0, 0, 2, 2, 1])
    np.testing.assert_allclose(balanced_weights(y), compute_sample_weight("balanced", y))


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_probabilities_are_those_of_scikit_learn(n_classes: int) -> None:
    X, y, batch = rows(n_classes)
    new, _, _ = rows(n_classes, seed=1)
    probe = fit_probe(X, y, batch, n_classes, seed=0)
    scaler, Z = scaled(X)
    wanted = reference(Z, y, probe.C).predict_proba(scaler.transform(new.astype(np.float64)))
    scores = probe.scores(new)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=2e-3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_many_rows_share_the_choice() -> None:
    X, y, batch = rows(3, n=CHOICE_ROWS + 600)
    probe = fit_probe(X, y, batch, 3, 0)
    _, Z = scaled(X)
    wanted = reference(Z, y, probe.C).predict_proba(Z)  # the last fit has all rows
    np.testing.assert_allclose(probe.scores(X), wanted, rtol=0, atol=2e-3)


def chosen_by_loops(X, y, batch, seed: int) -> float:
    """Return C by scikit-learn's folds, fits and balanced accuracy."""
    from bench.core.seeds import generator

    _, Z = scaled(X)
    state = int(generator("probe", seed).integers(2**31))
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=state)
    scores, predictions = [], []
    for C in GRID:
        predicted = np.empty_like(y)
        for inside, outside in splitter.split(Z, y, batch):
            predicted[outside] = reference(Z[inside], y[inside], C).predict(Z[outside])
        scores.append(balanced_accuracy_score(y, predicted))
        predictions.append(predicted)
    best = max(range(len(GRID)), key=scores.__getitem__)
    classes = np.unique(y)
    errors = []
    for k in classes:
        hit = (predictions[best] == k)[y == k]
        errors.append(hit.std() ** 2 / len(hit))
    close = scores[best] - np.sqrt(sum(errors)) / len(classes)
    chosen = [C for C, score in zip(GRID, scores, strict=True) if score >= close - 1e-9]
    return chosen[(len(chosen) - 1) // 2]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_penalty_is_selected_by_balanced_accuracy_on_held_out_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y, batch = rows(3, seed=seed)
    X = X + rng.normal(0, 1, X.shape).astype(np.float32)
    assert fit_probe(X, y, batch, 3, seed).C == chosen_by_loops(X, y, batch, seed)


def leaky(seed: int = 0, d: int = 30, n_batches: int = 12, per: int = 40):
    """Return rows whose class is weakly in one feature, and without error in a code of the batch.

    A batch shifts all other features, and by slightly more or less for one of the classes, drawn
    per batch: a model that identifies the batch also identifies the class.
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
    # Rows held out at random have their own batch in training, so the leak looks useful.
    at_random = np.random.default_rng(0).permutation(len(y)).astype(str)
    random_rows = fit_probe(X, y, at_random, 2, 0)
    assert held_out.C < random_rows.C / 100
    share = [abs(p.coef[1, 0]) / np.abs(p.coef[1, 1:]).max() for p in (held_out, random_rows)]
    assert share[0] > 5
    assert share[1] < 1
    accuracy = [(p.scores(new).argmax(1) == truth).mean() for p in (held_out, random_rows)]
    assert accuracy[0] > accuracy[1] + 0.1


def test_batches_are_held_out_as_a_whole_where_classes_allow_it() -> None:
    _, y, batch = rows(3)
    folds = choice_folds(y, batch, np.random.default_rng(0))
    assert len(np.unique(folds)) == FOLDS
    for name in np.unique(batch):
        assert len(np.unique(folds[batch == name])) == 1


@pytest.mark.parametrize(
    "batch_of_class",
    [
        {0: "a", 1: "a", 2: "a"},  # one training batch
        {0: "a", 1: "b", 2: "c"},  # classes nested in batches
    ],
)
def test_classes_of_one_batch_are_distributed_over_the_folds(batch_of_class: dict) -> None:
    y = np.repeat([0, 1, 2], [20, 10, 4])
    batch = np.array([batch_of_class[k] for k in y.tolist()])
    folds = choice_folds(y, batch, np.random.default_rng(0))
    for k in range(3):
        counts = np.bincount(folds[y == k], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1  # as StratifiedKFold


def test_three_folds_select_the_penalty() -> None:
    y, batch = np.tile([0, 1], 30), np.repeat(np.arange(12), 5).astype(str)
    folds = choice_folds(y, batch, np.random.default_rng(0))
    assert np.unique(folds).tolist() == [0, 1, 2]


def test_only_the_class_of_a_single_batch_is_distributed() -> None:
    y = np.array([0, 1] * 12 + [2] * 6)
    batch = np.repeat(["a", "b", "c", "d", "e"], 6)
    folds = choice_folds(y, batch, np.random.default_rng(1))
    for name in "abcd":
        assert len(np.unique(folds[batch == name])) == 1
    assert set(folds[y == 2]) == set(range(FOLDS))


def test_the_same_again() -> None:
    X, y, batch = rows(3)
    first, second = (fit_probe(X, y, batch, 3, 4) for _ in range(2))
    np.testing.assert_array_equal(first.coef, second.coef)
    assert first.C == second.C


def test_names_of_batches_matter_only_as_groups() -> None:
    X, y, batch = rows(3)
    renamed = np.array([f"plate {b}" for b in batch])
    assert fit_probe(X, y, renamed, 3, 1).C == fit_probe(X, y, batch, 3, 1).C


def test_equally_good_penalties_give_the_middle_one() -> None:
    y = np.repeat([0, 1, 2], 20)
    X = np.eye(3, dtype=np.float32)[y]  # without error for every C
    probe = fit_probe(X, y, np.tile(["a", "b", "c", "d"], 15), 3, 0)
    assert probe.C == GRID[(len(GRID) - 1) // 2]


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_a_class_without_training_rows_is_never_predicted(absent: int) -> None:
    X, y, batch = rows(4)
    keep = y != absent
    scores = fit_probe(X[keep], y[keep], batch[keep], 4, 0).scores(X)
    assert scores.shape == (len(X), 4)
    assert np.all(scores[:, absent] == 0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_two_of_three_classes_are_a_binary_probe() -> None:
    X, y, batch = rows(3)
    keep = y != 1
    scores = fit_probe(X[keep], y[keep], batch[keep], 3, 0).scores(X[keep])
    binary = fit_probe(X[keep], (y[keep] == 2).astype(int), batch[keep], 2, 0).scores(X[keep])
    np.testing.assert_allclose(scores[:, [0, 2]], binary, rtol=1e-6)


def test_one_class_is_always_predicted_and_no_class_raises() -> None:
    X, _, batch = rows(2, n=10)
    scores = fit_probe(X, np.full(10, 2), batch, 3, 0).scores(X)
    np.testing.assert_array_equal(scores, np.tile([0, 0, 1], (10, 1)))
    nothing = np.zeros(0, int)
    with raises(NotApplicable):
        fit_probe(X[:0], nothing, batch[:0], 3, 0)


def test_one_row_per_class_gives_the_default_penalty() -> None:
    X, _, batch = rows(3, n=3)
    probe = fit_probe(X, np.arange(3), batch, 3, 0)
    assert probe.C == DEFAULT
    np.testing.assert_array_equal(probe.scores(X).argmax(axis=1), np.arange(3))


def test_constant_features_are_ignored() -> None:
    X, y, batch = rows(3)
    constant = np.full((len(X), 3), [7.0, 0.0, 1e-20], np.float32)
    scores = fit_probe(np.hstack([X, constant]), y, batch, 3, 0).scores(np.hstack([X, constant]))
    np.testing.assert_allclose(scores, fit_probe(X, y, batch, 3, 0).scores(X), atol=1e-4)


@pytest.mark.parametrize("unit", [1e-14, 1e-6, 1e12])
def test_units_do_not_change_the_scores(unit: float) -> None:
    X, y, batch = rows(3)
    X -= X.mean(axis=0)
    other = X.copy()
    other[:, ::2] *= np.float32(unit)
    scores = fit_probe(X, y, batch, 3, 0).scores(X)
    changed = fit_probe(other, y, batch, 3, 0)
    assert changed.C == fit_probe(X, y, batch, 3, 0).C
    np.testing.assert_allclose(changed.scores(other), scores, atol=1e-4)


def oracle(y) -> np.ndarray:
    noise = 0.01 * np.random.default_rng(0).normal(size=(len(y), y.max() + 1))
    return (np.eye(y.max() + 1)[y] + noise).astype(np.float32)


@pytest.mark.parametrize(
    "y, batch",
    [
        (np.repeat([0, 1, 2, 3], [48, 24, 16, 8]), np.full(96, "laboratory")),
        (np.repeat([0, 1, 0], 24), np.repeat(["p0", "p1", "p2"], 24)),
        (np.repeat([0, 1, 2, 0, 1], 24), np.repeat(["p0", "p1", "p2", "p3", "p4"], 24)),
    ],
    ids=["unequal classes of one batch", "two classes nested in plates", "three"],
)
def test_the_true_classes_are_read_without_error(y, batch) -> None:
    X = oracle(np.concatenate([y, y]))
    scores = fit_probe(X[: len(y)], y, batch, y.max() + 1, 0).scores(X[len(y) :])
    np.testing.assert_array_equal(scores.argmax(axis=1), y)


@pytest.mark.parametrize(("n", "d"), [(9, 4), (6, 30)])
def test_axes_without_variance_are_omitted(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    Z = 1e3 * rng.normal(size=(n, 2)) @ rng.normal(size=(2, d))
    weights = np.full(n, 1 / n)
    axes, variance = _principal_axes(Z, weights)
    assert axes.shape == (d, 2)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(variance, ((Z @ axes) ** 2).mean(axis=0))
