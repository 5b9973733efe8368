"""Applying network methods, the networks that they train, and recipes."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from bench.methods.adabn import AdaBN
from bench.methods.ben import BEN
from bench.methods.ben_controls import BENControls
from bench.methods.erm import ERM
from bench.methods.erm_plate import ERMPlate

from bench.api import Access, Context, Samples, make_params
from bench.core import samples as api
from bench.core.errors import AccessError, BenchError, NotApplicable
from bench.training import inference
from bench.training.inference import chunked_rows
from bench.training.model import untrained_model
from bench.training.recipes import OPTIONAL, RECIPES, TORCHVISION, keys, recipe_access, resolve
from tests.helpers import trained
from tests.helpers.errors import raises
from tests.helpers.processes import forked

METHODS = [ERM, AdaBN, BEN, BENControls, ERMPlate]
FILES = {
    ERM: "erm",
    AdaBN: "adabn",
    BEN: "ben",
    BENControls: "ben_controls",
    ERMPlate: "erm_plate",
}


def profiles(n=90, d=5, seed=0):
    rng = np.random.default_rng(seed)
    y, batch, controls = rng.integers(3, size=n), rng.integers(3, size=n), rng.random(n) < 0.25
    X = rng.normal(size=(n, d)) + 2 * np.eye(d)[y] + batch[:, None]
    return Samples(
        ids=np.array([f"r{i}" for i in range(n)]),
        y=np.where(controls, -1, y).astype(np.int64),
        batch=np.array([f"p{b}" for b in batch]),
        n_classes=3,
        shape=(d,),
        X=X.astype(np.float32),
        _controls=controls,
    )


class Source:
    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype

    def read(self, rows):
        return self.pixels[rows]


def images(n=40, size=16, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (n, channels, size, size)).astype(np.uint8)
    handle = api.new_handle(Source(pixels), np.arange(n))
    return Samples(
        ids=np.array([f"i{k}" for k in range(n)]),
        y=rng.integers(3, size=n).astype(np.int64),
        batch=np.array([f"p{b}" for b in rng.integers(2, size=n)]),
        n_classes=3,
        shape=pixels.shape[1:],
        _controls=rng.random(n) < 0.3,
        _handle=handle,
    )


def samples_of(kind):
    return profiles() if kind == "profiles" else images()


def fit(cls, samples, recipe=None, **params):
    small = {"steps": 8, "batch_size": 16, "width": 4}
    kind = "images" if samples.is_images else "profiles"
    ctx = Context(seed=1, recipe=resolve("default", kind, {**small, **(recipe or {})}))
    method = cls(make_params(FILES.get(cls, "x"), cls.Params, params))
    method.fit(samples, None, ctx)
    return method


def plate_of(samples, k=1):
    """The rows of one batch, without labels."""
    view = samples.take(samples.batch == f"p{k}")
    return dataclasses.replace(view, y=np.full(len(view), -1, np.int64))


def unlike(a, b):
    return float(np.abs(a - b).max())


def mlp_by_hand(state, X, gives):
    """The whole MLP in float64: scaling, linear, BatchNorm by the rows that give, ReLU, head."""
    h = (X.astype(np.float64) - state["scaling.mean"]) / state["scaling.sd"]
    for k in (0, 3):
        h = h @ state[f"model.network.{k}.weight"].astype(np.float64).T
        mean, var = h[gives].mean(0), ((h[gives] - h[gives].mean(0)) ** 2).mean(0)
        h = (h - mean) / np.sqrt(var + 1e-5)
        h = h * state[f"model.network.{k + 1}.weight"] + state[f"model.network.{k + 1}.bias"]
        h = np.maximum(h, 0)
    return h, h @ state["model.head.weight"].T.astype(np.float64) + state["model.head.bias"]


@pytest.mark.parametrize("rows", ["all", "treated", "controls"])
@pytest.mark.parametrize("cls", [BEN, AdaBN])
def test_apply_equals_batch_norm_by_hand_plate_by_plate(cls, rows):
    samples = profiles()
    method = fit(cls, samples, rows=rows)
    state = method.state()
    for k in range(3):
        view = plate_of(samples, k)
        gives = {"all": np.ones(len(view), bool), "controls": view.controls()}.get(
            rows, ~view.controls()
        )
        X, logits = mlp_by_hand(state, view.X, gives)
        out = method.apply(view)
        np.testing.assert_allclose(out.X, X, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(out.logits, logits, rtol=1e-4, atol=1e-4)
        assert out.fallbacks == 0


def test_ben_controls_equals_batch_norm_by_the_controls():
    samples = profiles()
    method = fit(BENControls, samples)
    view = plate_of(samples, 2)
    X, logits = mlp_by_hand(method.state(), view.X, view.controls())
    out = method.apply(view)
    np.testing.assert_allclose(out.X, X, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(out.logits, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [BEN, AdaBN])
def test_apply_on_images_equals_a_torch_module_in_train_mode(cls):
    """PyTorch's own layers, in train mode, all rows of the batch, momentum 0."""
    from bench.training.architectures import SmallResNet

    samples = images()
    method = fit(cls, samples)
    network = SmallResNet(2, 3, 4)
    state = {k: torch.from_numpy(v) for k, v in method.state().items()}
    weights = {
        k.removeprefix("model.").removeprefix("network."): v
        for k, v in state.items()
        if k.startswith("model.")
    }
    network.load_state_dict(weights)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.0
    view = plate_of(samples)
    x = torch.from_numpy(view.images(np.arange(len(view)))).float()
    x = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    with torch.no_grad():
        wanted = network.train()(x).numpy()
    np.testing.assert_allclose(method.apply(view).logits, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [ERM, ERMPlate])
