"""Centring and whitening against closed forms and pycytominer, and where data are awkward."""

import numpy as np
import pytest
from bench.methods._whitening import inverse_root, ledoit_wolf, squared_lengths
from sklearn.covariance import ledoit_wolf as ledoit_wolf_covariance
from sklearn.covariance import ledoit_wolf_shrinkage

from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, planted, probe_accuracy, reloaded, view

KINDS = ("PCA", "ZCA", "PCA-cor", "ZCA-cor")


def correlated(n, d, *address, mean=5.0):
    rng = generator("correlated", *address)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.exp(rng.normal(0, 1, d))
    return (X + mean * rng.normal(size=d)).astype(np.float32)


def all_controls(X, batch=None):
    return view(X, batch, np.full(len(X), True))


@pytest.mark.parametrize("rows", ["controls", "all"])
def test_center_subtracts_the_mean_of_the_batch(rows):
    X, _, batch, controls = planted("location", 0, n_batches=3)
    samples = view(X, batch, controls)
    out = applied(fitted("center", samples, rows=rows), samples).X
    for name in np.unique(batch):
        mine = batch == name
        basis = mine & controls if rows == "controls" else mine
        expected = X[mine].astype(np.float64) - X[basis].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(out[mine], expected, atol=1e-6)


def test_center_removes_a_shift_of_each_batch_and_nothing_else():
    X, _, batch, controls = planted("nothing", 0, n_batches=3)
    shift = {name: k * 7.0 for k, name in enumerate(np.unique(batch))}
    moved = X + np.array([shift[b] for b in batch], np.float32)[:, None]
    item, two = (
        applied(fitted("center", s), s).X
        for s in (view(X, batch, controls), view(moved, batch, controls))
    )
    np.testing.assert_allclose(item, two, atol=1e-5)


def test_center_with_few_controls_takes_the_training_mean():
    X, _, batch, controls = planted("location", 1, n_batches=3)
    method = fitted("center", view(X, batch, controls))
    few = np.flatnonzero(~controls)[:5].tolist() + np.flatnonzero(controls)[:2].tolist()
    out = method.apply(view(X[few], batch[few], controls[few]))
    assert out.fallbacks == 1
    np.testing.assert_allclose(out.X, X[few] - X[controls].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["sphering", "sphering-all"])
def test_reference_rows_get_identity_covariance(kind, name):
    X = correlated(400, 30, "identity")
    samples = all_controls(X)
    out = fitted(name, samples, kind=kind, regularisation=0, shrinkage="none").apply(samples).X
    assert out.dtype == np.float32
    np.testing.assert_allclose(np.cov(out.astype(np.float64).T), np.eye(30), atol=1e-4)
    np.testing.assert_allclose(out.mean(axis=0, dtype=np.float64), 0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["fewer rows than features", "repeated feature"])
