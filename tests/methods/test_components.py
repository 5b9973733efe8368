"""Principal components as a step of a chain: against scikit-learn, and alone as the control row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from tests.helpers import tiny
from tests.helpers.profiles import applied, fitted, reloaded, view

if TYPE_CHECKING:
    from pathlib import Path

N = 80


def table(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 6)) @ rng.normal(size=(6, 9)) * np.geomspace(0.1, 100, 9) + 3
    return X.astype(np.float32)


@pytest.mark.parametrize("n", [2, 4, 50])
def test_equals_scikit_learn(n: int) -> None:
    X, new = table(), table(1)
    batch = np.repeat("a", N)
    method = fitted("components", view(X, batch), n_components=n)
    scaler = StandardScaler().fit(X.astype(np.float64))
    model = PCA(min(n, 6)).fit(scaler.transform(X.astype(np.float64)))
    for rows in (X, new):
        wanted = model.transform(scaler.transform(rows.astype(np.float64)))
        result = applied(method, view(rows, batch)).X
        signs = np.sign((wanted * result).sum(axis=0))
        assert result.shape == (N, min(n, 6))
        np.testing.assert_allclose(result * signs, wanted, atol=2e-3)
    again = applied(reloaded(method), view(new, batch)).X
    np.testing.assert_array_equal(again, applied(method, view(new, batch)).X)


def test_the_projection_alone_is_the_control_row(tmp_path: Path) -> None:
    bench, task = tiny.Bench(tmp_path), tiny.task(tiny.opened(per_class=6))
    records = bench.run("pca,components", task)
    scores = [record["metrics"]["balanced_accuracy"]["all"] for record in records]
    assert scores[0] == scores[1]


def test_steps_before_choose_the_directions(tmp_path: Path) -> None:
    bench, task = tiny.Bench(tmp_path), tiny.task(tiny.opened(per_class=6), hold_out="plate")
    for record in bench.run("robust+components+sphering,components+center", task):
        assert record["status"] == "ok", record["reason"]
