"""Scores of one method by training seed and cluster of the test set.

A score is a matrix ``(seeds, clusters)``: the metric of each training seed in each cluster (plate,
week, laboratory) of the test set. Seeds and clusters are *crossed*: every seed is scored on the
same clusters, and neither is nested in the other. Resampling one within the other, or rows within
both, gives intervals that are far too narrow.

The model is ``value = mean + seed + cluster + residual``, three independent random effects. Both
seeds and clusters are samples: the interval is for a new seed on new clusters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.core.errors import BenchError

Doubles = NDArray[np.float64]

MIN_CLUSTERS = 8
"""With fewer clusters there is no interval; the points are shown."""


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric by seed and cluster.

    Attributes
    ----------
    values
        ``(n_seeds, n_clusters)``; NaN if the metric is undefined. The weighted mean over clusters
        is the pooled metric if ``additive``, and close to it otherwise.
    seeds, clusters
        Numbers of the seeds and names of the clusters, used to match two methods; by default the
        positions.
    sizes
        ``(n_clusters,)`` weight of each cluster, such as its scored rows; None for equal weights.
    pooled
        ``(n_seeds,)`` the metric over all scored rows; by default the weighted mean of ``values``.
    additive
        Whether the pooled metric is the weighted mean of ``values``. If false, ``values`` is the
        metric within each cluster: the balanced accuracy of a test set is not the mean of the
        balanced accuracies of its plates.
    n_folds
        Number of trainings per seed. With more than one (``hold_out``), each fold was predicted by
        a model trained on all other folds, so the scores of the clusters share training rows.
    deterministic
        Whether every seed gives the same scores. One seed then represents all.

    Raises
    ------
    BenchError
        If shapes do not match, a name occurs twice, or a size is negative or NaN.
    """

    values: Doubles
    seeds: tuple[int, ...] = ()
    clusters: tuple[str, ...] = ()
    sizes: Doubles | None = None
    pooled: tuple[float, ...] = ()
    additive: bool = False
    n_folds: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.values, dtype=np.float64))
        if values.ndim != 2 or not (values.size or self.pooled):
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
        for kind, names in (("seed", self.seeds), ("cluster", self.clusters)):
            if len(set(names)) != len(names):
                raise BenchError(f"a {kind} occurs twice among the scores")
        if self.sizes is not None:
            sizes = np.asarray(self.sizes, dtype=np.float64)
            # Not `sizes < 0`: a size that is NaN must fail too.
            if sizes.shape != (values.shape[1],) or not (sizes >= 0).all():
                raise BenchError("sizes are one number >= 0 for each cluster")
            object.__setattr__(self, "sizes", sizes)
        if not self.pooled:
            table, share = self.defined()
            means = table @ share if len(share) else np.full(len(table), np.nan)
            object.__setattr__(self, "pooled", tuple(map(float, means)))
        elif len(self.pooled) != len(self.seeds):
            raise BenchError("pooled scores are one number for each seed")

    @property
    def shared_training(self) -> bool:
        """Whether the clusters were predicted by several models that share training rows."""
        return self.n_folds > 1

    @property
    def has_independent_clusters(self) -> bool:
        """Whether no two clusters were held out together, as those of one fold are."""
        return self.n_folds == 1 or len(self.clusters) <= self.n_folds

    def repeated(self, seeds: tuple[int, ...]) -> Scores:
        """Return the scores of a deterministic method under other seeds."""
        n = len(seeds)
        return dataclasses.replace(
            self,
            values=np.repeat(self.values[:1], n, axis=0),
            seeds=seeds,
            pooled=(self.pooled[0],) * n,
        )

    def defined(self) -> tuple[Doubles, Doubles]:
        """Return values and weights of the usable clusters; the weights sum to 1.

        A cluster is excluded if its value is NaN for any seed or its size is 0.
        """
        usable = np.asarray(np.isfinite(self.values).all(axis=0))
        sizes = np.ones(len(usable)) if self.sizes is None else self.sizes
        usable &= sizes > 0
        weights = sizes[usable]
        return self.values[:, usable], weights / max(weights.sum(), 1e-300)


def as_scores(values: Scores | ArrayLike, weights: ArrayLike | None = None) -> Scores:
    """Return an array ``(n_seeds, n_clusters)`` as scores; scores are returned unchanged.

    Raises
    ------
    BenchError
        If weights are given for scores, which have weights of their own.
    """
    if isinstance(values, Scores):
        if weights is not None:
            raise BenchError("weights are given by the sizes of the scores")
        return values
    sizes = None if weights is None else np.asarray(weights, dtype=np.float64)
    return Scores(np.asarray(values, dtype=np.float64), sizes=sizes)
