"""Rows of a matrix in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.core.types import Array, DType, Floats, Ints


class ArraySource:
    """Rows of a matrix in memory; a :class:`bench.api.Source`.

    Parameters
    ----------
    X
        ``(n, d)`` float32.
    """

    def __init__(self, X: Floats) -> None:
        self._X = X
        self.shape: tuple[int, ...] = (X.shape[1],)
        self.dtype: DType = X.dtype

    def read(self, rows: Ints) -> Array:
        """Return a copy of the rows, ``(k, d)``."""
        return self._X[np.asarray(rows)]
