r"""k nearest neighbours on fixed features.

The probability of a class is its share among the k nearest training rows in Euclidean distance.
Features are scaled by mean and standard deviation of the training rows. One of the families that
COOS-7 was published with (Lu et al. 2019); the features are not theirs (``--set
fixed-knn.features=...``), and k = 11 follows later work on that data set. What they report, the
class-balanced error, is 1 - ``balanced_accuracy``.
"""

from __future__ import annotations

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
    "name": "fixed-knn",
    "class": "FixedKNN",
    "deterministic": True,
    "level": "classifier",
    "version": 2,
    "summary": "k nearest neighbours on fixed features of the images: nothing is learned.",
    "reference": "Lu et al. 2019, NeurIPS, arXiv:1906.07282 (family)",
    "url": "https://arxiv.org/abs/1906.07282",
    "access": [],
}


@dataclass(frozen=True)
class KNNParams(FixedParams):
    """Parameters."""

    k: int = param(11, "number of neighbours", unit="rows", low=1, high=10_000, search=(1, 51))


class FixedKNN(FixedFeatures):
    """k nearest neighbours."""

    Params = KNNParams
    name = "fixed-knn"

    def __init__(self, params: KNNParams) -> None:
        super().__init__(params)
        self._model: Any = None

    def learn(self, X: Doubles, y: Ints, ctx: Context) -> dict[str, NDArray[Any]]:
        """Keep the training rows, ``(n, d)`` float64, and their classes."""
        return {"X": X, "y": y}

    def probabilities(self, X: Doubles) -> Doubles:
        """Return the share of each class among the neighbours, ``(n, k)``."""
        from sklearn.neighbors import KNeighborsClassifier

        if self._model is None:
            k = min(self.params.k, len(self._state["y"]))
            model = KNeighborsClassifier(k, algorithm="brute")
            self._model = model.fit(self._state["X"], self._state["y"])
        shares: Doubles = np.asarray(self._model.predict_proba(X))
        return shares
