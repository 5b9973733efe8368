"""The shared probe: multinomial logistic regression, the same for all rows of a board.

It is L2-penalised, on features standardised with the training rows' mean and standard deviation.
The inverse penalty ``C`` is selected from a fixed grid by cross-validation over training batches,
so that the probe cannot exploit batch effects.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import NotApplicable
from bench.core.seeds import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import Floats, Ints

GRID = (1e-3, 1e-2, 1e-1, 1.0)
"""Candidates for C; ties are broken by the smaller value, i.e. the stronger penalty."""
WITHOUT_BATCHES = 1e-2
"""C if no batch can be held out: a single training batch, or only one with two classes."""
FOLDS = 3
CHOICE_ROWS = 2000
"""Maximum number of training rows for selecting C; the final fit uses all rows."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe: ``coef`` (K, d), ``intercept`` (K,), ``mean`` (d,), ``scale`` (d,)."""

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    C: float

    def scores(self, X: Floats) -> Floats:
        """Return class probabilities, ``(n, K)`` float32; classes without training rows get 0."""
        z = ((X - self.mean) / self.scale) @ self.coef.T + self.intercept
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        result: Floats = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        return result


def fit_probe(X: Floats, y: Ints, batch: NDArray[np.str_], n_classes: int, seed: int) -> Probe:
    """Fit the probe.

    Parameters
    ----------
    X
        ``(n, d)`` profiles of the labelled training rows.
    y
        ``(n,)`` classes ``0 .. n_classes - 1``.
    batch
        ``(n,)`` batch names at the data set's default level, the same for all methods.
    n_classes
        Number of classes K of the task.
    seed
        Seed of the cross-validation folds, and of the rows used to select C.

    Raises
    ------
    NotApplicable
        If no training row has a class.
    """
    from threadpoolctl import threadpool_limits

    present = np.unique(y)
    if not len(present):
        raise NotApplicable("no training row has a class, so no read-out can be trained")
    mean = X.mean(axis=0, dtype=np.float64)
    scale = X.std(axis=0, dtype=np.float64)
    scale[scale <= 1e-12 * np.maximum(1.0, np.abs(mean))] = 1.0
    Z = (X - mean) / scale
    coef = np.zeros((n_classes, X.shape[1]))
    intercept = np.full(n_classes, -1e9)
    if len(present) == 1:
        intercept[present] = 0.0
        return Probe(coef, intercept, mean, scale, WITHOUT_BATCHES)
    # For small problems, thread synchronisation costs more than it saves: two threads were
    # ten times slower when another process used one core.
    with threadpool_limits(limits=1):
        C = _choose(Z, y, batch, seed)
        model = _logistic(Z, y, C)
    if len(model.classes_) == 2:
        coef[model.classes_] = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2])
        intercept[model.classes_] = (-model.intercept_[0] / 2, model.intercept_[0] / 2)
    else:
        coef[model.classes_] = model.coef_
        intercept[model.classes_] = model.intercept_
    return Probe(coef, intercept, mean, scale, C)


def _choose(Z: NDArray[np.float64], y: Ints, batch: NDArray[np.str_], seed: int) -> float:
    rng = generator("probe", seed)
    names = rng.permutation(np.unique(batch))
    if len(names) < 2:
        return WITHOUT_BATCHES
    if len(y) > CHOICE_ROWS:
        keep = np.sort(rng.permutation(len(y))[:CHOICE_ROWS])
        Z, y, batch = Z[keep], y[keep], batch[keep]
    fold_of = {name: k % min(FOLDS, len(names)) for k, name in enumerate(names)}
    folds = np.array([fold_of[name] for name in batch])
    hits = np.zeros(len(GRID))
    tried = False
    for fold in range(min(FOLDS, len(names))):
        inside, outside = folds != fold, folds == fold
        if len(np.unique(y[inside])) < 2 or not outside.any():
            continue
        tried = True
        for k, C in enumerate(GRID):
            model = _logistic(Z[inside], y[inside], C)
            hits[k] += np.sum(model.predict(Z[outside]) == y[outside])
    return GRID[int(np.argmax(hits))] if tried else WITHOUT_BATCHES


def _logistic(Z: NDArray[np.float64], y: Ints, C: float) -> Any:  # noqa: ANN401 - scikit-learn has no types
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A probe at the iteration limit is valid; all rows use the same limit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=C, max_iter=200, tol=1e-4).fit(Z, y)
