r"""Mean, spread, covariance and principal components of rows, and centred products.

Sums are in float64 over blocks of rows; no array of size ``n x n`` is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.types import Floats


Doubles = NDArray[np.float64]
BLOCK = 4096
"""Rows per block of float64."""
RANK = 1e-12
"""A direction with less than this share of the largest variance counts as absent: float64 sums of
squares cannot distinguish it from rounding."""
PRODUCT = 512
"""Rows that are multiplied at a time: with their centred copy they stay in the cache."""
CONSTANT = 1e-6
"""A standard deviation below this share of the mean is that of rounded constants."""


def mean_of(X: NDArray[Any]) -> Doubles:
    """Return the mean row, ``(d,)``, summed in float64."""
    result: Doubles = np.mean(X, axis=0, dtype=np.float64)
    return result


def spread_of(X: NDArray[Any], mean: Doubles) -> Doubles:
    """Return the standard deviation (divisor n) of each column, exactly 0 for constant ones."""
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), BLOCK):
        block = X[start : start + BLOCK] - mean
        total += np.einsum("ij,ij->j", block, block)
    sd = np.sqrt(total / len(X))
    return np.where(sd > CONSTANT * np.abs(mean), sd, 0.0)


def covariance(X: NDArray[Any], mean: Doubles, scale: Doubles, divisor: int) -> Doubles:
    """Return the second moment of ``(X - mean) / scale``, ``(d, d)`` float64.

    Parameters
    ----------
    X
        ``(n, d)`` rows.
    mean, scale
        ``(d,)``; where ``scale`` is 0 the column is left out (its moments are 0).
    divisor
        What the sum of squares is divided by: n, or n - 1.
    """
    total = np.zeros((X.shape[1], X.shape[1]))
    inverse = reciprocal(scale)
    buffer = np.empty((min(BLOCK, len(X)), X.shape[1]))
    for start in range(0, len(X), BLOCK):
        rows = X[start : start + BLOCK]
        block = np.subtract(rows, mean, out=buffer[: len(rows)])
        block *= inverse
        total += block.T @ block
    return total / divisor


def reciprocal(scale: Doubles) -> Doubles:
    """Return ``1 / scale``, ``(d,)``, and 0 where the scale is 0."""
    result: Doubles = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return result


def fold(scale: Doubles, matrix: Doubles, *, steep: bool = False) -> NDArray[Any]:
    """Return ``diag(1 / scale) @ matrix`` as :func:`project` takes it, ``(d, k)``.

    Float32, which halves the time of the product, or float64 for a ``steep`` matrix.
    """
    kind = np.float64 if steep else np.float32
    return np.ascontiguousarray(reciprocal(scale)[:, None] * matrix, dtype=kind)


def project(
    X: Floats,
    mean: Doubles,
    right: NDArray[Any],
    rest: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Floats:
    """Return ``(X - mean) @ right``, ``(n, k)`` float32, block by block.

    Centring costs no digits where the mean is large: the mean is subtracted in two float32 parts,
    of which the first leaves a small number and is exact where the two are near each other (float64
    throughout for a float64 matrix). The product is in the type of ``right``.

    Parameters
    ----------
    X, mean, right
        ``(n, d)``, ``(d,)`` and ``(d, k)``.
    rest
        Factors ``(d, r)`` and ``(r, k)`` of a matrix that is added to ``right``. It is made where
        that is fewer products than going through the factors with every row.
    """
    if rest is not None:
        (d, r), k, n = rest[0].shape, right.shape[1], len(X)
        if d * r * k <= n * r * (d + k):
            right, rest = right + rest[0] @ rest[1], None
    out = np.empty((len(X), right.shape[1]), np.float32)
    centred = np.empty((min(PRODUCT, len(X)), X.shape[1]), right.dtype)
    narrow = right.dtype == out.dtype
    first = mean.astype(right.dtype)
    second = (mean - first).astype(right.dtype)
    for start in range(0, len(X), PRODUCT):
        rows = X[start : start + PRODUCT]
        block = np.subtract(rows, first, out=centred[: len(rows)])
        product = out[start : start + PRODUCT]
        if narrow:
            block -= second
            np.matmul(block, right, out=product)
        else:
            product[...] = block @ right
        if rest is not None:
            product += block @ rest[0] @ rest[1]
    return out


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a covariance, largest first.

    Attributes
    ----------
    values
        ``(d,)`` variances, exactly 0 below :data:`RANK`.
    vectors
        ``(d, r)``, one direction a column; the largest entry of each is positive.
    """

    values: Doubles
    vectors: Doubles

    @classmethod
    def of(cls, matrix: Doubles, used: NDArray[np.bool_] | None = None) -> Spectrum:
        """Decompose a symmetric matrix, ``(d, d)``, or its block of the ``used`` features."""
        if used is not None and not used.all():
            block = cls.of(matrix[np.ix_(used, used)])
            vectors = np.zeros((len(used), len(block.values)))
            vectors[used] = block.vectors
            return cls(block.values, vectors)
        values, vectors = np.linalg.eigh(matrix)
        values, vectors = values[::-1], vectors[:, ::-1]
        values = np.where(values > RANK * max(float(values[0]), 0.0), values, 0.0)
        largest = np.abs(vectors).argmax(axis=0)
        signs = np.where(vectors[largest, np.arange(len(values))] < 0, -1.0, 1.0)
        return cls(values, vectors * signs)

    def shrunk(self, share: float) -> Spectrum:
        """Return the spectrum of ``(1 - share) C + share * mean(values) I``."""
        return Spectrum((1 - share) * self.values + share * self.values.mean(), self.vectors)

    @property
    def rank(self) -> int:
        """Number of directions with any variance."""
        return int((self.values > 0).sum())

    def stretch(self, ridge: float) -> Doubles:
        """Return ``1 / sqrt(values + ridge)``, 0 for directions without variance if ridge is 0."""
        return reciprocal(np.sqrt(self.values + ridge))


@dataclass(frozen=True, eq=False)
class Components:
    """Standardisation and principal components of the training rows.

    Attributes
    ----------
    mean, scale
        ``(d,)``; a feature with scale 0 is constant and left out.
    axes
        ``(d, p)``, one component a column.
    """

    mean: Doubles
    scale: Doubles
    axes: Doubles

    @classmethod
    def of(cls, X: Floats, n_components: int, name: str) -> Components:
        """Estimate them on rows ``(n, d)``.

        Raises
        ------
        NotApplicable
            If there are fewer than two rows, or no feature varies.
        """
        mean = mean_of(X)
        scale = spread_of(X, mean)
        if len(X) < 2 or not scale.any():
            raise NotApplicable(
                f"{name} needs at least 2 training rows with features that vary, and found "
                f"{len(X)} rows and {int((scale > 0).sum())} such features: give it another table"
            )
        spectrum = Spectrum.of(covariance(X, mean, scale, len(X)))
        return cls(mean, scale, spectrum.vectors[:, : min(n_components, spectrum.rank)])

    def scores(self, X: Floats) -> Floats:
        """Return the components of rows ``(n, d)``, ``(n, p)`` float32."""
        return project(X, self.mean, fold(self.scale, self.axes))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return them by name, for a method's state."""
        return {"mean": self.mean, "scale": self.scale, "axes": self.axes}

    @classmethod
    def from_arrays(cls, state: Mapping[str, NDArray[Any]]) -> Components:
        """Rebuild from :meth:`arrays`."""
        return cls(state["mean"], state["scale"], state["axes"])
