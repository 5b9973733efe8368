"""Intervals, paired tests, multiplicity and detectable differences: pure functions of arrays.

A score is a matrix ``(seeds, clusters)``: the metric of each training seed in each cluster (plate,
week, laboratory) of the test set. Seeds and clusters are *crossed*: every seed was scored on the
same clusters, and neither is nested in the other. Resampling one within the other, or rows within
both, gives intervals that are far too narrow.

The model is ``value = mean + seed + cluster + residual``, three independent random effects. Both
seeds and clusters are samples: the interval is for a new seed on new clusters.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MIN_CLUSTERS",
    "Coverage",
    "Difference",
    "Interval",
    "Ranks",
    "Scores",
    "average_ranks",
    "holm",
    "interval",
    "minimum_detectable_difference",
    "paired_difference",
    "paired_spread",
    "printed_coverage",
    "sign_flip_p",
    "simulate_coverage",
    "smallest_p",
    "t_p",
    "wilcoxon_p",
]

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


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and clusters with what is known about it.

    Attributes
    ----------
    mean
        Mean over seeds of the (weighted) mean over clusters; NaN without a usable cluster.
    sd_seeds
        Standard deviation (ddof 1) of the seeds' means; None with one seed. It is no standard
        error, and says nothing about new clusters.
    low, high
        Confidence limits, or None. They are not cut at 0 and 1.
    se
        Standard error of the mean, or None.
    n_seeds, n_clusters, n_left_out
        Seeds and clusters used, and clusters left out because the metric is undefined there.
    df
        Degrees of freedom of the t distribution, or None.
    kind
        ``crossed`` (seeds and clusters vary), ``clusters`` (one seed: the interval is for that one
        training on new clusters, and how much another training would differ is not in it),
        ``points`` (fewer than 8 clusters: no interval), ``constant`` (all values equal: no
        interval can be computed), ``none`` (no usable cluster).
    p
        Two-sided p-value of the mean being 0, from the same t statistic; None without interval.
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


def _as_scores(values: Scores | ArrayLike, weights: ArrayLike | None) -> Scores:
    if isinstance(values, Scores):
        if weights is not None:
            raise BenchError("weights are given by the sizes of the scores")
        return values
    sizes = None if weights is None else np.asarray(weights, dtype=np.float64)
    return Scores(np.asarray(values, dtype=np.float64), sizes=sizes)


def _cluster_form(weights: Doubles) -> tuple[Doubles, float]:
    """Return what multiplies each squared deviation, ``(C,)``, and the degrees of freedom.

    The variance of a weighted mean of independent values is estimated by a quadratic form in their
    deviations from it, made unbiased for values of equal variance; its degrees of freedom are
    those of Satterthwaite, ``trace(A)^2 / trace(A A)`` (Bell & McCaffrey 2002).
    """
    c = len(weights)
    factor = weights**2 / (1 - 2 * weights + (weights**2).sum())
    centre = np.eye(c) - weights[None, :]
    form = centre.T @ (factor[:, None] * centre)
    return factor, float(np.trace(form) ** 2 / (form**2).sum())


def _variance(values: Doubles, weights: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return mean, SD of seeds, variance of the mean, and df, for ``(..., S, C)`` values."""
    n_seeds = values.shape[-2]
    by_seed = values @ weights
    by_cluster = values.mean(axis=-2)
    mean = by_seed.mean(axis=-1)
    factor, df_clusters = _cluster_form(weights)
    var_clusters = ((by_cluster - mean[..., None]) ** 2) @ factor
    if n_seeds == 1:
        return mean, np.full_like(mean, np.nan), var_clusters, np.full_like(mean, df_clusters)
    var_seeds = by_seed.var(axis=-1, ddof=1)
    seeds = var_seeds / n_seeds
    rest = values - by_seed[..., None] - by_cluster[..., None, :] + mean[..., None, None]
    residual = ((rest**2).sum(axis=-2) @ factor) / (n_seeds * (n_seeds - 1))
    df_seeds = n_seeds - 1.0
    df_residual = df_seeds * df_clusters
    # Each of the first two holds the residual's share too, so it is counted once, not twice. A
    # main effect that is not larger than the residual is estimated as none; if neither is, all
    # three estimate the same variance and are pooled.
    has_seeds, has_clusters = seeds > residual, var_clusters > residual
    both, neither = has_seeds & has_clusters, ~has_seeds & ~has_clusters
    df_all = df_seeds + df_clusters + df_residual
    pooled = (df_seeds * seeds + df_clusters * var_clusters + df_residual * residual) / df_all
    crossed = seeds + var_clusters - residual
    spread = seeds**2 / df_seeds + var_clusters**2 / df_clusters + residual**2 / df_residual
    with np.errstate(invalid="ignore", divide="ignore"):
        df_crossed = np.where(spread > 0, crossed**2 / spread, 1.0)
    # Nested np.where, not np.select: a board calls this for thousands of small tables.
    one = np.where(has_seeds, seeds, var_clusters)
    variance = np.where(both, crossed, np.where(neither, pooled, one))
    df_one = np.where(has_seeds, df_seeds, df_clusters)
    df = np.where(both, df_crossed, np.where(neither, df_all, df_one))
    return mean, np.sqrt(var_seeds), variance, np.maximum(df, 1.0)


