"""Paired difference between two methods, with interval and p value.

All comparisons use this module: leaderboards, ``compare``, studies and ``recommend`` print the
same difference, interval and p value for the same two methods.

The test is a paired t test over seeds crossed with clusters. The differences ``a - b`` by seed and
cluster follow ``mean + seed + cluster + residual``. The standard error of their mean treats seeds
and clusters as samples, with Satterthwaite's degrees of freedom (``stats.intervals.interval``).
The p value therefore agrees with the interval: it is below 0.05 exactly if the 95 % interval
excludes 0. A sign-flip test over clusters averages seeds first and so applies only to the given
trainings. It is reported as a check that does not assume a normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.intervals import interval
from bench.boards.stats.scores import MIN_CLUSTERS, Doubles, Scores, as_scores  # TC
from bench.boards.stats.tests import minimum_detectable_difference, sign_flip_p, smallest_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["TEST", "Paired", "Span", "pair", "span_of_mean"]

TEST = "paired t test, seeds crossed with clusters (Satterthwaite)"
"""Name of the test behind every printed p value of a difference."""


@dataclass(frozen=True)
class Span:
    """Limits of a 95 % interval and the p value of a zero mean; None without an interval."""

    low: float | None = None
    high: float | None = None
    p: float | None = None


def span_of_mean(scores: Scores) -> Span:
    """Return the interval of the pooled metric over seeds crossed with clusters.

    The width comes from the clusters. The centre is the mean over seeds of the pooled metric. If
    ``scores.additive`` is false, the weighted mean of the clusters is close to it but not equal.

    Parameters
    ----------
    scores
        Scores of one method, or differences between two. There is no interval with one seed (the
        variance between trainings is unknown) or with fewer than 8 clusters.
    """
    if len(scores.seeds) < 2 or len(scores.clusters) < MIN_CLUSTERS:
        return Span()
    found = interval(scores)
    if found.low is None or found.high is None or found.se is None or found.df is None:
        return Span()
    from scipy.special import stdtr

    centre = _mean(scores.pooled)
    half = (found.high - found.low) / 2
    p = 2 * float(stdtr(found.df, -abs(centre) / found.se))
    return Span(centre - half, centre + half, p)


@dataclass(frozen=True, eq=False)
class Paired:
    """A paired difference between two methods over their common seeds and clusters.

    Attributes
    ----------
    difference, sd
        Mean over the common seeds of the pooled metric of the first minus that of the second, and
        its standard deviation (n - 1) over seeds; ``sd`` is None with one common seed.
    low, high, p
        95 % limits over seeds crossed with clusters, and the p value of :data:`TEST`; None with
        one common seed or fewer than 8 common clusters.
    n_seeds
        Number of common seeds.
    by_cluster
        ``(n_clusters,)`` difference within each common cluster, averaged over seeds. Empty if the
        clusters are not comparable: different rows were scored in a cluster, or only one method
        has the terms that its pooled metric averages.
    """

    difference: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    n_seeds: int
    by_cluster: Doubles

    @property
    def n_clusters(self) -> int:
        """Number of common clusters."""
        return len(self.by_cluster)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def p_sign_flip(self) -> float | None:
        """P value of the sign-flip test over clusters; None with one cluster or no difference."""
        return sign_flip_p(self.by_cluster)

    @property
    def smallest_p(self) -> float:
        """Minimum attainable ``p_sign_flip`` with this number of clusters."""
        return smallest_p(self.n_clusters)

    @property
    def detectable(self) -> float | None:
        """Difference that a paired t test over clusters detects with power 0.8 at 5 %.

        None with one cluster; 0 if the clusters do not differ.
        """
        if self.n_clusters < 2:
            return None
        sd = float(self.by_cluster.std(ddof=1))
        return minimum_detectable_difference(sd, self.n_clusters) if sd else 0.0


def pair(first: Scores | ArrayLike, second: Scores | ArrayLike) -> Paired | None:
    """Return the paired difference ``first - second``, or None without a common seed.

    Parameters
    ----------
    first, second
        Scores of two methods on the same split, matched by the names of seeds and clusters, or
        arrays ``(n_seeds, n_clusters)``, matched by position. Clusters are weighted by the sizes of
        ``first`` if both have sizes. Scores of different splits cannot be paired.
    """
    a, b = as_scores(first), as_scores(second)
    mine = dict(zip(a.seeds, a.pooled, strict=True))
    theirs = dict(zip(b.seeds, b.pooled, strict=True))
    seeds = [seed for seed in a.seeds if seed in theirs]
    if not seeds:
        return None
    gaps = _gaps(a, b, seeds, tuple(mine[seed] - theirs[seed] for seed in seeds))
    span = span_of_mean(gaps)
    table, _ = gaps.defined()
    return Paired(
        difference=_mean(gaps.pooled),
        sd=float(np.std(gaps.pooled, ddof=1)) if len(seeds) > 1 else None,
        low=span.low,
        high=span.high,
        p=span.p,
        n_seeds=len(seeds),
        by_cluster=table.mean(axis=0),
    )


def _gaps(a: Scores, b: Scores, seeds: list[int], pooled: tuple[float, ...]) -> Scores:
    """Return the differences by seed and cluster; without clusters if these are not comparable."""
    none = Scores(np.empty((len(seeds), 0)), tuple(seeds), pooled=pooled)
    if a.additive != b.additive:  # a term of a pooled metric and a metric cannot be subtracted
        return none
    if a.seeds == b.seeds and a.clusters == b.clusters:  # most pairs of a board
        left, right, sizes, other = a.values, b.values, a.sizes, b.sizes
        clusters = a.clusters
    else:
        known = set(b.clusters)
        clusters = tuple(name for name in a.clusters if name in known)
        (left, sizes), (right, other) = _pick(a, seeds, clusters), _pick(b, seeds, clusters)
    if sizes is None or other is None:
        sizes = None
    elif not np.allclose(sizes, other, rtol=1e-9, atol=0):  # other rows were scored
        return none
    return Scores(left - right, tuple(seeds), clusters, sizes, pooled, a.additive)


def _pick(
    scores: Scores, seeds: list[int], clusters: tuple[str, ...]
) -> tuple[Doubles, Doubles | None]:
    rows = [scores.seeds.index(seed) for seed in seeds]
    columns = [scores.clusters.index(name) for name in clusters]
    sizes = None if scores.sizes is None else scores.sizes[columns]
    return scores.values[np.ix_(rows, columns)], sizes


def _mean(values: tuple[float, ...]) -> float:
    return math.fsum(values) / len(values)
