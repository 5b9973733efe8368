"""Preprocessing of Cell Painting profiles against pycytominer, scikit-learn and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench.methods.mad_int_select import centre_and_mad, ranked, uncorrelated
from scipy import stats

from bench.api import NotApplicable
from bench.core.seeds import generator
from tests.helpers.errors import raises
from tests.helpers.profiles import applied, fitted, reloaded, view


def plates(
    n_plates: int = 4, per_plate: int = 30, d: int = 12, seed: int = 0
) -> tuple[Any, Any, Any]:
    """Return rows, plates and controls; of the features two repeat others and two are constant."""
    rng = generator("plates", seed)
    n = n_plates * per_plate
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    batch = np.repeat([f"p{k}" for k in range(n_plates)], per_plate)
    X += np.repeat(rng.normal(0, 3, (n_plates, d)), per_plate, axis=0)
    X *= np.repeat(np.exp(rng.normal(0, 0.5, (n_plates, d))), per_plate, axis=0)
    X = np.hstack([X, X[:, :2] + 0.01 * rng.normal(size=(n, 2)), np.ones((n, 2))])
    controls = np.tile(np.arange(per_plate) < 10, n_plates)
    return X.astype(np.float32), batch, controls


def by_hand(X: Any, batch: Any, controls: Any) -> Any:
    """Return the rank inverse normal of MAD-scaled rows, written out with SciPy."""
    scaled = np.empty(X.shape)
    for name in np.unique(batch):
        mine = batch == name
        rows = X[mine & controls].astype(np.float64)
        median = np.median(rows, axis=0)
        mad = stats.median_abs_deviation(rows, axis=0)
        scaled[mine] = (X[mine] - median) / mad
    rank = stats.rankdata(scaled, axis=0)
    return stats.norm.ppf((rank - 3 / 8) / (len(X) - 3 / 4 + 1))


def test_median_and_mad_are_those_of_pycytominer() -> None:
    from pycytominer.operations.transform import RobustMAD

    X, _, _ = plates()
    median, mad = centre_and_mad(X[:, :12])
    theirs = RobustMAD(epsilon=0).fit(pd.DataFrame(X[:, :12].astype(np.float64)))
    np.testing.assert_allclose(median, theirs.median)
    np.testing.assert_allclose(mad * 1.4826, theirs.mad)


@pytest.mark.parametrize("ties", [False, True])
def test_training_rows_get_their_rank_inverse_normal(ties: bool) -> None:
    X, batch, controls = plates()
    if ties:
        X = np.round(X)  # counts, of which many are equal on a plate
    train = view(X, batch, controls)
    method = fitted("mad-int-select", train)
    kept = method.state()["features"]
    out = applied(method, train).X
    np.testing.assert_allclose(out, by_hand(X[:, kept], batch, controls), atol=2e-6)
    assert out.dtype == np.float32


@pytest.mark.parametrize("ties", [False, True])
def test_the_place_in_a_distribution_is_that_of_scikit_learn(ties: bool) -> None:
    from sklearn.preprocessing import QuantileTransformer

    rng = generator("place", int(ties))
    train, test = rng.normal(size=(200, 3)), rng.normal(size=(500, 3)) * 1.5
    if ties:
        train, test = np.round(train, 1), np.round(test, 1)
    theirs = QuantileTransformer(n_quantiles=200, output_distribution="uniform").fit(train)
    # theirs interpolates between equal rows and loses ties to rounding
    theirs.quantiles_ = np.sort(train, axis=0)
    z = ranked(test, np.sort(train, axis=0), 200)
    share = (stats.norm.cdf(z) * (200 - 3 / 4 + 1) + 3 / 8 - 1) / 199
    np.testing.assert_allclose(share, theirs.transform(test), atol=1e-9)


def test_fewer_points_than_rows_stay_near_the_ranks() -> None:
    X, batch, controls = plates(per_plate=300)
    train = view(X, batch, controls)
    whole = applied(fitted("mad-int-select", train, quantiles=100_000), train).X
    fewer = applied(fitted("mad-int-select", train, quantiles=201), train).X
    middle = np.abs(whole) < 2
    assert np.abs(whole - fewer)[middle].max() < 0.05


def test_selection_is_that_of_pycytominer() -> None:
    from pycytominer.operations import correlation_threshold, variance_threshold

    for seed in range(4):
        X, batch, controls = plates(seed=seed)
        lively = np.arange(14)
        frame = pd.DataFrame(
            by_hand(X[:, lively], batch, controls), columns=[f"Cells_{k}" for k in lively]
        )
        names = list(frame.columns)
        names = [name for name in names if name not in variance_threshold(frame, names)]
        names = [name for name in names if name not in correlation_threshold(frame, names)]
        kept = fitted("mad-int-select", view(X, batch, controls)).state()["features"]
        assert [f"Cells_{k}" for k in kept] == names
        assert len(names) < 14


def test_of_a_chain_of_copies_the_most_connected_goes() -> None:
    C = np.array([[1, 0.95, 0.5], [0.95, 1, 0.95], [0.5, 0.95, 1]])
    assert uncorrelated(C, 0.9).tolist() == [True, False, True]
    assert uncorrelated(C, 0.96).tolist() == [True, True, True]
    assert uncorrelated(-C + 2 * np.eye(3), 0.9).all()  # as in pycytominer: not of the absolute


def test_nothing_is_fitted_on_test_rows() -> None:
    X, batch, controls = plates(n_plates=6)
    train = np.isin(batch, ["p0", "p1", "p2", "p3"])
    method = fitted("mad-int-select", view(X[train], batch[train], controls[train]))
    before = {name: array.copy() for name, array in method.state().items()}
    alone = batch == "p5"
    item = method.apply(view(X[alone], batch[alone], controls[alone])).X
    treated = alone & ~controls
    moved = X.copy()
    moved[treated] += 5.0
    other = method.apply(view(moved[alone], batch[alone], controls[alone])).X
    mine = controls[alone]
    np.testing.assert_array_equal(item[mine], other[mine])
    for name, array in method.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_location_and_scale_of_a_plate_are_gone() -> None:
    X, batch, controls = plates()
    train = view(X, batch, controls)
    method = fitted("mad-int-select", train)
    mine = batch == "p2"
    item = method.apply(view(X[mine], batch[mine], controls[mine])).X
    two = method.apply(view(4 * X[mine] - 7, batch[mine], controls[mine])).X
    np.testing.assert_allclose(item, two, atol=1e-3)


def test_few_controls_and_dead_features_take_what_is_typical() -> None:
    X, batch, controls = plates()
    method = fitted("mad-int-select", view(X, batch, controls))
    mine = np.flatnonzero(batch == "p1")
    none = method.apply(view(X[mine], batch[mine], np.zeros(len(mine), bool)))
    assert none.fallbacks == 1
    assert "typical median and MAD" in none.notes[0]
    dead = X[mine].copy()
    dead[controls[mine], method.state()["features"][0]] = 3.0
    out = method.apply(view(dead, batch[mine], controls[mine]))
    assert out.fallbacks == 0
    assert np.isfinite(out.X).all()


def test_where_there_is_nothing_to_do_it_with() -> None:
    X, batch, controls = plates()
    with raises(NotApplicable, "4"):
        fitted("mad-int-select", view(X, batch, np.zeros(len(X), bool)))
    with raises(NotApplicable):
        fitted("mad-int-select", view(np.ones_like(X), batch, controls))


def test_blocks_of_features_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.methods import mad_int_select

    X, batch, controls = plates()
    train = view(X, batch, controls)
    whole = fitted("mad-int-select", train)
    monkeypatch.setattr(mad_int_select, "BLOCK_BYTES", 8 * len(X) * 3)
    parts = fitted("mad-int-select", train)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, parts.state()[name])
    again = reloaded(whole)
    np.testing.assert_array_equal(applied(whole, train).X, applied(again, train).X)