def interval(
    values: Scores | ArrayLike, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the mean over seeds and clusters with a t interval for both being samples.

    With mean squares of seeds, clusters and residual from the two-way layout without replication,
    the variance of the grand mean is ``(MS_seed + MS_cluster - MS_residual) / (S C)``, with
    Satterthwaite's degrees of freedom; components estimated as negative are set to zero and their
    mean squares pooled (Searle, Casella & McCulloch 1992, *Variance Components*, chapter 4; Owen
    2007, doi:10.1214/07-AOAS122, on why crossed samples need both terms). Unequal weights use the
    cluster-robust form instead of the mean squares; with equal weights the two agree. How often
    such intervals hold the truth is in :func:`printed_coverage`.

    Parameters
    ----------
    values
        ``(n_seeds, n_clusters)`` array, or :class:`Scores`. Clusters with NaN are left out.
    weights
        ``(n_clusters,)`` weights, such as rows; None weights clusters equally.
    level
        Confidence level.

    Raises
    ------
    BenchError
        If the shapes do not fit or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise BenchError(f"a confidence level lies between 0 and 1, not {level}")
    scores = _as_scores(values, weights)
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
    # Rounding leaves about 1e-17 where all values are equal.
    if np.ptp(table) <= 1e-12 * max(1.0, float(np.abs(table).max())):
        return Interval(
            mean, sd, None, None, None, n_seeds, n_clusters, left_out, None, "constant", None
        )
    # The functions behind scipy.stats.t: the same numbers, a fiftieth of the time on a long board.
    from scipy.special import stdtr, stdtrit

    _, _, variance, df = _variance(table, share)
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


# --------------------------------------------------------------------------- paired differences


@dataclass(frozen=True)
class Difference:
    """A paired difference a - b between two methods on the same seeds and clusters.

    Attributes
    ----------
    interval
        Of the difference; its ``p`` treats seeds and clusters as samples.
    p_t, p_wilcoxon, p_permutation
        Two-sided p-values over clusters, seeds averaged first: paired t test, Wilcoxon's signed
        rank, sign flips (exact up to 32 clusters). None where undefined (fewer than two clusters,
        or all differences 0).
    smallest_p
        The smallest p-value that the sign-flip test can give with so many clusters.
    sd_clusters
        Standard deviation (ddof 1) of the clusters' differences, None with one cluster.
    unmatched
        Sentence about seeds and clusters that only one of the two has, or an empty string.
    """

    interval: Interval
    p_t: float | None
    p_wilcoxon: float | None
    p_permutation: float | None
    smallest_p: float
    sd_clusters: float | None
    unmatched: str


def paired_difference(
    a: Scores | ArrayLike, b: Scores | ArrayLike, level: float = 0.95
) -> Difference:
    """Return the difference a - b on the seeds and clusters that both have.

    Parameters
    ----------
    a, b
        Arrays ``(n_seeds, n_clusters)`` of one shape, or :class:`Scores`, matched by name. Weights
        are the sizes of ``a`` if both have sizes.
    level
        Confidence level.

    Raises
    ------
    BenchError
        If nothing matches, or the sizes of a cluster differ: then other rows were scored.
    """
    scores, unmatched = _paired(a, b)
    whole = interval(scores, level=level)
    by_cluster = scores.defined()[0].mean(axis=0)
    n = len(by_cluster)
    return Difference(
        whole,
        t_p(by_cluster),
        wilcoxon_p(by_cluster),
        sign_flip_p(by_cluster),
        smallest_p(n),
        float(by_cluster.std(ddof=1)) if n > 1 else None,
        unmatched,
    )


def paired_spread(a: Scores | ArrayLike, b: Scores | ArrayLike) -> tuple[float | None, int]:
    """Return ``sd_clusters`` of :func:`paired_difference` and the number of clusters, no more.

    A board asks this of each row: the tests would take most of its time.

    Parameters
    ----------
    a, b
        As of :func:`paired_difference`.

    Raises
    ------
    BenchError
        As from :func:`paired_difference`.
    """
    by_cluster = _paired(a, b)[0].defined()[0].mean(axis=0)
    n = len(by_cluster)
    return float(by_cluster.std(ddof=1)) if n > 1 else None, n


def _paired(a: Scores | ArrayLike, b: Scores | ArrayLike) -> tuple[Scores, str]:
    """Return a - b on the seeds and clusters of both, and a sentence about those of one alone."""
    first, second = _as_scores(a, None), _as_scores(b, None)
    if not isinstance(a, Scores) and not isinstance(b, Scores):
        if first.values.shape != second.values.shape:
            raise BenchError(
                f"scores of shapes {first.values.shape} and {second.values.shape} cannot be "
                "paired by position: name their seeds and clusters"
            )
    seeds = [s for s in first.seeds if s in set(second.seeds)]
    clusters = [c for c in first.clusters if c in set(second.clusters)]
    if not seeds or not clusters:
        what = "seed" if not seeds else "cluster"
        raise BenchError(f"no {what} is common to the two methods: run both with the same ones")

    def pick(scores: Scores) -> tuple[Doubles, Doubles | None]:
        rows = [scores.seeds.index(s) for s in seeds]
        columns = [scores.clusters.index(c) for c in clusters]
        sizes = None if scores.sizes is None else scores.sizes[columns]
        return scores.values[np.ix_(rows, columns)], sizes

    (left, sizes), (right, other) = pick(first), pick(second)
    if sizes is None or other is None:
        sizes = None
    elif not np.allclose(sizes, other, rtol=1e-9, atol=0):  # shares of a sum differ by rounding
        bad = clusters[int(np.argmax(np.abs(sizes - other)))]
        raise BenchError(f"cluster '{bad}' has other rows in one of the methods: not comparable")
    scores = Scores(left - right, tuple(seeds), tuple(clusters), sizes)
    missing = []
    for what, common, one, two in (
        ("seed", seeds, first.seeds, second.seeds),
        ("cluster", clusters, first.clusters, second.clusters),
    ):
        lone = len(one) + len(two) - 2 * len(common)
        if lone:
            missing.append(f"{lone} {what}{'s' if lone > 1 else ''} of only one method left out")
    return scores, "; ".join(missing)


def _nonzero(differences: ArrayLike) -> Doubles | None:
    """Return finite differences, or None where a test is undefined."""
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.isfinite(d)]
    return d if len(d) > 1 and np.any(d != 0) else None


