"""Tables with one kind of simulated batch effect, and scores of methods on new batches.

Six batches to train on and six new ones, each of 48 treated rows of six classes and 16 controls,
two rows a well, 20 correlated features. Each kind plants one cause and nothing else:

``nothing``      batches differ by chance alone
``location``     each batch moves every feature by N(0, 1), about the spread within a class
``scale``        each batch multiplies every feature by exp(N(0, 0.6)), controls being around 0
``covariance``   each batch mixes features by I + 0.7 G / sqrt(d) with G standard normal
``hierarchical`` three plates share a laboratory, which moves by N(0, 1) and scales by
                 exp(N(0, 0.4)); each plate moves by N(0, 0.5) more; the new laboratories are others
``confounded``   each training batch has one of the six classes, a test batch has all; each batch
                 moves every feature by N(0, 0.5)
``label-shift``  the class proportions of each batch are drawn from Dirichlet(0.3)

Methods that need images get gratings, whose direction and pitch are the class, of which each batch
changes offset, gain or mixing of the channels.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from bench.api import Access, Context, Opened, make_params, seed_for
from bench.core.meta import KINDS_OF_SHIFT
from bench.core.registry import Registry
from bench.core.seeds import generator
from bench.data.own.array_source import ArraySource
from bench.data.views import make_partition
from bench.runs.apply import apply_all, grouping_of
from bench.training.recipes import recipe_access, resolve
from tests.helpers.tiny import Images

KINDS = ("nothing", *KINDS_OF_SHIFT)
CLASSES = tuple("abcdef")
_ADDRESS = {"hierarchical": "nested"}
"""Kind -> its name in seeds, if it was renamed: the data stay the same."""
BATCHES, TRAINED, TREATED, CONTROLS, FEATURES = 12, 6, 48, 16, 20
RECIPES = {
    "profiles": {"steps": 40, "batch_size": 64, "width": 32, "lr": 1e-2},
    "images": {"steps": 60, "batch_size": 32, "width": 4, "lr": 1e-2, "standardise": "none"},
}


@functools.cache
def planted(kind: str, draw: int, images: bool = False) -> Opened:
    """Return a data set with one kind of batch effect; equal draws share classes and noise."""
    rng = generator("planted shifts", draw, images)
    effect = generator("planted shifts", draw, images, _ADDRESS.get(kind, kind))
    rows, X = [], []
    make = _pixels(rng, effect, kind) if images else _profiles(rng, effect, kind)
    for b in range(BATCHES):
        wells = np.arange(TREATED // 2) % len(CLASSES)
        if kind == "label-shift":
            share = effect.dirichlet(np.full(len(CLASSES), 0.3))
            wells = effect.choice(len(CLASSES), TREATED // 2, p=share)
        elif kind == "confounded" and b < TRAINED:
            wells = np.full(len(wells), b)
        y = np.repeat(np.concatenate([wells, np.full(CONTROLS // 2, -1)]), 2)
        X.append(make(y, b))
        rows += [
            {
                "id": f"p{b:02d}-{k:02d}",
                "label": "" if c < 0 else CLASSES[c],
                "control": bool(c < 0),
                "plate": f"p{b:02d}",
                "laboratory": f"l{b // 3}",
                "well": f"p{b:02d}-w{k // 2:02d}",
            }
            for k, c in enumerate(y)
        ]
    values = np.concatenate(X)
    return Opened(
        name="planted",
        index=pd.DataFrame(rows),
        source=Images(values) if images else ArraySource(values),
        levels=("plate", "laboratory"),
        level="plate",
        edition="fixture",
        digest=f"{kind}-{draw}-{images}".ljust(64, "0"),
        columns={"well": "well"},
    )


def _profiles(rng, effect, kind):
    d = FEATURES
    centres = np.vstack([rng.normal(0, 0.6, (len(CLASSES), d)), np.zeros(d)])
    common = np.eye(d) + 0.5 * rng.normal(size=(d, d)) / np.sqrt(d)
    laboratory = [(effect.normal(0, 1, d), np.exp(effect.normal(0, 0.4, d))) for _ in range(4)]

    def make(y, b):
        X = centres[y] + rng.normal(size=(len(y), d)) @ common
        if kind == "location":
            X = X + effect.normal(0, 1, d)
        elif kind == "scale":
            X = X * np.exp(effect.normal(0, 0.6, d))
        elif kind == "covariance":
            X = X @ (np.eye(d) + 0.7 * effect.normal(size=(d, d)) / np.sqrt(d))
        elif kind == "confounded":
            X = X + effect.normal(0, 0.5, d)
        elif kind == "hierarchical":
            offset, factor = laboratory[b // 3]
            X = (X + effect.normal(0, 0.5, d)) * factor + offset
        return X.astype(np.float32)

    return make


def _pixels(rng, effect, kind):
    along = np.arange(18) / 18
    waves = np.array([(2, 0), (0, 2), (2, 2), (5, 0), (0, 5), (5, 5), (0, 0)])
    laboratory = [(effect.normal(0, 25, 2), np.exp(effect.normal(0, 0.3, 2))) for _ in range(4)]

    def make(y, b):
        fx, fy = waves[y].T[:, :, None, None, None]
        phase = rng.uniform(0, 2 * np.pi, (len(y), 2, 1, 1))
        X = 40 * np.sin(2 * np.pi * (fx * along + fy * along[:, None]) + phase)
        X = 120 + X + 15 * rng.normal(size=X.shape)
        offset, factor, mixing = np.zeros(2), np.ones(2), np.eye(2)
        if kind == "location":
            offset = effect.normal(0, 30, 2)
        elif kind == "scale":
            factor = np.exp(effect.normal(0, 0.4, 2))
        elif kind == "covariance":
            mixing = np.eye(2) + 0.4 * effect.normal(size=(2, 2))
        elif kind == "confounded":
            offset = effect.normal(0, 12, 2)
        elif kind == "hierarchical":
            offset, factor = laboratory[b // 3]
            offset = offset + effect.normal(0, 12, 2)
        X = np.einsum("ncij,ce->neij", X - 120, mixing)
        X = X * factor[:, None, None] + 120 + offset[:, None, None]
        return np.clip(X, 0, 255).astype(np.uint8)

    return make


@functools.cache
def registry() -> Registry:
    return Registry()


@functools.cache
def against(name: str) -> str:
    """Return the baseline of a method: the one it declares, else ERM, or uncorrected profiles."""
    meta = registry().entry("method", name).meta
    return meta.get("against") or ("erm" if meta["level"] == "network" else "identity")


@functools.cache
def on_images(name: str) -> bool:
    cls = registry().entry("method", name).load()
    return "images" in getattr(cls, "needs", lambda params: ())(cls.Params())


_FITTED = {}


@functools.cache
def accuracy(name: str, kind: str, draw: int, images: bool = False) -> float:
    """Return the accuracy of the shared readout on new batches, with views as in a run."""
    opened = planted(kind, draw, images)
    plate = opened.index["plate"].to_numpy(str)
    old = np.isin(plate, [f"p{b:02d}" for b in range(TRAINED)])
    train, test = (
        make_partition(
            opened, np.flatnonzero(rows), CLASSES, "plate", "planted", draw, labels=labels
        )
        for rows, labels in ((old, True), (~old, False))
    )
    code = {"": -1, **{c: k for k, c in enumerate(CLASSES)}}
    label = np.array([code[c] for c in opened.index["label"]])
    X_train, X_test = profiles_of(name, draw, train, test, (kind, images))
    y, truth = label[train.rows], label[test.rows]
    mean, spread = X_train[y >= 0].mean(axis=0), X_train[y >= 0].std(axis=0)
    Z_train, Z_test = ((X - mean) / np.where(spread > 1e-9, spread, 1) for X in (X_train, X_test))
    # The readout of a run without the search for its penalty, which would take most of the time.
    probe = LogisticRegression(C=0.1, max_iter=200).fit(Z_train[y >= 0], y[y >= 0])
    return float(probe.score(Z_test[truth >= 0], truth[truth >= 0]))


def profiles_of(name, draw, train, test, key=None, steps=None):
    """Return training and test profiles; fits are cached under a key.

    Networks are trained for as many steps as :data:`RECIPES` says, or for ``steps``.
    """
    access = Access.NONE
    if name == "identity":
        return [
            partition.view(access, batches=False, labels=False).X for partition in (train, test)
        ]
    entry = registry().entry("method", name)
    cls = entry.load()
    params = make_params(name, cls.Params, {})
    kind = "images" if train.opened.is_images else "profiles"
    asked = RECIPES[kind] | ({} if steps is None else {"steps": steps})
    recipe = resolve("smoke", kind, asked) if entry.meta["level"] == "network" else {}
    access = cls.access(params) | (recipe_access(recipe) if recipe else Access.NONE)
    owner = entry.meta.get("fit", name)
    shared = (owner, draw, *(key or ()))
    state = _FITTED.get(shared) if key else None
    if state is None:
        maker = registry().entry("method", owner).load()
        own = make_params(owner, maker.Params, {})
        seen = maker.access(own) | (recipe_access(recipe) if recipe else Access.NONE)
        method = maker(own)
        method.fit(
            train.view(
                seen,
                batches=Access.TRAIN_BATCH in seen,
                labels=True,
                wells=Access.TRAIN_WELL in seen,
            ),
            test.view(seen, batches=True) if Access.ADAPT in seen else None,
            Context(seed_for("planted", owner, draw), recipe=dict(recipe)),
        )
        state = method.state()
        if key and owner in ("erm", "ben", "ben-multi"):
            _FITTED[shared] = state
    method = cls.from_state(params, state)
    per_batch = bool(access & (Access.TEST_BATCH | Access.TEST_CONTROLS))
    return [
        apply_all(
            method,
            partition.view(access, batches=per_batch),
            grouping_of(partition.batch, per_batch),
            0,
        ).X
        for partition in (train, test)
    ]


def differences(name: str, kind: str, draws: tuple[int, ...]) -> np.ndarray:
    """Return the gain of a method over its baseline, one number per draw.

    Raises
    ------
    NotApplicable
        If it cannot be had on such data.
    """
    images = on_images(name)
    other = against(name)
    return np.array(
        [accuracy(name, kind, k, images) - accuracy(other, kind, k, images) for k in draws]
    )
