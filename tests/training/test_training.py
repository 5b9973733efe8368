"""The one loop: schedule, scaling, hooks, exact resume, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bench.methods.adabn import AdaBN
from bench.methods.ben import BEN
from bench.methods.ben_controls import BENControls
from bench.methods.erm import ERM
from bench.methods.erm_plate import ERMPlate
from torch import nn

from bench.api import Access, Context, Samples
from bench.core.errors import BenchError, NotApplicable, RunFailed
from bench.core.params import make_params, param
from bench.core.samples import new_handle
from bench.core.seeds import seed_for
from bench.network import NetworkMethod
from bench.training import checkpoint, inputs, loop
from bench.training.determinism import reproducible
from bench.training.inputs import Scaling, augmented, channel_moments
from bench.training.losses import classification_loss, reverse_gradient
from bench.training.recipes import resolve
from bench.training.schedule import learning_rate, total_steps
from tests.helpers.errors import raises

METHODS = [ERM, AdaBN, BEN, BENControls, ERMPlate]
PROFILES = {"steps": 12, "batch_size": 16, "width": 8, "lr": 0.01}
IMAGES = {"steps": 8, "batch_size": 12, "width": 4}


def profiles(n=120, d=6, seed=0, batches=4):
    """Three classes; each batch shifts and stretches all features; one row in six a control."""
    rng = np.random.default_rng(seed)
    y, batch = rng.integers(3, size=n), rng.integers(batches, size=n)
    controls = rng.random(n) < 1 / 6
    y[controls] = -1
    X = rng.normal(size=(n, d)) + np.where(controls, 0, 2 * (y + 1))[:, None] * np.eye(d)[y % d]
    X = X * rng.uniform(0.5, 2, (batches, d))[batch] + rng.normal(size=(batches, d))[batch] * 2
    return Samples(
        ids=np.array([f"r{i}" for i in range(n)]),
        y=y.astype(np.int64),
        batch=np.array([f"p{b}" for b in batch]),
        n_classes=3,
        shape=(d,),
        X=X.astype(np.float32),
        _controls=controls,
    )


class Source:
    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype
        self.read_rows = 0

    def read(self, rows):
        self.read_rows += len(rows)
        return self.pixels[rows]


def images(n=60, size=16, dtype=np.uint16, seed=0, batches=3):
    """Two classes of dots that differ in their distance."""
    rng = np.random.default_rng(seed)
    y, batch = rng.integers(2, size=n), rng.integers(batches, size=n)
    controls = rng.random(n) < 1 / 6
    period = np.where(y == 0, 4, 8)
    wave = np.sin(2 * np.pi * np.arange(size) / period[:, None])
    pixels = wave[:, None, None, :] * wave[:, None, :, None] * 40 + 100
    pixels = pixels + 10 * batch[:, None, None, None]
    pixels = pixels + rng.normal(0, 5, (n, 2, size, size))
    pixels = np.clip(pixels, 0, 255).astype(dtype)
    y[controls] = -1
    source = Source(pixels)
    handle = new_handle(source, np.arange(n))
    samples = Samples(
        ids=np.array([f"i{k}" for k in range(n)]),
        y=y.astype(np.int64),
        batch=np.array([f"p{b}" for b in batch]),
        n_classes=2,
        shape=pixels.shape[1:],
        _controls=controls,
        _handle=handle,
    )
    return samples, source


def context(kind="profiles", seed=3, scratch=None, **overrides):
    base = PROFILES if kind == "profiles" else IMAGES
    passed = {**base, **overrides}
    if "epochs" in passed:
        passed.pop("steps", None)
    points = []
    ctx = Context(
        seed=seed,
        recipe=resolve("default", kind, passed),
        scratch=scratch,
        log=lambda step, **values: points.append((step, values)),
    )
    return ctx, points


def fitted(cls, samples, ctx, adapt=None, **params):
    method = cls(make_params(cls.__name__, cls.Params, params))
    method.fit(samples, adapt, ctx)
    return method


def same(a, b):
    first, second = a.state(), b.state()
    return list(first) == list(second) and all(
        np.array_equal(first[key], second[key]) for key in first
    )


def test_learning_rate_is_the_published_schedule():
    recipe = resolve("paper", "images", {})
    assert total_steps(recipe, 40612) == 90 * 541
    total = 90 * 541
    assert learning_rate(0, total, recipe) == 0
    assert learning_rate(2705, total, recipe) == pytest.approx(1e-3 / 2)
    assert learning_rate(5410, total, recipe) == pytest.approx(1e-3)
    assert learning_rate(5410 + 40 * 541, total, recipe) == pytest.approx(1e-3 / 2)
    for step in range(5410, total, 997):
        angle = math.pi * (step - 5410) / (80 * 541)
        assert learning_rate(step, total, recipe) == pytest.approx(1e-3 * (1 + math.cos(angle)) / 2)


def test_learning_rate_without_warm_up_or_decay():
    recipe = resolve("default", "images", {"warmup": 0, "schedule": "constant", "lr": 0.5})
    assert {learning_rate(s, 10, recipe) for s in range(10)} == {0.5}
    recipe = resolve("default", "images", {"warmup": 1})
    assert [learning_rate(s, 4, recipe) for s in range(4)] == pytest.approx(
        [0, 0.25 * recipe["lr"], 0.5 * recipe["lr"], 0.75 * recipe["lr"]]
    )


def test_epochs_are_counted_in_whole_batches():
    assert total_steps(resolve("default", "images", {"epochs": 3}), 200) == 3 * 3
    assert total_steps(resolve("default", "images", {"epochs": 3}), 10) == 3
    assert total_steps(resolve("default", "images", {"steps": 7}), 200) == 7


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_per_image_standardisation_is_that_of_torch_std(dtype):
    pixels = np.random.default_rng(0).integers(0, 200, (5, 2, 6, 7)).astype(dtype)
    pixels[2, 1] = 9
    scale = Scaling("image", np.zeros(2, np.float32), np.ones(2, np.float32))
    result = scale(inputs.as_float(pixels, "cpu")).numpy()
    exact = pixels.astype(np.float64)
    sd = exact.std((2, 3), ddof=1, keepdims=True)
    exact = (exact - exact.mean((2, 3), keepdims=True)) / np.where(sd > 0, sd, 1)
    np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-5)
    assert not result[2, 1].any()


def test_uint16_above_the_signed_range_keeps_its_value():
    pixels = np.full((1, 1, 2, 2), 65535, np.uint16)
    assert inputs.as_float(pixels, "cpu").unique().tolist() == [65535.0]


def test_constants_are_those_of_all_rows_and_constant_columns_count_as_1():
    rows = np.random.default_rng(0).normal(1000, 3, (1500, 4)).astype(np.float32)
    rows[:, 2] = 0.1
    mean, sd = channel_moments(lambda idx: rows[idx], np.arange(1500))
    np.testing.assert_allclose(mean, rows.astype(np.float64).mean(0), rtol=1e-6)
    wanted = rows.astype(np.float64).std(0)
    wanted[2] = 1
    np.testing.assert_allclose(sd, wanted, rtol=1e-5)


def test_profiles_are_scaled_by_the_training_rows():
    samples = profiles()
    method = fitted(ERM, samples, context()[0])
    scaling = method.fitted.scaling
    np.testing.assert_allclose(scaling.mean, samples.X.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaling.sd, samples.X.std(0), rtol=1e-4)


class Seen(ERM):
    """Keeps what the network is given."""

    def inputs(self, batch):
        self.seen = [*getattr(self, "seen", []), batch]
        return batch


@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_plate_standardisation_uses_all_rows_of_the_batch(kind):
    samples = profiles() if kind == "profiles" else images()[0]
    values = samples.X if kind == "profiles" else samples.images(np.arange(len(samples)))
    values = values.astype(np.float64)
    axes = (0,) if kind == "profiles" else (0, 2, 3)
    wanted = np.empty(values.shape)
    for name in np.unique(samples.batch):
        rows = samples.batch == name
        part = values[rows]
        wanted[rows] = (part - part.mean(axes, keepdims=True)) / part.std(axes, keepdims=True)
    more = {"augment": "none"} if kind == "images" else {}
    method = Seen(Seen.Params())
    method.fit(samples, None, context(kind, standardise="plate", **more)[0])
    for batch in method.seen:
        np.testing.assert_allclose(batch.x.numpy(), wanted[batch.idx], rtol=1e-3, atol=1e-4)
    from bench.training.inference import TestBatch

    item = np.flatnonzero(samples.batch == "p1")
    rows = TestBatch(method.fitted, samples.take(item))
    result = rows.x(np.arange(len(item))).numpy()
    np.testing.assert_allclose(result, wanted[item], rtol=1e-3, atol=1e-4)


def test_augmentation_is_the_eight_symmetries_equally_often():
    image = torch.arange(2 * 3 * 3, dtype=torch.float32).reshape(1, 2, 3, 3)
    both = (image, image.flip(3))
    square = [torch.rot90(start, k, (2, 3)) for start in both for k in range(4)]
    result = augmented(image.expand(4000, -1, -1, -1), torch.Generator().manual_seed(0))
    counts = [int((result == s).flatten(1).all(1).sum()) for s in square]
    assert sum(counts) == 4000
    assert min(counts) > 400
    oblong = augmented(torch.rand(10, 2, 3, 4), torch.Generator().manual_seed(0))
    assert oblong.shape == (10, 2, 3, 4)


def test_rows_are_read_ahead_or_kept_with_the_same_result(monkeypatch):
    kept = fitted(ERM, images()[0], context("images")[0])
    monkeypatch.setattr(inputs, "PRELOAD_BYTES", 0)
    samples, source = images()
    ahead = fitted(ERM, samples, context("images")[0])
    assert same(kept, ahead)
    # one row more, to know its size: never the whole set where a few steps need a part of it
    assert source.read_rows == IMAGES["steps"] * IMAGES["batch_size"] + 1


@pytest.mark.parametrize("cls", METHODS)
def test_equal_seeds_give_equal_bits_and_others_do_not(cls):
    first = fitted(cls, profiles(), context()[0])
    with torch.random.fork_rng():
        torch.manual_seed(99)
        torch.rand(7)
        second = fitted(cls, profiles(), context()[0])
    assert same(first, second)
    assert not same(first, fitted(cls, profiles(), context(seed=4)[0]))


def test_deterministic_kernels_do_not_need_the_compiler(monkeypatch):
    """Its import takes more than a second, and inference does not use it."""
    monkeypatch.delitem(sys.modules, "torch._inductor", raising=False)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", None)
    with reproducible(0, "cpu", (3, 8, 8)):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_leaves_global_randomness_and_settings_alone():
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    fitted(ERM, profiles(), context()[0])
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


def test_shared_fits_are_one_fit():
    for owner, guest in ((ERM, AdaBN), (BEN, ERMPlate)):
        for kind, samples in (("profiles", profiles()), ("images", images()[0])):
            a, b = (fitted(cls, samples, context(kind)[0]) for cls in (owner, guest))
            assert same(a, b)
            restored = guest.from_state(guest.Params(), a.state())
            whole = samples.take(samples.batch == "p1")
            assert np.array_equal(restored.apply(whole).X, b.apply(whole).X)
    fields = {f.name for f in dataclasses.fields(BEN.Params) if f.metadata["phase"] == "fit"}
    assert fields == {f.name for f in dataclasses.fields(ERMPlate.Params)}
    assert all(f.metadata["phase"] == "apply" for f in dataclasses.fields(AdaBN.Params))


class Interrupted(Exception):
    pass


class Dropout(ERM):
    """Draws from torch's global generator in each step."""

    def modify(self, network):
        return nn.Sequential(nn.Dropout(0.3), network)


