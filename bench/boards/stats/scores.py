"""Intervals, paired tests, multiplicity and detectable differences: pure functions of arrays.

A score is a matrix ``(seeds, clusters)``: the metric of each training seed in each cluster (plate,
week, laboratory) of the test set. Seeds and clusters are *crossed*: every seed was scored on the
same clusters, and neither is nested in the other. Resampling one within the other, or rows within
both, gives intervals that are far too narrow.

The model is ``value = mean + seed + cluster + residual``, three independent random effects. Both
seeds and clusters are samples: the interval is for a new seed on new clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.core.errors import BenchError

__all__ = ["MIN_CLUSTERS", "Scores"]

Doubles = NDArray[np.float64]

MIN_CLUSTERS = 8
"""With fewer clusters there is no interval: the points are shown."""
EXACT_FLIPS = 32
"""Up to so many clusters all sign flips are counted; beyond, a fixed random sample of them."""
SAMPLED_FLIPS = 99_999


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric by seed and cluster.

    Attributes
    ----------
    values
        ``(n_seeds, n_clusters)``; NaN where the metric is undefined.
    seeds, clusters
        Their names, for matching two methods; by default the positions.
    sizes
        ``(n_clusters,)`` weight of each cluster, such as its scored rows; None weights equally.
    """

    values: Doubles
    seeds: tuple[Any, ...] = ()
    clusters: tuple[str, ...] = ()
    sizes: Doubles | None = None

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.values, dtype=np.float64))
        if values.ndim != 2 or not values.size:
            raise BenchError(f"scores are seeds x clusters, not an array of {values.shape}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "seeds", tuple(self.seeds) or tuple(range(values.shape[0])))
        object.__setattr__(
            self, "clusters", tuple(self.clusters) or tuple(map(str, range(values.shape[1])))
        )
        if values.shape != (len(self.seeds), len(self.clusters)):
            raise BenchError(
                f"scores of shape {values.shape} do not fit {len(self.seeds)} seeds and "
                f"{len(self.clusters)} clusters"
            )
        for what, names in (("seed", self.seeds), ("cluster", self.clusters)):
            if len(set(names)) != len(names):
                raise BenchError(f"a {what} occurs twice among the scores")
        if self.sizes is not None:
            sizes = np.asarray(self.sizes, dtype=np.float64)
            # Not `sizes < 0`: a size that is NaN must fail too.
            if sizes.shape != (values.shape[1],) or not (sizes >= 0).all():
                raise BenchError("sizes are one number >= 0 for each cluster")
            object.__setattr__(self, "sizes", sizes)

    def defined(self) -> tuple[Doubles, Doubles]:
        """Return values and weights, adding up to 1, of the clusters that can be used.

        A cluster is left out if its value is NaN for any seed or its size is 0.
        """
        usable = np.asarray(np.isfinite(self.values).all(axis=0))
        sizes = np.ones(len(usable)) if self.sizes is None else self.sizes
        usable &= sizes > 0
        weights = sizes[usable]
        return self.values[:, usable], weights / max(weights.sum(), 1e-300)


def as_scores(values: Scores | ArrayLike, weights: ArrayLike | None) -> Scores:
    if isinstance(values, Scores):
        if weights is not None:
            raise BenchError("weights are given by the sizes of the scores")
        return values
    sizes = None if weights is None else np.asarray(weights, dtype=np.float64)
    return Scores(np.asarray(values, dtype=np.float64), sizes=sizes)


# --------------------------------------------------------------------------- coverage

SHARES: tuple[tuple[float, float, float], ...] = (
    (0.0, 1.0, 0.0),
    (0.0, 0.8, 0.2),
    (0.02, 0.75, 0.23),
    (0.05, 0.5, 0.45),
    (0.1, 0.8, 0.1),
    (0.1, 0.1, 0.8),
    (0.33, 0.34, 0.33),
    (0.45, 0.45, 0.1),
    (0.8, 0.1, 0.1),
    (0.0, 0.0, 1.0),
)
"""Shares of the variance of one value that seeds, clusters and the residual have."""
GRID_CLUSTERS = (4, 8, 14, 55)
GRID_SEEDS = (1, 3, 5)
TABLE_DRAWS = 40_000
