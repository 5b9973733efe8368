"""Bayesian comparison of two methods over data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


ROPE = 0.01
"""Differences within one point are practically equivalent."""
PRIOR = 0.5
"""Weight of the prior pseudo-observation of no difference."""
SAMPLES = 50_000


def signed_rank_probabilities(
    differences: ArrayLike, rope: float = ROPE, samples: int = SAMPLES
) -> tuple[float, float, float]:
    """Return the posterior probabilities that the first method is worse, equivalent, better.

    Bayesian signed-rank test with a region of practical equivalence (Benavoli, Mangili, Corani,
    Zaffalon & Ruggeri 2014, ICML, PMLR 32(2):1026-1034; Benavoli, Corani, Demsar & Zaffalon 2017,
    JMLR 18(77):1-36, section 4.2). The differences, and one pseudo-observation of 0 with weight
    0.5, get Dirichlet weights. In each draw, the three regions share the weight of the Walsh
    averages ``(d_i + d_j) / 2``. The result is how often each region has the most weight.

    Parameters
    ----------
    differences
        ``(n,)`` first minus second method, one per data set.
    rope
        Half-width of the region of practical equivalence, in the unit of the differences.

    Raises
    ------
    BenchError
        For fewer than two differences, or one that is not finite.
    """
    from bench.core.seeds import generator

    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or len(d) < 2 or not np.isfinite(d).all():
        raise BenchError(
            "the signed-rank test needs two or more finite differences: run more data sets"
        )
    d = np.concatenate([[0.0], d])
    averages = (d[:, None] + d[None, :]) / 2
    below = (averages < -rope) + 0.5 * (averages == -rope)
    above = (averages > rope) + 0.5 * (averages == rope)
    alpha = np.ones(len(d))
    alpha[0] = PRIOR
    weights = generator("signed-rank", len(d)).dirichlet(alpha, samples)
    worse = ((weights @ below) * weights).sum(axis=1)
    better = ((weights @ above) * weights).sum(axis=1)
    regions = np.stack([worse, 1 - worse - better, better], axis=1)
    share = np.bincount(regions.argmax(axis=1), minlength=3) / samples
    return float(share[0]), float(share[1]), float(share[2])
