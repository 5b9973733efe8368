"""Subtracts the median of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._shared import PerBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "example-center",
    "class": "ExampleCenter",
    "level": "profile",
    "version": 1,
    "summary": "Per batch: subtract the median of its rows.",
    "reference": "unpublished",
    "access": ["test-batch"],
}


class ExampleCenter(PerBatch):
    """Subtracts the median of each batch."""

    def corrected(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``x - median``."""
        return X - np.median(X, axis=0)
