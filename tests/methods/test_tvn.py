"""Typical variation normalisation against its three published forms, and on planted shifts."""

import numpy as np
import pytest
import scipy.linalg

from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, planted, probe_accuracy, reloaded, view

VARIANTS = ("ando", "efaar", "controls-zscore")


def by_the_notebook(X, batch, controls, lam, eta):
    """Whiten and re-colour as the notebook of Lin & Lu 2022 does, in float64."""
    C = X[controls] - X[controls].mean(axis=0)
    s, V = np.linalg.eigh(C.T @ C / len(C))
    Y = (X - X[controls].mean(axis=0)) @ V @ np.diag((s + lam) ** -0.5) @ V.T
    eye = eta * np.eye(X.shape[1])
    target = scipy.linalg.sqrtm(Y[controls].T @ Y[controls] / controls.sum() + eye).real
    out = np.empty_like(Y)
    for name in np.unique(batch):
        D = Y[(batch == name) & controls]
        source = scipy.linalg.inv(scipy.linalg.sqrtm(D.T @ D / len(D) + eye).real)
        out[batch == name] = Y[batch == name] @ source @ target
    return out


def by_shrunk_covariances(X, batch, controls, lam=0.02, eta=1.0):
    """Whiten and re-colour with the covariances of scikit-learn, in float64."""
    from sklearn.covariance import LedoitWolf

    def moment(rows):
        return LedoitWolf(assume_centered=True).fit(rows).covariance_

    def power(matrix, exponent):
        return scipy.linalg.fractional_matrix_power(matrix, exponent).real

    Y = (X - X[controls].mean(axis=0)) / X[controls].std(axis=0)
    eye = np.eye(X.shape[1])
    Y = Y @ power(moment(Y[controls]) + lam * eye, -0.5)
    target = power(Y[controls].T @ Y[controls] / controls.sum() + eta * eye, 0.5)
    for name in np.unique(batch):
        mine = batch == name
        Y[mine] = Y[mine] @ power(moment(Y[mine & controls]) + eta * eye, -0.5) @ target
    return Y


def by_efaar(X, batch, controls, eta=0.5):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    Y = StandardScaler().fit(X[controls]).transform(X)
    Y = PCA().fit(Y[controls]).transform(Y)
    Y = StandardScaler().fit(Y[controls]).transform(Y)
    for name in np.unique(batch):
        mine = batch == name
        cov = np.cov(Y[mine & controls], rowvar=False, ddof=1) + eta * np.eye(Y.shape[1])
        Y[mine] = Y[mine] @ scipy.linalg.fractional_matrix_power(cov, -0.5).real
    return Y


def by_controls_zscore(X, batch, controls, eta=0.5):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    Y = StandardScaler().fit(X[controls]).transform(X)
    Y = PCA().fit(Y[controls]).transform(Y)
    for name in np.unique(batch):
        mine = batch == name
        Y[mine] = StandardScaler().fit(Y[mine & controls]).transform(Y[mine])
    eye = eta * np.eye(Y.shape[1])
    target = scipy.linalg.fractional_matrix_power(np.cov(Y[controls], rowvar=False) + eye, 0.5)
    out = np.empty_like(Y)
    for name in np.unique(batch):
        mine = batch == name
        cov = np.cov(Y[mine & controls], rowvar=False, ddof=1) + eye
        out[mine] = Y[mine] @ scipy.linalg.fractional_matrix_power(cov, -0.5).real @ target.real
    return out


def gram(X):
    X = X.astype(np.float64)
    return X @ X.T


@pytest.mark.parametrize("controls_each", [12, 60], ids=["fewer than features", "more"])
def test_ando_equals_the_notebook(controls_each):
    X, _, batch, controls = planted("covariance", 0, n_batches=4, controls=controls_each)
    samples = view(X, batch, controls)
    method = fitted("tvn", samples, shrinkage="none", standardise=False)
    expected = by_the_notebook(X.astype(np.float64), batch, controls, 0.02, 1.0)
    np.testing.assert_allclose(applied(method, samples).X, expected, atol=2e-5)


