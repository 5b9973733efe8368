"""Confidence intervals over crossed seeds and clusters."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.scores import MIN_CLUSTERS, Doubles, Scores, as_scores  # TC
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and clusters, with its uncertainty.

    Attributes
    ----------
    mean
        Mean over seeds of the (weighted) mean over clusters; NaN without a usable cluster.
    sd_seeds
        Standard deviation (ddof 1) of the means of the seeds; None with one seed. It is not a
        standard error and does not describe new clusters.
    low, high
        Confidence limits, or None. They are not clipped to [0, 1].
    n_seeds, n_clusters, n_left_out
        Seeds and clusters used, and clusters excluded because the metric is undefined there.
    kind
        ``crossed`` (seeds and clusters vary), ``clusters`` (one seed: the interval is for this
        training on new clusters and excludes the variance between trainings), ``points`` (fewer
        than 8 clusters: no interval), ``constant`` (all values equal: no interval can be
        computed), ``none`` (no usable cluster).
    p
        Two-sided p value of a zero mean, from the same t statistic; None without an interval.
    """

    mean: float
    sd_seeds: float | None
    low: float | None
    high: float | None
    se: float | None
    n_seeds: int
    n_clusters: int
    n_left_out: int
    df: float | None
    kind: str
    p: float | None


def _cluster_form(weights: Doubles) -> tuple[Doubles, float]:
    """Return :func:`_form_of` of these weights, computed once: most rows of a board share them."""
    factor, df = _form_of(weights.astype(np.float64).tobytes())
    return factor, df


@functools.lru_cache(1024)
def _form_of(stored: bytes) -> tuple[Doubles, float]:
    """Return the factor of each squared deviation, ``(C,)``, and the degrees of freedom.

    The variance of a weighted mean of independent values is estimated by a quadratic form in their
    deviations from it, unbiased for values of equal variance. The degrees of freedom are
    Satterthwaite's, ``trace(A)^2 / trace(A A)`` (Bell & McCaffrey 2002).
    """
    weights = np.frombuffer(stored)
    c = len(weights)
    factor = weights**2 / (1 - 2 * weights + (weights**2).sum())
    centre = np.eye(c) - weights[None, :]
    form = centre.T @ (factor[:, None] * centre)
    factor.flags.writeable = False
    return factor, float(np.trace(form) ** 2 / (form**2).sum())


def training_overlap(weights: Doubles) -> float:
    """Return test rows per training row, if each cluster is predicted from all others.

    It is ``1 / (C - 1)`` for ``C`` clusters of equal weight. For unequal weights it is the
    weighted mean over clusters of ``w / (1 - w)``. A single cluster has no training rows: 0.
    """
    rest = 1 - weights
    return float((weights**2 / rest).sum()) if len(weights) > 1 else 0.0


