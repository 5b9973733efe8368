"""What must hold for every method of the registry: order, names, and what cannot be corrected.

Tables are those of ``tests.helpers.shifts``; methods get views as in a run. A new method is tested
as soon as its file exists.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.data.own.table import ArraySource
from bench.data.views import make_partition
from tests.helpers import shifts
from tests.helpers.extras import skip_without


def methods(level=None):
    result = [e for e in shifts.registry().entries("method") if not is_control_row(e.meta["level"])]
    return [
        e.name
        for e in result
        if (level is None or e.meta["level"] == level) and not shifts.on_images(e.name)
    ]


def outputs(name, opened, seed=0, steps=None):
    """Return training and test profiles in the order of the rows' ids."""
    plate = opened.index["plate"].to_numpy(str)
    old = np.char.endswith(plate, "old")
    partitions = [
        make_partition(
            opened, np.flatnonzero(rows), shifts.CLASSES, "plate", "x", seed, labels=labels
        )
        for rows, labels in ((old, True), (~old, False))
    ]
    result = shifts.profiles_of(name, seed, *partitions, steps=steps)
    ids = opened.index["id"].to_numpy(str)
    return [
        X[np.argsort(ids[partition.rows])] for X, partition in zip(result, partitions, strict=True)
    ]


def table(change=None, order=None, rename=None, plates=6):
    """Return the first plates of a planted table; ``change`` alters its profiles or its index."""
    opened = shifts.planted("location", 0)
    code = opened.index["plate"].str[1:].astype(int).to_numpy()
    rows = np.flatnonzero(code < plates)
    index = opened.index.iloc[rows].reset_index(drop=True)
    X = opened.source.read(rows).copy()
    index["plate"] = [
        f"{rename[k] if rename is not None else k:02d}-{'old' if k < plates - 2 else 'new'}"
        for k in code[rows]
    ]
    if change is not None:
        index, X = change(index.copy(), X)
    if order is not None:
        index, X = index.iloc[order].reset_index(drop=True), X[order]
    return dataclasses.replace(opened, index=index, source=ArraySource(np.ascontiguousarray(X)))


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_order_of_rows_and_names_of_batches_change_nothing(name):
    skip_without(name)
    plain = table()
    order = np.random.default_rng(0).permutation(len(plain.index))
    first = outputs(name, plain)
    for a, b in zip(first, outputs(name, table(order=order)), strict=True):
        np.testing.assert_array_equal(a, b)
    renamed = outputs(name, table(rename=[7, 5, 9, 1, 8, 3]))
    if name in methods("profile"):
        for a, b in zip(first, renamed, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(a).max())
        return
    # A trained network numbers its batches by name where it draws them: within seeds' spread then.
    label = plain.index.sort_values("id")
    test = label["plate"].str.endswith("new").to_numpy()
    y = label["label"].to_numpy(str)
    scores = [read_out(X, y[~test], y[test]) for X in (first, renamed)]
    apart = abs(scores[0] - scores[1])
    if apart > 0.08:  # else it is within seeds' spread whatever that is
        others = [read_out(outputs(name, plain, seed), y[~test], y[test]) for seed in (1, 2)]
        assert apart <= 3 * np.std([scores[0], *others], ddof=1) + 0.08


def read_out(X, y, truth):
    from sklearn.linear_model import LogisticRegression

    mean, sd = X[0].mean(axis=0), X[0].std(axis=0) + 1e-6
    model = LogisticRegression(C=0.1, max_iter=200).fit(((X[0] - mean) / sd)[y != ""], y[y != ""])
    return model.score(((X[1] - mean) / sd)[truth != ""], truth[truth != ""])


def no_controls_in_a_batch(index, X):
    """One test plate and one training plate lose their controls."""
    gone = index["control"] & index["plate"].isin(["00-old", "05-new"])
    return index[~gone].reset_index(drop=True), X[~gone.to_numpy()]


def no_controls(index, X):
    return index[~index["control"]].reset_index(drop=True), X[~index["control"].to_numpy()]


def constant_features(index, X):
    X[:, :3] = [0.0, 1.1, -7e5]
    return index, X


def all_constant(index, X):
    return index, np.full_like(X, 3.3)


def one_batch(index, X):
    keep = index["plate"].isin(["00-old", "05-new"]).to_numpy()
    return index[keep].reset_index(drop=True), X[keep]


def fewer_rows_than_features(index, X):
    keep = np.flatnonzero(np.arange(len(index)) % 16 < 3)
    wide = np.random.default_rng(0).normal(size=(X.shape[1], 300)).astype(np.float32)
    return index.iloc[keep].reset_index(drop=True), X[keep] @ wide


def a_nan(index, X):
    X[7, 2] = np.nan
    X[-7, 2] = np.nan
    return index, X


STEPS = 10
"""Training steps on a table that is wrong: a value that is no number is there from the first on."""
BAD = [
    no_controls_in_a_batch,
    no_controls,
    constant_features,
    all_constant,
    one_batch,
    fewer_rows_than_features,
    a_nan,
]


def outcome(name, change):
    """Return what a method made of a table, or None and what it said instead."""
    try:
        return outputs(name, table(change), steps=STEPS), None
    except BenchError as error:
        return None, str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_what_cannot_be_corrected_is_one_line_and_never_nan(name):
    skip_without(name)
    for change in BAD:
        result, said = outcome(name, change)
        if said is not None:
            assert "\n" not in said, change.__name__
            assert len(said) > 30, change.__name__
            continue
        assert change is not a_nan, "a NaN was accepted without an error"
        for X in result:
            assert np.isfinite(X).all(), change.__name__
