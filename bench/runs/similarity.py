r"""How far a new batch is from the batches that a correction was fitted on.

The rows of all training batches (negative controls, if there are any) are standardised by median
and MAD, clipped at 5, and projected on their leading principal components, where they have mean
:math:`m` and covariance :math:`C = L L^\top`. For the rows :math:`s` of one batch,
:math:`w = L^{-1} (s - m)` and:

* ``location`` is the root mean square of the mean of :math:`w`, in standard deviations of a row;
* ``covariance`` is the root mean square of the log eigenvalues of the covariance of :math:`w`,
  shrunk by Ledoit and Wolf 2004: the affine-invariant distance to :math:`C`, per component;
* ``residual`` is the absolute log of the ratio of the variance outside the components.

Each training batch has the same distances to the other training batches. A new batch is unlike them
if a distance exceeds all of theirs. Of n + 1 exchangeable batches each has the largest distance
with probability 1 / (n + 1), so about that share of ordinary batches is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.types import Array, Arrays, Floats, Strings

DISTANCES = ("location", "covariance", "residual")
COMPONENTS = 10
"""Largest number of principal components."""
ROWS_PER_COMPONENT = 3
"""Rows of a median batch per component, so that its covariance is not mostly noise."""
LEFT_OUT = 30
"""Largest number of training batches for which distances to the others are computed."""
RIDGE = 1e-6
"""Added to the covariance, relative to its trace."""
CONSTANT = 1e-6
"""A scale below this share of the median is that of a constant."""
MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
CLIP = 5.0
"""Largest standardised value."""
TINY = 1e-9


@dataclass(frozen=True)
class Similarity:
    """Distances of a batch to the training batches.

    Attributes
    ----------
    batch
        Name of the batch.
    rows
        Number of rows used: negative controls, or all rows if no training row was a control.
    distances
        ``location``, ``covariance`` and ``residual``; see the module.
    thresholds
        The largest of each among the training batches.
    n_training
        Number of training batches behind the thresholds; 0 if they cannot be computed.
    """

    batch: str
    rows: int
    distances: Mapping[str, float]
    thresholds: Mapping[str, float]
    n_training: int

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Names of the distances above their threshold."""
        if not self.n_training:
            return ()
        return tuple(n for n in DISTANCES if self.distances[n] > self.thresholds[n])


@dataclass(frozen=True, eq=False)
class Reference:
    """Training batches that new batches are compared with.

    Attributes
    ----------
    arrays
        ``middle`` and ``scale`` ``(d,)``, ``axes`` ``(d, k)``, ``centre`` ``(k,)``, ``covariance``
        ``(k, k)``, ``residual`` (scalar), and ``distances`` ``(n, 3)`` of the training batches.
    """

    arrays: Arrays

    @classmethod
    def of(cls, X: Floats, batch: Strings) -> Reference:
        """Describe training rows.

        Parameters
        ----------
        X
            ``(n, d)`` profiles of controls, or of all rows.
        batch
            ``(n,)`` their batches.
        """
        names, counts = np.unique(batch, return_counts=True)
        k = int(min(COMPONENTS, *X.shape, max(1, np.median(counts) // ROWS_PER_COMPONENT)))
        rows = []
        for name in names[:: max(1, -(-len(names) // LEFT_OUT))]:
            own = batch == name
            if own.sum() > 1 and (~own).sum() > 1:
                # From the other batches alone, like a new batch: axes fit the rows they are from.
                rows.append(_distances(X[own], _moments(X[~own], k)))
        distances = np.array(rows).reshape(len(rows), len(DISTANCES))
        return cls({**_moments(X, k), "distances": distances})

    def compare(self, X: Floats, batch: Strings) -> list[Similarity]:
        """Return the distances of each batch of new rows; parameters as for :meth:`of`."""
        limits = self.arrays["distances"].max(axis=0, initial=0.0).tolist()
        result = []
        for name in np.unique(batch).tolist():
            own = batch == name
            values = _distances(X[own], self.arrays)
            result.append(
                Similarity(
                    str(name),
                    int(own.sum()),
                    dict(zip(DISTANCES, values, strict=True)),
                    dict(zip(DISTANCES, limits, strict=True)),
                    len(self.arrays["distances"]),
                )
            )
        return result


def _moments(X: Floats, k: int) -> Arrays:
    """Return mean, scale, axes, moments of the scores and mean residual of rows ``(n, d)``."""
    from sklearn.utils.extmath import randomized_svd

    middle = np.median(X, axis=0).astype(np.float64)
    scale = MAD * np.median(np.abs(X - middle), axis=0).astype(np.float64)
    scale[scale <= CONSTANT * np.abs(middle)] = 0.0
    z = _standardised(X, middle, scale)
    _, _, axes = randomized_svd(z, k, random_state=0)
    s = z @ axes.T
    covariance = np.atleast_2d(np.cov(s, rowvar=False, ddof=0))
    return {
        "middle": middle,
        "scale": scale,
        "axes": np.ascontiguousarray(axes.T),
        "centre": s.mean(axis=0),
        "covariance": covariance + RIDGE * max(float(np.trace(covariance)), TINY) * np.eye(k),
        "residual": np.array(_residual(z, s)),
    }


def _standardised(X: Floats, middle: Array, scale: Array) -> Array:
    """Return standardised rows; outliers of heavy-tailed features are clipped."""
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.clip((X - middle) * inverse, -CLIP, CLIP)


def _residual(z: Array, s: Array) -> float:
    """Return the mean squared length of rows outside the components."""
    rest = np.einsum("ij,ij->i", z, z) - np.einsum("ij,ij->i", s, s)
    return max(float(rest.mean()), 0.0)


def _distances(X: Floats, reference: Arrays) -> list[float]:
    """Return location, covariance and residual distance of the rows of one batch."""
    from scipy.linalg import solve_triangular
    from sklearn.covariance import ledoit_wolf

    z = _standardised(X, reference["middle"], reference["scale"])
    s = z @ reference["axes"]
    root = np.linalg.cholesky(reference["covariance"])
    w = solve_triangular(root, (s - reference["centre"]).T, lower=True).T
    location = float(np.sqrt(np.mean(w.mean(axis=0) ** 2)))
    values = np.ones(w.shape[1])
    if len(w) > 1:
        values = np.maximum(np.linalg.eigvalsh(ledoit_wolf(w)[0]), RIDGE)
    spread = float(np.sqrt(np.mean(np.log(values) ** 2)))
    ratio = float(np.log((_residual(z, s) + TINY) / (reference["residual"] + TINY)))
    return [location, spread, abs(ratio)]
