"""Divides each batch by its largest absolute value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._shared import PerBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "example-scale",
    "class": "ExampleScale",
    "level": "profile",
    "version": 1,
    "summary": "Per batch: divide each feature by its largest absolute value.",
    "reference": "unpublished",
    "access": ["test-batch"],
}


class ExampleScale(PerBatch):
    """Divides each batch by its largest absolute value."""

    def corrected(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``x / max |x|``, feature by feature."""
        return X / np.maximum(np.abs(X).max(axis=0), 1e-12)
