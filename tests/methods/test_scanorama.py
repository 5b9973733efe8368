"""Scanorama against its formula in loops, and what it must say or leave alone."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import sys

import numpy as np
import pytest

from bench.api import NotApplicable
from tests.helpers.errors import mentions, raises
from tests.helpers.profiles import applied, fitted, method_class, planted, reloaded, view

HERE = importlib.util.find_spec("scanorama") is not None
needs_library = pytest.mark.skipif(not HERE, reason="the extra 'scanorama' is not installed")


def sides(seed=0, n_batches=4, **options):
    X, y, batch, controls = planted("location", seed, n_batches=n_batches, **options)
    old = np.isin(batch, ["batch 0", "batch 1"])
    train = view(X[old], batch[old], controls[old], y[old], "train")
    return train, view(X[~old], batch[~old], controls[~old], prefix="test")


@needs_library
def test_two_batches_are_joined_as_the_formula_says():
    from bench.core.moments import Components

    train, test = sides(n_batches=3)
    train = train.take(train.batch == "batch 0")
    test = test.take(np.arange(90))
    method = fitted("scanorama", train, test)
    components = Components.of(train.X, 100, "scanorama")
    A, B = (components.scores(side.X).astype(float) for side in (train, test))
    A, B = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (A, B))
    city = np.abs(A[:, None] - B[None]).sum(axis=2)
    of_a, of_b = np.argsort(city, axis=1)[:, :20], np.argsort(city, axis=0)[:20].T
    pairs = [(a, b) for a in range(len(A)) for b in of_a[a] if a in of_b[b]]
    assert len(pairs) > 50
    moved = B.copy()
    for i, z in enumerate(B):
        weight = np.array([np.exp(-7.5 * ((z - B[b]) ** 2).sum()) for _, b in pairs])
        moved[i] += (
            sum(w * (A[a] - B[b]) for w, (a, b) in zip(weight, pairs, strict=True)) / weight.sum()
        )
    # The larger batch is the one that stays.
    np.testing.assert_allclose(method.apply(train).X, A, atol=1e-5)
    np.testing.assert_allclose(method.apply(test).X, moved, atol=1e-5)
    assert np.abs(moved - B).max() > 0.1


@needs_library
def test_order_names_seed_and_storage_change_nothing():
    train, test = sides(1)
    method = fitted("scanorama", train, test)
    first = method.apply(test).X
    order = np.random.default_rng(0).permutation(len(test))
    moved = test.take(order)
    moved = dataclasses.replace(moved, batch=np.char.add("x", moved.batch))
    again = fitted("scanorama", train, moved, seed=5)
    np.testing.assert_array_equal(again.apply(moved).X, first[order])
    np.testing.assert_array_equal(reloaded(method).apply(test).X, first)


@needs_library
def test_global_generators_are_left_alone():
    train, test = sides(2)
    np.random.seed(3)  # noqa: NPY002 - the global generator is checked
    random.seed(3)
    expected = np.random.RandomState(3).rand(), random.Random(3).random()
    sys.modules.pop("scanorama", None)
    fitted("scanorama", train, test)
    assert (np.random.rand(), random.random()) == expected  # noqa: NPY002 - the global generator is checked


@needs_library
def test_small_batches_are_left_and_said():
    train, test = sides(3)
    few = test.take(np.r_[0:5, 104:208])
    method = fitted("scanorama", train, few)
    out = method.apply(few)
    mentions(out.notes, "1", "knn")
    np.testing.assert_allclose(np.linalg.norm(out.X[:5], axis=1), 1, atol=1e-5)
    with raises(NotApplicable, "knn", "500"):
        fitted("scanorama", train, test, knn=500)


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scanorama", None)
    train, test = sides(4)
    with raises(NotApplicable, "labshift[scanorama]"):
        fitted("scanorama", train, test)


@needs_library
def test_it_must_have_seen_a_row():
    train, test = sides(5)
    method = fitted("scanorama", train, test)
    assert applied(method, test).X.shape == (len(test), 30)
    assert method_class("scanorama").name == "scanorama"
    with raises(Exception, "harmony-map", "208"):
        method.apply(view(test.X, prefix="new"))