@pytest.mark.parametrize("controls_each", [6, 60], ids=["fewer than features", "more"])
def test_the_default_shrinks_covariances_as_scikit_learn_does(controls_each):
    X, _, batch, controls = planted("covariance", 0, n_batches=4, controls=controls_each)
    X[:, 7] = 0.25  # a constant feature is no dimension of the covariance
    used = np.delete(np.arange(X.shape[1]), 7)
    samples = view(X, batch, controls)
    expected = by_shrunk_covariances(X[:, used].astype(np.float64), batch, controls)
    output = applied(fitted("tvn", samples), samples).X
    np.testing.assert_allclose(output[:, used], expected, atol=2e-5)
    assert not output[:, 7].any()


def test_ando_standardises_features_first():
    X, _, batch, controls = planted("location", 1, n_batches=4)
    units = np.exp(generator("units").normal(0, 4, X.shape[1]))
    scaled = X / X[controls].astype(np.float64).std(axis=0)
    expected = by_the_notebook(scaled, batch, controls, 0.1, 2.0)
    samples = view(X * units, batch, controls)
    parameters = {"regularisation": 0.1, "batch_regularisation": 2, "shrinkage": "none"}
    method = fitted("tvn", samples, **parameters)
    np.testing.assert_allclose(applied(method, samples).X, expected, atol=1e-4)