def t_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p-value of the one-sample t test, None where it is undefined."""
    from scipy import stats

    d = _nonzero(differences)
    if d is None or np.ptp(d) <= 1e-12 * float(np.abs(d).max()):
        return None
    t = d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))
    return float(2 * stats.t.sf(abs(t), len(d) - 1))


def wilcoxon_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; zeros are dropped.

    Exact for up to 50 differences without zeros and ties, else the normal approximation of the
    signed-rank sum with correction for ties (``scipy.stats.wilcoxon``).
    """
    from scipy import stats

    d = _nonzero(differences)
    if d is None:
        return None
    # Ranks are compared exactly: rounding must not break ties between equal differences.
    d = np.round(d, 12)
    d = d[d != 0]
    if not len(d):
        return None
    exact = len(d) <= 50 and len(np.unique(np.abs(d))) == len(d)
    return float(stats.wilcoxon(d, method="exact" if exact else "approx").pvalue)


def _signed_sums(d: Doubles) -> Doubles:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return np.sort(sums)


def sign_flip_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p-value of the mean difference under flips of the signs.

    The share of all ``2**n`` sign patterns whose absolute sum is at least the observed one. Up to
    32 differences all patterns are counted, by meeting in the middle; beyond, 99,999 random ones
    from a fixed seed, the observed one added.

    Parameters
    ----------
    differences
        ``(n,)`` one difference for each cluster; NaN are left out.
    """
    d = _nonzero(differences)
    if d is None:
        return None
    n = len(d)
    reach = abs(float(d.sum())) - 1e-10 * float(np.abs(d).sum())
    if n <= EXACT_FLIPS:
        left, right = _signed_sums(d[: n // 2]), _signed_sums(d[n // 2 :])
        above = len(right) - np.searchsorted(right, reach - left, side="left")
        # The sums are symmetric about 0. A reach of 0 or less is met by every pattern.
        return 1.0 if reach <= 0 else float(min(1.0, 2 * above.sum() / 2.0**n))
    from bench.seeds import generator

    rng = generator("sign-flips", n)
    hits = 0
    for start in range(0, SAMPLED_FLIPS, 10_000):
        signs = rng.integers(0, 2, (min(10_000, SAMPLED_FLIPS - start), n)) * 2 - 1
        hits += int((np.abs(signs @ d) >= reach).sum())
    return (hits + 1) / (SAMPLED_FLIPS + 1)


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p-value of the sign-flip test with ``n`` clusters."""
    if n < 1:
        return 1.0
    exact = 2.0 ** (1 - n)
    return exact if n <= EXACT_FLIPS else max(exact, 1 / (SAMPLED_FLIPS + 1))


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for the family-wise error (Holm 1979), in the order given.

    Those that are None or NaN stay None and do not count as tests.
    """
    known = [(float(p), i) for i, p in enumerate(pvalues) if p is not None and not math.isnan(p)]
    adjusted: list[float | None] = [None] * len(pvalues)
    highest = 0.0
    for rank, (p, i) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = highest
    return adjusted


def minimum_detectable_difference(
    sd: float, n: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the difference that a two-sided paired t test finds with a given power.

    Parameters
    ----------
    sd
        Standard deviation of the clusters' differences.
    n
        Number of clusters; NaN is returned below 2.
    power
        Probability of finding it.
    alpha
        Level of the test.
    """
    if n < 2 or not math.isfinite(sd):
        return math.nan
    return sd * _detectable_effect(n, power, alpha)


