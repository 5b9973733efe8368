"""DANN, CDANN and their forms for adaptation: terms against naive float64, reversal, effect."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from bench.methods import _adversary as adversary
from bench.methods import cdann_da
from bench.methods.cdann import CDANN
from bench.methods.cdann_da import CDANNDA
from bench.methods.dann import DANN
from bench.methods.dann_da import DANNDA
from bench.methods.erm import ERM

from bench.api import Access, make_params
from bench.core.errors import NotApplicable
from bench.training import checkpoint, loop, losses
from tests.helpers.errors import raises
from tests.helpers.views import context, images, profiles, same_state, trained, unlabelled

METHODS = [DANN, DANNDA, CDANN, CDANNDA]
ADAPTING = [DANNDA, CDANNDA]
NEW = unlabelled(profiles(seed=5, first=10, batches=2))


def adapt_of(cls, samples=None):
    if Access.ADAPT not in cls.access(cls.Params()):
        return None
    if samples is not None and samples.is_images:
        return unlabelled(images(seed=8))
    return NEW


def watched(cls, look):
    """Return the method with ``look(method, model, batch, terms)`` called in each step."""

    class Watched(cls):
        def loss(self, model, batch):
            terms = super().loss(model, batch)
            look(self, model, batch, terms)
            return terms

    return Watched


def once(cls, samples=None, adapt=None, recipe=None, **params):
    """Return model, batch and terms of the second step."""
    result = []

    def look(method, model, batch, terms):
        if batch.step == 1:
            result.append((method, model, batch, terms))
            raise StopIteration

    with pytest.raises(StopIteration):
        trained(
            watched(cls, look),
            profiles() if samples is None else samples,
            context(**(recipe or {})),
            adapt=adapt_of(cls) if adapt is None else adapt,
            **params,
        )
    return result[0]


def forward(classifier, x):
    """The domain classifier by hand in float64: linear, BatchNorm by the rows, ReLU, twice."""
    state = {k: v.detach().double().numpy() for k, v in classifier.state_dict().items()}
    h = x.detach().double().numpy() if torch.is_tensor(x) else x
    for k in (0, 3):
        h = h @ state[f"{k}.weight"].T
        h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
        h = np.maximum(h * state[f"{k + 1}.weight"] + state[f"{k + 1}.bias"], 0)
    return h @ state["6.weight"].T + state["6.bias"]


def cross_entropy(logits, target):
    """Row by row."""
    return np.array(
        [math.log(sum(math.exp(v) for v in z)) - z[t] for z, t in zip(logits, target, strict=True)]
    )


def test_the_factor_is_the_published_ramp():
    params = make_params("dann", DANN.Params, {"weight": 0.5})
    assert params.factor(0) == 0
    for p in (0.1, 0.37, 0.99):
        assert params.factor(p) == pytest.approx(0.5 * (2 / (1 + math.exp(-10 * p)) - 1))
        assert params.factor(p) == pytest.approx(0.5 * math.tanh(5 * p))
    constant = make_params("dann", DANN.Params, {"weight": 0.5, "ramp": "constant"})
    assert {constant.factor(p) for p in (0, 0.5, 1)} == {0.5}


@pytest.mark.parametrize("cls", METHODS)
def test_only_what_reaches_the_features_is_reversed_and_scaled(cls):
    """The classifier learns at full speed; features get minus the factor times its gradient."""
    gradients = {}
    for ramp, weight in (("constant", 1.0), ("constant", 0.25), ("sigmoid", 1.0)):
        _, model, batch, terms = once(cls, ramp=ramp, weight=weight, recipe={"warmup": 1.0})
        # the first step has rate 0, so all three have the same weights
        inside = list(model.extra.parameters())
        into = torch.autograd.grad(terms["domain"], [batch.features, *inside], retain_graph=True)
        gradients[ramp, weight] = into
    full = gradients["constant", 1.0]
    assert full[0].abs().max() > 0
    for key, factor in ((("constant", 0.25), 0.25), (("sigmoid", 1.0), math.tanh(5 / 12))):
        torch.testing.assert_close(gradients[key][0], factor * full[0], rtol=1e-4, atol=1e-8)
        for item, other in zip(gradients[key][1:], full[1:], strict=True):
            torch.testing.assert_close(item, other)
    # against the gradient of the same term without reversal
    _, _model, batch, terms = once(cls, ramp="constant", weight=1.0, recipe={"warmup": 1.0})
    result = torch.autograd.grad(terms["domain"], batch.features)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "reverse_gradient", lambda x, scale: x)
        _, _model, batch, terms = once(cls, recipe={"warmup": 1.0})
        plain = torch.autograd.grad(terms["domain"], batch.features)[0]
    torch.testing.assert_close(result, -plain)


def test_dann_tells_batches_apart():
    _, model, batch, terms = once(DANN, samples=profiles(batches=6))
    logits = forward(model.extra, batch.features)
    assert logits.shape == (24, 6)
    wanted = cross_entropy(logits, batch.group.numpy()).mean()
    assert terms["domain"].item() == pytest.approx(wanted, rel=1e-4)
    assert terms["class"].item() == losses.classification_loss(batch).item()
    assert (batch.y < 0).any()


def test_cdann_tells_batches_apart_within_classes_of_equal_weight():
    samples = profiles(batches=6)
    y = np.where((samples.y == 2) & (np.arange(160) % 4 > 0), 0, samples.y)  # a rare class
    _, model, batch, terms = once(CDANN, samples=dataclasses.replace(samples, y=y))
    labels, groups = batch.y.numpy(), batch.group.numpy()
    rows = np.flatnonzero(labels >= 0)
    assert len(rows) < len(labels)
    vectors = model.extra["vectors"].weight.detach().double().numpy()
    x = batch.features.detach().double().numpy()
    inputs = np.stack([x[i] + vectors[:, labels[i]] for i in rows])
    each = cross_entropy(forward(model.extra["domains"], inputs), groups[rows])
    wanted = np.mean([each[labels[rows] == k].mean() for k in np.unique(labels[rows])])
    assert terms["domain"].item() == pytest.approx(wanted, rel=1e-4)
    assert terms["domain"].item() != pytest.approx(each.mean(), rel=1e-4)


def test_cdann_without_classes_in_a_step_has_no_domain_term():
    samples = profiles(n=400)
    few = np.where(np.arange(400) < 8, samples.y, -1)
    seen = []
    look = watched(
        CDANN, lambda method, model, batch, terms: seen.append(float(terms["domain"].detach()))
    )
    trained(look, dataclasses.replace(samples, y=few), context(steps=20, batch_size=4))
    assert 0 in seen
    assert np.isfinite(seen).all()


def test_dann_for_adaptation_tells_sides_apart():
    lone = NEW.take(np.arange(10))
    _, model, batch, terms = once(DANNDA, adapt=lone)
    assert (len(batch.features), len(batch.adapt.features)) == (24, 10)
    logits = forward(model.extra, torch.cat([batch.features, batch.adapt.features]))
    each = cross_entropy(logits, np.repeat([0, 1], [24, 10]))
    wanted = (each[:24].mean() + each[24:].mean()) / 2
    assert terms["domain"].item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("largest", [4096, 8])
def test_conditional_adaptation_sees_features_with_predictions(entropy, largest, monkeypatch):
    monkeypatch.setattr(cdann_da, "LARGEST", largest)
    _, model, batch, terms = once(CDANNDA, entropy=entropy)
    extra = model.extra
    f = torch.cat([batch.features, batch.adapt.features]).detach().double().numpy()
    z = torch.cat([batch.logits, batch.adapt.logits]).detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    if largest == 4096:
        mapped = np.stack([np.outer(f[i], p[i]).ravel() for i in range(len(f))])
        assert not list(extra.buffers(recurse=False))
    else:
        a, b = (getattr(extra, name).double().numpy() for name in ("of_features", "of_classes"))
        mapped = (f @ a) * (p @ b) / np.sqrt(1024)
        assert a.shape == (8, 1024)
        assert a.std() == pytest.approx(1, abs=0.05)
    logits = forward(extra.domains, mapped)
    each = cross_entropy(logits, np.repeat([0, 1], 24))
    weight = np.exp((p * np.log(p)).sum(1)) + 1 if entropy else np.ones(48)
    sides = [
        sum(weight[i] * each[i] for i in rows) / sum(weight[i] for i in rows)
        for rows in (range(24), range(24, 48))
    ]
    assert terms["domain"].item() == pytest.approx(np.mean(sides), rel=1e-4)
    # nothing flows through the predictions
    assert torch.autograd.grad(
        terms["domain"], model.head.weight, allow_unused=True, retain_graph=True
    ) == (None,)


def test_random_products_keep_inner_products():
    """E<T(f, p), T(g, q)> = <f, g><p, q>, as for the full map (theorem 1 of the paper)."""
    rng = torch.Generator().manual_seed(0)
    f, p = torch.randn(2, 5, generator=rng), torch.rand(2, 3, generator=rng)
    wanted = float((f[0] @ f[1]) * (p[0] @ p[1]))
    products = []
    for _ in range(300):
        extra = torch.nn.Module()
        extra.of_features = torch.randn(5, 1024, generator=rng)
        extra.of_classes = torch.randn(3, 1024, generator=rng)
        first, second = cdann_da.conditioned(extra, f, p)
        products.append(float(first @ second))
    error = 4 * np.std(products) / np.sqrt(len(products))
    assert np.mean(products) == pytest.approx(wanted, abs=error)


@pytest.mark.parametrize("cls", ADAPTING)
def test_both_sides_go_through_the_network_together(cls):
    _, model, batch, _ = once(cls)
    with torch.no_grad():
        features, logits = model(torch.cat([batch.x, batch.adapt.x]))
        alone = model(batch.x)[0]
    torch.testing.assert_close(batch.features, features[:24])
    torch.testing.assert_close(batch.adapt.logits, logits[24:])
    assert (alone - features[:24]).abs().max() > 1e-3


@pytest.mark.parametrize("cls", ADAPTING)
def test_evaluation_labels_and_batches_are_not_read(cls):
    blind = trained(cls, profiles(), context(), adapt=NEW)
    labelled = unlabelled(NEW, np.arange(len(NEW)) % 3)
    labelled = dataclasses.replace(labelled, batch=np.full(len(NEW), ""))
    assert same_state(blind, trained(cls, profiles(), context(), adapt=labelled))
    hidden = dataclasses.replace(profiles(), batch=np.full(160, ""))
    assert blind.fitted.config["n_batches"] == 4
    other = trained(cls, hidden, context(), adapt=NEW).state()
    weights = blind.state()
    assert all(np.array_equal(weights[k], other[k]) for k in weights if k != "config")


@pytest.mark.parametrize("cls", [DANN, CDANN])
def test_one_batch_cannot_be_distinguished(cls):
    with raises(NotApplicable, "2", "1"):
        trained(cls, profiles(batches=1), context())


def readable(X, domain):
    """Balanced accuracy of a linear read-out of the domain, on rows that it was not fitted on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    X = (X - X.mean(0)) / (X.std(0) + 1e-6)
    half = np.arange(len(X)) % 2 == 0
    model = LogisticRegression(max_iter=1000).fit(X[half], domain[half])
    return balanced_accuracy_score(domain[~half], model.predict(X[~half]))


