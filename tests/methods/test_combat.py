"""ComBat against combatlearn, scanpy and a naive loop, and its policies for unseen batches."""

import warnings

import numpy as np
import pytest

from bench.api import Access, track_of
from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import (
    applied,
    fitted,
    method_class,
    planted,
    probe_accuracy,
    reloaded,
    view,
)


def batches(*address, n_batches=4, d=12):
    rng = generator("combat", *address)
    sizes = rng.integers(15, 40, n_batches)
    batch = np.repeat([f"b{k}" for k in range(n_batches)], sizes)
    location, scale = rng.normal(0, 2, (n_batches, d)), np.exp(rng.normal(0, 0.5, (n_batches, d)))
    code = np.repeat(np.arange(n_batches), sizes)
    X = 5 + rng.normal(size=(len(code), d)) * scale[code] * 3 + location[code]
    return X.astype(np.float32), batch


def by_loops(X, batch):
    """Johnson et al. 2007, parametric, feature by feature and batch by batch."""
    X = X.astype(np.float64)
    names = np.unique(batch)
    grand = X.mean(axis=0)
    sigma = np.sqrt(
        sum(((X[batch == b] - X[batch == b].mean(0)) ** 2).sum(0) for b in names) / len(X)
    )
    out = X.copy()
    for b in names:
        Z = (X[batch == b] - grand) / sigma
        n, hat_g, hat_d = len(Z), Z.mean(0), Z.var(0, ddof=1)
        bar, tau2 = hat_g.mean(), hat_g.var(ddof=1)
        m, s2 = hat_d.mean(), hat_d.var(ddof=1)
        lam, theta = (m**2 + 2 * s2) / s2, (m**3 + m * s2) / s2
        for f in range(X.shape[1]):
            g, v = hat_g[f], hat_d[f]
            for _ in range(500):
                g = (n * tau2 * hat_g[f] + v * bar) / (n * tau2 + v)
                v = (theta + 0.5 * ((Z[:, f] - g) ** 2).sum()) / (n / 2 + lam - 1)
            out[batch == b, f] = grand[f] + sigma[f] * (Z[:, f] - g) / np.sqrt(v)
    return out


@pytest.mark.parametrize("unseen", ["estimate-from-batch", "reference"])
def test_training_batches_equal_a_naive_loop(unseen):
    X, batch = batches("loops")
    samples = view(X, batch)
    out = applied(fitted("combat", samples, unseen=unseen), samples).X
    np.testing.assert_allclose(out, by_loops(X, batch), atol=1e-4)


@pytest.mark.parametrize("mean_only", [False, True])
def test_seen_batches_equal_combatlearn(mean_only):
    core = pytest.importorskip("combatlearn")
    X, batch = batches("combatlearn")
    model = core.ComBat(batch=batch, method="johnson", mean_only=mean_only)
    expected = np.asarray(model.fit_transform(X.astype(np.float64)))
    samples = view(X, batch)
    ours = applied(fitted("combat", samples, prior="batches", mean_only=mean_only), samples).X
    # combatlearn stops iterating at a relative change of 1e-4.
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    assert np.abs(X - expected).max() > 1


