r"""Correlation alignment of each batch to the training set (linear CORAL).

On features standardised by the training rows, with shrunk covariances
:math:`\tilde C = (1 - s) C + s \bar\lambda I`,

.. math:: z = (x - m_b)\; \tilde C_b^{-1/2}\; \tilde C_{\mathrm{train}}^{1/2}

where :math:`m_b` and :math:`C_b` (divisor n) are those of all rows of the batch. A batch thereby
gets the mean and the covariance of the training set. A readout that was trained once serves every
later batch. Training batches go through the same map, one by one. It assumes that batches have
about the same mixture of classes.

Differences from the publication: Sun et al. move a labelled source to an unlabelled target and
leave means unchanged. That direction is ``coral-to-target``. They add I to each covariance of
features that were standardised within each domain. On standardised features C + I is
:math:`2 \tilde C` with s = 0.5, and the factors cancel. Here the training rows standardise both
sides. The scale of a batch is aligned as well, and its mean is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, Output, param

from ._coral import CoralParams, power, shrunk, standardisation
from ._rows import profiles
from ._whitening import aligned, fold, inverse_root, mean_of, project, reciprocal, steep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "coral-to-train",
    "class": "CoralToTrain",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Per batch: give its rows the mean and the covariance of the training set.",
    "reference": "Sun et al. 2016, AAAI 30",
    "url": "https://doi.org/10.1609/aaai.v30i1.10306",
    "access": ["test-batch"],
    "helps": ["location", "scale", "covariance", "hierarchical"],
    "hurts": ["label-shift"],
}

TINY = 1e-12
"""A mean variance below this share of the training rows' is that of equal rows."""


@dataclass(frozen=True)
class ToTrainParams(CoralParams):
    """Parameters of alignment to the training set."""

    min_rows: int = param(
        8,
        "a batch with fewer rows is standardised by the training set and not aligned",
        unit="rows",
        low=2,
        high=10_000,
    )


class CoralToTrain:
    """Linear CORAL from each batch to the training set."""

    Params: ClassVar[type] = ToTrainParams
    name = "coral-to-train"

    def __init__(self, params: ToTrainParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: ToTrainParams) -> Access:
        """Return all rows of the test batch."""
        return Access.TEST_BATCH

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn mean, scale and the root of the covariance of the training rows.

        Raises
        ------
        NotApplicable
            If there are fewer than two training rows, or no feature varies.
        """
        X = profiles(train, self.name)
        mean, scale = standardisation(X, self.name)
        target = power(shrunk(X, mean, scale, self.params.shrinkage), 0.5)
        self._state = {"mean": mean, "scale": scale, "target": target}

    def apply(self, samples: Samples) -> Output:
        """Align one batch, ``(n, d)`` profiles, to standardised training units."""
        X = profiles(samples, self.name)
        mean, scale, target = (self._state[key] for key in ("mean", "scale", "target"))
        if len(X) < self.params.min_rows:
            matrix = np.diag((scale > 0) * 1.0)
            return Output(project(X, mean, fold(scale, matrix)), fallbacks=1)
        own, share = mean_of(X), self.params.shrinkage
        rows = (X - own) * reciprocal(scale)
        variance = float(np.einsum("ij,ij->", rows, rows)) / len(X) / int((scale > 0).sum())
        if variance <= TINY:
            # All rows are alike: their mean becomes the training mean, and nothing is left to turn.
            return Output(np.zeros_like(X))
        # ((1 - s) C + s v I) is (1 - s) (C + s v / (1 - s) I); s = 1 leaves the identity alone.
        if share == 1:
            matrix = target / np.sqrt(variance)
        else:
            root = inverse_root(rows, len(X), share * variance / (1 - share))
            matrix = aligned(root, target) / np.sqrt(1 - share)
        uneven = steep(np.linalg.norm(matrix, axis=0))
        return Output(project(X, own, fold(scale, matrix, steep=uneven)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Mean and scale ``(d,)`` of the training rows and their covariance's root, float64."""
        return self._state

    @classmethod
    def from_state(cls, params: ToTrainParams, state: Mapping[str, NDArray[Any]]) -> CoralToTrain:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method
