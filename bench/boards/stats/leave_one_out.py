"""Simulation of leave-one-batch-out with real classifiers.

Every data set has ``n_batches`` batches. Each batch is the test set once, and a classifier is
trained on all others. Rows are Gaussian around the mean of their class. A batch moves all its rows
(batch effect), moves each class separately (interaction of batch and class) and rescales every
feature. With label shift, the proportions of the classes differ between batches.

The score of a fold is the balanced accuracy over the classes of its batch. The target of an
interval is the expected score of a classifier trained on ``n_batches - 1`` batches and tested on
one more batch: its mean over simulated data sets.

The classifiers are fitted from class counts, sums and second moments, for many data sets at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.boards.stats.intervals import mean_variance, training_overlap
from bench.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

N_CLASSES = 3
N_ROWS = 24
"""Rows per batch."""
SEPARATION = 1.7
"""Root of the summed variance of the class means over features; a row has variance 1 in each."""
INTERACTION_SD = 0.4
"""Standard deviation of the shift of one class in one batch."""
LOG_SCALE_SD = 0.2
"""Standard deviation of the logarithm of a feature's scale in one batch."""
LABEL_CONCENTRATION = 1.0
"""With label shift: Dirichlet concentration of the class proportions of a batch."""
LOGISTIC_STEPS = 40


@dataclass(frozen=True)
class Regime:
    """Number of features, and standard deviation of the shift of a batch in each of them."""

    name: str
    n_features: int
    batch_sd: float


REGIMES = (Regime("moderate", 8, 0.8), Regime("strong", 8, 2.0), Regime("wide", 24, 2.0))


def class_means(n_features: int) -> Doubles:
    """Return the fixed class means, ``(N_CLASSES, n_features)``."""
    rng = generator("leave-one-out", "class-means", n_features)
    sd = SEPARATION / math.sqrt(n_features)
    return sd * rng.standard_normal((N_CLASSES, n_features))


def batch_rows(
    n_sim: int, n_batches: int, rng: np.random.Generator, regime: Regime, *, label_shift: bool
) -> tuple[Doubles, Ints]:
    """Draw the rows of simulated data sets.

    Returns
    -------
    X, y
        ``(n_sim, n_batches, N_ROWS, n_features)`` and ``(n_sim, n_batches, N_ROWS)``.
    """
    d = regime.n_features
    shape = (n_sim, n_batches)
    alpha = np.full(N_CLASSES, LABEL_CONCENTRATION)
    share = (
        rng.dirichlet(alpha, shape) if label_shift else np.full((*shape, N_CLASSES), 1 / N_CLASSES)
    )
    edges = share.cumsum(axis=-1)[..., None, :-1]
    y = (rng.random((*shape, N_ROWS, 1)) > edges).sum(axis=-1)
    centre = class_means(d) + INTERACTION_SD * rng.standard_normal((*shape, N_CLASSES, d))
    X = np.take_along_axis(centre, y[..., None], axis=2)
    X += rng.standard_normal((*shape, N_ROWS, d))
    X *= np.exp(LOG_SCALE_SD * rng.standard_normal((*shape, 1, d)))
    X += regime.batch_sd * rng.standard_normal((*shape, 1, d))
    return X, y


Moments = tuple[Doubles, Doubles, Doubles]
"""Class counts, class sums and second moments of the training rows of each fold."""


def _moments(X: Doubles, y: Ints) -> Moments:
    onehot = (y[..., None] == np.arange(N_CLASSES)).astype(np.float64)
    batch = (onehot.sum(axis=2), onehot.swapaxes(-1, -2) @ X, X.swapaxes(-1, -2) @ X)
    counts, sums, second = (values.sum(axis=1, keepdims=True) - values for values in batch)
    return counts, sums, second


def _subset(X: Doubles, moments: Moments, columns: Ints) -> tuple[Doubles, Moments]:
    """Return rows and moments of some features, ``columns`` ``(n_sim, L, m)``."""
    counts, sums, second = moments
    second = np.take_along_axis(second, columns[..., None, :], axis=-1)
    return np.take_along_axis(X, columns[..., None, :], axis=-1), (
        counts,
        np.take_along_axis(sums, columns[..., None, :], axis=-1),
        np.take_along_axis(second, columns[..., None], axis=-2),
    )


