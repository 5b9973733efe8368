"""Sign-flip test over clusters, multiple-testing correction, detectable differences."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from bench.boards.stats.scores import Doubles


EXACT_FLIPS = 32
"""Maximum number of clusters for exact enumeration; above it, a fixed random sample is used."""
SAMPLED_FLIPS = 99_999


def _nonzero(differences: ArrayLike) -> Doubles | None:
    """Return finite differences, or None if a test is undefined."""
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.isfinite(d)]
    return d if len(d) > 1 and np.any(d != 0) else None


def _signed_sums(d: Doubles) -> Doubles:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return np.sort(sums)


def sign_flip_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p value of the mean difference under sign flips.

    The p value is the fraction of all ``2**n`` sign patterns with an absolute sum of at least the
    observed one. Up to 32 differences all patterns are counted (meet in the middle). Above, 99,999
    random patterns from a fixed seed are used, plus the observed one.

    Parameters
    ----------
    differences
        ``(n,)`` one difference per cluster; NaN values are ignored.
    """
    d = _nonzero(differences)
    if d is None:
        return None
    n = len(d)
    reach = abs(float(d.sum())) - 1e-10 * float(np.abs(d).sum())
    if n <= EXACT_FLIPS:
        left, right = _signed_sums(d[: n // 2]), _signed_sums(d[n // 2 :])
        above = len(right) - np.searchsorted(right, reach - left, side="left")
        # The sums are symmetric about 0. Every pattern reaches a bound of 0 or less.
        return 1.0 if reach <= 0 else float(min(1.0, 2 * above.sum() / 2.0**n))
    from bench.core.seeds import generator

    rng = generator("sign-flips", n)
    hits = 0
    for start in range(0, SAMPLED_FLIPS, 10_000):
        signs = rng.integers(0, 2, (min(10_000, SAMPLED_FLIPS - start), n)) * 2 - 1
        hits += int((np.abs(signs @ d) >= reach).sum())
    return (hits + 1) / (SAMPLED_FLIPS + 1)


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p value of the sign-flip test with ``n`` clusters."""
    if n < 1:
        return 1.0
    exact = 2.0 ** (1 - n)
    return exact if n <= EXACT_FLIPS else max(exact, 1 / (SAMPLED_FLIPS + 1))


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted for the family-wise error rate (Holm 1979), in the given order.

    None and NaN give None and do not count as tests.
    """
    tests = [(float(p), i) for i, p in enumerate(pvalues) if p is not None and not math.isnan(p)]
    adjusted: list[float | None] = [None] * len(pvalues)
    highest = 0.0
    for rank, (p, i) in enumerate(sorted(tests)):
        highest = max(highest, min(1.0, p * (len(tests) - rank)))
        adjusted[i] = highest
    return adjusted


@functools.cache
def detectable_effect(df: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the noncentrality at which a two-sided t test has a given power.

    The difference that the test detects is its standard error times this number (Cohen 1988,
    *Statistical Power Analysis for the Behavioral Sciences*, chapter 2). It is cached because
    boards repeat it.

    Parameters
    ----------
    df
        Degrees of freedom, at least 1.
    """
    # As in interval: the functions behind scipy.stats, which takes a second to import.
    from scipy.special import nctdtr, ndtri, stdtrit

    limit = float(stdtrit(df, 1 - alpha / 2))

    def power_at(shift: float) -> float:
        above = 1 - float(nctdtr(df, shift, limit))
        # The mirrored upper tail: as a lower tail, scipy's series may return NaN. From 6 on it is
        # below 1e-5 even with two clusters.
        return above + 1 - float(nctdtr(df, -shift, limit)) if shift < 6 else above

    # The normal approximation brackets the root with a wide margin; power grows with the effect.
    low, high = 0.0, 4 * (limit + float(ndtri(power))) + 1e-6
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if power_at(middle) < power else (low, middle)
    return (low + high) / 2