@functools.cache
def _detectable_effect(n: int, power: float, alpha: float) -> float:
    """Return the detectable difference in standard deviations, which a board asks for often."""
    # As in interval: what scipy.stats rests on, without the second that its import takes.
    from scipy.special import nctdtr, ndtri, stdtrit

    limit = float(stdtrit(n - 1, 1 - alpha / 2))

    def found(effect: float) -> float:
        shift = effect * math.sqrt(n)
        above = 1 - float(nctdtr(n - 1, shift, limit))
        # The other tail, mirrored: as a lower tail scipy's series may return NaN. From 6 on it is
        # below 1e-5 even with two clusters.
        return above + 1 - float(nctdtr(n - 1, -shift, limit)) if shift < 6 else above

    # The normal approximation with a wide margin brackets the root; power grows with the effect.
    low, high = 0.0, 4 * (limit + float(ndtri(power))) / math.sqrt(n) + 1e-6
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return (low + high) / 2


# --------------------------------------------------------------------------- ranks


@dataclass(frozen=True, eq=False)
class Ranks:
    """Average ranks of methods over blocks, 1 is best.

    Attributes
    ----------
    ranks
        ``(n_methods,)`` average rank.
    low, high
        ``(n_methods,)`` 95 % percentile limits from resampling blocks.
    statistic, p
        Friedman's chi-squared, corrected for ties, and its p-value.
    critical_difference
        Nemenyi: average ranks that differ by at least so much differ at level ``alpha``.
    n_blocks, n_left_out
        Blocks used, and blocks left out because a method has no value there.
    """

    ranks: Doubles
    low: Doubles
    high: Doubles
    statistic: float
    p: float
    critical_difference: float
    n_blocks: int
    n_left_out: int


