"""Methods about whose statistics are used, in training and at test, and Tent's adapted copies."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from bench.methods.adabn import AdaBN
from bench.methods.arm_bn import ARMBN
from bench.methods.ben import BEN
from bench.methods.ben_multi import BENMulti
from bench.methods.cs_arm_bn import CSARMBN, _pieces
from bench.methods.erm import ERM
from bench.methods.ibn import IBN
from bench.methods.instance_norm import InstanceNorm
from bench.methods.tent import Tent, affine_parameters, mean_entropy
from torch import nn

from bench.api import Access, make_params
from bench.core.errors import BenchError, NotApplicable
from bench.training.inference import TestBatch
from tests.helpers.errors import raises
from tests.helpers.trained import (
    batches_of,
    fitted,
    images,
    mlp_by_hand,
    plate_of,
    profiles,
    resumed_ends_alike,
    same_state,
    samples_of,
)

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def fit_fields(cls):
    return {
        f.name: f.default
        for f in dataclasses.fields(cls.Params)
        if f.metadata.get("phase", "fit") == "fit"
    }


@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_ben_multi_is_ben_with_several_plates(kind):
    samples = samples_of(kind)
    passed = {"per_batch": 3}
    multi, ben = fitted(BENMulti, samples, **passed), fitted(BEN, samples, **passed)
    assert same_state(multi, ben)
    view = plate_of(samples)
    assert np.array_equal(multi.apply(view).X, ben.apply(view).X)


def test_ben_multi_takes_four_plates_by_default():
    for batch in batches_of(BENMulti, profiles()):
        assert sorted(Counter(batch.group.tolist()).values()) == [4, 4, 4, 4]
    with raises(NotApplicable, "4"):
        fitted(BENMulti, profiles(batches=3))
    with raises(BenchError, "per_batch", "2"):
        make_params("ben-multi", BENMulti.Params, {"per_batch": 1})


def test_ben_multi_normalises_each_plate_by_itself():
    """The first layer against a loop over plates."""
    seen = []

    class Watched(BENMulti):
        def loss(self, model, batch):
            seen.append((model, batch))
            return super().loss(model, batch)

    fitted(Watched, profiles(), {"steps": 1})
    model, batch = seen[0]
    h = (batch.x @ model.network[0].weight.T).detach().double()
    wanted = torch.empty_like(h)
    for g in batch.group.unique():
        rows = batch.group == g
        part = h[rows]
        wanted[rows] = (part - part.mean(0)) / (part.var(0, unbiased=False) + 1e-5).sqrt()
    layer = model.network[1]
    wanted = (wanted * layer.weight + layer.bias).detach()
    with model.using(Watched(BENMulti.Params()).train_statistics(batch)), torch.no_grad():
        result = layer(h.float())
    np.testing.assert_allclose(result.numpy(), wanted.numpy(), rtol=1e-3, atol=1e-3)


def test_arm_bn_shares_the_fit_of_ben_multi():
    from bench.methods.arm_bn import META

    assert META["fit"] == "ben-multi"
    assert fit_fields(ARMBN) == fit_fields(BENMulti)
    assert same_state(fitted(ARMBN, profiles()), fitted(BENMulti, profiles()))
    assert ARMBN.access(ARMBN.Params()) == BENMulti.access(BENMulti.Params())


def test_arm_bn_normalises_support_sets_of_the_test_plate():
    samples = profiles(n=160)
    method = fitted(ARMBN, samples)
    view, state = plate_of(samples), method.state()
    assert len(view) % 4
    order = np.argsort(TestBatch(method.fitted, view).keys(), kind="stable")
    out = method.apply(view)
    for start in range(0, len(view), 4):  # batch_size 16 on 4 plates
        begin = min(start, len(view) - 4)
        idx = order[begin : begin + 4]
        X, logits = mlp_by_hand(state, view.X[idx], np.ones(4, bool))
        kept = slice(start - begin, None)
        np.testing.assert_allclose(out.X[idx[kept]], X[kept], **CLOSE)
        np.testing.assert_allclose(out.logits[idx[kept]], logits[kept], **CLOSE)
    whole = ARMBN.from_state(make_params("a", ARMBN.Params, {"inference": "whole"}), state)
    multi = BENMulti.from_state(BENMulti.Params(), state)
    assert np.array_equal(whole.apply(view).X, multi.apply(view).X)
    five = make_params("a", ARMBN.Params, {"inference": "5"})
    assert ARMBN.from_state(five, state).rows_at_a_time() == 5


@pytest.mark.parametrize("rows", ["all", "treated", "controls"])
@pytest.mark.parametrize("cls", [BENMulti, ARMBN])
def test_access_follows_the_rows(cls, rows):
    params = make_params("m", cls.Params, {"rows": rows, "per_batch": 2})
    at_test = Access.TEST_CONTROLS if rows == "controls" else Access.TEST_BATCH
    known = Access.NONE if rows == "all" else Access.CONTROLS
    assert cls.access(params) == Access.TRAIN_BATCH | known | at_test
    method = fitted(cls, profiles(), rows=rows, per_batch=2)
    assert np.isfinite(method.apply(plate_of(profiles())).X).all()
    if cls is ARMBN and rows == "controls":
        assert method.rows_at_a_time() == 4  # half of the 8 rows that a plate had


@pytest.mark.parametrize("n_treated, n_controls, want", [(7, 5, (3, 2)), (20, 2, (4, 3))])
@pytest.mark.parametrize("seed", range(3))
def test_pieces_hold_one_ratio_and_answer_for_each_row_once(n_treated, n_controls, want, seed):
    rng = np.random.default_rng(seed)
    controls = rng.permutation(np.arange(n_treated + n_controls) < n_controls)
    keys = rng.integers(0, 2**63, len(controls)).astype(np.uint64)
    pieces = _pieces(controls, keys, *want)
    answered = np.concatenate([idx[kept] for idx, kept, _ in pieces])
    assert sorted(answered.tolist()) == list(range(len(controls)))
    for idx, _, gives in pieces:
        assert np.count_nonzero(gives & ~controls[idx]) == want[0]
        assert np.count_nonzero(gives & controls[idx]) == want[1]
        assert controls[idx[~gives]].all()
    used = Counter(i for idx, _, gives in pieces for i in idx[gives & controls[idx]].tolist())
    counts = [used[i] for i in np.flatnonzero(controls).tolist()]
    assert max(counts) - min(counts) <= 1


def test_a_small_plate_keeps_the_ratio():
    controls = np.array([True] * 30 + [False] * 4)
    keys = np.arange(34).astype(np.uint64)
    ((idx, kept, gives),) = _pieces(controls, keys, 8, 16)
    assert np.count_nonzero(gives & ~controls[idx]) == 4
    assert np.count_nonzero(gives & controls[idx]) == 8
    assert sorted(idx[kept].tolist()) == list(range(34))


def test_cs_arm_bn_trains_on_two_thirds_controls_of_one_plate():
    samples = profiles(n=200)
    for batch in batches_of(CSARMBN, samples, {"batch_size": 18}):
        assert len(batch.group.unique()) == 1
        assert int(batch.controls.sum()) == 12
        assert (batch.y[batch.controls] == -1).all()
    published = batches_of(CSARMBN, samples, {"batch_size": 192, "steps": 1})[0]
    assert (int((~published.controls).sum()), int(published.controls.sum())) == (64, 128)
    statistics = CSARMBN(CSARMBN.Params()).train_statistics(published)
    assert (statistics.source, statistics.mask, statistics.group) == ("rows", None, None)


def test_cs_arm_bn_equals_batch_norm_by_the_rows_of_each_piece():
    samples = profiles(n=200)
    method = fitted(CSARMBN, samples, {"batch_size": 12})
    view, state = plate_of(samples), method.state()
    keys = TestBatch(method.fitted, view).keys()
    pieces = _pieces(view.controls(), keys, 4, 8)
    assert len(pieces) > 2
    out = method.apply(view)
    for idx, kept, gives in pieces:
        X, logits = mlp_by_hand(state, view.X[idx], gives)
        np.testing.assert_allclose(out.X[idx[kept]], X[kept], **CLOSE)
        np.testing.assert_allclose(out.logits[idx[kept]], logits[kept], **CLOSE)
    params = make_params("m", CSARMBN.Params, {"inference": "whole"})
    X, _ = mlp_by_hand(state, view.X, np.ones(len(view), bool))
    np.testing.assert_allclose(CSARMBN.from_state(params, state).apply(view).X, X, **CLOSE)
    number = make_params("m", CSARMBN.Params, {"inference": "12"})
    assert np.array_equal(CSARMBN.from_state(number, state).apply(view).X, out.X)


def test_cs_arm_bn_without_controls_takes_the_running_averages():
    samples = profiles(n=200)
    method = fitted(CSARMBN, samples)
    view = plate_of(samples)
    item = np.flatnonzero(view.controls())[:1]
    for rows in (
        np.flatnonzero(~view.controls()),
        np.append(np.flatnonzero(~view.controls()), item),
    ):
        out = method.apply(view.take(rows))
        assert out.fallbacks == 1
        X, _ = mlp_by_hand(method.state(), view.X[rows])
        np.testing.assert_allclose(out.X, X, **CLOSE)
    alone = view.take(np.flatnonzero(view.controls()))
    X, _ = mlp_by_hand(method.state(), alone.X, np.ones(len(alone), bool))
    np.testing.assert_allclose(method.apply(alone).X, X, **CLOSE)
    assert method.apply(alone).fallbacks == 0
    hidden = dataclasses.replace(samples, _controls=np.zeros(200, bool))
    with raises(NotApplicable, "1", "2", "0"):
        fitted(CSARMBN, hidden)


@pytest.mark.parametrize("name", ["cs-arm-bn", "ben-multi", "ibn"])
def test_resumed_training_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    samples = images(n=60) if name == "ibn" else profiles()
    assert resumed_ends_alike(name, samples, tmp_path, monkeypatch)


def test_entropy_is_that_of_the_softmax():
    logits = 3 * np.random.default_rng(0).normal(size=(9, 5))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = float(-(p * np.log(p)).sum(1).mean())
    x = torch.from_numpy(logits).requires_grad_()
    result = mean_entropy(x)
    assert float(result.detach()) == pytest.approx(wanted, rel=1e-12)
    result.backward()
    # dH/dz_k = - p_k (log p_k + H) for each row
    entropy = -(p * np.log(p)).sum(1, keepdims=True)
    np.testing.assert_allclose(x.grad.numpy(), -p * (np.log(p) + entropy) / 9, rtol=1e-9)
    sure = torch.tensor([[1e4, 0.0]], requires_grad=True)
    mean_entropy(sure).backward()
    assert torch.isfinite(sure.grad).all()


def adapted(method, view):
    """Return the model of a method and the copy that a test batch gets."""
    model = method.fitted.model
    return model, method.adapt_model(model, TestBatch(method.fitted, view))


@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_tent_changes_only_affine_parameters_of_a_copy(kind):
    samples = samples_of(kind)
    method = fitted(Tent, samples, lr=0.01)
    before = copy.deepcopy(method.fitted.model.state_dict())
    flags = [p.requires_grad for p in method.fitted.model.parameters()]
    model, twin = adapted(method, plate_of(samples))
    assert twin is not model
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    changed = {k for k, v in twin.state_dict().items() if not torch.equal(v, before[k])}
    norms = [
        k for k, m in twin.network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    assert changed == {f"network.{k}.{p}" for k in norms for p in ("weight", "bias")}
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}


def test_tents_step_is_adams():
    """One piece of all rows: every scale and shift moves by lr against the sign of its gradient."""
    samples = profiles()
    method = fitted(Tent, samples, lr=0.01, step_rows=1000)
    view = plate_of(samples)
    model, twin = adapted(method, view)
    plain = copy.deepcopy(model)
    x = TestBatch(method.fitted, view).x(np.arange(len(view)))
    h = x
    for layer in plain.network:
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            h = (h - h.mean(0)) / (h.var(0, unbiased=False) + layer.eps).sqrt()
            h = h * layer.weight + layer.bias
        else:
            h = layer(h)
    z = plain.head(h)
    p = z.softmax(1)
    grads = torch.autograd.grad(-(p * p.log()).sum(1).mean(), affine_parameters(plain.network))
    pairs = zip(
        affine_parameters(model.network), affine_parameters(twin.network), grads, strict=True
    )
    for old, new, grad in pairs:
        large = grad.abs() > 1e-5
        step = -0.01 * grad / (grad.abs() + 1e-8)
        torch.testing.assert_close((new - old)[large], step[large], rtol=1e-2, atol=1e-5)


def test_tent_lowers_the_entropy_of_the_test_batch():
    samples = profiles(n=200)
    method = fitted(Tent, samples, {"steps": 60}, lr=0.05, passes=20, step_rows=16)
    view = plate_of(samples)
    plain = AdaBN.from_state(AdaBN.Params(), method.state()).apply(view)
    entropies = [
        float(mean_entropy(torch.from_numpy(out.logits))) for out in (method.apply(view), plain)
    ]
    assert entropies[0] < 0.9 * entropies[1]


@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_tent_without_steps_is_adabn(kind):
    samples = samples_of(kind)
    method = fitted(Tent, samples, passes=0)
    view = plate_of(samples)
    plain = AdaBN.from_state(AdaBN.Params(), method.state()).apply(view)
    assert np.array_equal(method.apply(view).logits, plain.logits)
    still = Tent.from_state(make_params("t", Tent.Params, {"lr": 0.0}), method.state())
    assert np.array_equal(still.apply(view).logits, plain.logits)
    moved = Tent.from_state(make_params("t", Tent.Params, {"lr": 0.01}), method.state())
    assert np.abs(moved.apply(view).logits - plain.logits).max() > 1e-4


@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_tent_begins_anew_for_each_batch_and_knows_no_order(kind):
    samples = samples_of(kind)
    method = fitted(Tent, samples, lr=0.01, step_rows=5)
    state = method.state()
    view = plate_of(samples, 1)
    first = method.apply(view)
    method.apply(plate_of(samples, 0))
    assert np.array_equal(method.apply(view).logits, first.logits)
    assert all(np.array_equal(state[k], v) for k, v in method.state().items())
    turned = np.random.default_rng(0).permutation(len(view))
    np.testing.assert_allclose(method.apply(view.take(turned)).X, first.X[turned], **CLOSE)
    torch.manual_seed(7)
    assert np.array_equal(method.apply(view).X, first.X)


def test_tent_shares_the_fit_of_erm():
    from bench.methods.tent import META

    assert META["fit"] == "erm"
    assert fit_fields(Tent) == {}
    assert same_state(fitted(Tent, profiles()), fitted(ERM, profiles()))
    assert Tent.access(Tent.Params()) == Access.TEST_BATCH


def test_tent_on_few_rows_is_erm_and_counted():
    samples = profiles()
    method = fitted(Tent, samples, lr=0.01, min_rows=6)
    view = plate_of(samples).take(np.arange(5))
    out = method.apply(view)
    assert out.fallbacks == 1
    plain = ERM.from_state(ERM.Params(), method.state()).apply(view)
    assert np.array_equal(out.logits, plain.logits)
    assert method.apply(plate_of(samples).take(np.arange(6))).fallbacks == 0


def test_tent_names_a_network_without_scales(tmp_path, monkeypatch):
    (tmp_path / "plain.py").write_text(
        "from torch import nn\n"
        "def make(d, k):\n"
        "    return nn.Sequential(nn.Linear(d, 4), nn.BatchNorm1d(4, affine=False), nn.ReLU(), "
        "nn.Linear(4, k))\n"
    )
    monkeypatch.chdir(tmp_path)
    method = fitted(Tent, profiles(), {"network": "plain.py:make"})
    with raises(BenchError, "network", "affine", "BatchNorm"):
        method.apply(plate_of(profiles()))


def test_instance_norm_is_that_of_each_image():
    from bench.methods._instance_norm import instance_norm

    layer = nn.BatchNorm2d(4, eps=1e-3)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    x = torch.randn(3, 4, 5, 6) * 3 + 2
    result = instance_norm(layer, 3)(x[:, :3]).detach().double()
    part = x[:, :3].double()
    mean, var = part.mean((2, 3), keepdim=True), part.var((2, 3), unbiased=False, keepdim=True)
    wanted = (part - mean) / (var + 1e-3).sqrt()
    wanted = wanted * layer.weight[:3, None, None] + layer.bias[:3, None, None]
    torch.testing.assert_close(result, wanted.detach().double(), rtol=1e-4, atol=1e-4)


def test_instance_norm_replaces_every_batch_norm():
    method = fitted(InstanceNorm, images())
    kinds = Counter(type(m).__name__ for m in method.fitted.model.network.modules())
    assert kinds["InstanceNorm"] == 9
    assert not any("BatchStatistics" in kind or "BatchNorm" in kind for kind in kinds)
    assert not any("running" in key for key in method.state())


def test_instance_norm_forgets_the_gain_of_each_image():
    samples = images()
    network = fitted(InstanceNorm, samples, {"standardise": "none"}).fitted.model.network
    x = 10 * torch.from_numpy(samples.images(np.arange(6))).float()
    gain = torch.rand(6, 1, 1, 1) + 0.5
    with torch.no_grad():
        torch.testing.assert_close(network(gain * x), network(x), rtol=1e-3, atol=1e-3)
        assert not torch.allclose(network(x + 50 * torch.rand(x.shape)), network(x), rtol=1e-2)


@pytest.mark.parametrize("cls", [InstanceNorm, IBN])
def test_a_row_does_not_depend_on_others(cls):
    samples = images()
    method = fitted(cls, samples)
    whole = method.apply(samples)
    alone = np.concatenate([method.apply(samples.take(np.array([i]))).X for i in range(5)])
    np.testing.assert_allclose(alone, whole.X[:5], rtol=1e-4, atol=1e-5)
    assert cls.access(cls.Params()) == Access.NONE
    assert same_state(method, fitted(cls, samples))
    again = cls.from_state(cls.Params(), method.state())
    assert np.array_equal(again.apply(samples).X, whole.X)


def test_ibn_splits_the_first_normalisation_of_early_blocks():
    network = fitted(IBN, images()).fitted.model.network
    kinds = [type(block.bn1).__name__ for block in network.blocks]
    assert kinds == ["SplitNorm", "SplitNorm", "BatchStatistics"]
    for block in network.blocks:
        assert type(block.bn2).__name__ == "BatchStatistics"
    early = network.blocks[1].bn1
    assert (early.instance.num_features, early.batch.num_features) == (4, 4)
    third = fitted(IBN, images(), share=0.25).fitted.model.network.blocks[1].bn1
    assert (third.instance.num_features, third.batch.num_features) == (2, 6)


def test_the_halves_of_a_split_are_each_their_own():
    from bench.methods.ibn import split_norm

    layer = nn.BatchNorm2d(5)
    for p in (layer.weight, layer.bias):
        nn.init.uniform_(p)
    layer.running_mean.uniform_()
    layer.running_var.uniform_(1, 2)
    split, x = split_norm(layer, 0.5).eval(), torch.randn(3, 5, 4, 4)
    with torch.no_grad():
        result = split(x)
        alone = nn.functional.instance_norm(x, weight=layer.weight, bias=layer.bias)
        torch.testing.assert_close(result[:, :2], alone[:, :2])
        torch.testing.assert_close(result[:, 2:], layer.eval()(x)[:, 2:])


@pytest.mark.parametrize("name, expected", [("resnet18", 6), ("resnet50", 13)])
def test_ibn_finds_the_published_layers_of_residual_networks(name, expected):
    """All blocks of conv2_x to conv4_x, none of conv5_x."""
    import torchvision
    from bench.methods.ibn import early_blocks

    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    blocks = early_blocks(network)
    assert len(blocks) == expected
    assert not set(blocks) & set(network.layer4)


@pytest.mark.parametrize("cls", [InstanceNorm, IBN])
def test_tables_are_not_applicable(cls):
    assert cls.needs(cls.Params()) == frozenset({"images"})
    with raises(NotApplicable):
        fitted(cls, profiles())


def test_networks_and_images_that_do_not_suit_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = (
        "from torch import nn\n"
        "def make(c, k):\n"
        "    return nn.Sequential(nn.Conv2d(c, 4, 3), {}, nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, k))\n"
    )
    (tmp_path / "without.py").write_text(body.format("nn.GroupNorm(2, 4)"))
    (tmp_path / "straight.py").write_text(body.format("nn.BatchNorm2d(4)"))
    with raises(BenchError, "GroupNorm"):
        fitted(InstanceNorm, images(), {"network": "without.py:make"})
    with raises(BenchError):
        fitted(IBN, images(), {"network": "straight.py:make"})
    fitted(InstanceNorm, images(), {"network": "straight.py:make"})
    with raises(BenchError):
        fitted(InstanceNorm, images(size=16))
