"""Covariances shrunk towards a multiple of the identity, and their roots, for both CORALs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.api import NotApplicable, param

from ._whitening import Spectrum, covariance, mean_of, reciprocal, spread_of

if TYPE_CHECKING:
    from bench.api import Floats

    from ._whitening import Doubles


@dataclass(frozen=True)
class CoralParams:
    """Parameters of correlation alignment."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    shrinkage: float = param(
        0.5,
        "share of a multiple of the identity in each covariance; 0.5 on standardised features is "
        "the published C + I",
        low=1e-6,
        high=1.0,
        search=(0.01, 1.0),
        log=True,
    )


def standardisation(X: Floats, name: str) -> tuple[Doubles, Doubles]:
    """Return mean and standard deviation (divisor n) of training rows, ``(d,)`` each.

    Raises
    ------
    NotApplicable
        If there are fewer than two rows, or no feature varies.
    """
    if len(X) < 2:
        raise NotApplicable(f"{name} needs at least 2 training rows and found {len(X)}")
    mean = mean_of(X)
    scale = spread_of(X, mean)
    if not scale.any():
        raise NotApplicable(
            f"{name} needs features that vary among the training rows, and all {len(scale)} are "
            "constant there: give it another table"
        )
    return mean, scale


def shrunk(X: Floats, mean: Doubles, scale: Doubles, shrinkage: float) -> Doubles:
    r"""Return :math:`(1 - s) C + s\,\bar\lambda I` of ``(X - mean) / scale``, ``(d, d)`` float64.

    C has divisor n, and :math:`\bar\lambda` is its mean variance over features with a scale.
    """
    cov = covariance(X, mean, scale, len(X))
    used = scale > 0
    level = shrinkage * float(np.trace(cov)) / int(used.sum())
    result: Doubles = (1 - shrinkage) * cov + level * np.diag(used * 1.0)
    return result


def power(matrix: Doubles, exponent: float) -> Doubles:
    """Return a power of a symmetric matrix, ``(d, d)``; directions without variance stay 0."""
    spectrum = Spectrum.of(matrix)
    roots = np.sqrt(spectrum.values)
    stretch = roots if exponent > 0 else reciprocal(roots)
    result: Doubles = spectrum.vectors * stretch @ spectrum.vectors.T
    return result
