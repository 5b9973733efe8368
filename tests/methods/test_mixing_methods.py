"""Mixup and LISA: weights, pairs and losses against formulas and brute force."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from bench.methods._mixing import beta, interpolated, mixed_loss
from bench.methods.lisa import LISA, Partners, cut
from bench.methods.mixup import Mixup
from scipy import stats

from bench.api import AccessError, make_params
from bench.core.errors import BenchError, NotApplicable
from tests.helpers.errors import raises
from tests.helpers.trained import (
    batches_of,
    context,
    fitted,
    images,
    mlp_by_hand,
    plate_of,
    profiles,
    resumed_ends_alike,
    same_state,
    samples_of,
)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 1.5, 2.0, 40.0])
def test_weights_follow_the_beta_distribution(alpha):
    draws = beta(alpha, 4000, torch.Generator().manual_seed(3)).double().numpy()
    assert draws.shape == (4000,)
    assert draws.min() >= 0
    assert draws.max() <= 1
    if alpha < 0.1:  # float32 near 1 has steps that the distribution would notice
        for at in (1e-9, 1e-4, 0.1, 0.5, 0.9, 0.999):
            wanted = stats.beta.cdf(at, alpha, alpha)
            assert (draws < at).mean() == pytest.approx(wanted, abs=0.03)
    else:
        assert stats.kstest(draws, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_weights_are_the_generators():
    a, b = (beta(0.2, 9, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, beta(0.2, 9, torch.Generator().manual_seed(2)))


def test_mixed_loss_is_the_cross_entropy_with_soft_labels():
    rng = np.random.default_rng(0)
    logits, weight = rng.normal(size=(7, 4)), rng.random(7)
    y, other = rng.integers(4, size=7), rng.integers(4, size=7)
    y[2], other[5] = -1, -1
    total, count = 0.0, 0
    for i in range(7):
        if y[i] < 0 or other[i] < 0:
            continue
        soft = np.zeros(4)
        soft[y[i]] += weight[i]
        soft[other[i]] += 1 - weight[i]
        log_p = logits[i] - np.log(np.exp(logits[i]).sum())
        total, count = total - (soft * log_p).sum(), count + 1
    result = mixed_loss(*(torch.from_numpy(a) for a in (logits, y, other, weight)))
    assert float(result) == pytest.approx(total / count, rel=1e-12)
    nobody = torch.full((7,), -1)
    assert float(mixed_loss(torch.from_numpy(logits), nobody, nobody, torch.ones(7))) == 0


def test_interpolation_is_row_by_row():
    x, other = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    weight = torch.tensor([0.0, 0.25, 1.0])
    result = interpolated(x, other, weight)
    for i, w in enumerate(weight):
        torch.testing.assert_close(result[i], w * x[i] + (1 - w) * other[i])


def unmixed(method, samples):
    """Return the standardised rows, by position in the view."""
    return (samples.X - method.fitted.scaling.mean) / method.fitted.scaling.sd


@pytest.mark.parametrize("draw", ["batch", "pair"])
def test_mixup_mixes_rows_that_have_a_class_and_nothing_else(draw):
    samples = profiles()
    rows = unmixed(fitted(Mixup, samples), samples)
    weights = []
    for batch in batches_of(Mixup, samples, draw=draw, alpha=1):
        weight, y = batch.extra["weight"].numpy(), batch.y.numpy()
        other = batch.extra["other"].numpy()
        assert (len(set(weight.tolist())) == 1) == (draw == "batch")
        assert np.array_equal(y < 0, other < 0)
        assert Counter(y.tolist()) == Counter(other.tolist())
        plain = rows[batch.idx]
        np.testing.assert_allclose(batch.x.numpy()[y < 0], plain[y < 0], rtol=1e-4, atol=1e-5)
        for i in np.flatnonzero(y >= 0):
            mixed = weight[i] * plain[i] + (1 - weight[i]) * plain
            gap = np.abs(mixed - batch.x[i].numpy()).max(1)
            assert gap[(y == other[i])].min() < 1e-4
        weights += weight.tolist()
    assert 0 <= min(weights) < max(weights) <= 1


def test_mixup_is_trained_by_the_mixed_loss():
    batch = batches_of(Mixup, profiles(), draw="pair")[-1]
    method = Mixup(Mixup.Params())
    arrays = [batch.logits, batch.y, batch.extra["other"], batch.extra["weight"]]
    assert torch.equal(method.loss(None, batch), mixed_loss(*arrays))


def test_a_batch_of_controls_alone_is_left_as_it_is():
    samples = profiles()
    quiet = dataclasses.replace(samples, y=np.where(np.arange(len(samples)) < 118, -1, samples.y))
    with_class = int((quiet.y >= 0).sum())
    assert with_class > 0
    fitted(Mixup, quiet)


def brute_partners(y, group, strategy):
    result = {}
    for i in range(len(y)):
        same = [
            j
            for j in range(len(y))
            if y[i] >= 0
            and y[j] >= 0
            and (
                (y[i] == y[j] and group[i] != group[j])
                if strategy == "label"
                else (y[i] != y[j] and group[i] == group[j])
            )
        ]
        if same:
            result[i] = same
    return result


@pytest.mark.parametrize("strategy", ["label", "domain"])
@pytest.mark.parametrize("seed", range(4))
def test_partners_are_those_of_brute_force_equally_often(strategy, seed):
    rng = np.random.default_rng(seed)
    y, group = rng.integers(-1, 3, size=25), rng.integers(4, size=25)
    group[y == 2] = 3  # a class of one batch has no partner elsewhere
    wanted = brute_partners(y, group, strategy)
    partners = Partners(y, group, strategy)
    assert partners.rows.tolist() == sorted(wanted)
    draws = 300
    drawn = partners.draw(rng, np.repeat(partners.rows, draws)).reshape(-1, draws)
    for i, result in zip(partners.rows.tolist(), drawn, strict=True):
        counts = np.array([np.count_nonzero(result == j) for j in wanted[i]])
        assert counts.sum() == draws
        assert stats.chisquare(counts).pvalue > 1e-6 if len(counts) > 1 else True


def test_nobody_has_a_partner_where_there_is_nobody():
    nobody = Partners(np.full(5, -1), np.zeros(5, np.int64), "label")
    assert len(nobody.rows) == 0


@pytest.mark.parametrize("p_sel", [0.0, 0.5, 1.0])
def test_lisa_pairs_one_class_of_two_batches_or_two_classes_of_one(p_sel):
    samples = profiles()
    strategies = []
    for batch in batches_of(LISA, samples, {"steps": 60}, p_sel=p_sel):
        assert len(batch.idx) == 16
        y, group = batch.y.numpy().reshape(2, 8), batch.group.numpy().reshape(2, 8)
        assert (y >= 0).all()
        assert np.array_equal(batch.y.roll(8), batch.extra["other"])
        intra_label = (y[0] == y[1]).all()
        assert ((group[0] != group[1]) if intra_label else (group[0] == group[1])).all()
        assert intra_label or (y[0] != y[1]).all()
        strategies.append(intra_label)
    assert np.mean(strategies) == pytest.approx(p_sel, abs=0.2)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_lisa_mixes_both_ways(mix):
    samples = profiles()
    rows = unmixed(fitted(LISA, samples), samples)
    for batch in batches_of(LISA, samples, mix=mix, p_sel=0):
        plain, weight = rows[batch.idx], batch.extra["weight"].numpy()[:, None]
        partner = np.roll(plain, 8, 0)
        x = batch.x.numpy()
        if mix == "mixup":
            wanted = weight * plain + (1 - weight) * partner
            np.testing.assert_allclose(x, wanted, rtol=1e-3, atol=1e-4)
        else:
            taken = np.abs(x - partner) < np.abs(x - plain)
            assert (taken == taken[0]).all()
            np.testing.assert_allclose(x, np.where(taken, partner, plain), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(weight, 1 - taken[0].mean(), rtol=1e-6)


def test_a_cut_is_a_rectangle_of_the_wanted_share():
    rng = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(200):
        taken = cut((3, 20, 30), 0.25, rng)
        assert taken.shape == (1, 20, 30)
        rows, columns = taken[0].any(1).nonzero(), taken[0].any(0).nonzero()
        height, width = (int(at.max() - at.min()) + 1 for at in (rows, columns))
        assert height <= 10
        assert width <= 15
        assert int(taken.sum()) == height * width
        shares.append(float(taken.float().mean()))
    assert max(shares) == pytest.approx(0.25)
    assert not cut((3, 8, 8), 0.0, rng).any()
    assert int(cut((40,), 0.3, rng).sum()) == 12


def test_lisa_counts_the_rows_without_a_partner():
    samples = profiles()
    y = samples.y.copy()
    y[(y == 2) & (samples.batch != "p0")] = 1
    assert (y == 2).any()
    lonely = dataclasses.replace(samples, y=y)
    out = fitted(LISA, lonely).apply(plate_of(samples))
    lone, all_of_them = int((y == 2).sum()), int((y >= 0).sum())
    assert out.notes == (
        f"{lone} of {all_of_them} training rows had no partner in another batch and took no "
        "part in such mixing",
    )
    assert fitted(LISA, samples).apply(plate_of(samples)).notes == ()


def test_lisa_names_what_is_missing():
    samples = profiles()
    with raises(NotApplicable, "p_sel", "0"):
        fitted(LISA, dataclasses.replace(samples, batch=np.full(120, "p0")))
    item = dataclasses.replace(samples, y=np.where(samples.y > 0, 0, samples.y))
    with raises(NotApplicable, "p_sel", "1"):
        fitted(LISA, item, p_sel=0.5)
    with raises(BenchError, "lisa.p_sel", "0.0", "1.0"):
        make_params("lisa", LISA.Params, {"p_sel": 1.5})


def test_intra_label_mixing_blends_the_batch_away():
    """Where the batch is one feature and the class another, the mixture's spread of it falls."""
    rng = np.random.default_rng(0)
    samples = profiles()
    code = np.unique(samples.batch, return_inverse=True)[1].astype(np.float32)
    X = np.stack([code, samples.y + rng.normal(0, 0.1, 120)], 1).astype(np.float32)
    X = np.concatenate([X, rng.normal(size=(120, 4))], 1).astype(np.float32)
    samples = dataclasses.replace(samples, X=X)
    rows = unmixed(fitted(LISA, samples), samples)
    batches = batches_of(LISA, samples, {"steps": 100})
    mixed = np.concatenate([b.x.numpy() for b in batches])
    plain = np.concatenate([rows[b.idx] for b in batches])
    assert mixed[:, 0].std() < 0.8 * plain[:, 0].std()
    assert mixed[:, 1].std() > 0.95 * plain[:, 1].std()


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", [Mixup, LISA])
def test_equal_seeds_give_equal_bits_and_nothing_is_mixed_at_test(cls, kind):
    samples = samples_of(kind)
    method = fitted(cls, samples)
    assert same_state(method, fitted(cls, samples))
    assert not same_state(method, fitted(cls, samples, seed=2))
    if kind == "profiles":
        X, logits = mlp_by_hand(method.state(), samples.X)
        np.testing.assert_allclose(method.apply(samples).X, X, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(method.apply(samples).logits, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mixup", "lisa"])
def test_resumed_training_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    assert resumed_ends_alike(name, profiles(), tmp_path, monkeypatch)


@pytest.mark.parametrize("cls", [Mixup, LISA])
def test_the_classes_are_learned(cls):
    samples = profiles(n=240)
    method = fitted(cls, samples, {"steps": 150, "lr": 0.01, "width": 16})
    labelled = samples.y >= 0
    hit = method.apply(samples).logits.argmax(1) == samples.y
    assert hit[labelled].mean() > 0.8


def test_cutmix_on_images_cuts_pixels():
    samples = images()
    for batch in batches_of(LISA, samples, {"augment": "none"}, mix="cutmix"):
        weight = batch.extra["weight"]
        assert float(weight.min()) == float(weight.max())
        pixels = round(float(1 - weight[0]) * 18 * 18)
        assert pixels == pytest.approx(float(1 - weight[0]) * 18 * 18, abs=1e-3)


def test_access_is_kept():
    hidden = dataclasses.replace(profiles(), _controls=None, well=None)
    fitted(LISA, hidden)
    fitted(Mixup, dataclasses.replace(hidden, batch=np.full(120, "")))
    with pytest.raises(AccessError):
        hidden.controls()
    assert context().recipe["batch_size"] == 16
