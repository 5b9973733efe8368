r"""Per-batch robust z-score: median and MAD instead of mean and standard deviation.

For each batch and feature, :math:`z = (x - \mathrm{med}) / (1.4826\,\mathrm{MAD})`. Median and
median absolute deviation are those of the batch's negative controls, or of all of its rows. The
factor 1.4826 makes the MAD of normal data their standard deviation. A feature with a MAD near 0
in a batch is divided by the MAD of the training set; a feature with a MAD near 0 there too is left
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._scaling import Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "robust",
    "class": "Robust",
    "deterministic": True,
    "level": "profile",
    "version": 2,
    "summary": "Per batch: subtract the median, divide by the scaled MAD of its controls.",
    "reference": "Chung et al. 2008, J Biomol Screen 13:149-158",
    "url": "https://doi.org/10.1177/1087057107312035",
    "access": ["controls", "test-controls"],
    "helps": ["location", "scale", "hierarchical", "confounded"],
}

NORMAL = 1.482602218505602
"""1 / the 0.75 quantile of the standard normal distribution."""


class Robust(Scaling):
    """Per-batch robust z-score."""

    name = "robust"

    @staticmethod
    def estimate(
        X: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return median and scaled MAD of rows ``(n, d)``."""
        median = np.median(X, axis=0)
        return median, NORMAL * np.median(np.abs(X - median), axis=0)
