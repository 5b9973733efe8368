"""Harmony against harmonypy itself, and the map of later batches against Harmony."""

import numpy as np
import pytest

from bench import metrics
from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, probe_accuracy, reloaded, view


def clusters(*address, n=300, n_batches=4, d=20, shift=1.0, n_classes=6, constant=True):
    """Return X and batch: the same classes in each batch, and a shift of each batch."""
    rng = generator("harmony", *address)
    centres = rng.normal(0, 2, (n_classes, d))
    y = rng.integers(0, n_classes, (n_batches, n))
    offset = rng.normal(0, shift, (n_batches, 1, d))
    X = centres[y] + offset + rng.normal(size=(n_batches, n, d))
    batch = np.repeat([f"batch {k}" for k in range(n_batches)], n)
    return X.reshape(-1, d).astype(np.float32), batch


def components_by_hand(X, training, p):
    mean, sd = (
        X[training].astype(np.float64).mean(axis=0),
        X[training].astype(np.float64).std(axis=0),
    )
    Z = (X - mean) / sd
    _, V = np.linalg.eigh(Z[training].T @ Z[training] / training.sum())
    V = V[:, ::-1][:, :p]
    return Z @ (V * np.where(V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])] < 0, -1, 1))


def test_equals_a_direct_call_of_harmonypy():
    import harmonypy

    X, batch = clusters("direct")
    training = np.isin(batch, ["batch 0", "batch 1", "batch 2"])
    train = view(X[training], batch[training])
    test = view(X[~training], batch[~training], prefix="test")
    method = fitted("harmony", train, test, seed=5, n_components=8, nclust=12, theta=1.5)
    from bench.methods._harmony import canonical

    parts = [canonical(train.X, train.batch), canonical(test.X, test.batch)]
    rows = np.concatenate(
        [np.flatnonzero(training)[parts[0].rows], np.flatnonzero(~training)[parts[1].rows]]
    )
    codes = np.concatenate([parts[0].codes, parts[1].codes + 3])
    Z = components_by_hand(X, training, 8)[rows].astype(np.float32)
    direct = harmonypy.run_harmony(
        Z.T, {"b": codes}, "b", theta=1.5, nclust=12, random_state=5, verbose=False
    )
    ours = np.empty((len(X), 8), np.float32)
    ours[training], ours[~training] = method.apply(train).X, method.apply(test).X
    np.testing.assert_allclose(ours[rows], direct.Z_corr.astype(np.float32), atol=1e-3)
    moved = np.linalg.norm(direct.Z_corr - Z)
    assert np.linalg.norm(ours[rows] - direct.Z_corr) < 1e-4 * moved
    assert np.linalg.norm(ours[rows] - Z) > 0.5 * moved


def test_row_order_and_names_change_nothing_at_all():
    X, batch = clusters("order", n=60)
    training = np.isin(batch, ["batch 0", "batch 1"])
    train = view(X[training], batch[training])
    test = view(X[~training], batch[~training], prefix="test")
    method = fitted("harmony", train, test)
    order = generator("order").permutation(120)
    names = {"batch 0": "z", "batch 1": "a", "batch 2": "q", "batch 3": "b"}
    other_train = view(train.X[order], [names[b] for b in train.batch[order]], prefix="x")
    other_test = view(test.X[order], [names[b] for b in test.batch[order]], prefix="y")
    other = fitted("harmony", other_train, other_test)
    np.testing.assert_array_equal(other.apply(other_train).X, method.apply(train).X[order])
    np.testing.assert_array_equal(other.apply(other_test).X, method.apply(test).X[order])
    np.testing.assert_array_equal(reloaded(method).apply(test).X, method.apply(test).X)


@pytest.mark.parametrize("n", [5, 20])
def test_as_many_rows_as_components_are_not_transposed(n):
    # harmonypy tells rows from components by their number alone.
    X, batch = clusters("square", n=n, n_batches=2, d=40)
    train, test = view(X[:n], batch[:n]), view(X[n:], batch[n:], prefix="test")
    method = fitted("harmony", train, test, n_components=2 * n)
    assert method.apply(train).X.shape == (n, n - 1)
    whole = view(X, batch)
    same = fitted("harmony", whole, view(X, batch, prefix="test"), n_components=2 * n)
    assert same.apply(whole).X.shape == (2 * n, min(2 * n - 1, 40))


def test_rows_of_both_sides_are_taken_once():
    X, batch = clusters("both", n=60)
    train, test = view(X, batch), view(X, batch, prefix="test")
    method = fitted("harmony", train, test)
    np.testing.assert_array_equal(method.apply(train).X, method.apply(test).X)
    half = fitted("harmony", view(X, batch), view(X[:100], batch[:100], prefix="test"))
    assert len(half.state()["corrected"]) == 340


def test_rows_that_were_not_there_are_refused():
    X, batch = clusters("unseen", n=40)
    method = fitted("harmony", view(X, batch), view(X[:50], batch[:50], prefix="test"))
    with raises(BenchError, "3"):
        method.apply(view(X[:3], prefix="new"))


