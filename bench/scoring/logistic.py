r"""Class-weighted multinomial logistic regression along a path of penalties.

The objective is that of scikit-learn's ``LogisticRegression(C=C, class_weight="balanced")``, with
the softmax of all classes also for two classes:

.. math:: C \sum_i w_i \left(\log\sum_k e^{z_{ik}} - z_{i y_i}\right)
          + \tfrac12 \sum_k \lVert\beta_k\rVert^2,
          \qquad z_{ik} = \beta_k^\top x_i + \alpha_k, \qquad w_i = n / (K n_{y_i}).

It is minimised by L-BFGS (Byrd et al. 1995, SIAM J. Sci. Comput. 16:1190). The penalty is invariant
to rotations, so the rows are rotated once to their principal axes, where the Hessian is almost
diagonal; its diagonal is used as a preconditioner. Each value of C starts from the solution of the
previous value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.core.types import Ints


Doubles = NDArray[np.float64]

MAX_ITER = 200
"""Maximum number of L-BFGS iterations per value of C. A fit at the limit is valid."""
GRADIENT = 1e-4
"""A fit stops at this gradient, relative to that of equal class probabilities (at most 1).

Gradients are those of the mean loss, in units of the square root of its curvature. They are
relative because the probabilities of a strong penalty are almost equal.
"""
FLAT = 1e-6
"""Lower bound of the curvature, relative to that of equal class probabilities."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A fitted model: ``coef`` (K, d) and ``intercept`` (K,), in the units of the input rows."""

    C: float
    coef: Doubles
    intercept: Doubles


def balanced_weights(y: Ints) -> Doubles:
    """Return the weight of each row, ``n / (K n_k)`` for a row of class k; the sum is n."""
    counts = np.bincount(y)
    weights: Doubles = len(y) / (np.count_nonzero(counts) * counts[y])
    return weights


def logistic_path(Z: Doubles, y: Ints, grid: Sequence[float]) -> Iterator[Coefficients]:
    """Yield the fit for each value of C.

    Parameters
    ----------
    Z
        ``(n, d)`` float64 rows. The array is overwritten.
    y
        ``(n,)`` classes ``0 .. K - 1``, each with at least one row.
    grid
        Values of C, best in ascending order: each fit starts from the previous solution.
    """
    from scipy.optimize import minimize

    weights, n, n_classes = balanced_weights(y), len(y), int(y.max()) + 1
    center = weights @ Z / n
    Z -= center
    axes, variance = _principal_axes(Z, weights / n)
    T = Z @ axes
    squares, own = T**2, (np.arange(n), y)
    equal = np.append(variance, 1.0) / n_classes  # curvature of equal class probabilities
    theta = np.zeros((n_classes, T.shape[1] + 1))  # the last column is the intercept
    for C in grid:
        penalty = np.append(np.full(T.shape[1], 1 / (C * n)), 0.0)
        p, _ = _softmax(T, theta)
        p *= (1 - p) * (weights[:, None] / n)
        curvature = np.column_stack([p.T @ squares, p.sum(axis=0)])
        scale = np.sqrt(np.maximum(curvature, FLAT * equal) + penalty)

        def loss(
            u: Doubles, penalty: Doubles = penalty, scale: Doubles = scale
        ) -> tuple[float, Doubles]:
            theta = u.reshape(n_classes, -1) / scale
            p, log_p = _softmax(T, theta, own)
            p[own] -= 1.0
            p *= weights[:, None] / n
            gradient = np.column_stack([p.T @ T, p.sum(axis=0)]) + penalty * theta
            value = 0.5 * (penalty * theta**2).sum() - weights @ log_p / n
            return float(value), (gradient / scale).ravel()

        first = np.abs(loss(np.zeros(theta.size))[1]).max()
        options = {"maxiter": MAX_ITER, "gtol": GRADIENT * min(1.0, first), "ftol": 1e-15}
        fit = minimize(loss, (theta * scale).ravel(), jac=True, method="L-BFGS-B", options=options)
        theta = fit.x.reshape(n_classes, -1) / scale
        coef = theta[:, :-1] @ axes.T
        yield Coefficients(C, coef, theta[:, -1] - coef @ center)


def _softmax(
    T: Doubles, theta: Doubles, own: tuple[Ints, Ints] | None = None
) -> tuple[Doubles, Doubles]:
    """Return probabilities ``(n, K)``, and the log-probability of each row's class, ``(n,)``."""
    z = T @ theta[:, :-1].T + theta[:, -1]
    z -= z.max(axis=1, keepdims=True)
    log_p = np.zeros(len(z)) if own is None else z[own]
    np.exp(z, out=z)
    total = z.sum(axis=1)
    z /= total[:, None]
    return z, log_p - np.log(total)


def _principal_axes(Z: Doubles, weights: Doubles) -> tuple[Doubles, Doubles]:
    """Return the principal axes ``(d, r)`` of weighted rows and their variances ``(r,)``.

    Axes without variance are omitted: the penalty makes their coefficients zero.
    """
    n, d = Z.shape
    root = Z * np.sqrt(weights)[:, None]
    values, axes = np.linalg.eigh(root.T @ root if d <= n else root @ root.T)
    kept = values > values[-1] * max(n, d) * np.finfo(np.float64).eps
    values, axes = values[kept], axes[:, kept]
    return (axes if d <= n else root.T @ (axes / np.sqrt(values))), values
