"""Small views of profiles and images in memory, networks trained on them, and an MLP by hand."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest

from bench.api import Context, Samples, make_params
from bench.core import samples as api
from bench.training import checkpoint as training
from bench.training.recipes import resolve

SMALL = {"steps": 8, "batch_size": 16, "width": 4}


def method_class(name):
    module = importlib.import_module(f"bench.methods.{name.replace('-', '_')}")
    return getattr(module, module.META["class"])


class Source:
    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype

    def read(self, rows):
        return self.pixels[rows]


def _described(n, rng, batches, per_well):
    """Wells of one class, each on one plate; every fourth well is a control."""
    well = np.arange(n) // per_well
    y, batch = rng.integers(3, size=well.max() + 1)[well], rng.integers(batches, size=n)[well]
    controls = (well % 4) == 0
    return {
        "ids": np.array([f"r{i}" for i in range(n)]),
        "y": np.where(controls, -1, y).astype(np.int64),
        "batch": np.array([f"p{b}" for b in batch]),
        "n_classes": 3,
        "well": np.array([f"w{w}" for w in well]),
        "_controls": controls,
    }


def profiles(n=120, d=6, seed=0, batches=4, per_well=2):
    """Return three separated classes with a shift per batch."""
    rng = np.random.default_rng(seed)
    fields = _described(n, rng, batches, per_well)
    batch = np.unique(fields["batch"], return_inverse=True)[1]
    X = rng.normal(size=(n, d)) + 3 * np.eye(d)[fields["y"] % d] * (fields["y"] >= 0)[:, None]
    X = (X + rng.normal(size=(batches, d))[batch]).astype(np.float32)
    return Samples(**fields, shape=(d,), X=X)


def images(n=48, size=18, channels=2, seed=0, batches=3, per_well=2):
    """Return 8-bit noise that is brighter for higher classes."""
    rng = np.random.default_rng(seed)
    fields = _described(n, rng, batches, per_well)
    pixels = rng.integers(0, 150, (n, channels, size, size))
    pixels[:, 0, :, ::2] += 40 * (1 + fields["y"])[:, None, None]
    pixels = pixels.astype(np.uint8)
    handle = api.new_handle(Source(pixels), np.arange(n))
    return Samples(**fields, shape=pixels.shape[1:], _handle=handle)


def samples_of(kind):
    return profiles() if kind == "profiles" else images()


def context(kind="profiles", seed=1, scratch=None, **recipe):
    return Context(seed=seed, recipe=resolve("default", kind, {**SMALL, **recipe}), scratch=scratch)


def fitted(cls, samples, recipe=None, seed=1, **params):
    cls = method_class(cls) if isinstance(cls, str) else cls
    kind = "images" if samples.is_images else "profiles"
    method = cls(make_params("m", cls.Params, params))
    method.fit(samples, None, context(kind, seed, **(recipe or {})))
    return method


def plate_of(samples, k=1):
    """Return the rows of one batch as ``apply`` receives them."""
    view = samples.take(samples.batch == f"p{k}")
    return dataclasses.replace(view, y=np.full(len(view), -1, np.int64), well=None)


def same_state(a, b):
    a, b = a.state(), b.state()
    return list(a) == list(b) and all(np.array_equal(a[k], b[k]) for k in a)


def batches_of(cls, samples, recipe=None, **params):
    """Return each batch as it enters the loss."""
    cls = method_class(cls) if isinstance(cls, str) else cls
    batches = []

    class Watched(cls):
        def loss(self, model, batch):
            batches.append(batch)
            return super().loss(model, batch)

    fitted(Watched, samples, recipe, **params)
    return batches


def mlp_by_hand(state, X, gives=None):
    """Return features and logits of the MLP in float64.

    BatchNorm uses the rows that give, or its running averages.
    """
    h = (X.astype(np.float64) - state["scaling.mean"]) / state["scaling.sd"]
    for k in (0, 3):
        h = h @ state[f"model.network.{k}.weight"].astype(np.float64).T
        norm = f"model.network.{k + 1}."
        if gives is None:
            mean, var = state[norm + "running_mean"], state[norm + "running_var"]
        else:
            mean, var = h[gives].mean(0), h[gives].var(0)
        h = (h - mean) / np.sqrt(var + 1e-5) * state[norm + "weight"] + state[norm + "bias"]
        h = np.maximum(h, 0)
    return h, h @ state["model.head.weight"].T.astype(np.float64) + state["model.head.bias"]


class Interrupted(Exception):
    """Raised to interrupt a training run."""


def resumed_ends_alike(name, samples, folder, monkeypatch, **params):
    """Train with an interruption; return whether the weights equal those without it bit by bit."""
    monkeypatch.setattr(training.Checkpoint, "due", lambda self: self._path is not None)
    kind = "images" if samples.is_images else "profiles"
    cls = method_class(name)

    def progress(done, total):
        if done == 3:
            raise Interrupted

    ctx = dataclasses.replace(context(kind, scratch=folder), progress=progress)
    with pytest.raises(Interrupted):
        cls(make_params(name, cls.Params, params)).fit(samples, None, ctx)
    method = cls(make_params(name, cls.Params, params))
    method.fit(samples, None, context(kind, scratch=folder))
    return same_state(method, fitted(cls, samples, **params))