def test_batches_mix():
    X, batch = clusters("mix")
    training = np.isin(batch, ["batch 0", "batch 1"])
    train = view(X[training], batch[training])
    test = view(X[~training], batch[~training], prefix="test")
    out = fitted("harmony", train, test).apply(test).X
    before = metrics.compute("batch_1nn", X=X[~training], batch=batch[~training]).value
    after = metrics.compute("batch_1nn", X=out, batch=batch[~training]).value
    assert after - 0.5 < (before - 0.5) / 2


@pytest.mark.parametrize("name", ["harmony", "harmony-map"])
def test_what_cannot_be_done_is_said_on_one_line(name):
    X, batch = clusters("errors", n=30)
    with raises(NotApplicable, name, ".level"):
        fitted(name, view(X), view(X, prefix="test"))
    flat = view(np.ones_like(X), batch)
    with raises(NotApplicable, "0"):
        fitted(name, flat, view(X, batch, prefix="test"))
    X[0, 0] = np.inf
    with raises(BenchError, "NaN", "120"):
        fitted(name, view(X, batch), view(X, batch, prefix="test"))


@pytest.mark.parametrize("name", ["harmony", "harmony-map"])
def test_awkward_rows_give_finite_profiles(name):
    X, batch = clusters("awkward", n=20, d=100)
    X[:, 3] = 0.1
    X[5:8] = X[4]
    train, test = view(X, batch), view(X[:30] * 0 + 3, batch[:30], prefix="test")
    method = fitted(name, train, test)
    assert np.isfinite(applied(method, train).X).all()
    assert np.isfinite(applied(method, test).X).all()


def relative(a, b, origin):
    return np.linalg.norm(a - b) / np.linalg.norm(b - origin)


@pytest.mark.parametrize(
    "case",
    [{}, {"shift": 0.5}, {"d": 100}, {"n": 60, "d": 60}, {"n": 900, "shift": 2.0}],
    ids=["plain", "small shift", "wide", "few rows", "large shift"],
)
def test_mapped_training_rows_are_where_harmony_puts_them(case):
    from bench.methods._harmony import canonical, run_harmony

    X, batch = clusters("map", **case)
    train = view(X, batch)
    method = fitted("harmony-map", train, seed=0)
    order = canonical(X, train.batch)
    Z = method._components.scores(X[order.rows])
    item, two = (run_harmony(Z, order.codes, method.params, seed).Z_corr for seed in (0, 1))
    mapped = applied(method, train).X[order.rows]
    assert relative(mapped, item, Z) <= relative(two, item, Z) + 0.1


def test_new_batches_lose_half_of_their_batch():
    X, batch = clusters("shifted", n_batches=12)
    new = np.isin(batch, [f"batch {k}" for k in range(6)])
    method = fitted("harmony-map", view(X[~new], batch[~new]))
    out = applied(method, view(X[new], batch[new])).X
    plain = method._components.scores(X[new])
    before = metrics.compute("batch_1nn", X=plain, batch=batch[new]).value
    after = metrics.compute("batch_1nn", X=out, batch=batch[new]).value
    assert before > 0.9
    assert after < before / 2


def test_the_step_solves_the_ridge_problem_of_its_equations():
    X, batch = clusters("ridge", n=80)
    method = fitted("harmony-map", view(X, batch), n_components=6, nclust=5)
    rng = generator("rows")
    Z = rng.normal(size=(30, 6)) + 1
    R = rng.dirichlet(np.ones(5), 30)
    ours = method._corrected(Z, R)
    expected = Z.copy()
    N, mu = method._mass, method._means
    for k in range(5):
        lam = 0.2 * 30 * (N[k] + R[:, k].sum()) / (N.sum() + 30)
        # Unknown intercept and offset, joint normal equations; training rows through N and mu.
        A = np.array([[N[k] + R[:, k].sum(), R[:, k].sum()], [R[:, k].sum(), R[:, k].sum() + lam]])
        moment = R[:, k] @ Z
        solved = np.linalg.solve(A, np.stack([N[k] * mu[k] + moment, moment]))
        expected -= R[:, [k]] * solved[1]
    np.testing.assert_allclose(ours, expected, atol=1e-10)


def test_map_needs_no_other_batch_and_no_order():
    X, batch = clusters("alone", n=100)
    training = np.isin(batch, ["batch 0", "batch 1", "batch 2"])
    method = fitted("harmony-map", view(X[training], batch[training]))
    new = view(X[~training])
    whole = method.apply(new).X
    order = generator("order").permutation(100)
    np.testing.assert_allclose(method.apply(new.take(order)).X, whole[order], atol=1e-5)
    np.testing.assert_array_equal(reloaded(method).apply(new).X, whole)
    shuffled = generator("training").permutation(training.sum())
    again = fitted(
        "harmony-map", view(X[training][shuffled], np.char.add("x", batch[training][shuffled]))
    )
    np.testing.assert_array_equal(again.apply(new).X, whole)


def test_small_batches_keep_their_components_and_are_counted():
    X, batch = clusters("small", n=60)
    method = fitted("harmony-map", view(X, batch))
    out = method.apply(view(X[:7]))
    assert out.fallbacks == 1
    np.testing.assert_array_equal(out.X, method._components.scores(X[:7]))


def test_both_help_against_location():
    for name in ("harmony", "harmony-map"):
        gain = [
            probe_accuracy(name, "location", seed) - probe_accuracy("identity", "location", seed)
            for seed in range(2)
        ]
        assert np.mean(gain) > 0.03