def average_ranks(
    values: ArrayLike, *, higher_is_better: bool = True, alpha: float = 0.05
) -> Ranks:
    """Return the average ranks of methods over blocks (Demsar 2006, JMLR 7:1-30).

    Parameters
    ----------
    values
        ``(n_methods, n_blocks)``, at least 2 x 2; blocks are clusters, or data sets.
    higher_is_better
        Direction of the metric.
    alpha
        Level of the critical difference.

    Raises
    ------
    BenchError
        For fewer than two methods, or fewer than two blocks where all have a value.
    """
    from scipy import stats

    from bench.seeds import generator

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2:
        raise BenchError(f"ranks need methods x blocks, at least two methods, not {table.shape}")
    usable = np.isfinite(table).all(axis=0)
    used = table[:, usable]
    k, n = used.shape
    if n < 2:
        raise BenchError(f"ranks need two blocks in which every method has a value, not {n}")
    ranks = stats.rankdata(-used if higher_is_better else used, axis=0)
    mean = ranks.mean(axis=1)
    # Sum of squares between methods over the mean square within blocks: ties are corrected for.
    within = float(((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1)))
    statistic = n * float(((mean - (k + 1) / 2) ** 2).sum()) / within if within > 0 else 0.0
    draws = generator("ranks", k, n).integers(0, n, (2000, n))
    low, high = np.percentile(ranks[:, draws].mean(axis=2), [2.5, 97.5], axis=1)
    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    return Ranks(
        mean,
        low,
        high,
        statistic,
        float(stats.chi2.sf(statistic, k - 1)),
        q * math.sqrt(k * (k + 1) / (6 * n)),
        n,
        int((~usable).sum()),
    )


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