def test_seen_batches_equal_scanpy():
    anndata = pytest.importorskip("anndata")
    scanpy = pytest.importorskip("scanpy")
    X, batch = batches("scanpy", d=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = anndata.AnnData(X.astype(np.float64))
        table.obs["batch"] = batch
        table.obs["batch"] = table.obs["batch"].astype("category")
        scanpy.pp.combat(table, key="batch")
    samples = view(X, batch)
    ours = applied(fitted("combat", samples), samples).X
    # scanpy divides the spread of locations over features by their number, not by one less.
    assert np.linalg.norm(ours - table.X) < 1e-3 * np.linalg.norm(X - table.X)


def test_each_policy_has_its_access():
    cls = method_class("combat")
    tracks = {
        u: track_of(cls.access(cls.Params(unseen=u)))
        for u in ("reference", "controls", "estimate-from-batch")
    }
    assert tracks == {
        "reference": "inductive",
        "controls": "test-controls",
        "estimate-from-batch": "test-batch",
    }
    assert Access.CONTROLS in cls.access(cls.Params(unseen="controls"))
    assert cls.needs(cls.Params(unseen="controls")) == {"controls"}


def test_reference_leaves_unseen_rows_alone_and_says_so():
    X, batch = batches("reference")
    method = fitted("combat", view(X, batch), unseen="reference")
    new = view(X[:10] + 3, batch[:10], prefix="new")
    out = method.apply(new)
    np.testing.assert_array_equal(out.X, new.X)
    assert out.notes == ("combat: rows of unseen batches passed unchanged (policy reference)",)
    assert method.apply(view(X, batch)).notes == ()
    np.testing.assert_array_equal(
        reloaded(method).apply(view(X, batch)).X, method.apply(view(X, batch)).X
    )


def test_an_unseen_batch_lands_on_the_training_location_and_scale():
    X, batch = batches("unseen", d=40)
    method = fitted("combat", view(X, batch))
    rng = generator("new")
    new = ((rng.normal(size=(400, 40)) * 3 + 5) * np.exp(rng.normal(0, 0.5, 40)) + 30).astype(
        np.float32
    )
    out = method.apply(view(new))
    assert out.notes == (
        "combat: location and scale of unseen batches were estimated from all their rows",
    )
    training = method.state()
    assert np.abs(out.X.mean(axis=0) - training["grand"]).max() < 0.1 * training["sigma"].max()
    np.testing.assert_allclose(out.X.std(axis=0), training["sigma"], rtol=0.1)


def test_controls_alone_estimate_under_their_policy():
    X, _, batch, controls = planted("scale", 0, n_batches=5)
    other = X.copy()
    other[~controls] = other[~controls] * 5 + 1
    item, two = (fitted("combat", view(v, batch, controls), unseen="controls") for v in (X, other))
    for key, value in item.state().items():
        np.testing.assert_array_equal(value, two.state()[key])
    naive = by_loops(X[controls], batch[controls])
    np.testing.assert_allclose(
        applied(item, view(X, batch, controls)).X[controls], naive, atol=1e-4
    )


def test_small_batches_pass_unchanged_and_are_counted():
    X, batch = batches("small")
    method = fitted("combat", view(X, batch))
    out = method.apply(view(X[:3] + 9))
    np.testing.assert_array_equal(out.X, X[:3] + 9)
    assert out.fallbacks == 1
    assert out.notes == ("combat: batches with fewer than 4 rows to estimate from unchanged",)


@pytest.mark.parametrize("prior", ["features", "batches"])
def test_awkward_features_pass_unchanged(prior):
    X, batch = batches("awkward")
    X[:, 1] = 0.3
    X[:, 2] = np.unique(batch, return_inverse=True)[1]
    X[batch == "b2", 3] = 1
    samples = view(X, batch)
    out = applied(fitted("combat", samples, prior=prior), samples).X
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[:, 1:3], X[:, 1:3])
    single = view(X[:, :1], batch)
    assert np.isfinite(applied(fitted("combat", single, prior=prior), single).X).all()


@pytest.mark.parametrize("unseen", ["estimate-from-batch", "reference"])
@pytest.mark.parametrize("prior", ["features", "batches"])
def test_rows_order_names_and_storage_change_nothing(unseen, prior):
    X, batch = batches("invariance")
    samples = view(X, batch)
    method = fitted("combat", samples, unseen=unseen, prior=prior)
    whole = applied(method, samples).X
    order = generator("order").permutation(len(X))
    again = fitted("combat", samples.take(order), unseen=unseen, prior=prior)
    np.testing.assert_allclose(applied(again, samples.take(order)).X, whole[order], atol=1e-5)
    renamed = view(X, [{"b0": "z", "b1": "c", "b2": "a", "b3": "y"}[b] for b in batch])
    other = applied(fitted("combat", renamed, unseen=unseen, prior=prior), renamed).X
    np.testing.assert_allclose(other, whole, atol=1e-5)
    np.testing.assert_array_equal(applied(reloaded(method), samples).X, whole)


def test_what_cannot_be_done_is_said_on_one_line():
    X, batch = batches("errors")
    with raises(NotApplicable, "4", "1"):
        fitted("combat", view(X))
    with raises(NotApplicable, "2", "controls"):
        fitted("combat", view(X, batch), unseen="controls")
    with raises(NotApplicable, "12"):
        fitted("combat", view(np.ones_like(X), batch))
    X[5, 5] = np.nan
    with raises(BenchError, "NaN", "1"):
        fitted("combat", view(X, batch))


@pytest.mark.parametrize("shift", ["location", "scale"])
@pytest.mark.parametrize("unseen", ["estimate-from-batch", "controls"])
def test_it_helps_against_location_and_scale(shift, unseen):
    for seed in range(3):
        plain = probe_accuracy("identity", shift, seed)
        assert probe_accuracy("combat", shift, seed, unseen=unseen) > plain + 0.05


def test_it_costs_little_without_a_shift():
    change = [
        probe_accuracy("combat", "nothing", seed) - probe_accuracy("identity", "nothing", seed)
        for seed in range(3)
    ]
    assert np.mean(change) > -0.03
