"""Paired differences, tests and multiple-testing correction."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.stats.intervals import (
    Interval,  # TC
    interval,
)
from bench.boards.stats.scores import (
    EXACT_FLIPS,
    SAMPLED_FLIPS,
    Doubles,  # TC
    Scores,
    as_scores,
)
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = [
    "Difference",
    "holm",
    "minimum_detectable_difference",
    "paired_difference",
    "paired_spread",
    "sign_flip_p",
    "smallest_p",
    "t_p",
    "wilcoxon_p",
]


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
    first, second = as_scores(a, None), as_scores(b, None)
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
    from bench.core.seeds import generator

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