def nearest_centroid(X: Doubles, moments: Moments) -> Doubles:
    """Return the decision values of the nearest class mean, ``(n_sim, L, n, K)``."""
    counts, sums, _ = moments
    means = sums / np.maximum(counts, 1)[..., None]
    norms: Doubles = (means**2).sum(axis=-1)[..., None, :]
    return 2 * (X @ means.swapaxes(-1, -2)) - norms


def discriminant(X: Doubles, moments: Moments) -> Doubles:
    """Return the decision values of linear discriminant analysis, ``(n_sim, L, n, K)``."""
    counts, sums, second = moments
    means = sums / np.maximum(counts, 1)[..., None]
    n = counts.sum(axis=-1, keepdims=True)
    covariance = (second - sums.swapaxes(-1, -2) @ means) / n[..., None]
    weights = np.linalg.solve(covariance, means.swapaxes(-1, -2))
    offset = np.log(np.maximum(counts, 1e-9) / n)
    offset -= 0.5 * (means.swapaxes(-1, -2) * weights).sum(axis=-2)
    scores: Doubles = X @ weights + offset[..., None, :]
    return scores


def logistic(X: Doubles, y: Ints) -> Doubles:
    """Return the decision values of multinomial logistic regression, ``(n_sim, L, n, K)``.

    The penalty is that of scikit-learn with ``C = 1``. The steps minimise Boehning's quadratic
    upper bound of the loss (Boehning 1992, doi:10.1007/BF00048682), with one matrix per fold. They
    stop after :data:`LOGISTIC_STEPS`, when few predictions still change.
    """
    n_sim, n_batches, n_rows, _ = X.shape
    design = np.concatenate([X, np.ones((*X.shape[:-1], 1))], axis=-1)
    width = design.shape[-1]
    penalty = np.eye(width)
    penalty[-1, -1] = 1e-8
    second = design.swapaxes(-1, -2) @ design
    second = second.sum(axis=1, keepdims=True) - second
    inverse = np.linalg.inv(0.5 * second + penalty)
    onehot = (y[..., None] == np.arange(N_CLASSES)).astype(np.float64)
    scores = np.empty((n_sim, n_batches, n_rows, N_CLASSES))
    for fold in range(n_batches):
        rows = np.arange(n_batches) != fold
        A = design[:, rows].reshape(n_sim, -1, width)
        target = onehot[:, rows].reshape(n_sim, -1, N_CLASSES)
        weights = np.zeros((n_sim, width, N_CLASSES))
        for _ in range(LOGISTIC_STEPS):
            z = A @ weights
            p = np.exp(z - z.max(axis=-1, keepdims=True))
            p /= p.sum(axis=-1, keepdims=True)
            gradient = A.swapaxes(-1, -2) @ (target - p) - penalty @ weights
            weights += inverse[:, fold] @ gradient
        scores[:, fold] = design[:, fold] @ weights
    return scores


FITS: dict[str, Callable[[Doubles, Moments], Doubles]] = {
    "nearest-centroid": nearest_centroid,
    "lda": discriminant,
    "centred-lda": discriminant,
}


def balanced_accuracy(scores: Doubles, y: Ints) -> Doubles:
    """Return the balanced accuracy of each batch over its own classes, ``(n_sim, L)``."""
    hit = scores.argmax(axis=-1) == y
    onehot = y[..., None] == np.arange(N_CLASSES)
    n = onehot.sum(axis=2)
    recall = (hit[..., None] & onehot).sum(axis=2) / np.maximum(n, 1)
    return np.asarray(recall.sum(axis=-1) / (n > 0).sum(axis=-1))


