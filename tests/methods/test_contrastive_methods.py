"""Self-supervised methods: the loss against loops, views, samplers, and what is read out."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from bench.methods._contrastive import Wells, blurred, corrupted, cropped, nt_xent
from bench.methods.minclr import MinCLR
from bench.methods.minclr_ben import MinCLRBEN
from bench.methods.simclr import SimCLR
from bench.methods.simclr_ben import SimCLRBEN
from scipy import ndimage, stats

from bench.api import Access, make_params
from bench.core.errors import BenchError, NotApplicable
from bench.training.loop import untrained_parameters
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

METHODS = [SimCLR, SimCLRBEN, MinCLR, MinCLRBEN]
OF_COPIES, OF_WELLS = [SimCLR, SimCLRBEN], [MinCLR, MinCLRBEN]
WITH_BEN = [SimCLRBEN, MinCLRBEN]


def naive(z, key, temperature):
    """Equation by equation, in float64, with loops."""
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    terms = []
    for i in range(len(z)):
        mates = [p for p in range(len(z)) if p != i and key[p] == key[i]]
        if not mates:
            continue
        below = sum(np.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
        each = [-np.log(np.exp(z[i] @ z[p] / temperature) / below) for p in mates]
        terms.append(np.mean(each))
    return float(np.mean(terms))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(
    "key", [[0, 0, 1, 1, 2, 2], [4, 1, 4, 1, 4, 1, 9], [0, 1, 2, 0, 1, 0], [3, 3, 3, 3]]
)
def test_the_loss_equals_loops(key, temperature):
    key = np.array(key)
    z = np.random.default_rng(len(key)).normal(size=(len(key), 5))
    result = nt_xent(torch.from_numpy(z), torch.from_numpy(key), temperature)
    assert float(result) == pytest.approx(naive(z, key, temperature), rel=1e-10)


def test_two_views_make_nt_xent_as_published():
    """Chen et al. 2020, equation 1: cross-entropy of finding the other view among 2 N - 1 rows."""
    z = torch.randn(10, 6, dtype=torch.float64)
    unit = z / z.norm(dim=1, keepdim=True)
    scores = unit @ unit.T / 0.1
    scores.fill_diagonal_(-torch.inf)
    partner = torch.arange(10).reshape(5, 2).flip(1).flatten()
    wanted = torch.nn.functional.cross_entropy(scores, partner)
    result = nt_xent(z, torch.arange(5).repeat_interleave(2), 0.1)
    torch.testing.assert_close(result, wanted)


def test_the_gradient_of_the_loss():
    z = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    key = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    assert torch.autograd.gradcheck(lambda rows: nt_xent(rows, key, 0.3), z)
    lone = nt_xent(z, torch.arange(7), 0.3)
    lone.backward()
    assert float(lone.detach()) == 0
    assert not z.grad.any()


def test_the_loss_has_the_values_that_theory_gives():
    item = torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0)  # views alike, the rest apart
    key = torch.arange(4).repeat_interleave(2)
    wanted = np.log(1 + 6 * np.exp(-1 / 0.5))
    assert float(nt_xent(item, key, 0.5)) == pytest.approx(wanted)
    same = torch.ones(8, 3, dtype=torch.float64)  # no two rows differ
    assert float(nt_xent(same, key, 0.5)) == pytest.approx(np.log(7))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_crop_shows_a_part_of_the_image_at_full_size():
    across = torch.linspace(0, 1, 32).expand(400, 1, 32, 32)
    seen = cropped(across, 0.25, rng())
    assert seen.shape == across.shape
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1
    # columns of a ramp stay columns, and the slope is the share of the width that is seen
    torch.testing.assert_close(seen[:, :, 0], seen[:, :, -1], rtol=1e-4, atol=1e-5)
    width = (seen[:, 0, 0, -2] - seen[:, 0, 0, 1]) / (across[:, 0, 0, -2] - across[:, 0, 0, 1])
    down = across.transpose(2, 3)
    tall = cropped(down, 0.25, rng())
    height = (tall[:, 0, -2, 0] - tall[:, 0, 1, 0]) / (down[:, 0, -2, 0] - down[:, 0, 1, 0])
    area = (width * height).numpy()
    assert area.min() > 0.24
    assert area.max() < 1.01
    assert area.mean() == pytest.approx(0.6, abs=0.05)
    middle = seen[:, 0, 0, 15:17].mean(1)
    assert float(middle.min()) < 0.3
    assert float(middle.max()) > 0.7
    flat = torch.full((5, 2, 9, 9), 3.0)
    torch.testing.assert_close(cropped(flat, 0.08, rng()), flat)


def test_a_blur_is_gaussian():
    x = torch.randn(6, 2, 24, 24)
    sigma = 2 * torch.rand(6, generator=rng(5))
    result = blurred(x, 2.0, rng(5)).numpy()
    for image, s, wanted in zip(x.numpy(), sigma.tolist(), result, strict=True):
        for channel in range(2):
            exact = ndimage.gaussian_filter(image[channel], s, mode="mirror", radius=6)
            np.testing.assert_allclose(wanted[channel], exact, rtol=1e-3, atol=1e-4)
    small = torch.randn(2, 1, 3, 3)
    assert blurred(small, 5.0, rng()).shape == small.shape
    assert torch.equal(blurred(torch.ones(2, 1, 1, 1), 5.0, rng()), torch.ones(2, 1, 1, 1))


def test_corruption_takes_values_of_the_same_feature():
    x = torch.arange(200.0 * 7).reshape(200, 7)
    result = corrupted(x, 0.3, rng())
    assert torch.equal(result % 7, x % 7)  # a feature keeps its residue
    changed = float((result != x).float().mean())
    assert changed == pytest.approx(0.3 * 199 / 200, abs=0.04)
    assert torch.equal(corrupted(x, 0.0, rng()), x)


@pytest.mark.parametrize("views", [2, 5])
@pytest.mark.parametrize("cls", OF_COPIES)
def test_copies_of_a_row_are_changed_each_on_its_own(cls, views):
    for kind in ("profiles", "images"):
        differ = []
        for batch in batches_of(cls, samples_of(kind), {"batch_size": 20}, views=views):
            things = batch.idx.reshape(-1, views)
            assert (things == things[:, :1]).all()
            assert things.size == 20
            x = batch.x.flatten(1)
            for a in range(views):
                for b in range(a):
                    differ += (x[a::views] != x[b::views]).any(1).tolist()
        # few features: two copies of a profile may by chance take over nothing
        assert all(differ) if kind == "images" else np.mean(differ) > 0.8


def test_views_of_images_are_standardised_again():
    for batch in batches_of(SimCLR, images()):
        mean, sd = batch.x.mean((2, 3)), batch.x.std((2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-4)
        torch.testing.assert_close(sd, torch.ones_like(sd), rtol=0, atol=1e-3)
    spread = [b.x.std((2, 3)) for b in batches_of(SimCLR, images(), {"standardise": "none"})]
    assert torch.cat(spread).std() > 0.01


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("cls", OF_WELLS)
def test_mates_are_different_rows_of_one_well(cls, views):
    samples = profiles(n=180, per_well=4) if cls is MinCLR else one_plate_wells(4)
    for batch in batches_of(cls, samples, views=views):
        things = batch.idx.reshape(-1, views)
        assert len(things) == 16 // views
        for mates in things:
            assert len(set(mates.tolist())) == views
            assert len(set(samples.well[mates])) == 1


def one_plate_wells(per_well, n=160, batches=4):
    """Wells on one plate each."""
    samples = profiles(n=n, per_well=per_well, batches=batches)
    well = np.arange(n) // per_well
    plate = (well // 4 + well) % batches  # every fourth well is a control: spread them too
    return dataclasses.replace(samples, batch=np.array([f"p{b}" for b in plate]))


@pytest.mark.parametrize("cls", OF_WELLS)
def test_unchanged_views_of_a_well_are_its_rows(cls):
    samples = one_plate_wells(2)
    scaling = fitted(cls, samples).fitted.scaling
    rows = (samples.X - scaling.mean) / scaling.sd
    for batch in batches_of(cls, samples):
        np.testing.assert_allclose(batch.x.numpy(), rows[batch.idx], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", WITH_BEN)
def test_with_ben_a_training_batch_comes_from_one_plate(cls):
    samples = one_plate_wells(2)
    drawn = [set(b.group.tolist()) for b in batches_of(cls, samples, {"steps": 40})]
    assert all(len(groups) == 1 for groups in drawn)
    assert len(set().union(*drawn)) == 4
    for batch in batches_of(cls, samples, per_batch=2):
        assert len(batch.group.unique()) == 2


@pytest.mark.parametrize("cls", [SimCLR, MinCLR])
def test_without_ben_plates_are_mixed(cls):
    hidden = dataclasses.replace(one_plate_wells(2), batch=np.full(160, ""))
    assert fitted(cls, hidden).apply(hidden).X.shape == (160, 4)
    batches = batches_of(cls, one_plate_wells(2))
    assert max(len(b.group.unique()) for b in batches) > 1


def test_equally_named_wells_on_two_plates_are_two():
    samples = dataclasses.replace(profiles(), well=np.array([f"A{i % 10}" for i in range(120)]))
    group = np.unique(samples.batch, return_inverse=True)[1]
    wells = Wells(samples, group, 2)
    for rows in wells.rows:
        assert len(set(zip(samples.well[rows], samples.batch[rows], strict=True))) == 1
    pairs = Counter(zip(samples.well, samples.batch, strict=True))
    assert wells.count == len(pairs)
    assert len(wells.rows) == sum(n >= 2 for n in pairs.values())


@pytest.mark.parametrize("cls", OF_WELLS)
def test_small_wells_are_left_out_and_counted(cls):
    samples = one_plate_wells(2)
    well = samples.well.astype("<U8")
    well[:6] = [f"alone{i}" for i in range(6)]
    samples = dataclasses.replace(samples, well=well)
    drawn = np.concatenate([b.idx for b in batches_of(cls, samples, {"steps": 60})])
    assert drawn.min() >= 6
    method = fitted(cls, samples)
    said = (
        "6 of 83 training wells (6 of 160 rows) had fewer than 2 rows and took no part in training",
    )
    assert method.apply(plate_of(samples)).notes == said
    again = cls.from_state(cls.Params(), method.state())
    assert again.apply(plate_of(samples)).notes == said
    assert fitted(cls, one_plate_wells(2)).apply(plate_of(samples)).notes == ()


@pytest.mark.parametrize("cls", OF_WELLS)
def test_a_training_set_of_lone_rows_is_not_applicable(cls):
    samples = dataclasses.replace(profiles(), well=np.array([f"w{i}" for i in range(120)]))
    with raises(NotApplicable, "120"):
        fitted(cls, samples)
    with raises(NotApplicable):
        fitted(cls, dataclasses.replace(samples, well=None))


@pytest.mark.parametrize("cls", METHODS)
def test_too_many_views_are_named(cls):
    with raises(BenchError, "batch_size", "16", "9", "views"):
        fitted(cls, profiles(n=160, per_well=16), views=9)


@pytest.mark.parametrize("how", ["independent", "covering"])
@pytest.mark.parametrize("rows", ["all", "treated", "controls"])
@pytest.mark.parametrize("cls", WITH_BEN)
def test_every_choice_of_ben_is_there(cls, rows, how):
    samples = one_plate_wells(2, n=320)
    for batch in batches_of(cls, samples, rows=rows, sampler=how):
        controls = samples.controls()[batch.idx]
        assert controls.any() == (rows != "treated") or rows == "all"
        if rows == "controls":
            assert 0 < controls.sum() < len(controls)
    params = make_params("m", cls.Params, {"rows": rows, "sampler": how})
    at_test = Access.TEST_CONTROLS if rows == "controls" else Access.TEST_BATCH
    known = Access.NONE if rows == "all" else Access.CONTROLS
    wells = Access.TRAIN_WELL if cls is MinCLRBEN else Access.NONE
    assert cls.access(params) == Access.TRAIN_BATCH | wells | known | at_test


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", METHODS)
def test_nothing_is_learned_from_labels_and_no_head_is_read(cls, kind):
    samples = one_plate_wells(2) if kind == "profiles" else samples_of(kind)
    if kind == "images":
        plate = (np.arange(48) // 2) % 3
        samples = dataclasses.replace(samples, batch=np.array([f"p{b}" for b in plate]))
    method = fitted(cls, samples)
    unlabelled = dataclasses.replace(samples, y=np.full(len(samples), -1, np.int64))
    assert same_state(method, fitted(cls, unlabelled))
    assert not same_state(method, fitted(cls, samples, seed=2))
    out = method.apply(plate_of(samples))
    assert out.logits is None
    assert np.isfinite(out.X).all()
    assert untrained_parameters(cls(cls.Params()), samples, None, context(kind)) == []
    again = cls.from_state(cls.Params(), method.state())
    assert np.array_equal(again.apply(plate_of(samples)).X, out.X)


@pytest.mark.parametrize("cls", METHODS)
def test_features_are_the_encoders(cls):
    samples = one_plate_wells(2)
    method, view = fitted(cls, samples), plate_of(samples)
    gives = np.ones(len(view), bool) if cls in WITH_BEN else None
    X, _ = mlp_by_hand(method.state(), view.X, gives)
    np.testing.assert_allclose(method.apply(view).X, X, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls", METHODS)
def test_the_contrast_falls(cls):
    points = []
    samples = one_plate_wells(2, n=320)
    ctx = dataclasses.replace(
        context(steps=150, lr=0.01, width=16, batch_size=32),
        log=lambda step, **values: points.append(values["loss"]),
    )
    params = {"corruption": 0.1} if cls in OF_COPIES else {}
    cls(make_params("m", cls.Params, {"temperature": 0.5, **params})).fit(samples, None, ctx)
    assert np.mean(points[-20:]) < np.mean(points[:10]) - 0.2


def test_wells_of_one_treatment_come_together():
    """Features of MinCLR separate classes that it did not see, better than by chance."""
    samples = one_plate_wells(4, n=480)
    method = fitted(MinCLR, samples, {"steps": 200, "lr": 0.005, "width": 32, "batch_size": 48})
    kept = samples.y >= 0
    X = method.apply(samples).X[kept]
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    y, well = samples.y[kept], samples.well[kept]
    scores = X @ X.T
    scores[well[:, None] == well[None, :]] = -np.inf
    hits = int((y[scores.argmax(1)] == y).sum())
    assert stats.binomtest(hits, len(y), 0.4, alternative="greater").pvalue < 1e-3


@pytest.mark.parametrize("name", ["simclr", "simclr-ben", "minclr", "minclr-ben"])
def test_resumed_training_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    assert resumed_ends_alike(name, one_plate_wells(2), tmp_path, monkeypatch)
