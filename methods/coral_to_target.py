r"""Correlation alignment of the training set to the evaluation set (linear CORAL as published).

On features standardised by the training rows, with shrunk covariances
:math:`\tilde C = (1 - s) C + s \bar\lambda I` (divisor n), training rows become

.. math:: z = (x - m_{\mathrm{train}})\; \tilde C_{\mathrm{train}}^{-1/2}\;
          \tilde C_{\mathrm{target}}^{1/2}

and evaluation rows :math:`z = x - m_{\mathrm{target}}`. The readout is then trained on training
rows that look like the evaluation set. It needs that set, unlabelled, during fitting. Both sides
are taken as one domain each, whatever their batches.

Differences from the publication: Sun et al. standardise each domain by itself and add I to each
covariance. On standardised features that is :math:`2 \tilde C` with s = 0.5, and the factors
cancel. Here the training rows standardise both sides, so that scale is aligned as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, Output

from ._coral import CoralParams, power, shrunk, standardisation
from ._rows import find_names, pack_names, profiles, unpack_names
from ._whitening import fold, mean_of, project, steep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "coral-to-target",
    "class": "CoralToTarget",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Give the training rows the covariance of the unlabelled evaluation set.",
    "reference": "Sun et al. 2016, AAAI 30",
    "url": "https://doi.org/10.1609/aaai.v30i1.10306",
    "access": ["adapt"],
    "helps": ["location", "scale", "hierarchical"],
    "hurts": ["label-shift"],
}


class CoralToTarget:
    """Linear CORAL from the training set to the evaluation set."""

    Params: ClassVar[type] = CoralParams
    name = "coral-to-target"

    def __init__(self, params: CoralParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: CoralParams) -> Access:
        """Return the evaluation set."""
        return Access.ADAPT

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn the map of training rows and the centre of evaluation rows.

        Raises
        ------
        NotApplicable
            If there are fewer than two training rows, or no feature varies.
        BenchError
            If there is no evaluation view.
        """
        X = profiles(train, self.name)
        if adapt is None:
            raise BenchError("coral-to-target needs the evaluation rows while fitting")
        T = profiles(adapt, self.name)
        mean, scale = standardisation(X, self.name)
        share, centre = self.params.shrinkage, mean_of(T)
        source = shrunk(X, mean, scale, share)
        target = shrunk(T, centre, scale, share)
        self._state = {
            "mean": mean,
            "scale": scale,
            "centre": centre,
            "matrix": power(source, -0.5) @ power(target, 0.5),
            "training": pack_names(train.ids),
        }

    def apply(self, samples: Samples) -> Output:
        """Return training rows re-coloured, and evaluation rows centred, ``(n, d)``."""
        X, state = profiles(samples, self.name), self._state
        known = find_names(samples.ids, unpack_names(state["training"])) >= 0
        scale, matrix = state["scale"], state["matrix"]
        out = np.empty_like(X)
        uneven = steep(np.linalg.norm(matrix, axis=0))
        out[known] = project(X[known], state["mean"], fold(scale, matrix, steep=uneven))
        plain = np.diag((scale > 0) * 1.0)
        out[~known] = project(X[~known], state["centre"], fold(scale, plain))
        return Output(out)

    def state(self) -> dict[str, NDArray[Any]]:
        """Both means, the scale, the map of training rows, and which rows those are."""
        return self._state

    @classmethod
    def from_state(cls, params: CoralParams, state: Mapping[str, NDArray[Any]]) -> CoralToTarget:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method