@pytest.mark.parametrize("cls", [*METHODS, Dropout])
@pytest.mark.parametrize("steps", [(1,), (3, 4, 9), (11,)])
def test_resumed_training_ends_in_the_same_bits(cls, steps, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    wanted_ctx, wanted_points = context()
    wanted = fitted(cls, profiles(), wanted_ctx)
    for stop in steps:
        ctx, points = context(scratch=tmp_path)

        def progress(done, total, stop=stop):
            if done == stop:
                raise Interrupted

        with pytest.raises(Interrupted):
            fitted(cls, profiles(), dataclasses.replace(ctx, progress=progress))
        assert [p.name for p in tmp_path.iterdir()] == ["training.pt"]
    ctx, points = context(scratch=tmp_path)
    done = []
    ctx = dataclasses.replace(ctx, progress=lambda step, total: done.append(step))
    method = fitted(cls, profiles(), ctx)
    assert done == list(range(steps[-1] + 1, 13))
    assert same(method, wanted)
    assert points == wanted_points
    assert method.cost == wanted.cost
    assert list(tmp_path.iterdir()) == []


def test_resume_on_images(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    wanted = fitted(BEN, images()[0], context("images")[0])
    ctx, _ = context("images", scratch=tmp_path)
    counter = itertools.count(1)

    def progress(done, total):
        if next(counter) == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitted(BEN, images()[0], dataclasses.replace(ctx, progress=progress))
    assert same(fitted(BEN, images()[0], ctx), wanted)


@pytest.mark.parametrize("content", [b"", b"PK broken", None])
def test_a_damaged_or_foreign_checkpoint_is_not_used(content, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    wanted = fitted(ERM, profiles(), context()[0])
    ctx, _ = context(scratch=tmp_path)
    if content is None:  # of another seed
        other, _ = context(scratch=tmp_path, seed=8)

        def progress(done, total):
            raise Interrupted

        with pytest.raises(Interrupted):
            fitted(ERM, profiles(), dataclasses.replace(other, progress=progress))
    else:
        (tmp_path / "training.pt").write_bytes(content)
    assert same(fitted(ERM, profiles(), ctx), wanted)


def test_a_checkpoint_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    (tmp_path / "file").write_text("in the way")
    with raises(BenchError):
        fitted(ERM, profiles(), context(scratch=tmp_path / "file")[0])


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("kind", ["profiles", "images"])
def test_loss_falls_and_every_parameter_is_reached(cls, kind):
    samples = profiles() if kind == "profiles" else images()[0]
    ctx, points = context(kind, steps=40, lr=0.01)
    fitted(cls, samples, ctx)
    losses = [values["loss"] for _, values in points]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    method = cls(cls.Params())
    assert loop.untrained_parameters(method, samples, None, ctx) == []


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_one_step_is_the_optimisers(optimiser):
    """Recomputed from the first batch with PyTorch's own layers and optimiser."""
    ctx, _ = context(steps=1, warmup=0, optimiser=optimiser, weight_decay=0.1)
    samples = profiles()
    method = Seen(Seen.Params())
    method.fit(samples, None, ctx)
    batch = method.seen[0]
    torch.manual_seed(seed_for("network", ctx.seed))
    from bench.training.architectures import mlp

    network = mlp(6, 3, 8, 3)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser]
    own = kind(network.parameters(), lr=0.01, weight_decay=0.1)
    labelled = batch.y >= 0
    loss = nn.functional.cross_entropy(network(batch.x)[labelled], batch.y[labelled])
    loss.backward()
    own.step()
    state = method.state()
    result = [state[k] for k in state if k.startswith("model.")]
    inner = network[:6].state_dict()
    wanted = {f"model.network.{k}": v for k, v in inner.items()}
    wanted |= {f"model.head.{k}": getattr(network[6], k) for k in ("weight", "bias")}
    assert len(result) == len(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(state[key], value.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_batch_without_labels_contributes_nothing():
    samples = profiles()
    y = np.where(samples.batch == "p0", -1, samples.y)
    quiet = dataclasses.replace(samples, y=y)
    ctx, points = context(steps=30)
    fitted(BEN, quiet, ctx)
    losses = np.array([values["loss"] for _, values in points])
    assert (losses == 0).any()
    assert (losses > 0).any()


def test_a_loss_that_is_not_finite_stops_with_its_step():
    class Broken(ERM):
        def loss(self, model, batch):
            loss = classification_loss(batch)
            return {"class": loss, "penalty": loss * (np.inf if batch.step == 3 else 0)}

    with raises(RunFailed, "3", "12", "penalty", "0.0"):
        fitted(Broken, profiles(), context()[0])
    samples = profiles()
    samples.X[:, 2] = np.nan
    with raises(RunFailed, "0"):
        fitted(ERM, samples, context()[0])


def test_the_progress_of_a_batch_is_the_share_of_steps_before_it():
    shares = []

    class Noted(ERM):
        def loss(self, model, batch):
            shares.append(batch.progress)
            return super().loss(model, batch)

    fitted(Noted, profiles(), context(steps=4)[0])
    assert shares == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"channels_last": False}])
def test_precision_and_memory_order_change_little(change):
    samples = images(n=120)[0]
    plain = fitted(ERM, samples, context("images", steps=60, lr=0.01)[0])
    other = fitted(ERM, samples, context("images", steps=60, lr=0.01, **change)[0])
    labelled = samples.y >= 0
    for method in (plain, other):
        out = method.apply(samples)
        assert out.X.dtype == out.logits.dtype == np.float32
        assert (out.logits.argmax(1) == samples.y)[labelled].mean() > 0.9
    assert other.state()["model.network.stem.0.weight"].dtype == np.float32


class Adversary(NetworkMethod):
    """A domain head behind a reversed gradient, its weight rising (Ganin et al. 2016)."""

    @classmethod
    def access(cls, params):
        return Access.TRAIN_BATCH

    def extra_modules(self, n_features, n_classes, n_batches):
        return nn.Linear(n_features, n_batches)

    def loss(self, model, batch):
        ramp = 2 / (1 + math.exp(-10 * batch.progress)) - 1
        domain = model.extra(reverse_gradient(batch.features, ramp))
        return {
            "class": classification_loss(batch),
            "domain": nn.functional.cross_entropy(domain, batch.group),
        }


class WorstBatch(NetworkMethod):
    """Batches weighted by exponentiated losses (Sagawa et al. 2020); weights are state."""

    @classmethod
    def access(cls, params):
        return Access.TRAIN_BATCH

    def extra_modules(self, n_features, n_classes, n_batches):
        weights = nn.Module()
        weights.register_buffer("q", torch.full((n_batches,), 1 / n_batches))
        return weights

    def loss(self, model, batch):
        labelled = batch.y >= 0
        logits, y = batch.logits[labelled], batch.y[labelled]
        each = nn.functional.cross_entropy(logits, y, reduction="none")
        onehot = nn.functional.one_hot(batch.group[labelled], batch.n_batches).float()
        mean = (onehot.T @ each) / onehot.sum(0).clamp(min=1)
        with torch.no_grad():
            q = model.extra.q * torch.exp(0.1 * mean)
            model.extra.q.copy_(q / q.sum())
        return (model.extra.q * mean).sum()


class Invariance(NetworkMethod):
    """The squared gradient of each batch's risk by a scale of the logits (Arjovsky et al. 2019)."""

    @classmethod
    def access(cls, params):
        return Access.TRAIN_BATCH

    def loss(self, model, batch):
        penalty = batch.logits.new_zeros(())
        for g in batch.group.unique():
            rows = (batch.group == g) & (batch.y >= 0)
            if rows.any():
                scale = torch.ones((), requires_grad=True)
                risk = nn.functional.cross_entropy(batch.logits[rows] * scale, batch.y[rows])
                penalty = penalty + torch.autograd.grad(risk, scale, create_graph=True)[0].square()
        return {"class": classification_loss(batch), "penalty": penalty}


class Mixed(NetworkMethod):
    """Convex combinations of pairs of rows and of their labels (Zhang et al. 2018)."""

    def inputs(self, batch):
        order = torch.randperm(len(batch.y), generator=batch.generator)
        weight = torch.rand((), generator=batch.generator)
        x = weight * batch.x + (1 - weight) * batch.x[order]
        return dataclasses.replace(batch, x=x, extra={"other": batch.y[order], "weight": weight})

    def loss(self, model, batch):
        weight = batch.extra["weight"]
        other = dataclasses.replace(batch, y=batch.extra["other"])
        return weight * classification_loss(batch) + (1 - weight) * classification_loss(other)


class Adapting(NetworkMethod):
    """Pulls the mean features of unlabelled rows to those of the training rows."""

    @classmethod
    def access(cls, params):
        return Access.ADAPT

    def loss(self, model, batch):
        gap = batch.features.mean(0) - batch.adapt.features.mean(0)
        return {"class": classification_loss(batch), "gap": gap.square().sum()}


class Averaged(NetworkMethod):
    """Applies an average of the weights over steps, kept as buffers."""

    def extra_modules(self, n_features, n_classes, n_batches):
        mean = nn.Module()
        mean.register_buffer("weight", torch.zeros(n_classes, n_features))
        return mean

    def after_step(self, model, batch):
        model.extra.weight.lerp_(model.head.weight.detach(), 0.1)


class Entropy(ERM):
    """One gradient step on the affine parameters of a copy, per test batch (Wang et al. 2021)."""

    @classmethod
    def access(cls, params):
        return Access.TEST_BATCH

    def adapt_model(self, model, rows):
        import copy

        twin = copy.deepcopy(model)
        with torch.enable_grad():
            logits = twin(rows.x(np.arange(len(rows))))[1]
            entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            affine = [p for k, p in twin.network.named_parameters() if k.startswith("1.")]
            for p, g in zip(affine, torch.autograd.grad(entropy, affine), strict=True):
                p.data -= 0.5 * g
        return twin


HOOKED = [Adversary, WorstBatch, Invariance, Mixed, Averaged]


@pytest.mark.parametrize("cls", HOOKED)
def test_methods_of_the_field_fit_the_hooks(cls, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    ctx, points = context(steps=40)
    method = fitted(cls, profiles(), ctx)
    losses = [values["loss"] for _, values in points]
    assert np.isfinite(losses).all()
    out = method.apply(profiles())
    labelled = profiles().y >= 0
    assert (out.logits.argmax(1) == profiles().y)[labelled].mean() > 0.6
    restored = cls.from_state(cls.Params(), method.state())
    assert np.array_equal(restored.apply(profiles()).X, out.X)
    assert loop.untrained_parameters(cls(cls.Params()), profiles(), None, ctx) == ([])

    def progress(done, total):
        if done == 17:
            raise Interrupted

    ctx, _ = context(steps=40, scratch=tmp_path)
    with pytest.raises(Interrupted):
        fitted(cls, profiles(), dataclasses.replace(ctx, progress=progress))
    assert same(fitted(cls, profiles(), ctx), method)


def test_terms_are_logged_and_sum_to_the_loss():
    ctx, points = context()
    fitted(Adversary, profiles(), ctx)
    for _, values in points:
        assert values["loss"] == pytest.approx(values["class"] + values["domain"], rel=1e-5)


def test_reversed_gradients_train_the_head_and_repel_the_features():
    x = torch.tensor([[2.0, -1.0]], requires_grad=True)
    out = reverse_gradient(x, 0.25)
    assert torch.equal(out, x)
    (out * torch.tensor([3.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [[-0.75, -1.25]]


def test_group_weights_are_state_and_sum_to_one():
    method = fitted(WorstBatch, profiles(), context(steps=40)[0])
    q = method.state()["model.extra.q"]
    assert q.sum() == pytest.approx(1, abs=1e-5)
    assert q.std() > 0


def test_adaptation_sees_unlabelled_rows_with_codes_of_their_own():
    groups = []

    class Watching(Adapting):
        def loss(self, model, batch):
            groups.append((set(batch.group.tolist()), set(batch.adapt.group.tolist())))
            assert batch.adapt.x.shape == batch.x.shape
            return super().loss(model, batch)

    other = profiles(seed=1)
    adapt = dataclasses.replace(other, y=np.full(len(other), -1, np.int64))
    ctx, _ = context()
    fitted(Watching, profiles(), ctx, adapt=adapt)
    assert set().union(*(a for a, _ in groups)) == {0, 1, 2, 3}
    assert set().union(*(b for _, b in groups)) == {4, 5, 6, 7}
    with raises(BenchError, "ADAPT"):
        fitted(Adapting, profiles(), ctx)
    with raises(BenchError, "ADAPT"):
        fitted(ERM, profiles(), ctx, adapt=adapt)


def test_adapting_a_copy_leaves_the_method_unchanged():
    method = fitted(Entropy, profiles(), context()[0])
    before = method.state()
    whole = profiles(seed=2)
    adapted = method.apply(whole).logits
    after = method.state()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    plain = ERM.from_state(ERM.Params(), before).apply(whole).logits
    assert np.abs(adapted - plain).max() > 1e-4
    assert np.array_equal(adapted, method.apply(whole).logits)


def test_additions_do_not_move_the_start_of_the_network():
    ctx, _ = context(steps=1, warmup=1)  # the only step has rate 0
    plain, extra = fitted(ERM, profiles(), ctx).state(), fitted(Adversary, profiles(), ctx).state()
    assert np.array_equal(plain["model.network.0.weight"], extra["model.network.0.weight"])
    assert np.array_equal(plain["model.head.weight"], extra["model.head.weight"])


@dataclass(frozen=True)
class Strength:
    weight: float = param(0.5, "weight of a term", low=0, high=1)


class Parameterised(NetworkMethod):
    Params = Strength
    has_head = False

    def loss(self, model, batch):
        return self.params.weight * batch.features.square().mean()


def test_a_method_without_a_head_returns_no_logits():
    method = fitted(Parameterised, profiles(), context()[0], weight=0.25)
    assert method.apply(profiles()).logits is None
    assert method.fitted.model.head.weight.requires_grad is False


def test_nothing_to_train_on():
    samples = profiles()
    with raises(NotApplicable):
        fitted(ERM, samples.take(np.arange(0)), context()[0])
    with raises(NotApplicable):
        fitted(ERM, samples.take(samples.y < 0), context()[0])
