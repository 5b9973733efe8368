"""The 1-nearest-neighbour read-out against scikit-learn and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from bench.scoring import nearest
from bench.scoring.nearest import nearest_classes


def rows(n, d=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_it_is_scikit_learns_nearest_neighbour_by_cosine():
    X, Z = rows(300), rows(200, seed=1)
    y = np.random.default_rng(2).integers(5, size=300)
    theirs = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(X, y).predict(Z)
    votes = nearest_classes(X, y, Z, 6)
    assert votes.dtype == np.float32
    assert votes.shape == (200, 6)
    np.testing.assert_array_equal(votes.argmax(axis=1), theirs)
    assert (votes.max(axis=1) == 1).all()


def test_blocks_length_and_order_change_nothing(monkeypatch):
    X, Z, y = rows(90), rows(50, seed=1), np.arange(90) % 4
    whole = nearest_classes(X, y, Z, 4)
    monkeypatch.setattr(nearest, "BLOCK_BYTES", 8 * 90 * 7)
    np.testing.assert_array_equal(nearest_classes(X, y, Z, 4), whole)
    order = np.random.default_rng(3).permutation(90)
    scaled = X[order] * np.float32(1e3)
    np.testing.assert_array_equal(nearest_classes(scaled, y[order], Z / 7, 4), whole)


def test_ties_are_shared():
    X = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    votes = nearest_classes(X, np.array([0, 1, 1]), np.array([[3, 0], [0, 0]], np.float32), 2)
    assert votes.tolist() == [[0.5, 0.5], [pytest.approx(1 / 3), pytest.approx(2 / 3)]]
