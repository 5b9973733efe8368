"""The shared probe: multinomial logistic regression, the same for all rows of a board.

It is L2-penalised and class-weighted (:mod:`bench.scoring.logistic`), on features scaled with the
training rows' mean and standard deviation. The inverse penalty ``C`` is selected by balanced
accuracy on held-out batches of the training rows, at the batch level that the split tests. The
probe then cannot exploit batch effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import NotApplicable
from bench.core.seeds import generator
from bench.scoring.logistic import logistic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import Floats, Ints

GRID = tuple(10.0**k for k in range(-7, 4))
"""Candidates for C, ascending."""
DEFAULT = 1e-2
"""C if nothing can be held out, because no class has two training rows."""
FOLDS = 3
CHOICE_ROWS = 2000
"""Maximum number of training rows for selecting C; the final fit uses all rows."""
CONSTANT = 1e-12
"""A feature is constant if its SD is at most this fraction of its mean: rounding of float64."""


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
        ``(n,)`` batch names at the level that the split tests, the same for all methods.
    seed
        Seed of the cross-validation folds, and of the rows used to select C.
    """
    from threadpoolctl import threadpool_limits

    present, codes = np.unique(y, return_inverse=True)
    if not len(present):
        raise NotApplicable("no training row has a class, so no read-out can be trained")
    mean = X.mean(axis=0, dtype=np.float64)
    scale = X.std(axis=0, dtype=np.float64)
    scale[scale <= CONSTANT * np.abs(mean)] = 1.0
    coef = np.zeros((n_classes, X.shape[1]))
    intercept = np.full(n_classes, -1e9)
    C = DEFAULT
    if len(present) == 1:
        intercept[present] = 0.0
    else:
        Z = (X - mean) / scale
        # For small problems, thread synchronisation costs more than it saves: two threads were
        # ten times slower when another process used one core.
        with threadpool_limits(limits=1):
            C = choose_penalty(Z, codes, batch, seed)
            [fit] = logistic_path(Z, codes, [C])
        coef[present], intercept[present] = fit.coef, fit.intercept
    return Probe(coef, intercept, mean, scale, C)


def choose_penalty(Z: NDArray[np.float64], y: Ints, batch: NDArray[np.str_], seed: int) -> float:
    """Return the C selected by balanced accuracy on held-out batches.

    It is the middle one of all candidates within one standard error of the highest balanced
    accuracy (the rule of Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3,
    which takes the simplest of these). Differences within it are noise, and both ends of the grid
    are plateaus.

    Parameters
    ----------
    Z
        ``(n, d)`` scaled rows.
    y
        ``(n,)`` classes ``0 .. K - 1``, each with at least one row.
    batch
        ``(n,)`` batch of each row.
    seed
        Seed of the folds and of the rows used.
    """
    rng = generator("probe", seed)
    kept = _even_rows(y, rng)
    Z, y, batch = Z[kept], y[kept], batch[kept]
    folds = choice_folds(y, batch, rng)
    right = np.zeros((len(GRID), y.max() + 1))
    n_tested = 0
    for fold in np.unique(folds):
        outside = folds == fold
        present, codes = np.unique(y[~outside], return_inverse=True)
        if len(present) < 2:
            continue
        n_tested += 1
        for k, fit in enumerate(logistic_path(Z[~outside], codes, GRID)):
            answer = present[(Z[outside] @ fit.coef.T + fit.intercept).argmax(axis=1)]
            right[k] += np.bincount(y[outside], answer == y[outside], minlength=right.shape[1])
    if not n_tested:
        return DEFAULT
    n_rows = np.bincount(y)
    recall = right / n_rows
    balanced = recall.mean(axis=1)
    best = int(balanced.argmax())
    variance = (recall[best] * (1 - recall[best]) / n_rows).sum() / len(n_rows) ** 2
    close = np.flatnonzero(balanced >= balanced[best] - np.sqrt(variance) - 1e-9)
    return GRID[int(close[(len(close) - 1) // 2])]


def choice_folds(y: Ints, batch: NDArray[np.str_], rng: np.random.Generator) -> Ints:
    """Return the fold of each row, ``(n,)``, for selecting C.

    Batches are held out as a whole, and distributed such that the classes of each are also
    elsewhere (``StratifiedGroupKFold`` of scikit-learn). The rows of a class whose batches are all
    in one fold, such as a class of a single batch, are distributed over the folds instead. With a
    single batch, or with classes nested in batches, all folds are therefore stratified by class.

    Parameters
    ----------
    y, batch
        ``(n,)`` class and batch of each row.
    rng
        Breaks ties.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.zeros(len(y), dtype=np.int64)
    counts = np.bincount(y)
    n_folds = min(FOLDS, len(np.unique(batch)), int(counts.max()))
    if n_folds > 1:
        splitter = StratifiedGroupKFold(
            n_folds, shuffle=True, random_state=int(rng.integers(2**31))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes with fewer rows than folds
            for fold, (_, outside) in enumerate(splitter.split(y, y, batch)):
                folds[outside] = fold
    for k in np.flatnonzero(counts):
        rows = np.flatnonzero(y == k)
        if len(np.unique(folds[rows])) == 1:
            folds[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return folds


def _even_rows(y: Ints, rng: np.random.Generator) -> Ints:
    """Return at most :data:`CHOICE_ROWS` rows, ascending, as evenly over classes as possible."""
    n = len(y)
    if n <= CHOICE_ROWS:
        return np.arange(n)
    order = rng.permutation(n)
    order = order[np.argsort(y[order], kind="stable")]
    start = np.searchsorted(y[order], y[order])
    rank = np.arange(n) - start  # of a row within its class
    kept: Ints = np.sort(order[np.argsort(rank, kind="stable")[:CHOICE_ROWS]])
    return kept
