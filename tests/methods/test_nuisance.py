"""Corrections of nuisances other than batch: numeric columns and the position on the plate."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bench.methods.plate_position import effects
from sklearn.linear_model import LinearRegression

from bench.api import NotApplicable
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, reloaded, view

if TYPE_CHECKING:
    from pathlib import Path

N = 96
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]


def exposed(samples: Any, **columns: Any) -> Any:
    return dataclasses.replace(
        samples, exposed={name: np.asarray(values, str) for name, values in columns.items()}
    )


def table(seed: int = 0, slope: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Return profiles ``(N, 5)`` that depend on a count, and the count."""
    rng = np.random.default_rng(seed)
    count = rng.integers(20, 400, N)
    X = rng.normal(size=(N, 5)) + slope * (count / 100)[:, None] * np.arange(5)
    return X.astype(np.float32), count


def test_regression_equals_scikit_learn_in_one_batch() -> None:
    X, count = table()
    train = exposed(view(X, np.repeat("a", N)), count=count)
    result = applied(fitted("regress-out", train, rows="all"), train).X
    model = LinearRegression().fit(count[:, None], X.astype(np.float64))
    expected = X - model.predict(count[:, None]) + X.mean(axis=0)
    assert result == pytest.approx(expected, abs=1e-4)


def test_slopes_are_those_of_centred_batches_and_controls() -> None:
    X, count = table()
    batch, controls = np.repeat(["a", "b", "c"], N // 3), np.arange(N) % 2 == 0
    X += 50.0 * (batch == "b")[:, None]  # a shift that must not become a slope
    train = exposed(view(X, batch, controls), count=count, text=["x"] * N)
    method = fitted("regress-out", train)
    rows, slopes = np.flatnonzero(controls), []
    for j in range(5):
        c, x = count.astype(float), X[:, j].astype(float)
        design = np.stack([c, *[(batch == name).astype(float) for name in "abc"]], axis=1)
        slopes.append(np.linalg.lstsq(design[rows], x[rows], rcond=None)[0][0])
    assert method.state()["slopes"][0] / count.std() == pytest.approx(slopes, rel=1e-4)
    expected = X - np.outer(count - count.mean(), slopes)
    assert applied(method, train).X == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(applied(reloaded(method), train).X, applied(method, train).X)


def test_rows_without_a_value_are_not_corrected() -> None:
    X, count = table()
    train = exposed(view(X, np.repeat("a", N)), count=count)
    method = fitted("regress-out", train, rows="all")
    lacking = exposed(view(X[:2], np.repeat("a", 2)), count=["", str(count[1])])
    result = applied(method, lacking).X
    assert np.array_equal(result[0], X[0])
    assert result[1] == pytest.approx(applied(method, train).X[1])


def test_a_column_that_is_not_exposed() -> None:
    X, count = table()
    train = exposed(view(X, np.repeat("a", N)), count=count)
    with raises(NotApplicable, "area"):
        fitted("regress-out", train, rows="all", columns="count, area")
    with raises(NotApplicable, "position"):
        fitted("regress-out", exposed(view(X, np.repeat("a", N)), position=WELLS), rows="all")
    plain = view(X, np.repeat("a", N))
    assert np.array_equal(applied(fitted("regress-out", plain, rows="all"), plain).X, X)


def polish(x: np.ndarray, rounds: int = 30) -> np.ndarray:
    """Return the residuals of Tukey's median polish of a matrix, plus its level."""
    rest, level = x.astype(float).copy(), 0.0
    rows, columns = np.zeros(len(x)), np.zeros(x.shape[1])
    for _ in range(rounds):
        for i in range(len(x)):
            m = np.median(rest[i])
            rest[i] -= m
            rows[i] += m
        m = np.median(rows)
        rows -= m
        level += m
        for j in range(x.shape[1]):
            m = np.median(rest[:, j])
            rest[:, j] -= m
            columns[j] += m
        m = np.median(columns)
        columns -= m
        level += m
    return rest + level


def test_additive_effects_are_removed_exactly() -> None:
    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(N), 12)
    rows, columns = rng.normal(size=(8, 3)), rng.normal(size=(12, 3))
    X = 7 + rows[row] + columns[column]
    rest = X - effects(X.astype(np.float32), row, column)
    assert np.ptp(rest, axis=0) == pytest.approx(0, abs=1e-5)
    level = 7 + np.median(rows, axis=0) + np.median(columns, axis=0)
    assert rest[0] == pytest.approx(level, abs=1e-5)


def test_position_effects_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) + rng.normal(size=(8, 3))[np.arange(N) // 12]
    X[5] += 40  # an outlier moves no median
    samples = exposed(view(X.astype(np.float32), np.repeat("a", N)), position=WELLS)
    result = applied(fitted("plate-position", samples), samples).X
    for j in range(3):
        # Both end at residuals with row and column medians near 0; the level may differ.
        expected = polish(X[:, j].reshape(8, 12)).ravel()
        assert result[:, j] - np.median(result[:, j]) == pytest.approx(
            expected - np.median(expected), abs=0.12
        )
        rest = (result[:, j] - np.median(result[:, j])).reshape(8, 12)
        assert np.abs(np.median(rest, axis=0)).max() < 0.1
        assert np.abs(np.median(rest, axis=1)).max() < 0.1


def test_incomplete_layouts_and_rows_without_a_position() -> None:
    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(N), 12)
    X = (rng.normal(size=(8, 2))[row] + rng.normal(size=(12, 2))[column]).astype(np.float32)
    kept = np.flatnonzero(rng.random(N) < 0.7)
    names = [WELLS[k].replace("0", "") if WELLS[k][1] == "0" else WELLS[k] for k in kept]
    names[0] = "well?"
    samples = exposed(view(X[kept], np.repeat("a", len(kept))), position=names)
    result = applied(fitted("plate-position", samples), samples).X
    assert np.array_equal(result[0], X[kept][0])
    assert result[1:].std(axis=0).max() < 0.3 * X.std(axis=0).min()
    few = exposed(view(X[:10], np.repeat("a", 10)), position=WELLS[:10])
    output = fitted("plate-position", few).apply(few)
    assert np.array_equal(output.X, X[:10])
    assert output.fallbacks == 1


def test_runs_need_an_exposed_column(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    methods = "regress-out,plate-position"
    for record in bench.run(methods, tiny.task()):
        assert record.status == "not-applicable"
        assert "expose" in record.reason
    for record in bench.run(methods, tiny.task(expose=("count", "position"))):
        assert record.ok
        assert record.undeclared_adaptation is None
