r"""Roots of second moments and their shrinkage: the linear algebra of whitening and re-colouring.

Roots are taken of ``d x d`` matrices or, for fewer rows than features, of the rows' smaller Gram
matrix. No array of size ``n x n`` is allocated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import param
from bench.core.moments import (
    BLOCK,
    CONSTANT,
    RANK,
    Components,
    Doubles,
    Spectrum,
    covariance,
    fold,
    mean_of,
    project,
    reciprocal,
    spread_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CONSTANT",
    "Components",
    "Doubles",
    "Spectrum",
    "aligned",
    "covariance",
    "fold",
    "inverse_root",
    "ledoit_wolf",
    "mean_of",
    "project",
    "reciprocal",
    "reference_spread",
    "shrinkage_param",
    "spread_of",
    "squared_lengths",
    "steep",
    "usable",
]

STEEP = 256.0
"""Beyond this ratio of the largest to the smallest stretch, float32 products would no longer give
unit variance to four digits, and float64 is used."""
NEAR = 16.0
"""Rows whose largest mean square is at most so many ridges have their root taken in float32: the
root then changes by no more than about 1e-6 of its largest value for each of these."""
OUTLYING = 500.0
"""A feature that varies so many times less among the reference rows than among all training rows
counts as constant there: scaled by the reference rows, most of its values would be outliers. The
number is the default cutoff of ``drop_outlier_features`` in pycytominer."""


def shrinkage_param() -> Any:
    """Return the parameter ``shrinkage``: how the covariance of reference rows is estimated."""
    return param(
        "ledoit-wolf",
        "estimate of covariances: shrunk towards a multiple of the identity by the weight of "
        "Ledoit and Wolf 2004; none is the published procedure, for more rows than features",
        choices=("ledoit-wolf", "none"),
        search=("ledoit-wolf", "none"),
    )


def usable(scale: Doubles, centre: Doubles, usual: Doubles) -> NDArray[np.bool_]:
    """Return which features can be divided by their scale, ``(d,)``.

    Parameters
    ----------
    scale, centre
        ``(d,)`` scale and centre of the reference rows.
    usual
        ``(d,)`` scale of the same features elsewhere, such as among all training rows.
    """
    result: NDArray[np.bool_] = (scale > CONSTANT * np.abs(centre)) & (OUTLYING * scale > usual)
    return result


def reference_spread(reference: NDArray[Any], mean: Doubles, X: NDArray[Any]) -> Doubles:
    """Return the standard deviations of reference rows, 0 for features constant among them.

    Parameters
    ----------
    reference, mean
        ``(k, d)`` rows and their mean.
    X
        ``(n, d)`` all training rows. Features that vary much less among the reference rows count
        as constant (:data:`OUTLYING`).
    """
    spread = spread_of(reference, mean)
    usual = spread_of(X, mean_of(X))
    return np.where(usable(spread, mean, usual), spread, 0.0)


def ledoit_wolf(values: NDArray[Any], squares: NDArray[Any], dimension: int) -> float:
    r"""Return the weight of a multiple of the identity in the estimate of Ledoit and Wolf.

    A second moment :math:`S` of n rows, with divisor n, is replaced by
    :math:`(1 - \rho) S + \rho\,\tfrac{\mathrm{tr} S}{d} I`. The weight that minimises the expected
    squared error is estimated from the rows by

    .. math:: \rho = \min\left(1, \frac{\tfrac1n \left(\tfrac1n \sum_i \lVert x_i \rVert^4
              - \lVert S \rVert^2\right)}{\lVert S \rVert^2 - (\mathrm{tr} S)^2 / d}\right).

    Parameters
    ----------
    values
        Eigenvalues of S; zeros may be left out.
    squares
        ``(n,)`` squared lengths of the rows.
    dimension
        d.

    References
    ----------
    Ledoit and Wolf 2004, Journal of Multivariate Analysis 88:365-411, section 3.
    """
    n, norm = len(squares), float((values.astype(np.float64) ** 2).sum())
    distance = norm - float(values.sum(dtype=np.float64)) ** 2 / dimension
    noise = (float((squares.astype(np.float64) ** 2).mean()) - norm) / n
    if noise <= 0:
        return 0.0
    return 1.0 if noise >= distance else noise / distance


def squared_lengths(X: NDArray[Any], mean: Doubles, scale: Doubles) -> Doubles:
    """Return the squared length of each row of ``(X - mean) / scale``, ``(n,)`` float64."""
    inverse = reciprocal(scale)
    result = np.empty(len(X))
    for start in range(0, len(X), BLOCK):
        block = (X[start : start + BLOCK] - mean) * inverse
        result[start : start + BLOCK] = np.einsum("ij,ij->i", block, block)
    return result


def steep(stretch: Doubles) -> bool:
    """Return whether a map with these stretches requires float64 products."""
    used = stretch[stretch > 0]
    return bool(len(used)) and float(used.max() / used.min()) > STEEP


def inverse_root(
    rows: NDArray[Any], divisor: int, ridge: float, *, shrink: bool = False
) -> tuple[float, NDArray[Any], NDArray[Any]]:
    r"""Return :math:`(R^\top R / m + \rho I)^{-1/2}` as a multiple of the identity and a rest.

    The matrix is ``base * I + U @ diag(extra) @ U.T`` with orthonormal columns ``U``.

    Parameters
    ----------
    rows
        ``(k, d)`` the rows R. Float32 rows are processed in float32 where that is accurate enough
        (:data:`NEAR`), in half the time; all others in float64.
    divisor
        m.
    ridge
        :math:`\rho > 0`.
    shrink
        Whether the second moment is shrunk as in :func:`ledoit_wolf` first. Columns that are 0 do
        not count as dimensions.

    Returns
    -------
    tuple
        ``base``, ``U`` of shape ``(d, r)`` and ``extra`` of shape ``(r,)``.
    """
    k, d = rows.shape
    gram = _gram(rows)
    if rows.dtype == np.float32:
        squares = gram.diagonal() if k >= d else np.einsum("ij,ij->j", rows, rows)
        if float(squares.max(initial=0.0)) > NEAR * ridge * divisor:
            rows = rows.astype(np.float64)
            gram = _gram(rows)
    values, vectors = _eigh(gram)
    if k < d:
        lowest = RANK if rows.dtype == np.float64 else float(np.finfo(np.float32).eps) * k
        kept = values > lowest * max(float(values[-1]), 0.0)
        values = values[kept]
        U = rows.T @ (vectors[:, kept] / np.sqrt(values))
    else:
        values, U = np.maximum(values, 0.0), vectors
    values = values / divisor
    if shrink:
        dimension = max(1, int(rows.any(axis=0).sum()))
        squares = np.einsum("ij,ij->i", rows, rows)
        share = ledoit_wolf(values * (divisor / k), squares, dimension)
        level = share * float(values.sum(dtype=np.float64)) / dimension
        values, ridge = (1 - share) * values, ridge + level
    base = ridge**-0.5
    return base, U, (values + ridge) ** -0.5 - base


def _gram(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the smaller of ``R.T @ R`` and ``R @ R.T``, in the type of the rows."""
    gram: NDArray[Any] = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return gram


def _eigh(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return eigenvalues, ascending, and eigenvectors of a symmetric matrix in its own type."""
    if matrix.dtype == np.float64:
        return np.linalg.eigh(matrix)
    from scipy.linalg import eigh

    # NumPy takes as long for float32 as for float64.
    pair: tuple[NDArray[Any], NDArray[Any]] = eigh(matrix, driver="evd", check_finite=False)
    return pair


def aligned(root: tuple[float, Doubles, Doubles], right: Doubles) -> Doubles:
    """Return ``root @ right``, ``(d, q)``, for a root from :func:`inverse_root`."""
    base, U, extra = root
    result: Doubles = base * right + (U * extra) @ (U.T @ right)
    return result