def test_running_averages_are_those_of_eval_mode(cls):
    samples = profiles()
    method = fit(cls, samples)
    state = method.state()
    h = (samples.X - state["scaling.mean"]) / state["scaling.sd"]
    for k in (0, 3):
        part = {
            name: state[f"model.network.{k + 1}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        h = h @ state[f"model.network.{k}.weight"].T
        h = (h - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-5)
        h = np.maximum(h * part["weight"] + part["bias"], 0)
    np.testing.assert_allclose(method.apply(samples).X, h, rtol=1e-4, atol=1e-4)


def test_the_running_averages_of_plate_wise_training_follow_each_minibatch():
    """One step from the initial 0 and 1 with momentum 0.1: a tenth of that batch's statistics."""
    samples = profiles()
    ctx = Context(
        seed=1,
        recipe=resolve("default", "profiles", {"steps": 1, "width": 4, "warmup": 1}),
    )
    drawn = []

    class Watched(BEN):
        def loss(self, model, batch):
            drawn.append(batch.x.numpy())
            return super().loss(model, batch)

    method = Watched(BEN.Params())
    method.fit(samples, None, ctx)
    state = method.state()
    # the only step has rate 0, so the weights are those that it met
    h = drawn[0] @ state["model.network.0.weight"].T
    np.testing.assert_allclose(
        state["model.network.1.running_mean"], 0.1 * h.mean(0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        state["model.network.1.running_var"], 0.9 + 0.1 * h.var(0, ddof=1), rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", METHODS)
def test_permuted_rows_give_permuted_results(cls, kind):
    samples = samples_of(kind)
    method = fit(cls, samples)
    view = plate_of(samples)
    order = np.random.default_rng(0).permutation(len(view))
    a, b = method.apply(view), method.apply(view.take(order))
    np.testing.assert_allclose(b.X, a.X[order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(b.logits, a.logits[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", [ERM, ERMPlate])
def test_running_averages_make_rows_independent_of_one_another(cls, kind, monkeypatch):
    samples = samples_of(kind)
    method = fit(cls, samples)
    whole = method.apply(samples)
    monkeypatch.setattr(inference, "APPLY_ROWS", 7)
    parts = [method.apply(samples.take(i)) for i in np.array_split(np.arange(len(samples)), 6)]
    np.testing.assert_allclose(np.concatenate([p.X for p in parts]), whole.X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", METHODS)
def test_apply_leaves_the_method_unchanged_and_repeats_itself(cls):
    for kind in ("profiles", "images"):
        samples = samples_of(kind)
        method = fit(cls, samples)
        before = method.state()
        first = method.apply(plate_of(samples, 0))
        method.apply(plate_of(samples, 1))
        again = method.apply(plate_of(samples, 0))
        assert np.array_equal(first.X, again.X)
        after = method.state()
        assert list(before) == list(after)
        assert all(np.array_equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("cls", [BEN, BENControls, AdaBN])
def test_a_large_batch_in_pieces_equals_one_pass(cls, monkeypatch):
    for kind in ("profiles", "images"):
        samples = samples_of(kind)
        method = fit(cls, samples)
        view = plate_of(samples)
        whole = method.apply(view)
        monkeypatch.setattr(inference, "WHOLE_VALUES", 4 * 3 * int(np.prod(view.shape)))
        pieces = method.apply(view)
        monkeypatch.undo()
        np.testing.assert_allclose(pieces.X, whole.X, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(pieces.logits, whole.logits, rtol=1e-3, atol=1e-4)


def test_controls_statistics_do_not_depend_on_the_other_treated_rows():
    samples = profiles()
    for params in ({}, {"inference": "3"}):
        method = fit(BENControls, samples, **params)
        view = plate_of(samples)
        treated = np.flatnonzero(~view.controls())
        kept = np.sort(np.concatenate([np.flatnonzero(view.controls()), treated[::2]]))
        np.testing.assert_allclose(
            method.apply(view).X[kept], method.apply(view.take(kept)).X, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("n, k", [(10, 3), (9, 3), (5, 8), (7, 1), (12, 11)])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_pieces_answer_for_each_row_once_and_hold_k_giving_rows(n, k, share):
    rng = np.random.default_rng(n)
    gives = rng.random(n) < share
    gives[0] = True
    keys = rng.integers(0, 2**63, n).astype(np.uint64)
    pieces = chunked_rows(gives, keys, k)
    answered = np.concatenate([idx[kept] for idx, kept in pieces])
    assert sorted(answered.tolist()) == list(range(n))
    for idx, _ in pieces:
        assert gives[idx].sum() == min(k, gives.sum())
        assert len(np.unique(idx)) == len(idx)


@pytest.mark.parametrize("cls", [BEN, AdaBN])
def test_inference_k_normalises_each_row_with_k_rows_of_its_batch(cls):
    samples = profiles()
    method = fit(cls, samples, inference="8")
    view = plate_of(samples)
    keys = inference.TestBatch(method.fitted, view).keys()
    order = np.argsort(keys, kind="stable")
    out, state = method.apply(view), method.state()
    for start in range(0, len(view), 8):
        begin = min(start, len(view) - 8)
        idx = order[begin : begin + 8]
        X, _ = mlp_by_hand(state, view.X[idx], np.ones(8, bool))
        kept = slice(start - begin, None)
        np.testing.assert_allclose(out.X[idx[kept]], X[kept], rtol=1e-3, atol=1e-4)
    whole = cls.from_state(cls.Params(), state)
    assert unlike(whole.apply(view).X, out.X) > 1e-3
    every = cls.from_state(make_params("m", cls.Params, {"inference": str(len(view))}), state)
    assert np.array_equal(every.apply(view).X, whole.apply(view).X)


def test_inference_k_needs_no_training_of_its_own():
    samples = profiles()
    assert same_state(fit(BEN, samples), fit(BEN, samples, inference="8"))


def same_state(a, b):
    a, b = a.state(), b.state()
    return list(a) == list(b) and all(np.array_equal(a[k], b[k]) for k in a)


def test_images_by_single_rows_are_normalised_by_their_own_pixels():
    samples = images()
    method = fit(BEN, samples, inference="1", min_rows="1")
    view = plate_of(samples)
    alone = [method.apply(view.take(np.array([i]))).X[0] for i in range(4)]
    np.testing.assert_allclose(method.apply(view).X[:4], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [BEN, AdaBN, BENControls])
def test_too_few_rows_take_the_running_averages_and_are_counted(cls):
    samples = profiles()
    method = fit(cls, samples, min_rows="4")
    running = ERM.from_state(ERM.Params(), method.state())
    view = plate_of(samples)
    controls = np.flatnonzero(view.controls())
    treated = np.flatnonzero(~view.controls())
    few = np.concatenate([controls[:3], treated]) if cls is BENControls else np.arange(3)
    out = method.apply(view.take(few))
    assert out.fallbacks == 1
    assert "running averages" in out.notes[0]
    assert np.array_equal(out.X, running.apply(view.take(few)).X)
    enough = np.concatenate([controls[:4], treated]) if cls is BENControls else np.arange(4)
    assert method.apply(view.take(enough)).fallbacks == 0


def test_a_batch_without_controls_and_one_of_no_rows():
    samples = profiles()
    view = plate_of(samples)
    none = view.take(~view.controls())
    for method in (fit(BENControls, samples), fit(AdaBN, samples, rows="controls")):
        out = method.apply(none)
        assert out.fallbacks == 1
        assert np.isfinite(out.X).all()
        empty = method.apply(view.take(np.arange(0)))
        assert empty.X.shape == (0, 4)
        assert empty.logits.shape == (0, 3)


@pytest.mark.parametrize(
    "cls, params, words",
    [
        (ERM, {}, []),
        (ERMPlate, {}, ["train-batch"]),
        (ERMPlate, {"rows": "treated"}, ["train-batch", "controls"]),
        (BEN, {}, ["train-batch", "test-batch"]),
        (BEN, {"rows": "treated"}, ["train-batch", "controls", "test-batch"]),
        (BEN, {"rows": "controls"}, ["train-batch", "controls", "test-controls"]),
        (BENControls, {}, ["train-batch", "controls", "test-controls"]),
        (AdaBN, {}, ["test-batch"]),
        (AdaBN, {"rows": "treated"}, ["controls", "test-batch"]),
        (AdaBN, {"rows": "controls"}, ["controls", "test-controls"]),
    ],
)
def test_access_is_what_the_parameters_use(cls, params, words):
    result = make_params("m", cls.Params, params)
    assert sorted(cls.access(result).words) == sorted(words)
    assert cls.needs(result) == (frozenset({"controls"}) if "controls" in words else frozenset())


@pytest.mark.parametrize("cls", METHODS)
def test_the_literal_of_a_file_states_the_access_at_the_defaults(cls):
    path = Path(sys.modules[cls.__module__].__file__)
    tree = ast.parse(path.read_text())
    meta = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "META"
    )
    assert meta["class"] == cls.__name__
    assert Access.parse(meta["access"]) == cls.access(cls.Params())
    assert meta.get("fit", meta["name"]).replace("-", "_") in FILES.values()
    assert "http" in meta["url"]


@pytest.mark.parametrize("cls", METHODS)
def test_fitting_and_applying_need_no_more_than_was_declared(cls):
    samples = profiles()
    access = cls.access(cls.Params())
    batch = samples.batch if Access.TRAIN_BATCH in access else np.full(len(samples), "")
    hidden = dataclasses.replace(samples, batch=batch)
    if Access.CONTROLS not in access:
        hidden = dataclasses.replace(hidden, _controls=None)
    method = fit(cls, hidden)
    view = plate_of(samples)
    view = dataclasses.replace(view, batch=np.full(len(view), ""), _controls=hidden._controls)
    if Access.CONTROLS in access:
        view = dataclasses.replace(view, _controls=plate_of(samples).controls())
    method.apply(view)


def test_controls_that_were_not_declared_are_an_access_error():
    samples = dataclasses.replace(profiles(), _controls=None)
    with raises(AccessError, "controls"):
        fit(BENControls, samples)


def test_batch_wise_methods_name_what_the_training_set_lacks():
    samples = dataclasses.replace(profiles(), _controls=np.zeros(90, bool))
    with raises(NotApplicable, "2", "0", "3"):
        fit(BENControls, samples)
    with raises(NotApplicable, "4"):
        fit(BEN, profiles(), per_batch="4")


@pytest.mark.parametrize("how", ["independent", "covering"])
@pytest.mark.parametrize("rows", ["all", "treated", "controls"])
@pytest.mark.parametrize("per_batch", ["1", "2"])
def test_every_ablation_of_ben_runs(how, rows, per_batch):
    samples = profiles()
    method = fit(BEN, samples, sampler=how, rows=rows, per_batch=per_batch)
    assert np.isfinite(method.apply(plate_of(samples)).X).all()


def test_several_plates_in_a_training_batch_are_normalised_apart():
    """With statistics per plate, shifting one plate's rows changes no activation."""
    seen = {}

    class Watched(BEN):
        def loss(self, model, batch):
            seen.setdefault(self.name, []).append(batch.features.detach().numpy())
            return super().loss(model, batch)

    samples = profiles()
    shifted = samples.X + 3 * (samples.batch == "p1")[:, None].astype(np.float32)
    for name, X in (("plain", samples.X), ("shifted", shifted)):
        method = Watched(make_params("ben", BEN.Params, {"per_batch": 2}))
        method.name = name
        # scaled by plate, because constants of the training set would differ between the two
        ctx = Context(
            seed=1,
            recipe=resolve("default", "profiles", {"steps": 1, "width": 4, "standardise": "plate"}),
        )
        method.fit(dataclasses.replace(samples, X=X), None, ctx)
    np.testing.assert_allclose(seen["plain"][0], seen["shifted"][0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("cls", METHODS)
def test_state_survives_safetensors(cls, kind, tmp_path):
    from safetensors.numpy import load_file, save_file

    samples = samples_of(kind)
    method = fit(cls, samples)
    save_file(method.state(), tmp_path / "weights.safetensors")
    restored = cls.from_state(cls.Params(), load_file(tmp_path / "weights.safetensors"))
    view = plate_of(samples)
    assert np.array_equal(restored.apply(view).X, method.apply(view).X)
    assert restored.cost == method.cost == {"steps": 8, "images_seen": 128}
    assert same_state(restored, method)


def test_state_is_a_copy():
    method = fit(ERM, profiles())
    view = profiles()
    before = method.apply(view).X
    for array in method.state().values():
        array[...] = 0
    assert np.array_equal(method.apply(view).X, before)


def test_wrong_states_and_rows_are_named():
    method = fit(ERM, profiles())
    with raises(BenchError, "config"):
        ERM.from_state(ERM.Params(), {})
    state = method.state()
    state["model.head.weight"] = np.zeros((2, 2), np.float32)
    with raises(BenchError, "mlp"):
        ERM.from_state(ERM.Params(), state)
    with raises(BenchError, "5", "4"):
        method.apply(profiles(d=4))
    with raises(BenchError, fix=False):
        ERM(ERM.Params()).apply(profiles())


def write_factory(tmp_path, monkeypatch, body):
    (tmp_path / "mynet.py").write_text(
        "import torch\nfrom torch import nn\n" + textwrap.dedent(body)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    return "mynet:make"


GOOD = """
def make(n_channels, n_classes):
    return nn.Sequential(
        nn.Conv2d(n_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes),
    )
"""


@pytest.mark.parametrize("spelled", ["mynet:make", "mynet.py:make"])
def test_a_network_of_ones_own(spelled, tmp_path, monkeypatch):
    write_factory(tmp_path, monkeypatch, GOOD)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != ""])
    samples = images()
    method = fit(BEN, samples, {"network": spelled})
    out = method.apply(plate_of(samples))
    assert out.X.shape[1] == 4
    restored = BEN.from_state(BEN.Params(), method.state())
    assert np.array_equal(restored.apply(plate_of(samples)).X, out.X)


def test_the_source_of_ones_own_network_is_part_of_the_recipe(tmp_path, monkeypatch):
    network = write_factory(tmp_path, monkeypatch, GOOD)
    before = resolve("default", "images", {"network": network})
    assert len(before["network_sha256"]) == 64
    write_factory(tmp_path, monkeypatch, GOOD + "\n# changed\n")
    assert resolve("default", "images", {"network": network}) != before


@pytest.mark.parametrize(
    "body, said",
    [
        ("def other(): pass", ("make",)),
        ("raise OSError('boom')", ("OSError", "boom")),
        ("def make(c, k): raise ValueError('no')", ("ValueError",)),
        ("def make(c, k): return 3", ("return", "nn.Module")),
        ("def make(c, k): return nn.Conv2d(c, k, 3)", ("nn.Linear",)),
        ("def make(c, k): return nn.Sequential(nn.Flatten(), nn.Linear(3, k))", ()),
        (
            "def make(c, k): return nn.Sequential(nn.Flatten(), nn.Linear(512, k + 1))",
            ("3", "4"),
        ),
        (
            "def make(c, k): return nn.Sequential("
            "nn.Flatten(), nn.Linear(512, k), nn.LogSoftmax(1))",
            (),
        ),
    ],
)
def test_a_factory_that_breaks_the_contract_is_named(body, said, tmp_path, monkeypatch):
    network = write_factory(tmp_path, monkeypatch, body)
    with raises(BenchError, *said):
        fit(ERM, images(), {"network": network})


def test_a_linear_network_is_its_own_head(tmp_path, monkeypatch):
    network = write_factory(tmp_path, monkeypatch, "def make(d, k): return nn.Linear(d, k)")
    method = fit(ERM, profiles(), {"network": network})
    assert method.apply(profiles()).X.shape == (90, 5)


@pytest.mark.parametrize("cls", [BEN, BENControls, AdaBN, ERMPlate])
def test_networks_without_batch_norm_are_refused_by_name(cls, tmp_path, monkeypatch):
    network = write_factory(
        tmp_path,
        monkeypatch,
        """
        def make(d, k):
            return nn.Sequential(nn.Linear(d, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, k))
        """,
    )
    name = FILES[cls].replace("_", "-")
    with raises(BenchError, name, "1", "LayerNorm"):
        fit(cls, profiles(), {"network": network})
    fit(ERM, profiles(), {"network": network})


def test_a_narrow_network_on_large_images_is_trained():
    """In the format channels_last the gradient of its shortcuts would end the process."""
    samples = trained.images(n=6, size=224, channels=1, batches=1)
    recipe = {"steps": 1, "batch_size": 4, "width": 4}
    assert forked(lambda: trained.fitted("erm", samples, recipe)) == 0


@pytest.mark.parametrize(
    ("width", "size", "expected"), [(8, 64, True), (32, 64, True), (32, 256, True), (8, 256, False)]
)
def test_only_narrow_networks_on_large_images_leave_channels_last(width, size, expected):
    config = {"seed": 0, "shape": [1, size, size], "n_classes": 3, "n_batches": 2}
    config["recipe"] = resolve("default", "images", {"width": width})
    method = ERM(make_params("erm", ERM.Params, {}))
    model, _ = untrained_model(method, config, weights="none")
    assert model.channels_last is expected
    weight = model.network.blocks[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is expected


def test_torchvision_names_exist_and_have_weights():
    import torchvision

    known = torchvision.models.list_models(torchvision.models)
    assert set(TORCHVISION) <= set(known)
    for name in TORCHVISION:
        assert hasattr(torchvision.models.get_model_weights(name), "IMAGENET1K_V1")


@pytest.mark.slow
def test_a_network_of_torchvision():
    samples = images(n=12, size=32)
    method = fit(BEN, samples, {"network": "resnet18", "steps": 1, "batch_size": 4})
    out = method.apply(plate_of(samples))
    assert out.X.shape[1] == 512
    assert np.isfinite(out.X).all()
    with raises(BenchError, "LayerNorm"):
        fit(BEN, samples, {"network": "swin_t", "steps": 1})


def test_the_first_convolution_keeps_its_response_to_equal_channels():
    from bench.training.architectures import _adapt_first_convolution

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    x = torch.rand(2, 1, 6, 6)
    wanted = network(x.expand(-1, 3, -1, -1))
    _adapt_first_convolution(network, 5, pretrained=True)
    torch.testing.assert_close(network(x.expand(-1, 5, -1, -1)), wanted)
    assert network[0].in_channels == 5


def test_weights_that_cannot_be_fetched_state_source_and_hash(monkeypatch):
    from urllib.error import URLError

    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with raises(BenchError, "https://", "resnet18-f37072fd.pth", "weights=none", "checkpoints"):
        fit(ERM, images(), {"network": "resnet18", "weights": "imagenet"})


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["images", "profiles"])
def test_recipes_are_complete_json(name, kind):
    import json

    recipe = resolve(name, kind)
    assert set(recipe) == {*keys(), "network_sha256"} - set(OPTIONAL)
    assert json.loads(json.dumps(recipe)) == recipe
    again = {k: str(v) for k, v in recipe.items() if k not in ("network_sha256", "steps", "epochs")}
    assert resolve(name, kind, again) == recipe


def test_the_published_recipe():
    recipe = resolve("paper", "images")
    wanted = {
        "network": "resnet50",
        "weights": "imagenet",
        "optimiser": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-5,
        "epochs": 90,
        "batch_size": 75,
        "schedule": "cosine",
        "standardise": "image",
        "precision": "float32",
    }
    assert wanted.items() <= recipe.items()
    assert recipe["warmup"] * 90 == pytest.approx(10)
    assert resolve("paper", "images", {"network": "small-resnet"})["weights"] == "none"


def test_steps_and_epochs_replace_each_other():
    assert resolve("paper", "images", {"steps": "10"})["epochs"] == 0
    assert resolve("default", "images", {"epochs": 2})["steps"] == 0


@pytest.mark.parametrize(
    "name, kind, changes, said",
    [
        ("defualt", "images", {}, "unknown recipe 'defualt'. Did you mean default"),
        ("default", "images", {"lrr": 1}, "unknown recipe key 'lrr'. Did you mean lr"),
        ("default", "images", {"network_sha256": "0"}, "unknown recipe key"),
        ("default", "images", {"steps": "many"}, "'steps' takes a whole number, not 'many'"),
        ("default", "images", {"steps": 1.5}, "'steps' takes a whole number"),
        ("default", "images", {"lr": "nan"}, "'lr' takes a finite number"),
        ("default", "images", {"lr": 0}, "'lr' must be in"),
        ("default", "images", {"batch_size": 1}, "'batch_size' must be in 2"),
        ("default", "images", {"warmup": 1.5}, "'warmup' must be in 0 .. 1"),
        ("default", "images", {"channels_last": "maybe"}, "takes true or false"),
        ("default", "images", {"optimiser": "sgd"}, "one of adam | adamw, not 'sgd'"),
        ("default", "images", {"steps": 3, "epochs": 3}, "steps or epochs, not both"),
        ("default", "images", {"steps": 0}, "needs steps or epochs"),
        ("default", "images", {"network": "resnet5"}, "unknown network 'resnet5'. Did you mean"),
        ("default", "images", {"network": "mlp"}, "these samples are images"),
        ("default", "images", {"network": "nowhere:make"}, "no module 'nowhere'"),
        ("default", "images", {"network": "nowhere.py:make"}, "no file nowhere.py"),
        ("default", "images", {"network": "a:b c"}, "must look like module:factory"),
        ("default", "images", {"weights": "imagenet"}, "not for 'small-resnet'"),
        ("default", "profiles", {"network": "resnet50"}, "network=mlp or your own"),
        ("default", "profiles", {"standardise": "image"}, "take none or plate"),
        ("default", "profiles", {"augment": "flips-rotations"}, "is for images"),
    ],
)
def test_wrong_recipes_are_one_clear_line(name, kind, changes, said):

    with raises(BenchError, said, fix=False):
        resolve(name, kind, changes)


def test_what_a_recipe_makes_every_network_see():
    assert recipe_access(resolve("default", "images")) == Access.NONE
    plate = recipe_access(resolve("default", "images", {"standardise": "plate"}))
    assert plate == Access.TRAIN_BATCH | Access.TEST_BATCH


def test_parameters_and_recipes_are_read_without_torch():
    modules = ", ".join(f"bench.methods.{name}" for name in FILES.values())
    code = (
        f"import sys, bench.training.recipes, bench.training.samplers, bench.network, {modules}; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
