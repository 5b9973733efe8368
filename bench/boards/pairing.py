"""Paired difference between two methods, with interval and p value.

All comparisons use this module: leaderboards, ``compare``, studies and ``recommend`` print the
same difference, interval and p value for the same two methods.

The test is a paired t test over seeds crossed with clusters. The differences ``a - b`` by seed and
cluster follow ``mean + seed + cluster + residual``. The standard error of their mean treats seeds
and clusters as samples, with Satterthwaite's degrees of freedom, and accounts for folds that share
training rows (``stats.intervals.interval``). The p value therefore agrees with the interval: it is
below 0.05 exactly if the 95 % interval excludes 0. A sign-flip test over clusters averages seeds
first and so applies only to the given trainings; it also ignores shared training rows. It is
reported as a check that does not assume a normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.intervals import interval
from bench.boards.stats.scores import MIN_CLUSTERS, Doubles, Scores, as_scores  # TC
from bench.boards.stats.tests import detectable_effect, sign_flip_p, smallest_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


TEST = "paired t test, seeds crossed with clusters (Satterthwaite)"
"""Name of the test behind every printed p value of a difference."""


@dataclass(frozen=True)
class Span:
    """A 95 % interval of a mean, with the p value of a zero mean; None without an interval.

    Attributes
    ----------
    se, df
        Standard error and degrees of freedom behind them.
    """

    low: float | None = None
    high: float | None = None
    p: float | None = None
    se: float | None = None
    df: float | None = None


def span_of_mean(scores: Scores) -> Span:
    """Return the interval of the primary score over seeds crossed with clusters.

    The width comes from the clusters. The centre is the mean over seeds of ``scores.pooled``. If
    ``scores.additive`` is false, the weighted mean of the clusters is close to it but not equal.

    Parameters
    ----------
    scores
        Scores of one method, or differences between two. There is no interval with fewer than 8
        clusters; with one seed of a method that is not deterministic, because the variance between
        trainings is unknown; or if several clusters were held out together.
    """
    too_few = len(scores.clusters) < MIN_CLUSTERS
    one_training = len(scores.seeds) < 2 and not scores.deterministic
    if too_few or one_training or not scores.has_independent_clusters:
        return Span()
    spread = interval(scores)
    if spread.low is None or spread.high is None or spread.se is None or spread.df is None:
        return Span()
    from scipy.special import stdtr

    centre = _mean(scores.pooled)
    half = (spread.high - spread.low) / 2
    p = 2 * float(stdtr(spread.df, -abs(centre) / spread.se))
    return Span(centre - half, centre + half, p, spread.se, spread.df)


@dataclass(frozen=True, eq=False)
class Paired:
    """A paired difference between two methods over their common seeds and clusters.

    Attributes
    ----------
    difference, sd
        Mean over the common seeds of the primary score of the first minus that of the second, and
        its standard deviation (n - 1) over seeds; ``sd`` is None with one common seed. If the
        primary score is the mean of the clusters and only some clusters are common, the
        difference is that of the means of the common ones.
    low, high, p
        95 % limits over seeds crossed with clusters, and the p value of :data:`TEST`; None without
        an interval (:func:`span_of_mean`).
    by_cluster
        ``(n_clusters,)`` difference within each common cluster, averaged over seeds. Empty if the
        clusters are not comparable: different rows were scored in a cluster, or only one method
        has the terms that its pooled metric averages.
    se, df
        Standard error and degrees of freedom of the interval, or None.
    deterministic
        Whether both methods are deterministic, so that one seed represents all.
    """

    difference: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    n_seeds: int
    by_cluster: Doubles
    se: float | None = None
    df: float | None = None
    deterministic: bool = False

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

    def detectable(self, n_tests: int = 1) -> float | None:
        """Return the smallest difference that the test detects with power 0.8.

        It is the standard error times the noncentrality at which the two-sided t test has that
        power (Cohen 1988, *Statistical Power Analysis*, chapter 2).

        Parameters
        ----------
        n_tests
            Number of tests of the board. The level is ``0.05 / n_tests``, the first and strictest
            step of Holm's procedure.

        Returns
        -------
        float or None
            In the unit of the score; None without an interval.
        """
        if self.se is None or self.df is None:
            return None
        return self.se * detectable_effect(self.df, alpha=0.05 / n_tests)


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
    if a.deterministic != b.deterministic:
        a, b = (a.repeated(b.seeds), b) if a.deterministic else (a, b.repeated(a.seeds))
    first_pooled = dict(zip(a.seeds, a.pooled, strict=True))
    second_pooled = dict(zip(b.seeds, b.pooled, strict=True))
    seeds = [seed for seed in a.seeds if seed in second_pooled]
    if not seeds:
        return None
    gaps = _gaps(a, b, seeds, tuple(first_pooled[seed] - second_pooled[seed] for seed in seeds))
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
        se=span.se,
        df=span.df,
        deterministic=gaps.deterministic,
    )


def _gaps(a: Scores, b: Scores, seeds: list[int], pooled: tuple[float, ...]) -> Scores:
    """Return the differences by seed and cluster; without clusters if these are not comparable."""
    n_folds, deterministic = max(a.n_folds, b.n_folds), a.deterministic and b.deterministic
    none = Scores(np.empty((len(seeds), 0)), tuple(seeds), pooled=pooled)
    if a.additive != b.additive:  # a term of a pooled metric and a metric cannot be subtracted
        return none
    if a.seeds == b.seeds and a.clusters == b.clusters:  # most pairs of a board
        left, right, sizes, other = a.values, b.values, a.sizes, b.sizes
        clusters = a.clusters
    else:
        shared = set(b.clusters)
        clusters = tuple(name for name in a.clusters if name in shared)
        (left, sizes), (right, other) = _pick(a, seeds, clusters), _pick(b, seeds, clusters)
    if sizes is None or other is None:
        sizes = None
    elif not (np.array_equal(sizes, other) or np.allclose(sizes, other, rtol=1e-9, atol=0)):
        return none  # other rows were scored
    if a.additive and clusters and set(a.clusters) != set(b.clusters):
        pooled = ()  # the mean over the common clusters
    return Scores(
        left - right, tuple(seeds), clusters, sizes, pooled, a.additive, n_folds, deterministic
    )


def _pick(
    scores: Scores, seeds: list[int], clusters: tuple[str, ...]
) -> tuple[Doubles, Doubles | None]:
    rows = [scores.seeds.index(seed) for seed in seeds]
    columns = [scores.clusters.index(name) for name in clusters]
    sizes = None if scores.sizes is None else scores.sizes[columns]
    return scores.values[np.ix_(rows, columns)], sizes


def _mean(values: tuple[float, ...]) -> float:
    return math.fsum(values) / len(values)
