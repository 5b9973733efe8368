r"""Multinomial logistic regression on fixed features.

L2-penalised with inverse penalty ``C``, on features scaled by the training rows' mean and standard
deviation. One of the families that COOS-7 was published with (Lu et al. 2019); the
features and the penalty are not theirs. What they report, the class-balanced error, is
1 - ``balanced_accuracy``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import param

from ._fixed import Doubles, FixedFeatures, FixedParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.api import Context, Ints

META = {
    "kind": "method",
    "name": "fixed-logistic",
    "class": "FixedLogistic",
    "deterministic": True,
    "level": "classifier",
    "version": 2,
    "summary": "Logistic regression on fixed features of the images.",
    "reference": "Lu et al. 2019, NeurIPS, arXiv:1906.07282 (family)",
    "url": "https://arxiv.org/abs/1906.07282",
    "access": [],
}


@dataclass(frozen=True)
class LogisticParams(FixedParams):
    """Parameters."""

    C: float = param(
        1.0, "inverse of the L2 penalty", low=1e-6, high=1e6, search=(1e-3, 10.0), log=True
    )


class FixedLogistic(FixedFeatures):
    """Logistic regression."""

    Params = LogisticParams
    name = "fixed-logistic"

    def learn(self, X: Doubles, y: Ints, ctx: Context) -> dict[str, NDArray[Any]]:
        """Return coefficients ``(k, d)`` and intercepts ``(k,)`` of the classes that are there."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(y)) == 1:
            return {"coef": np.zeros((1, X.shape[1])), "intercept": np.zeros(1)}
        with warnings.catch_warnings():
            # One that stopped after its iterations is still the fit of equal effort for all.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=self.params.C, max_iter=500).fit(X, y)
        coef, intercept = np.asarray(model.coef_), np.asarray(model.intercept_)
        if len(model.classes_) == 2:  # scikit-learn keeps the second class's alone
            coef, intercept = np.vstack([-coef, coef]) / 2, np.hstack([-intercept, intercept]) / 2
        return {"coef": coef, "intercept": intercept}

    def probabilities(self, X: Doubles) -> Doubles:
        """Return the softmax of the linear scores, ``(n, k)``."""
        z = X @ self._state["coef"].T + self._state["intercept"]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        shares: Doubles = p / p.sum(axis=1, keepdims=True)
        return shares
