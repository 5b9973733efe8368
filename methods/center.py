r"""Per-batch centring: the smallest correction, of location alone.

For each batch :math:`z = x - m` with the mean :math:`m` of the batch's negative controls, or of all
of its rows. Units and scale of the features are not changed.

On all rows this assumes that every batch has the same mixture of classes; where it does not, the
difference between the mixtures is removed together with the batch effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._scaling import Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "center",
    "class": "Center",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Per batch: subtract the mean of its controls.",
    "reference": "Sims et al. 2008, BMC Medical Genomics 1:42 (batch mean-centring)",
    "url": "https://doi.org/10.1186/1755-8794-1-42",
    "access": ["controls", "test-controls"],
    "helps": ["location", "hierarchical", "confounded"],
}


class Center(Scaling):
    """Per-batch mean subtraction."""

    name = "center"
    divides = False

    @staticmethod
    def estimate(
        X: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of rows ``(n, d)``, and a scale of 1."""
        return X.mean(axis=0), np.ones(X.shape[1])
