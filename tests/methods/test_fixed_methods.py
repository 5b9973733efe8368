"""Classifiers on fixed features: against loops and scikit-learn, their identity, and COOS-7."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.api import BenchError, NotApplicable, make_params
from bench.core.fixed_features import fixed_features
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.records.store import Store
from bench.runs.chain import parse_chain
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from bench.testing.synthetic import synthetic_data
from bench.training import encoders
from bench.training.encoders import PACKAGED, encode
from bench.training.recipes import resolve
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.trained import context, images, method_class, profiles

NAMES = ("fixed-knn", "fixed-logistic", "fixed-forest")


def fitted(name: str, samples: Any, **params: Any) -> Any:
    cls = method_class(name)
    method = cls(make_params(name, cls.Params, params))
    kind = "images" if samples.is_images else "profiles"
    method.fit(samples, None, context(kind, 1))
    return method


def raw(samples: Any) -> np.ndarray:
    everything = np.arange(len(samples))
    X = samples.X if samples.X is not None else fixed_features(samples.images(everything))
    return X.astype(np.float64)


def scaled(train: Any, rows: Any = None) -> np.ndarray:
    """Return features of rows, scaled by hand by the labelled training rows."""
    known = raw(train)[train.y >= 0]
    X = known if rows is None else raw(rows)
    sd = known.std(0)
    # The power of an image without its mean is 0 but for rounding.
    return (X - known.mean(0)) / np.where(sd > 1e-9, sd, 1)


@pytest.mark.parametrize("make", [profiles, images])
def test_neighbours_against_a_loop(make: Any) -> None:
    train, test = make(), make(seed=4)
    output = fitted("fixed-knn", train, k=5).apply(test)
    X, y, Z = scaled(train), train.y[train.y >= 0], scaled(train, test)
    for row, logits in zip(Z, output.logits, strict=True):
        near = y[np.argsort(((X - row) ** 2).sum(1), kind="stable")[:5]]
        shares = np.array([(near == k).mean() for k in range(3)])
        assert np.exp(logits) == pytest.approx(np.maximum(shares, 1e-6), rel=1e-4)
    assert output.X == pytest.approx(Z.astype(np.float32), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_against_scikit_learn(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    train = profiles()
    train = train.take(train.y < classes)
    output = fitted("fixed-logistic", train, C=0.5).apply(train.take(train.y >= 0))
    X, y = scaled(train), train.y[train.y >= 0]
    expected = LogisticRegression(C=0.5, max_iter=500).fit(X, y).predict_proba(X)
    assert np.exp(output.logits[:, :classes]) == pytest.approx(expected, abs=1e-4)


def test_forest_against_scikit_learn() -> None:
    from sklearn.ensemble import RandomForestClassifier

    train, test = profiles(), profiles(seed=3)
    method = fitted("fixed-forest", train, trees=7, min_leaf=3)
    output = method.apply(test)
    X, y = scaled(train), train.y[train.y >= 0]
    seed = int(context("profiles", 1).generator("forest").integers(2**31))
    forest = RandomForestClassifier(7, min_samples_leaf=3, random_state=seed).fit(X, y)
    expected = forest.predict_proba(scaled(train, test))
    assert np.exp(output.logits) == pytest.approx(np.maximum(expected, 1e-6), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_without_training_rows_is_never_answered(name: str) -> None:
    train = profiles()
    train = train.take(train.y != 1)
    logits = fitted(name, train).apply(profiles(seed=2)).logits
    assert logits[:, 1] == pytest.approx(np.log(1e-6))
    assert set(logits.argmax(1)) <= {0, 2}
    with raises(NotApplicable):
        fitted(name, dataclasses.replace(train, y=np.full(len(train), -1)))
    assert np.isfinite(fitted(name, train.take(train.y == 0)).apply(train).logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_head_reads_out_and_the_recipe_is_not_part_of_the_fit(name: str) -> None:
    registry, opened, ids = Registry(), synthetic_data("images"), set()
    for recipe in (resolve("smoke", "images"), resolve("default", "images")):
        chain = parse_chain(name, registry, opened, {}, recipe)
        assert chain.readout == "head"
        assert chain.track == "inductive"
        rows = np.arange(len(opened.index))
        [item] = tiny.stage_ids(
            chain, registry, opened, recipe, ("a", "b"), rows[:50], rows[50:], 0, supervised=True
        )
        ids.add(item.fit)
    assert len(ids) == 1
    assert parse_chain(f"{name}+zscore", registry, opened, {}, recipe).readout == "probe"


def test_features_of_a_network_trained_on_imagenet() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    import torch

    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 3000, (3, 2, 40, 40)).astype(np.uint16)
    features = encode(pixels, PACKAGED, 40)
    assert features.shape == (3, 2560)
    # By hand for one channel of one image, which is not resampled at its own width.
    channel = pixels[1, 1].astype(np.float32)
    low, high = np.percentile(channel, (0.1, 99.9))
    grey = torch.from_numpy(np.clip((channel - low) / (high - low), 0, 1).astype(np.float32))
    x = ((grey - 0.498) / 0.502).repeat(3, 1, 1)[None]
    network = encoders._load(PACKAGED).network.network
    with torch.inference_mode():
        expected = network.extract_features(x).mean((2, 3))[0].numpy()
    assert features[1, 1280:] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    # Exposure and offset are gone.
    brighter = encode((pixels * 2 + 50).astype(np.uint16), PACKAGED, 40)
    assert brighter == pytest.approx(features, rel=1e-2, abs=1e-2)
    # The weights are trained: orientations of stripes differ far more than by noise.
    stripes = np.zeros((1, 1, 64, 64), np.uint16)
    stripes[..., ::4] = 1000
    a, b = (encode(x, PACKAGED, 64) for x in (stripes, stripes.transpose(0, 1, 3, 2)))
    assert np.linalg.norm(a - b) > 0.1 * np.linalg.norm(a)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders._load.cache_clear()
    monkeypatch.setattr(encoders, "_CACHE", encoders._Rows(1))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with raises(BenchError, "labshift[pretrained]"):
        fitted("fixed-knn", images(), features="imagenet")


@pytest.mark.slow
def test_all_four_tests_of_coos7(tmp_path: Any) -> None:
    registry = Registry()
    names = ["coos7/test1", "coos7/test2", "coos7/test3", "ottawa"]
    tasks = open_splits(names, registry, "auto", {"draw": 0, "scale": 0.05}, lambda line: None)
    options = Options("smoke")
    jobs = plan(["fixed-logistic"], tasks, [0], options, registry)
    runner = Runner(Store(tmp_path), options)
    scores: dict[str, list[float]] = {}
    fits = set()
    for job in jobs:
        record = runner.run(job)
        assert (record["status"], record["readout"]) == ("ok", "head")
        error = 1 - record["metrics"]["balanced_accuracy"]["all"]
        scores.setdefault(job.chain.typed, []).append(error)
        fits.add(record["spec"]["folds"][0]["stages"][0]["fit_id"])
    assert len(fits) == 1  # one training for four tests
    for errors in scores.values():
        assert errors[0] < 0.5
        assert errors[3] > errors[0]


@pytest.mark.parametrize("name", NAMES)
def test_profiles_that_are_not_finite_are_refused(name: str) -> None:
    train = profiles()
    X = train.X.copy()
    X[3, 1] = np.nan
    with raises(BenchError, "NaN", "1"):
        fitted(name, dataclasses.replace(train, X=X, y=np.abs(train.y)))