@lru_cache
def readable_and_right(cls, adapting, seed):
    """How well domain and class are read from what a method learned."""
    samples, new = profiles(n=500, shift=1.5), profiles(n=300, seed=7, first=10, shift=1.5)
    ctx = context(seed=seed, steps=200, batch_size=64, width=16)
    adapt = unlabelled(new) if cls in ADAPTING else None
    method = trained(cls, samples, ctx, adapt=adapt)
    out = method.apply(samples)
    chosen = samples.y >= 0
    if adapting:
        X = np.concatenate([out.X, method.apply(new).X])
        separability = readable(X, np.repeat([0, 1], [len(samples), len(new)]))
    else:
        separability = readable(out.X[chosen], samples.batch[chosen])
    return separability, (out.logits.argmax(1) == samples.y)[chosen].mean()


@pytest.mark.slow
@pytest.mark.parametrize("cls", METHODS)
def test_the_domain_is_harder_to_read_and_classes_are_not(cls):
    adapting = cls in ADAPTING
    chance = 1 / 2 if adapting else 1 / 4
    plain, method = (
        np.mean([readable_and_right(item, adapting, seed) for seed in range(3)], axis=0)
        for item in (ERM, cls)
    )
    assert method[0] - chance < 0.85 * (plain[0] - chance)
    assert method[1] > plain[1] - 0.1


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", METHODS)
def test_every_parameter_is_reached_and_the_state_is_whole(cls, kind, monkeypatch):
    if kind == "images":
        monkeypatch.setattr(cdann_da, "LARGEST", 8)  # the random map too
    samples = profiles() if kind == "profiles" else images()
    ctx, adapt = context(kind), adapt_of(cls, samples)
    assert loop.untrained_parameters(cls(cls.Params()), samples, adapt, ctx) == []
    method = trained(cls, samples, ctx, adapt=adapt)
    again = cls.from_state(cls.Params(), method.state())
    assert same_state(method, again)
    assert any(key.startswith("model.extra.") for key in method.state())
    assert np.array_equal(again.apply(samples).X, method.apply(samples).X)
    part = np.arange(0, len(samples), 3)
    np.testing.assert_allclose(
        method.apply(samples.take(part)).X, method.apply(samples).X[part], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("cls", METHODS)
def test_equal_seeds_give_equal_bits_and_others_do_not(cls):
    first, second, other = (
        trained(cls, profiles(), context(seed=seed), adapt=adapt_of(cls)) for seed in (3, 3, 4)
    )
    assert same_state(first, second)
    assert not same_state(first, other)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("cls", METHODS)
def test_resumed_training_ends_in_the_same_bits(cls, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    monkeypatch.setattr(cdann_da, "LARGEST", 8)
    wanted = trained(cls, profiles(), context(), adapt=adapt_of(cls))
    for stop in (1, 5, 11):

        def progress(done, total, stop=stop):
            if done == stop:
                raise Interrupted

        ctx = context(scratch=tmp_path, progress=progress)
        with pytest.raises(Interrupted):
            trained(cls, profiles(), ctx, adapt=adapt_of(cls))
    result = trained(cls, profiles(), context(scratch=tmp_path), adapt=adapt_of(cls))
    assert same_state(result, wanted)


def test_the_width_of_the_classifier_is_a_parameter():
    classifier = adversary.domain_classifier(5, 3, 7)
    assert [tuple(p.shape) for p in classifier.parameters() if p.dim() == 2] == [
        (7, 5),
        (7, 7),
        (3, 7),
    ]
    state = trained(DANN, profiles(), context(), hidden=12).state()
    assert state["model.extra.0.weight"].shape == (12, 8)