def test_identity_on_the_retained_rank(kind, case):
    if case == "fewer rows than features":
        X, rank = correlated(20, 50, case), 19
    else:
        X, rank = correlated(200, 10, case), 10
        X = np.concatenate([X, X[:, :3]], axis=1)
    samples = all_controls(X)
    out = (
        fitted("sphering", samples, kind=kind, regularisation=0, shrinkage="none").apply(samples).X
    )
    assert out.shape[1] == (rank if kind.startswith("PCA") else X.shape[1])
    values = np.linalg.eigvalsh(np.cov(out.astype(np.float64).T))[::-1]
    np.testing.assert_allclose(values[:rank], 1, atol=1e-4)
    np.testing.assert_allclose(values[rank:], 0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_pycytominer(kind):
    pd = pytest.importorskip("pandas")
    transform = pytest.importorskip("pycytominer.operations.transform")
    X = correlated(300, 25, "pycytominer")
    treated = correlated(100, 25, "pycytominer", "treated")
    rows = np.concatenate([X, treated])
    theirs = transform.Spherize(epsilon=0, method=kind, return_numpy=True)
    theirs.fit(pd.DataFrame(X.astype(np.float64)))
    expected = theirs.transform(pd.DataFrame(rows.astype(np.float64)))
    controls = np.arange(len(rows)) < len(X)
    samples = view(rows, controls=controls)
    ours = (
        fitted("sphering", samples, kind=kind, regularisation=0, shrinkage="none").apply(samples).X
    )
    if kind.startswith("PCA"):
        ours = ours * np.sign((ours * expected).sum(axis=0))
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_regularised_whitening_in_closed_form(kind):
    X = correlated(40, 60, "regularised").astype(np.float64)
    scale = X.std(axis=0) if kind.endswith("cor") else np.ones(60)
    Z = (X - X.mean(axis=0)) / scale
    C = Z.T @ Z / 39
    values, V = np.linalg.eigh(C)
    W = V / np.sqrt(np.maximum(values, 0) + 0.3 * np.trace(C) / 60)
    samples = all_controls(X)
    ours = (
        fitted("sphering", samples, kind=kind, regularisation=0.3, shrinkage="none")
        .apply(samples)
        .X
    )
    # Compared by inner products: components have no sign.
    gram = (Z @ W) @ (Z @ W).T
    np.testing.assert_allclose(
        ours.astype(np.float64) @ ours.T.astype(np.float64), gram, atol=1e-4 * gram.max()
    )
    if kind.startswith("ZCA"):
        np.testing.assert_allclose(ours, Z @ W @ V.T, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, n", [("sphering", 25), ("sphering-all", 200)])
def test_the_default_covariance_is_that_of_ledoit_and_wolf(kind, name, n):
    X = correlated(n, 40, "shrunk").astype(np.float64)
    scale = X.std(axis=0) if kind.endswith("cor") else np.ones(40)
    Z = (X - X.mean(axis=0)) / scale
    C = Z.T @ Z / (n - 1)
    weight = ledoit_wolf_shrinkage(Z)
    assert 0.01 < weight < 0.99
    level = np.trace(C) / 40
    values, V = np.linalg.eigh((1 - weight) * C + weight * level * np.eye(40))
    W = V / np.sqrt(values + 0.02 * level)
    samples = all_controls(X)
    ours = fitted(name, samples, kind=kind).apply(samples).X.astype(np.float64)
    # Compared by inner products: components have no sign.
    expected = (Z @ W) @ (Z @ W).T
    np.testing.assert_allclose(ours @ ours.T, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("n, d", [(5, 40), (40, 5), (200, 30)])
def test_the_weight_of_the_identity_equals_scikit_learns(n, d):
    X = correlated(n, d, "weight", n).astype(np.float64)
    for rows in (X, X * 1e-8):
        values = np.linalg.eigvalsh(rows.T @ rows / len(rows))
        weight = ledoit_wolf(values, squared_lengths(rows, np.zeros(d), np.ones(d)), d)
        expected = ledoit_wolf_shrinkage(rows, assume_centered=True)
        assert weight == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("n, d", [(6, 30), (100, 12)])
def test_a_root_of_a_shrunk_moment(n, d, kind):
    rows = correlated(n, d, "shrunk root", n, mean=0.1).astype(kind)
    rows[:, 3] = 0  # no dimension
    used = np.delete(np.arange(d), 3)
    moment = ledoit_wolf_covariance(rows[:, used].astype(np.float64), assume_centered=True)[0]
    base, U, extra = inverse_root(rows, n, 0.5, shrink=True)
    root = (base * np.eye(d) + (U * extra) @ U.T)[np.ix_(used, used)]
    expected = np.linalg.inv(moment + 0.5 * np.eye(d - 1))
    np.testing.assert_allclose(root @ root, expected, atol=1e-5)


def test_a_large_mean_costs_no_digits():
    X = correlated(500, 8, "far") / 10
    far = (X + 4096).astype(np.float32)  # what is left of X in float32 at that distance
    samples = all_controls(far)
    out = fitted("sphering", samples, regularisation=0, shrinkage="none").apply(samples).X
    np.testing.assert_allclose(np.cov(out.astype(np.float64).T), np.eye(8), atol=1e-4)


def test_features_constant_among_controls_are_left_out_and_said():
    X, _, batch, controls = planted("nothing", 2, n_batches=2)
    X[controls, 4] = 0.1
    X[:, 7] = 1e4 / 3
    samples = view(X, batch, controls)
    for kind in KINDS:
        out = fitted("sphering", samples, kind=kind).apply(samples)
        assert np.isfinite(out.X).all()
        assert np.abs(out.X).max() < 100
        assert out.notes == (
            "sphering: 2 features constant among its reference rows were left out",
        )


def test_only_controls_teach_sphering_and_all_rows_sphering_all():
    X, _, batch, controls = planted("nothing", 3, n_batches=2)
    other = X.copy()
    other[~controls] *= 3
    item, two = (fitted("sphering", view(v, batch, controls)) for v in (X, other))
    for key, value in item.state().items():
        np.testing.assert_array_equal(value, two.state()[key])
    every = fitted("sphering-all", view(X, batch), regularisation=0, shrinkage="none")
    assert type(every).access(every.params).words == []
    np.testing.assert_allclose(np.cov(every.apply(view(X)).X.T), np.eye(X.shape[1]), atol=1e-4)


def test_directions_in_which_batches_controls_differ_are_shrunk():
    X, _, batch, controls = planted("nothing", 4)
    direction = np.zeros(X.shape[1], np.float32)
    direction[0] = 1
    by_batch = generator("between").normal(0, 10, 10).astype(np.float32)
    code = np.unique(batch, return_inverse=True)[1]
    X = X + by_batch[code][:, None] * direction
    samples = view(X, batch, controls)
    method = fitted("sphering", samples, kind="ZCA")
    at = np.zeros_like(X[:2])
    at[1] = direction
    moved = np.diff(method.apply(view(at)).X, axis=0)
    assert np.linalg.norm(moved) < 0.2


def test_centring_on_controls_first_forgets_where_a_batch_is():
    X, _, batch, controls = planted("covariance", 5, n_batches=4)
    shift = generator("where").normal(0, 20, (4, X.shape[1])).astype(np.float32)
    moved = X + shift[np.unique(batch, return_inverse=True)[1]]
    outs = []
    for values in (X, moved):
        samples = view(values, batch, controls)
        method = fitted("sphering", samples, centre="controls", shrinkage="none")
        outs.append(applied(method, samples).X)
    np.testing.assert_allclose(*outs, atol=2e-3)
    within = np.cov(outs[0][controls].astype(np.float64).T, ddof=1)
    assert np.abs(np.diag(within) - 1).max() < 0.1


def test_rows_of_a_call_do_not_matter_and_order_does_not_either():
    X, _, batch, controls = planted("location", 6, n_batches=3)
    samples = view(X, batch, controls)
    order = generator("order").permutation(len(X))
    for name in ("sphering", "sphering-all"):
        method = fitted(name, samples)
        whole = method.apply(samples).X
        np.testing.assert_allclose(method.apply(samples.take(order)).X, whole[order], atol=1e-5)
        np.testing.assert_allclose(
            method.apply(samples.take(order[:3])).X, whole[order[:3]], atol=1e-5
        )
        again = fitted(name, samples.take(order)).apply(samples).X
        np.testing.assert_allclose(again, whole, atol=1e-5)
        np.testing.assert_array_equal(reloaded(method).apply(samples).X, whole)


def test_what_cannot_be_whitened_is_said_on_one_line():
    X, _, batch, controls = planted("nothing", 7, n_batches=2)
    with raises(NotApplicable, "0", "sphering-all"):
        fitted("sphering", view(X, batch))
    with raises(NotApplicable, "30"):
        fitted("sphering", view(np.ones_like(X), batch, controls))
    broken = X.copy()
    broken[3, 2] = np.nan
    broken[9, 1] = np.inf
    for name in ("sphering", "sphering-all", "center", "zscore", "robust"):
        with raises(BenchError, "208"):
            fitted(name, view(broken, batch, controls))


def test_center_helps_against_location():
    for seed in range(3):
        assert probe_accuracy("center", "location", seed) > 0.1 + probe_accuracy(
            "identity", "location", seed
        )


@pytest.mark.parametrize("name", ["center", "sphering", "sphering-all"])
def test_nobody_loses_much_without_a_shift(name):
    change = [
        probe_accuracy(name, "nothing", seed) - probe_accuracy("identity", "nothing", seed)
        for seed in range(3)
    ]
    assert np.mean(change) > -0.03


@pytest.mark.parametrize("n, d", [(400, 30), (20, 60)])
@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
def test_a_root_in_float32_is_that_in_float64(n: int, d: int, offset: float) -> None:
    rng = np.random.default_rng(6)
    rows = (rng.normal(size=(n, d)) + offset * rng.normal(size=d)).astype(np.float32)
    result = []
    for kind in (np.float32, np.float64):
        base, U, extra = inverse_root(rows.astype(kind), n, 1.0)
        result.append(base * np.eye(d) + (U * extra) @ U.T)
    exact = np.linalg.inv(rows.T.astype(np.float64) @ rows / n + np.eye(d))
    np.testing.assert_allclose(result[1] @ result[1], exact, atol=1e-9)
    # Far-off rows go through float64, near ones lose no more than is said.
    assert np.abs(result[0] - result[1]).max() < 16e-6
