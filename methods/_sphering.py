"""Whitening by the covariance of reference rows, shared by ``sphering`` and ``sphering-all``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import NotApplicable, Output, param

from ._rows import profiles
from ._whitening import (
    Doubles,
    Spectrum,
    covariance,
    fold,
    ledoit_wolf,
    mean_of,
    project,
    reference_spread,
    shrinkage_param,
    squared_lengths,
    steep,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Samples

KINDS = ("PCA", "ZCA", "PCA-cor", "ZCA-cor")


@dataclass(frozen=True)
class SpheringParams:
    """Parameters of a whitening."""

    level: str = param("", "batch level of the data; empty is the data set's default")
    kind: str = param(
        "ZCA-cor",
        "ZCA turns back to the features, PCA stays with the components; -cor scales features to "
        "unit variance first",
        choices=KINDS,
        search=KINDS,
    )
    regularisation: float = param(
        0.02,
        "added to each variance before its root; 0 without shrinkage drops directions in which "
        "the reference rows do not vary",
        unit="share of the mean variance",
        low=0.0,
        high=1000.0,
        search=(1e-4, 10.0),
        log=True,
    )
    shrinkage: str = shrinkage_param()


class Whitening:
    """A fitted whitening: ``(x - mean) / scale`` times a matrix."""

    Params: ClassVar[type] = SpheringParams
    name: ClassVar[str]

    def __init__(self, params: Any) -> None:
        self.params = params
        self._mean: Doubles = np.zeros(0)
        self._scale: Doubles = np.zeros(0)
        self._matrix: Doubles = np.zeros((0, 0))
        self._steep = False

    def learn(self, reference: NDArray[Any], X: NDArray[Any]) -> None:
        """Estimate the whitening of reference rows ``(k, d)``: their covariance becomes identity.

        Parameters
        ----------
        reference
            Rows that give the covariance.
        X
            ``(n, d)`` all training rows. Features that vary much less among the reference rows
            count as constant.

        Raises
        ------
        NotApplicable
            If no feature varies among the reference rows.
        """
        kind = self.params.kind
        self._mean = mean_of(reference)
        spread = reference_spread(reference, self._mean, X)
        if not spread.any():
            raise NotApplicable(
                f"{self.name} needs features that vary among its reference rows, and all "
                f"{len(spread)} are constant there: give it another table"
            )
        self._scale = spread if kind.endswith("-cor") else np.where(spread > 0, 1.0, 0.0)
        n = len(reference)
        cov = covariance(reference, self._mean, self._scale, n - 1)
        spectrum = Spectrum.of(cov, spread > 0)
        ridge = self.params.regularisation * spectrum.values.mean()
        if self.params.shrinkage != "none":
            squares = squared_lengths(reference, self._mean, self._scale)
            biased = spectrum.values * ((n - 1) / n)
            spectrum = spectrum.shrunk(ledoit_wolf(biased, squares, len(biased)))
        stretch = spectrum.stretch(ridge)
        kept = stretch > 0
        matrix = spectrum.vectors[:, kept] * stretch[kept]
        if kind.startswith("ZCA"):
            matrix = matrix @ spectrum.vectors[:, kept].T
        self._matrix, self._steep = matrix, steep(stretch)

    def transform(self, samples: Samples, shift: Doubles | None = None) -> Output:
        """Whiten rows ``(n, d)``; ``shift`` replaces the subtracted mean."""
        mean = self._mean if shift is None else shift
        X = profiles(samples, self.name)
        out = project(X, mean, fold(self._scale, self._matrix, steep=self._steep))
        lost = int((self._scale == 0).sum())
        notes = (
            (f"{self.name}: {lost} features constant among its reference rows were left out",)
            if lost
            else ()
        )
        return Output(out, notes=notes)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return mean and scale ``(d,)`` and the matrix ``(d, k)``, float64."""
        return {
            "mean": self._mean,
            "scale": self._scale,
            "matrix": self._matrix,
            "steep": np.array([self._steep]),
        }

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, NDArray[Any]]) -> Any:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._mean, method._scale = state["mean"], state["scale"]
        method._matrix, method._steep = state["matrix"], bool(state["steep"][0])
        return method