def simulate_scores(
    n_sim: int,
    n_batches: int,
    n_seeds: int,
    rng: np.random.Generator,
    regime: Regime,
    *,
    label_shift: bool,
    with_logistic: bool = False,
) -> dict[str, Doubles]:
    """Return classifier -> scores ``(n_sim, n_seeds, n_batches)``.

    ``centred-lda`` subtracts the mean of each batch first: a correction that sees the test batch.
    With one seed the classifiers are deterministic. With several, each training of each fold uses a
    random half of the features (Ho 1998, doi:10.1109/34.709601). ``logistic`` is deterministic.
    """
    X, y = batch_rows(n_sim, n_batches, rng, regime, label_shift=label_shift)
    scores: dict[str, Doubles] = {}
    order = rng.random((n_seeds, n_sim, n_batches, regime.n_features)).argsort(axis=-1)
    for name, fit in FITS.items():
        rows = X - X.mean(axis=2, keepdims=True) if name == "centred-lda" else X
        moments = _moments(rows, y)
        if n_seeds == 1:
            decisions = [fit(rows, moments)]
        else:
            halves = order[..., : regime.n_features // 2]
            decisions = [fit(*_subset(rows, moments, columns)) for columns in halves]
        scores[name] = np.stack([balanced_accuracy(d, y) for d in decisions], axis=1)
    if with_logistic:
        scores["logistic"] = balanced_accuracy(logistic(X, y), y)[:, None, :]
    return scores


GRID_BATCHES = (4, 6, 8, 10, 12, 16, 24, 40)
GRID_SEEDS = (1, 3)
N_SIM = 4_000
BLOCK = 2_000
"""Batches drawn at once."""
LOGISTIC_BATCHES = 8_000
"""Batches for which logistic regression is fitted in each cell; it has no closed form."""


def covered(scores: Doubles, level: float = 0.95) -> NDArray[np.bool_]:
    """Return whether the interval of each data set contains the mean over all data sets.

    Parameters
    ----------
    scores
        ``(n_sim, n_seeds, n_batches)`` scores of a classifier, or differences between two.
    """
    from scipy import stats

    weights = np.full(scores.shape[-1], 1 / scores.shape[-1])
    mean, _, variance, df = mean_variance(scores, weights, training_overlap(weights))
    half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(variance)
    return np.asarray(np.abs(mean - scores.mean()) <= half)


def coverage_cell(
    regime: Regime, n_batches: int, n_seeds: int, *, label_shift: bool, n_sim: int = N_SIM
) -> dict[str, tuple[float, int]]:
    """Return score -> coverage and number of simulated data sets; a cell has its own seed.

    Scores are those of each classifier (``mean:NAME``) and of the differences between two of them
    (``difference:NAME-NAME``).
    """
    rng = generator("leave-one-out", regime.name, n_batches, n_seeds, int(label_shift))
    block = BLOCK // n_batches
    blocks: dict[str, list[Doubles]] = {}
    for start in range(0, n_sim, block):
        has_logistic = n_seeds == 1 and regime.n_features < 24
        drawn = simulate_scores(
            min(block, n_sim - start),
            n_batches,
            n_seeds,
            rng,
            regime,
            label_shift=label_shift,
            with_logistic=has_logistic and start * n_batches < LOGISTIC_BATCHES,
        )
        for name, values in drawn.items():
            blocks.setdefault(name, []).append(values)
    scores = {name: np.concatenate(values) for name, values in blocks.items()}
    cell = {f"mean:{name}": values for name, values in scores.items()}
    for first, second in combinations(scores, 2):
        n = min(len(scores[first]), len(scores[second]))
        cell[f"difference:{first}-{second}"] = scores[first][:n] - scores[second][:n]
    return {name: (float(covered(v).mean()), len(v)) for name, v in cell.items()}


def coverage_rows(n_sim: int = N_SIM) -> Iterator[dict[str, object]]:
    """Simulate all cells; yield one row per cell and score."""
    for regime in REGIMES:
        for n_batches in GRID_BATCHES:
            for n_seeds in GRID_SEEDS:
                for label_shift in (False, True):
                    cell = coverage_cell(
                        regime, n_batches, n_seeds, label_shift=label_shift, n_sim=n_sim
                    )
                    for name, (coverage, n) in cell.items():
                        kind, _, score = name.partition(":")
                        yield {
                            "regime": regime.name,
                            "n_clusters": n_batches,
                            "n_seeds": n_seeds,
                            "label_shift": int(label_shift),
                            "kind": kind,
                            "score": score,
                            "coverage": f"{coverage:.4f}",
                            "mc_error": f"{(coverage * (1 - coverage) / n) ** 0.5:.4f}",
                            "n_sim": n,
                        }