def mean_variance(
    values: Doubles, weights: Doubles, overlap: float = 0.0
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return mean, SD of seeds, variance of the mean, and df, for ``(..., S, C)`` values.

    Parameters
    ----------
    values, weights
        Scores, and the weight of each cluster; the weights sum to 1.
    overlap
        Test rows per training row if the clusters are folds that share training rows, else 0. The
        variance between clusters is then counted ``1 + overlap / sum(weights**2)`` times (Nadeau &
        Bengio 2003).
    """
    n_seeds = values.shape[-2]
    by_seed = values @ weights
    by_cluster = values.mean(axis=-2)
    mean = by_seed.mean(axis=-1)
    factor, df_clusters = _cluster_form(weights)
    var_clusters = ((by_cluster - mean[..., None]) ** 2) @ factor
    shared = var_clusters * (overlap / (weights**2).sum())
    if n_seeds == 1:
        no_sd = np.full_like(mean, np.nan)
        return mean, no_sd, var_clusters + shared, np.full_like(mean, df_clusters)
    var_seeds = by_seed.var(axis=-1, ddof=1)
    seeds = var_seeds / n_seeds
    rest = values - by_seed[..., None] - by_cluster[..., None, :] + mean[..., None, None]
    residual = ((rest**2).sum(axis=-2) @ factor) / (n_seeds * (n_seeds - 1))
    df_seeds = n_seeds - 1.0
    df_residual = df_seeds * df_clusters
    # Each of the first two includes the residual variance, so it is subtracted once. A main effect
    # not larger than the residual is estimated as zero; if neither is, all three estimate the same
    # variance and are pooled. The term for shared training rows is added in every case.
    has_seeds, has_clusters = seeds > residual, var_clusters > residual
    both, neither = has_seeds & has_clusters, ~has_seeds & ~has_clusters
    df_all = df_seeds + df_clusters + df_residual
    pooled = (df_seeds * seeds + df_clusters * var_clusters + df_residual * residual) / df_all
    clusters = var_clusters + shared
    zero = np.zeros_like(mean)
    # Nested np.where, not np.select: a board calls this for thousands of small tables.
    first = np.where(neither, pooled, np.where(has_seeds, seeds, zero))
    second = np.where(has_clusters, clusters, shared)
    third = np.where(both, residual, zero)
    variance = first + second - third
    df_first = np.where(neither, df_all, df_seeds)
    spread = first**2 / df_first + second**2 / df_clusters + third**2 / df_residual
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(spread > 0, variance**2 / spread, 1.0)
    return mean, np.sqrt(var_seeds), variance, np.maximum(df, 1.0)


def interval(
    values: Scores | ArrayLike, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the mean over seeds and clusters, with a t interval that treats both as samples.

    With mean squares of seeds, clusters and residual from the two-way layout without replication,
    the variance of the grand mean is ``(MS_seed + MS_cluster - MS_residual) / (S C)``, with
    Satterthwaite's degrees of freedom. Components estimated as negative are set to zero and their
    mean squares pooled (Searle, Casella & McCulloch 1992, *Variance Components*, chapter 4; Owen
    2007, doi:10.1214/07-AOAS122, on why crossed samples need both terms). Unequal weights use the
    cluster-robust form instead of the mean squares; with equal weights the two agree.

    If ``values.shared_training``, each cluster was predicted by a model trained on the others. The
    models share training rows, so their scores are correlated and the variance between clusters is
    counted ``1 / C + n_test / n_train`` times instead of ``1 / C``, where ``n_test / n_train`` is
    ``1 / (C - 1)`` (Nadeau & Bengio 2003, *Machine Learning* 52:239-281,
    doi:10.1023/A:1024068626366). There is no unbiased estimate of that correlation (Bengio &
    Grandvalet 2004, JMLR 5:1089-1105); the correction is a heuristic. See
    :mod:`bench.boards.stats.coverage` for the simulated coverage of both kinds of interval.

    Parameters
    ----------
    values
        ``(n_seeds, n_clusters)`` array, or :class:`Scores`. Clusters with NaN are excluded.
    weights
        ``(n_clusters,)`` weights, such as rows; None weights clusters equally.

    Raises
    ------
    BenchError
        If the shapes do not match or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise BenchError(f"the confidence level must be between 0 and 1, not {level}")
    scores = as_scores(values, weights)
    table, share = scores.defined()
    n_seeds, n_clusters = table.shape
    left_out = len(scores.clusters) - n_clusters
    if not n_clusters:
        return Interval(math.nan, None, None, None, None, n_seeds, 0, left_out, None, "none", None)
    by_seed = table @ share
    mean = float(by_seed.mean())
    sd = float(by_seed.std(ddof=1)) if n_seeds > 1 else None
    points = Interval(
        mean, sd, None, None, None, n_seeds, n_clusters, left_out, None, "points", None
    )
    if n_clusters < MIN_CLUSTERS:
        return points
    # Rounding errors are about 1e-17 if all values are equal.
    if np.ptp(table) <= 1e-12 * max(1.0, float(np.abs(table).max())):
        return Interval(
            mean, sd, None, None, None, n_seeds, n_clusters, left_out, None, "constant", None
        )
    # The functions behind scipy.stats.t: the same numbers in 1/50 of the time on a long board.
    from scipy.special import stdtr, stdtrit

    overlap = training_overlap(share) if scores.shared_training else 0.0
    _, _, variance, df = mean_variance(table, share, overlap)
    se = float(np.sqrt(variance))
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    return Interval(
        mean,
        sd,
        mean - half,
        mean + half,
        se,
        n_seeds,
        n_clusters,
        left_out,
        float(df),
        "crossed" if n_seeds > 1 else "clusters",
        float(2 * stdtr(df, -abs(mean) / se)),
    )
