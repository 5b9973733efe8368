"""Uncertainty of a published proportion, from the count behind it and its printed digits."""

from __future__ import annotations

import math

from bench.core.errors import BenchError


def published_limits(
    value: float, rounding: float, n: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the exact binomial interval of a proportion that was printed with few digits.

    Every count ``k`` with ``k / n`` within ``rounding`` of ``value`` is possible. The limits are
    the lower Clopper-Pearson limit of the smallest and the upper limit of the largest such count
    (Clopper & Pearson 1934, *Biometrika* 26:404-413). If rounding leaves no count, the nearest is
    used.

    Parameters
    ----------
    rounding
        Half a unit of the last printed digit.

    Raises
    ------
    BenchError
        If ``n`` is not positive or ``value`` is not a proportion.
    """
    from scipy.special import betaincinv

    if n < 1 or not 0 <= value <= 1:
        raise BenchError(
            f"a proportion needs a count and a value in [0, 1], not {value} of {n}: correct it"
        )
    smallest = min(n, max(0, math.ceil((value - rounding) * n - 1e-9)))
    largest = min(n, max(0, math.floor((value + rounding) * n + 1e-9)))
    if smallest > largest:
        smallest = largest = min(n, max(0, round(value * n)))
    tail = (1 - level) / 2
    low = float(betaincinv(smallest, n - smallest + 1, tail)) if smallest else 0.0
    high = float(betaincinv(largest + 1, n - largest, 1 - tail)) if largest < n else 1.0
    return low, high


def difference_limits(
    measured: float, half: float, published: float, limits: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of ``measured - published`` from the intervals of both.

    The distances to the limits are added in quadrature (MOVER; Zou & Donner 2008, *Statistics in
    Medicine* 27:1693-1702, doi:10.1002/sim.3095).

    Parameters
    ----------
    measured, half
        Our mean, and the half-width of its interval.
    published, limits
        The published proportion and its interval.
    """
    difference = measured - published
    below = math.hypot(half, limits[1] - published)
    above = math.hypot(half, published - limits[0])
    return difference - below, difference + above
