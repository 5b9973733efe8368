"""Balanced accuracy compared with chance."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.01
"""One-sided significance level of the bound of chance."""
WEAK, STRONG = 0.1, 0.25
"""Margins over chance below which a prediction is weak, and from which it is strong."""


@dataclass(frozen=True)
class Prediction:
    """The balanced accuracy of a prediction, with what chance explains.

    Attributes
    ----------
    score
        Balanced accuracy: the mean over classes of the fraction of correct rows.
    bound
        Upper limit of the score of predictions that do not depend on the class, at :data:`LEVEL`.
    """

    score: float
    chance: float
    bound: float
    error: float

    @property
    def margin(self) -> float:
        """Score between chance (0) and no error (1), for any number of classes.

        The same as ``sklearn.metrics.balanced_accuracy_score(adjusted=True)``.
        """
        return (self.score - self.chance) / (1 - self.chance)

    @property
    def is_above_chance(self) -> bool:
        """Whether chance does not explain the score."""
        return self.score > self.bound

    @property
    def strength(self) -> str:
        """``none``, ``weak``, ``moderate`` or ``strong``."""
        if not self.is_above_chance:
            return "none"
        return "weak" if self.margin < WEAK else "moderate" if self.margin < STRONG else "strong"


def judge(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> Prediction:
    """Compare predictions with the classes.

    If a prediction does not depend on the class, the fraction of correct rows of class k is
    binomial with probability ``q_k``, the fraction of all predictions that are k. The score is then
    ``1/K`` on average, with the variance ``sum_k q_k (1 - q_k) / n_k / K^2``; the bound is its
    normal approximation. Classes are independent binomials as in Brodersen et al. 2010 (ICPR,
    3121-3124). Unlike a multiple of chance, the bound applies to two classes.

    Parameters
    ----------
    y, predicted
        ``(n,)`` class numbers; -1 is no prediction.
    """
    classes, counts = np.unique(y, return_counts=True)
    n = len(classes)
    hits = np.array([(predicted[y == k] == k).mean() for k in classes])
    shares = np.array([(predicted == k).mean() for k in classes])
    z = NormalDist().inv_cdf(1 - LEVEL)
    by_chance = float(np.sqrt((shares * (1 - shares) / counts).sum())) / n
    error = float(np.sqrt((hits * (1 - hits) / counts).sum())) / n
    chance = 1 / n
    return Prediction(float(hits.mean()), chance, chance + z * by_chance, error)