@pytest.mark.parametrize("controls_each", [12, 60], ids=["fewer than features", "more"])
@pytest.mark.parametrize("variant", ["efaar", "controls-zscore"])
def test_the_other_variants_equal_theirs(variant, controls_each):
    X, _, batch, controls = planted("covariance", 2, n_batches=4, controls=controls_each)
    naive = by_efaar if variant == "efaar" else by_controls_zscore
    expected = gram(naive(X.astype(np.float64), batch, controls))
    samples = view(X, batch, controls)
    method = fitted("tvn", samples, variant=variant, shrinkage="none")
    ours = gram(applied(method, samples).X)
    # By inner products: the components of a PCA have no sign.
    np.testing.assert_allclose(ours, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_few_controls_leave_the_global_step_and_are_counted(variant):
    X, _, batch, controls = planted("location", 3, n_batches=4)
    method = fitted("tvn", view(X, batch, controls), variant=variant)
    mine = np.flatnonzero(batch == "batch 1")
    few = np.concatenate([mine[~controls[mine]][:20], mine[controls[mine]][:3]])
    out = method.apply(view(X[few], batch[few], controls[few]))
    assert out.fallbacks == 1
    assert "fewer than 4 controls got the global step only" in out.notes[0]
    alone = method.apply(view(X[few[:5]], batch[few[:5]], controls[few[:5]]))
    np.testing.assert_allclose(out.X[:5], alone.X, atol=1e-5)
    # Where the batch's controls are like all controls, the batch step changes little.
    even = view(X, np.full(len(X), "one"), controls)
    whole = fitted("tvn", even, variant=variant, shrinkage="none")
    full, few = whole.apply(even), whole.apply(view(X[~controls]))
    assert np.abs(full.X[~controls] - few.X).max() < (1e-3 if variant == "ando" else 1.0)


def test_whole_training_set_as_one_batch_is_whitening_alone():
    X, _, _, controls = planted("nothing", 4, n_batches=3)
    samples = view(X, controls=controls)
    method = fitted("tvn", samples, regularisation=1e-6, shrinkage="none")
    out = applied(method, samples).X
    moment = out[controls].astype(np.float64)
    np.testing.assert_allclose(moment.T @ moment / controls.sum(), np.eye(30), atol=1e-3)


def test_location_is_removed_bounded_or_left():
    X, _, batch, controls = planted("nothing", 5, n_batches=6)
    far = np.where(batch == "batch 3", 1000.0, 0.0).astype(np.float32)[:, None]
    samples, test = view(X, batch, controls), view(X + far, batch, controls)
    mine = batch == "batch 3"
    length = {}
    for variant in VARIANTS:
        method = fitted("tvn", samples, variant=variant)
        before, after = applied(method, samples).X[mine], applied(method, test).X[mine]
        length[variant] = np.linalg.norm(after.mean(axis=0) - before.mean(axis=0))
    assert length["controls-zscore"] < 1e-2
    assert 0.5 < length["ando"] < 2
    assert length["efaar"] > 100


@pytest.mark.parametrize("variant", VARIANTS)
def test_awkward_controls_give_finite_profiles(variant):
    X, _, batch, controls = planted("scale", 6, n_batches=3, controls=5)
    X[controls, 2] = 3.3
    X[:, 5] = 0
    X[batch == "batch 1", 6] = 1.5
    samples = view(X, batch, controls)
    out = applied(fitted("tvn", samples, variant=variant), samples)
    assert np.isfinite(out.X).all()
    assert "tvn: 2 features constant among the training controls were left out" in out.notes


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_order_names_and_storage_change_nothing(variant):
    X, _, batch, controls = planted("location", 7, n_batches=3)
    samples = view(X, batch, controls)
    method = fitted("tvn", samples, variant=variant)
    whole = applied(method, samples).X
    order = generator("order").permutation(len(X))
    np.testing.assert_allclose(applied(method, samples.take(order)).X, whole[order], atol=1e-4)
    again = fitted("tvn", samples.take(order), variant=variant)
    np.testing.assert_allclose(applied(again, samples).X, whole, atol=1e-4)
    renamed = view(X, np.char.replace(batch, "batch", "z"), controls)
    np.testing.assert_array_equal(
        applied(fitted("tvn", renamed, variant=variant), renamed).X, whole
    )
    np.testing.assert_array_equal(applied(reloaded(method), samples).X, whole)


def test_treated_rows_of_the_batch_do_not_matter():
    X, _, batch, controls = planted("location", 8, n_batches=3)
    for variant in VARIANTS:
        method = fitted("tvn", view(X, batch, controls), variant=variant)
        mine = np.flatnonzero(batch == "batch 2")
        part = np.concatenate([mine[~controls[mine]][::3], mine[controls[mine]]])
        whole = method.apply(view(X[mine], controls=controls[mine])).X
        some = method.apply(view(X[part], controls=controls[part])).X
        np.testing.assert_allclose(some, whole[np.searchsorted(mine, part)], atol=1e-4)


def test_what_cannot_be_done_is_said_on_one_line():
    X, _, batch, controls = planted("nothing", 9, n_batches=2)
    with raises(NotApplicable, "2"):
        fitted("tvn", view(X, batch))
    with raises(NotApplicable, "30"):
        fitted("tvn", view(np.full_like(X, 2.5), batch, controls))
    X[0, 0] = np.nan
    with raises(BenchError, "NaN", "1", "208"):
        fitted("tvn", view(X, batch, controls))


@pytest.mark.parametrize("shift", ["location", "scale"])
def test_it_helps_against_location_and_scale(shift):
    gain = [
        probe_accuracy("tvn", shift, seed) - probe_accuracy("identity", shift, seed)
        for seed in range(3)
    ]
    assert min(gain) > 0
    assert np.mean(gain) > 0.02


@pytest.mark.parametrize("shift", ["scale", "covariance"])
def test_the_default_is_safe_with_fewer_controls_than_features(shift):
    few = {"n_batches": 10, "controls": 8, "d": 100}
    plain, default, published = (
        np.mean([probe_accuracy(name, shift, seed, few, **params) for seed in range(2)])
        for name, params in (("identity", {}), ("tvn", {}), ("tvn", {"shrinkage": "none"}))
    )
    assert default > plain - 0.02
    assert published < plain - 0.02


def test_it_costs_little_without_a_shift():
    change = [
        probe_accuracy("tvn", "nothing", seed) - probe_accuracy("identity", "nothing", seed)
        for seed in range(3)
    ]
    assert np.mean(change) > -0.03
