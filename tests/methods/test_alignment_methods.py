"""CORAL, MMD, IRM and group DRO: their terms against naive float64, and what they bring about."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from bench.methods import _alignment as alignment
from bench.methods._groups import GroupwiseMethod, parts_of
from bench.methods.deep_coral import DeepCORAL
from bench.methods.deep_coral_da import DeepCORALDA
from bench.methods.erm import ERM
from bench.methods.group_dro import GroupDRO
from bench.methods.irm import IRM
from bench.methods.mmd import MMD

from bench.api import Access, make_params
from bench.core.errors import BenchError, NotApplicable
from bench.network import Batch
from bench.training import checkpoint, loop
from tests.helpers.errors import raises
from tests.helpers.views import context, images, profiles, same_state, trained, unlabelled

METHODS = [DeepCORAL, DeepCORALDA, MMD, IRM, GroupDRO]
GROUPWISE = [DeepCORAL, MMD, IRM, GroupDRO]
NEW = unlabelled(profiles(seed=5, first=10, batches=2))


def adapt_of(cls, samples=None):
    if Access.ADAPT not in cls.access(cls.Params()):
        return None
    if samples is not None and samples.is_images:
        return unlabelled(images(seed=8))
    return NEW


def rows_and_groups(sizes=(5, 3, 8), d=4, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=(len(group), d)) * (1 + group[:, None]) + group[:, None] + offset
    order = rng.permutation(len(group))
    return x[order].astype(np.float32), group[order]


def batch_of(**changes):
    base = {
        "x": torch.zeros(1),
        "y": torch.zeros(1, dtype=torch.long),
        "group": torch.zeros(1, dtype=torch.long),
        "controls": None,
        "idx": np.arange(1),
        "step": 0,
        "total": 10,
        "n_classes": 3,
        "n_batches": 3,
        "generator": torch.Generator(),
    }
    return Batch(**{**base, **changes})


def naive_moments(x):
    n, d = x.shape
    mean = [sum(float(x[i, a]) for i in range(n)) / n for a in range(d)]
    covariance = [
        [
            sum((float(x[i, a]) - mean[a]) * (float(x[i, b]) - mean[b]) for i in range(n)) / (n - 1)
            for b in range(d)
        ]
        for a in range(d)
    ]
    return mean, covariance


def naive_coral(x, y):
    d = x.shape[1]
    (mx, cx), (my, cy) = naive_moments(x), naive_moments(y)
    means = sum((mx[a] - my[a]) ** 2 for a in range(d)) / d
    return means + sum((cx[a][b] - cy[a][b]) ** 2 for a in range(d) for b in range(d)) / d**2


def published_by_wilds(x, y):
    """Mean of squared differences of the means, plus that of the covariances, with n - 1."""
    means = np.mean((x.mean(0) - y.mean(0)) ** 2)
    return means + np.mean((np.cov(x, rowvar=False) - np.cov(y, rowvar=False)) ** 2)


def test_coral_is_the_naive_sum_and_the_published_formula():
    x, group = rows_and_groups()
    parts = [x[group == g].astype(np.float64) for g in range(3)]
    result = alignment.coral(parts_of(torch.from_numpy(x), torch.from_numpy(group))).item()
    pairs = list(itertools.combinations(range(3), 2))
    assert result == pytest.approx(np.mean([naive_coral(parts[i], parts[j]) for i, j in pairs]))
    wanted = np.mean([published_by_wilds(parts[i], parts[j]) for i, j in pairs])
    assert result == pytest.approx(wanted, rel=1e-5)
    some = alignment.coral([torch.from_numpy(p) for p in parts], [(0, 2), (1, 2)]).item()
    wanted = (published_by_wilds(parts[0], parts[2]) + published_by_wilds(parts[1], parts[2])) / 2
    assert some == pytest.approx(wanted)


def test_coral_is_four_times_that_of_the_first_paper_where_means_agree():
    x, group = rows_and_groups(sizes=(9, 7))
    source, target = (x[group == g].astype(np.float64) for g in (0, 1))
    source, target = source - source.mean(0), target - target.mean(0)
    gap = np.linalg.norm(np.cov(source.T) - np.cov(target.T), "fro") ** 2
    result = alignment.coral([torch.from_numpy(source), torch.from_numpy(target)]).item()
    assert result == pytest.approx(4 * gap / (4 * 4**2))


def test_equal_groups_are_at_distance_0_and_only_moments_count():
    x, _ = rows_and_groups(sizes=(6,))
    rows = torch.from_numpy(x)
    assert alignment.coral([rows, rows.flip(0)]).item() == pytest.approx(0, abs=1e-9)
    assert alignment.coral([rows, rows + 2]).item() == pytest.approx(4, rel=1e-5)
    twice = alignment.mmd(torch.cat([rows, rows]), torch.arange(12) // 6)
    assert twice.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("pairs", ["across", "all"])
def test_adaptation_compares_training_with_evaluation_batches(pairs):
    x, group = rows_and_groups()
    new, other = rows_and_groups(sizes=(4, 6), seed=1)
    method = DeepCORALDA(make_params("x", DeepCORALDA.Params, {"pairs": pairs, "weight": 0.7}))
    logits = torch.zeros(len(x), 3)
    adapt = batch_of(group=torch.from_numpy(other + 3), features=torch.from_numpy(new))
    batch = batch_of(
        y=torch.zeros(len(x), dtype=torch.long),
        group=torch.from_numpy(group),
        adapt=adapt,
        features=torch.from_numpy(x),
        logits=logits,
    )
    terms = method.loss(None, batch)
    train = [x[group == g].astype(np.float64) for g in range(3)]
    test = [new[other == g].astype(np.float64) for g in range(2)]
    chosen = (
        itertools.product(train, test)
        if pairs == "across"
        else itertools.combinations([*train, *test], 2)
    )
    wanted = 0.7 * np.mean([naive_coral(a, b) for a, b in chosen])
    assert terms["penalty"].item() == pytest.approx(wanted, rel=1e-5)
    assert terms["class"].item() == pytest.approx(math.log(3))


def naive_mmd(x, group, scale=1.0, unbiased=False):
    def k(a, b):
        distance = float(((a - b) ** 2).sum()) / scale
        return sum(math.exp(-g * distance) for g in (1e-3, 1e-2, 0.1, 1, 10, 100, 1000))

    def mean(a, b):
        pairs = [(p, q) for p in a for q in b if not (unbiased and p is q)]
        return sum(k(p, q) for p, q in pairs) / len(pairs)

    parts = [list(x[group == g].astype(np.float64)) for g in np.unique(group)]
    gaps = [mean(a, a) + mean(b, b) - 2 * mean(a, b) for a, b in itertools.combinations(parts, 2)]
    return np.mean(gaps)


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd_is_the_naive_sum_also_far_from_0(unbiased, relative, offset):
    x, group = rows_and_groups(offset=offset)
    exact = x.astype(np.float64)
    scale = 1.0
    if relative:
        every = ((exact[:, None] - exact[None]) ** 2).sum(2)
        scale = every.sum() / (len(x) * (len(x) - 1))
    result = alignment.mmd(
        torch.from_numpy(x), torch.from_numpy(group), relative=relative, unbiased=unbiased
    )
    assert result.item() == pytest.approx(naive_mmd(x, group, scale, unbiased), rel=1e-5)


def test_without_a_difference_the_unbiased_estimate_is_0_and_the_published_one_is_not():
    group = torch.arange(16) // 8
    rng = torch.Generator().manual_seed(0)
    result = {}
    for unbiased in (False, True):
        for scale in (1.0, 0.001):
            draws = [
                alignment.mmd(scale * torch.randn(16, 4, generator=rng), group, unbiased=unbiased)
                for _ in range(400)
            ]
            result[unbiased, scale] = float(torch.stack(draws).mean())
    assert result[True, 1.0] == pytest.approx(0, abs=0.05)
    assert result[False, 1.0] > 0.5
    assert result[False, 0.001] < 0.01


def test_mmd_hands_its_choices_on():
    x, group = rows_and_groups()
    batch = batch_of(
        y=torch.zeros(len(x), dtype=torch.long),
        group=torch.from_numpy(group),
        features=torch.from_numpy(x),
        logits=torch.zeros(len(x), 3),
    )
    for params in ({}, {"widths": "relative"}, {"estimate": "unbiased"}):
        method = MMD(make_params("mmd", MMD.Params, {"weight": 2, **params}))
        wanted = 2 * alignment.mmd(
            batch.features,
            batch.group,
            relative="widths" in params,
            unbiased="estimate" in params,
        )
        assert method.loss(None, batch)["penalty"].item() == wanted.item()


def test_relative_widths_ignore_the_scale_of_features():
    x, group = (torch.from_numpy(a) for a in rows_and_groups())
    plain, larger = (alignment.mmd(s * x, group, relative=True).item() for s in (1.0, 50.0))
    assert plain == pytest.approx(larger, rel=1e-4)
    assert alignment.mmd(0.01 * x, group).item() != pytest.approx(
        alignment.mmd(x, group).item(), rel=0.1
    )
    nowhere = alignment.mmd(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), relative=True)
    assert nowhere.item() == 0


@pytest.mark.parametrize("term", ["coral", "mmd"])
def test_gradients_of_distances_are_right(term):
    x, group = rows_and_groups(sizes=(3, 4), d=3)
    code = torch.from_numpy(group)
    rows = torch.from_numpy(x).double().requires_grad_()
    call = {
        "coral": lambda r: alignment.coral(parts_of(r, code)),
        "mmd": lambda r: alignment.mmd(r, code),
    }[term]
    assert torch.autograd.gradcheck(call, (rows,))


def irm_terms(logits, y, group, *, progress=0.5, **params):
    method = IRM(make_params("irm", IRM.Params, params))
    batch = batch_of(
        y=torch.from_numpy(y),
        group=torch.from_numpy(group),
        step=round(progress * 10),
        logits=logits,
    )
    return method.loss(None, batch)


def naive_irm(logits, y, group):
    """Derivatives by the dummy scale from autograd, on even and on odd rows."""
    risks, penalties = [], []
    for g in np.unique(group):
        rows = np.flatnonzero((group == g) & (y >= 0))
        if not len(rows):
            continue
        z, target = logits[rows].double(), torch.from_numpy(y[rows])
        risks.append(torch.nn.functional.cross_entropy(z, target))
        slopes = []
        for half in (slice(0, None, 2), slice(1, None, 2)):
            if not len(rows[half]):
                continue
            scale = torch.ones((), dtype=torch.float64, requires_grad=True)
            risk = torch.nn.functional.cross_entropy(scale * z[half], target[half])
            slopes.append(torch.autograd.grad(risk, scale)[0])
        if len(slopes) == 2:
            penalties.append(slopes[0] * slopes[1])
    return float(torch.stack(risks).mean()), float(torch.stack(penalties).mean())


def irm_rows():
    rng = np.random.default_rng(3)
    group = np.array([0, 1, 2, 0, 1, 0, 1, 1, 0, 3, 3, 4, 0])
    y = np.array([0, 1, 2, 1, -1, 2, 0, 2, 0, -1, -1, 1, 1])
    return torch.from_numpy(rng.normal(size=(13, 3)) * 2).float(), y, group


def test_irm_is_the_derivative_by_a_scale_of_the_logits():
    logits, y, group = irm_rows()
    risk, penalty = naive_irm(logits, y, group)
    terms = irm_terms(logits, y, group, weight=50, anneal=0.3)
    assert terms["class"].item() == pytest.approx(risk / 50, rel=1e-5)
    assert terms["penalty"].item() == pytest.approx(penalty, rel=1e-4)
    early = irm_terms(logits, y, group, weight=50, anneal=0.6)
    assert early["class"].item() == pytest.approx(risk, rel=1e-5)
    assert early["penalty"].item() == pytest.approx(penalty, rel=1e-4)
    small = irm_terms(logits, y, group, weight=0.2, anneal=0)
    assert small["class"].item() == pytest.approx(risk, rel=1e-5)
    assert small["penalty"].item() == pytest.approx(0.2 * penalty, rel=1e-4)


def test_irm_pulls_on_the_logits_as_the_derivative_says():
    logits, y, group = irm_rows()
    rows = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: irm_terms(z, y, group, weight=5, anneal=0)["penalty"], (rows,)
    )


def test_irm_without_labels_adds_nothing():
    logits, y, group = irm_rows()
    terms = irm_terms(logits, np.full_like(y, -1), group)
    assert [term.item() for term in terms.values()] == [0, 0]
    lone = irm_terms(logits[:3], y[:3], group[:3])
    assert lone["penalty"].item() == 0
    assert lone["class"].item() > 0


def spurious(n, agree, seed, name):
    """Feature 0 tells the class in 75 % of rows, feature 1 in the given share of them."""
    rng = np.random.default_rng(seed)
    base = profiles(n, d=2, seed=seed)
    y = rng.integers(2, size=n)
    batch = np.array([f"{name}{k}" for k in np.arange(n) % len(agree)])
    stable = np.where(rng.random(n) < 0.75, y, 1 - y)
    other = np.where(rng.random(n) < np.asarray(agree)[np.arange(n) % len(agree)], y, 1 - y)
    X = np.stack([stable, other], 1) * 2.0 - 1 + 0.1 * rng.normal(size=(n, 2))
    return dataclasses.replace(
        base, y=y.astype(np.int64), batch=batch, n_classes=2, X=X.astype(np.float32)
    )


@pytest.mark.slow
def test_irm_leaves_a_feature_alone_whose_meaning_changes_from_batch_to_batch():
    """The problem of the paper: with the other sign at test, ERM is worse than guessing."""
    train, test = spurious(2000, (0.9, 0.8), 0, "a"), spurious(1000, (0.1,), 1, "b")
    accuracy = {}
    for cls, params in ((ERM, {}), (IRM, {"weight": 1e4, "anneal": 0.4})):
        method = trained(cls, train, context(steps=400, batch_size=256, lr=0.005), **params)
        accuracy[cls] = (method.apply(test).logits.argmax(1) == test.y).mean()
    assert accuracy[ERM] < 0.4
    assert accuracy[IRM] > accuracy[ERM] + 0.2


def test_group_weights_and_loss_are_the_algorithm_step_by_step():
    seen = []

    class Watched(GroupDRO):
        def loss(self, model, batch):
            before = model.extra.q.clone().double().numpy()
            loss = super().loss(model, batch)
            assert np.array_equal(model.extra.q.double().numpy(), before)
            seen.append((before, batch, loss.item()))
            return loss

    method = trained(Watched, profiles(batches=5), context(), step_size=0.5, per_batch=3)
    q = np.full(5, 1 / 5)
    for before, batch, loss in seen:
        np.testing.assert_allclose(before, q, rtol=1e-5)
        logits = batch.logits.detach().double().numpy()
        y, group = batch.y.numpy(), batch.group.numpy()
        drawn = np.unique(group)
        assert len(drawn) == 3
        losses = {}
        for g in drawn:
            rows = np.flatnonzero((group == g) & (y >= 0))
            each = [np.log(np.exp(logits[i]).sum()) - logits[i, y[i]] for i in rows]
            losses[g] = np.mean(each)
            q[g] *= np.exp(0.5 * losses[g])
        q /= q.sum()
        wanted = 5 / 3 * sum(q[g] * losses[g] for g in drawn)
        assert loss == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_allclose(method.state()["model.extra.q"], q, rtol=1e-4)
    assert q.std() > 0.01


def test_group_dro_without_labels_in_a_batch_is_finite():
    samples = profiles()
    quiet = dataclasses.replace(samples, y=np.where(samples.batch == "p00", -1, samples.y))
    q = trained(GroupDRO, quiet, context(), step_size=1.0).state()["model.extra.q"]
    assert np.isfinite(q).all()
    assert q.argmin() == 0


@pytest.mark.slow
def test_group_dro_helps_the_batch_that_is_learned_worst():
    """Nine rows in ten follow one rule, the last batch the opposite one along another feature."""
    rng = np.random.default_rng(0)
    n = 600
    base = profiles(n, d=2)
    batch = np.array(["a", "b", "c"])[np.arange(n) % 3]
    hard = batch == "c"
    y = rng.integers(2, size=n)
    X = rng.normal(size=(n, 2)) * 0.7
    X[:, 0] += np.where(hard, -1.0, 2.5) * (2 * y - 1)
    X[:, 1] += np.where(hard, 3.0, 0.0)
    samples = dataclasses.replace(
        base, y=y.astype(np.int64), batch=batch, n_classes=2, X=X.astype(np.float32)
    )
    worst = {}
    for step in (0.0, 0.1):
        method = trained(
            GroupDRO, samples, context(steps=80, batch_size=48, lr=0.003), step_size=step
        )
        logits = torch.from_numpy(method.apply(samples).logits)
        each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
        worst[step] = max(float(each[batch == g].mean()) for g in "abc")
    assert worst[0.1] < 0.9 * worst[0.0]


@pytest.mark.parametrize("cls", GROUPWISE)
def test_training_batches_hold_equally_many_rows_of_each_batch(cls):
    seen = []

    class Watched(cls):
        def inputs(self, batch):
            seen.append(np.unique(batch.group.numpy(), return_counts=True)[1].tolist())
            return batch

    trained(Watched, profiles(batches=6), context(batch_size=24), per_batch=3)
    assert seen == [[8, 8, 8]] * 12
    seen.clear()
    trained(Watched, profiles(batches=3), context(batch_size=24), per_batch=64)
    assert seen == [[8, 8, 8]] * 12


@pytest.mark.parametrize("cls", GROUPWISE)
def test_one_batch_is_nothing_to_compare(cls):
    with raises(NotApplicable, "2", "1"):
        trained(cls, profiles(batches=1), context())


def test_covariances_need_two_rows_of_two_batches():
    with raises(BenchError, "batch_size", "3", "2"):
        trained(DeepCORAL, profiles(), context(batch_size=3))
    trained(DeepCORAL, profiles(), context(batch_size=5))
    samples = profiles(batches=3)
    lone = np.flatnonzero(samples.batch == "p00")[1:]
    kept = samples.take(np.setdiff1d(np.arange(len(samples)), lone))
    trained(DeepCORAL, kept, context())
    none = NEW.take(np.arange(1))
    with raises(NotApplicable, "1", "2"):
        trained(DeepCORALDA, samples, context(), adapt=none)


def test_adaptation_takes_one_training_batch_and_never_a_label():
    samples = profiles(batches=1)
    blind = trained(DeepCORALDA, samples, context(), adapt=NEW)
    labelled = unlabelled(NEW, np.arange(len(NEW)) % 3)
    assert same_state(blind, trained(DeepCORALDA, samples, context(), adapt=labelled))


@pytest.mark.parametrize("cls, params", [(DeepCORAL, {"weight": 0}), (MMD, {"weight": 0})])
def test_without_weight_only_the_training_batches_are_left(cls, params):
    class Plain(GroupwiseMethod):
        least = 2

    state = trained(cls, profiles(), context(), **params).state()
    wanted = trained(Plain, profiles(), context()).state()
    assert all(np.array_equal(state[key], wanted[key]) for key in wanted if key != "config")


def between(X, group):
    """The share of the variance of features that is between groups."""
    means = np.stack([X[group == g].mean(0) for g in np.unique(group)])
    return np.square(means - X.mean(0)).mean(0).sum() / X.var(0).sum()


@pytest.mark.parametrize("cls", [DeepCORAL, MMD])
def test_penalties_pull_features_of_training_batches_together(cls):
    samples = profiles(n=400, shift=2.0)
    share, right = {}, {}
    for weight in (0, 1):
        method = trained(cls, samples, context(steps=80, batch_size=48), weight=weight)
        out = method.apply(samples)
        share[weight] = between(out.X, samples.batch)
        right[weight] = (out.logits.argmax(1) == samples.y)[samples.y >= 0].mean()
    assert share[1] < 0.5 * share[0]
    assert right[1] > right[0] - 0.1


def test_adaptation_pulls_evaluation_batches_to_training_batches():
    samples = profiles(n=300, shift=1.5)
    new = profiles(n=200, seed=7, first=10, batches=1, shift=1.5)
    side = np.repeat([0, 1], [len(samples), len(new)])
    share = {}
    for weight in (0, 1):
        ctx = context(steps=80, batch_size=48)
        method = trained(DeepCORALDA, samples, ctx, adapt=unlabelled(new), weight=weight)
        X = np.concatenate([method.apply(view).X for view in (samples, new)])
        share[weight] = between(X, side)
    assert share[1] < 0.5 * share[0]


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", METHODS)
def test_every_parameter_is_reached_and_the_state_is_whole(cls, kind):
    samples = profiles() if kind == "profiles" else images()
    ctx, adapt = context(kind), adapt_of(cls, samples)
    assert loop.untrained_parameters(cls(cls.Params()), samples, adapt, ctx) == []
    method = trained(cls, samples, ctx, adapt=adapt)
    again = cls.from_state(cls.Params(), method.state())
    assert same_state(method, again)
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
    params = {"step_size": 0.5} if cls is GroupDRO else {}
    wanted = trained(cls, profiles(), context(), adapt=adapt_of(cls), **params)
    for stop in (1, 5, 11):

        def progress(done, total, stop=stop):
            if done == stop:
                raise Interrupted

        ctx = context(scratch=tmp_path, progress=progress)
        with pytest.raises(Interrupted):
            trained(cls, profiles(), ctx, adapt=adapt_of(cls), **params)
    result = trained(cls, profiles(), context(scratch=tmp_path), adapt=adapt_of(cls), **params)
    assert same_state(result, wanted)


def test_a_checkpoint_of_other_evaluation_rows_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: self._path is not None)
    other = unlabelled(profiles(seed=6, first=20, batches=2))

    def progress(done, total):
        if done == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(DeepCORALDA, profiles(), context(scratch=tmp_path, progress=progress), adapt=other)
    wanted = trained(DeepCORALDA, profiles(), context(), adapt=NEW)
    assert same_state(
        trained(DeepCORALDA, profiles(), context(scratch=tmp_path), adapt=NEW), wanted
    )


def test_terms_are_logged_by_name():
    points = []
    ctx = context(log=lambda step, **values: points.append(values))
    trained(DeepCORAL, profiles(), ctx, weight=3)
    assert len(points) == 12
    for values in points:
        assert values["loss"] == pytest.approx(values["class"] + values["penalty"], rel=1e-5)
        assert values["penalty"] > 0


def test_rows_without_a_class_count_in_the_penalty_alone():
    x, group = rows_and_groups()
    batch = batch_of(
        y=torch.full((len(x),), -1),
        group=torch.from_numpy(group),
        features=torch.from_numpy(x),
        logits=torch.zeros(len(x), 3),
    )
    terms = MMD(MMD.Params()).loss(None, batch)
    assert terms["class"].item() == 0
    assert terms["penalty"].item() == pytest.approx(naive_mmd(x, group), rel=1e-4)
