"""Linear CORAL in both directions against skada, Sun et al.'s own form, and on planted shifts."""

import numpy as np
import pytest
import scipy.linalg

from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, probe_accuracy, reloaded, view

NAMES = ("coral-to-train", "coral-to-target")


def two_domains(*address, n=300, m=200, d=10):
    rng = generator("coral", *address)
    source = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(0, 3, d)
    target = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + rng.normal(0, 3, d)
    return source.astype(np.float32), target.astype(np.float32)


def standardised(X, by):
    by = by.astype(np.float64)
    return (X.astype(np.float64) - by.mean(axis=0)) / by.std(axis=0)


def by_skada(source, target, reg):
    mapping = pytest.importorskip("skada._mapping")
    X = np.concatenate([source, target])
    domain = np.concatenate([np.ones(len(source)), -2 * np.ones(len(target))]).astype(int)
    adapter = mapping.CORALAdapter(reg=reg).fit(X, sample_domain=domain)
    out = adapter.transform(X, sample_domain=domain, allow_source=True)
    return out[: len(source)], out[len(source) :]


@pytest.mark.parametrize("shrinkage", [0.1, 0.5])
def test_to_target_equals_skada(shrinkage):
    train, test = two_domains("to-target")
    samples, adapt = view(train), view(test, prefix="test")
    method = fitted("coral-to-target", samples, adapt, shrinkage=shrinkage)
    moved, kept = by_skada(standardised(train, train), standardised(test, train), shrinkage)
    np.testing.assert_allclose(method.apply(samples).X, moved, atol=1e-4)
    np.testing.assert_allclose(method.apply(adapt).X, kept, atol=1e-4)


@pytest.mark.parametrize("shrinkage", [0.1, 0.5])
@pytest.mark.parametrize("m", [200, 6], ids=["more rows", "fewer rows than features"])
def test_to_train_equals_skada_from_the_batch(shrinkage, m):
    train, test = two_domains("to-train", m=m)
    method = fitted("coral-to-train", view(train), shrinkage=shrinkage, min_rows=2)
    moved, _ = by_skada(standardised(test, train), standardised(train, train), shrinkage)
    np.testing.assert_allclose(method.apply(view(test)).X, moved, atol=1e-4)


def test_half_shrinkage_is_the_published_identity_on_standardised_features():
    train, test = two_domains("published")
    S, T = standardised(train, train), standardised(test, test)
    item, two = (np.cov(Z.T, ddof=0) + np.eye(10) for Z in (S, T))
    expected = S @ scipy.linalg.inv(scipy.linalg.sqrtm(item).real) @ scipy.linalg.sqrtm(two).real
    # The test rows are standardised by themselves there: do that first.
    scaled = (T * train.std(axis=0) + train.mean(axis=0)).astype(np.float32)
    samples = view(train)
    method = fitted("coral-to-target", samples, view(scaled, prefix="test"))
    np.testing.assert_allclose(method.apply(samples).X, expected, atol=1e-3)


def test_without_shrinkage_covariances_become_equal():
    train, test = two_domains("equal")
    samples, adapt = view(train), view(test, prefix="test")
    out = fitted("coral-to-train", samples, shrinkage=1e-6).apply(adapt).X.astype(np.float64)
    expected = np.cov(standardised(train, train).T, ddof=0)
    np.testing.assert_allclose(np.cov(out.T, ddof=0), expected, atol=1e-3)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    method = fitted("coral-to-target", samples, adapt, shrinkage=1e-6)
    ours, theirs = method.apply(samples).X, method.apply(adapt).X
    np.testing.assert_allclose(np.cov(ours.T, ddof=0), np.cov(theirs.T, ddof=0), atol=1e-3)


def test_full_shrinkage_matches_mean_and_total_variance_alone():
    train, test = two_domains("spheres")
    out = fitted("coral-to-train", view(train), shrinkage=1).apply(view(test)).X
    assert out.var(axis=0).mean() == pytest.approx(1, abs=1e-4)
    Z = standardised(test, test.mean(axis=0) + train - train.mean(axis=0))
    np.testing.assert_allclose(out, Z / np.sqrt(Z.var(axis=0).mean()), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_awkward_rows_give_finite_profiles(name):
    train, test = two_domains("awkward")
    train[:, 3] = 0.1
    test[:, 4] = 7
    samples, adapt = view(train), view(test, prefix="test")
    method = fitted(name, samples, adapt, shrinkage=1e-6)
    assert np.isfinite(applied(method, samples).X).all()
    assert np.isfinite(applied(method, adapt).X).all()
    few = fitted(name, view(train[:4]), view(test[:4], prefix="test"))
    assert np.isfinite(applied(few, view(train[:4])).X).all()


def test_small_and_constant_batches_are_stated():
    train, test = two_domains("small")
    method = fitted("coral-to-train", view(train))
    out = method.apply(view(test[:5]))
    assert out.fallbacks == 1
    np.testing.assert_allclose(out.X, standardised(test[:5], train), atol=1e-4)
    alike = method.apply(view(np.repeat(test[:1], 20, axis=0)))
    np.testing.assert_array_equal(alike.X, 0)


@pytest.mark.parametrize("name", NAMES)
def test_rows_order_names_and_storage_change_nothing(name):
    train, test = two_domains("invariance")
    batch = np.repeat(["a", "b"], 150)
    samples, adapt = view(train, batch), view(test, prefix="test")
    method = fitted(name, samples, adapt)
    whole = applied(method, samples).X
    order = generator("order").permutation(len(train))
    again = fitted(name, samples.take(order), adapt.take(order[order < 200]))
    np.testing.assert_allclose(applied(again, samples.take(order)).X, whole[order], atol=1e-4)
    np.testing.assert_array_equal(applied(reloaded(method), samples).X, whole)
    renamed = view(train, np.where(batch == "a", "z", "b"))
    np.testing.assert_array_equal(applied(fitted(name, renamed, adapt), renamed).X, whole)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_done_is_said_on_one_line(name):
    train, test = two_domains("errors")
    adapt = view(test, prefix="test")
    with raises(NotApplicable, "2", "1"):
        fitted(name, view(train[:1]), adapt)
    with raises(NotApplicable, "10"):
        fitted(name, view(np.ones_like(train)), adapt)
    train[2, 2] = np.nan
    with raises(BenchError, "NaN", "1", "300"):
        fitted(name, view(train), adapt)


@pytest.mark.parametrize("shift", ["location", "scale"])
@pytest.mark.parametrize("name", NAMES)
def test_it_helps_against_location_and_scale(name, shift):
    gain = [
        probe_accuracy(name, shift, seed) - probe_accuracy("identity", shift, seed)
        for seed in range(3)
    ]
    assert np.mean(gain) > 0.02


def test_to_train_helps_against_covariance():
    gain = [
        probe_accuracy("coral-to-train", "covariance", seed)
        - probe_accuracy("identity", "covariance", seed)
        for seed in range(5)
    ]
    assert np.mean(gain) > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_costs_little_without_a_shift(name):
    change = [
        probe_accuracy(name, "nothing", seed) - probe_accuracy("identity", "nothing", seed)
        for seed in range(3)
    ]
    assert np.mean(change) > -0.03
