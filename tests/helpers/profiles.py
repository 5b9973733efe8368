"""Synthetic profiles as views; fitting a profile method and applying it to them."""

from __future__ import annotations

import importlib

import numpy as np

from bench.api import Access, Context, Output, Samples, make_params
from bench.core.seeds import generator


def method_class(name):
    module = importlib.import_module(f"bench.methods.{name.replace('-', '_')}")
    return getattr(module, module.META["class"])


def view(X, batch=None, controls=None, y=None, prefix="row"):
    """Return a view of rows ``(n, d)`` with all access."""
    n = len(X)
    return Samples(
        ids=np.array([f"{prefix}{i}" for i in range(n)]),
        y=np.full(n, -1, np.int64) if y is None else np.asarray(y, np.int64),
        batch=np.full(n, "b") if batch is None else np.asarray(batch).astype(str),
        n_classes=3,
        shape=(X.shape[1],),
        X=np.ascontiguousarray(X, dtype=np.float32),
        _controls=np.zeros(n, bool) if controls is None else np.asarray(controls, bool),
    )


def fitted(name, train, adapt=None, seed=0, **params):
    cls = method_class(name)
    method = cls(make_params(name, cls.Params, params))
    method.fit(train, adapt, Context(seed, {}))
    return method


def applied(method, samples):
    """Apply a method as the runner does: batch by batch if the method declares it."""
    per_batch = type(method).access(method.params) & (Access.TEST_BATCH | Access.TEST_CONTROLS)
    if not per_batch:
        return method.apply(samples)
    X, fallbacks, notes = None, 0, {}
    for name in np.unique(samples.batch):
        rows = np.flatnonzero(samples.batch == name)
        out = method.apply(samples.take(rows))
        X = np.empty((len(samples), out.X.shape[1]), np.float32) if X is None else X
        X[rows] = out.X
        fallbacks += out.fallbacks
        notes.update(dict.fromkeys(out.notes))
    return Output(X, fallbacks=fallbacks, notes=tuple(notes))


def reloaded(method):
    """Return the method restored from its state."""
    return type(method).from_state(method.params, method.state())


SHIFTS = ("nothing", "location", "scale", "covariance")


def planted(shift, seed, n_batches=10, treated=80, controls=24, d=30, n_classes=6):
    """Return X, y, batch and controls with a batch effect of one kind in each batch."""
    rng = generator("planted", shift, seed)
    centres = rng.normal(0, 0.6, (n_classes, d))
    common = np.eye(d) + 0.5 * rng.normal(size=(d, d)) / np.sqrt(d)
    y = np.concatenate([rng.permuted(np.arange(treated) % n_classes), np.full(controls, -1)])
    blocks = []
    for _ in range(n_batches):
        X = np.where(y[:, None] >= 0, centres[y], 0) + rng.normal(size=(len(y), d)) @ common
        if shift == "location":
            X = X + rng.normal(0, 1, d)
        elif shift == "scale":
            X = X * np.exp(rng.normal(0, 0.6, d))
        elif shift == "covariance":
            X = X @ (np.eye(d) + 0.6 * rng.normal(size=(d, d)) / np.sqrt(d))
        blocks.append(X)
    X = np.concatenate(blocks).astype(np.float32)
    batch = np.repeat([f"batch {k}" for k in range(n_batches)], len(y))
    labels = np.tile(y, n_batches)
    return X, labels, batch, labels < 0


def probe_accuracy(name, shift, seed, sizes=None, **params):
    """Return the accuracy of a readout trained on six batches in four new ones.

    ``sizes`` are arguments of :func:`planted`.
    """
    from sklearn.linear_model import LogisticRegression

    X, y, batch, controls = planted(shift, seed, **(sizes or {}))
    old = np.isin(batch, [f"batch {k}" for k in range(6)])
    Z = X
    if name != "identity":
        train = view(X[old], batch[old], controls[old], y[old], "train")
        test = view(X[~old], batch[~old], controls[~old], prefix="test")
        method = fitted(name, train, test, **params)
        Z = np.concatenate([applied(method, train).X, applied(method, test).X])
        order = np.concatenate([np.flatnonzero(old), np.flatnonzero(~old)])
        Z = Z[np.argsort(order)]
    Z = Z / np.maximum(Z[old].std(axis=0), 1e-6)
    train, test = old & ~controls, ~old & ~controls
    probe = LogisticRegression(C=0.1, max_iter=500).fit(Z[train], y[train])
    return float(probe.score(Z[test], y[test]))
