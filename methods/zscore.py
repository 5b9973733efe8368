r"""Per-batch z-score: the field's usual first correction.

For each batch and feature, :math:`z = (x - m) / s`. Mean :math:`m` and standard deviation :math:`s`
(divisor n) are those of the batch's negative controls, or of all of its rows. A feature that is
nearly constant among those of the training set is left out.

On all rows this assumes that every batch has the same mixture of classes; where a batch has
one class it removes the biology together with the batch effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._scaling import Scaling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "zscore",
    "class": "ZScore",
    "deterministic": True,
    "level": "profile",
    "version": 2,
    "summary": "Per batch: subtract the mean, divide by the standard deviation of its controls.",
    "reference": "Caicedo et al. 2017, Nature Methods 14:849-863",
    "url": "https://doi.org/10.1038/nmeth.4397",
    "access": ["controls", "test-controls"],
    "helps": ["location", "scale", "hierarchical", "confounded"],
}


class ZScore(Scaling):
    """Per-batch z-score."""

    name = "zscore"

    @staticmethod
    def estimate(
        X: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of rows ``(n, d)``."""
        return X.mean(axis=0), X.std(axis=0)