def simulate_coverage(
    n_clusters: int,
    n_seeds: int,
    n_sim: int,
    rng: np.random.Generator,
    *,
    shares: tuple[float, float, float] = (0.33, 0.34, 0.33),
    sizes: ArrayLike | None = None,
    level: float = 0.95,
) -> float:
    """Return how often the interval of :func:`interval` holds the true mean.

    Parameters
    ----------
    n_clusters, n_seeds
        Shape of the layout. Fewer than 8 clusters are simulated as if an interval were given.
    n_sim
        Repetitions; the standard error is ``sqrt(c (1 - c) / n_sim)``.
    rng
        Generator.
    shares
        Variance of seeds, clusters and residual; normal effects.
    sizes
        ``(n_clusters,)`` weights; None for equal ones.
    level
        Nominal level.
    """
    from scipy import stats

    if n_clusters < 2 or n_seeds < 1 or n_sim < 1:
        raise BenchError("coverage needs two clusters, one seed and one repetition")
    weights = np.ones(n_clusters) if sizes is None else np.asarray(sizes, dtype=np.float64)
    weights = weights / weights.sum()
    sd_seed, sd_cluster, sd_rest = np.sqrt(shares)
    covered = done = 0
    while done < n_sim:
        n = min(n_sim - done, max(1, 2_000_000 // (n_clusters * n_seeds)))
        values = (
            sd_seed * rng.standard_normal((n, n_seeds, 1))
            + sd_cluster * rng.standard_normal((n, 1, n_clusters))
            + sd_rest * rng.standard_normal((n, n_seeds, n_clusters))
        )
        mean, _, variance, df = _variance(values, weights)
        half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(variance)
        covered += int((np.abs(mean) <= half).sum())
        done += n
    return covered / n_sim


def coverage_table(n_sim: int = TABLE_DRAWS) -> list[dict[str, float]]:
    """Simulate the whole grid; each cell has its own seed, so cells can be repeated alone."""
    from bench.seeds import generator

    rows = []
    for n_clusters in GRID_CLUSTERS:
        for n_seeds in GRID_SEEDS:
            for shares in SHARES:
                rng = generator("coverage", n_clusters, n_seeds, *map(str, shares))
                rows.append(
                    {
                        "n_clusters": n_clusters,
                        "n_seeds": n_seeds,
                        "seed_share": shares[0],
                        "cluster_share": shares[1],
                        "residual_share": shares[2],
                        "coverage": simulate_coverage(
                            n_clusters, n_seeds, n_sim, rng, shares=shares
                        ),
                        "n_sim": n_sim,
                    }
                )
    return rows


@dataclass(frozen=True)
class Coverage:
    """How often nominal 95 % intervals hold the truth in simulated cells.

    Attributes
    ----------
    n_clusters, n_seeds
        The cell that was looked up.
    low, high
        Lowest and highest coverage over the ratios of variance that were simulated.
    exact
        Whether the cell has the numbers that were asked for, not the next smaller ones.
    """

    n_clusters: int
    n_seeds: int
    low: float
    high: float
    exact: bool

    @property
    def sentence(self) -> str:
        """Words to print under a table."""
        span = f"{self.low:.0%} to {self.high:.0%}"
        if self.n_seeds == 1:
            return (
                f"With one seed an interval is for that one training on new clusters; for a new "
                f"training the nominal 95 % is {span} in simulations with {self.n_clusters} "
                f"clusters, the less the more seeds differ."
            )
        return (
            f"In simulations with {self.n_clusters} clusters and {self.n_seeds} seeds the nominal "
            f"95 % interval holds the truth in {span}, by how the variance is shared."
        )

    @property
    def fair(self) -> bool:
        """Whether the whole range lies within 92 to 98 %."""
        return self.low >= 0.92 and self.high <= 0.98


@functools.cache
def _coverage_cells() -> dict[tuple[int, int], tuple[float, float]]:
    import csv
    from importlib.resources import files

    text = files("bench").joinpath("coverage.csv").read_text(encoding="utf-8")
    cells: dict[tuple[int, int], list[float]] = {}
    for row in csv.DictReader(text.splitlines()):
        key = int(row["n_clusters"]), int(row["n_seeds"])
        cells.setdefault(key, []).append(float(row["coverage"]))
    return {key: (min(values), max(values)) for key, values in cells.items()}


def printed_coverage(n_clusters: int, n_seeds: int) -> Coverage:
    """Return the simulated coverage of the nearest cell that is not larger.

    The table ``coverage.csv`` beside this file is written by ``python -m bench.statistics``.

    Parameters
    ----------
    n_clusters
        Clusters of the test set; fewer than 4 are answered by the cell of 4.
    n_seeds
        Training seeds.
    """
    clusters = max((c for c in GRID_CLUSTERS if c <= n_clusters), default=GRID_CLUSTERS[0])
    seeds = max((s for s in GRID_SEEDS if s <= n_seeds), default=GRID_SEEDS[0])
    low, high = _coverage_cells()[clusters, seeds]
    return Coverage(clusters, seeds, low, high, (clusters, seeds) == (n_clusters, n_seeds))


def _write_coverage() -> None:
    import csv
    from pathlib import Path

    rows = coverage_table()
    path = Path(__file__).with_name("coverage.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "coverage": f"{row['coverage']:.4f}"} for row in rows)


if __name__ == "__main__":
    _write_coverage()
