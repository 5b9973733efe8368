"""Per-batch location and scale, shared by ``zscore`` and ``robust``.

Both estimate a centre and a scale for each feature from reference rows of the batch that is being
corrected. These are its negative controls, or all of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, Context, NotApplicable, Output, Samples, param

from ._rows import profiles
from ._whitening import Doubles, mean_of, reciprocal, spread_of, usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Floats


@dataclass(frozen=True)
class ScalingParams:
    """Parameters of a per-batch scaling."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    rows: str = param(
        "controls",
        "rows that give centre and scale: the batch's negative controls, or all of its rows",
        choices=("controls", "all"),
        search=("controls", "all"),
    )
    min_rows: int = param(
        4,
        "with fewer reference rows in a batch the training rows' centre and scale are used instead",
        unit="rows",
        low=2,
        high=10_000,
    )


class Scaling:
    """``(x - centre) / scale`` with centre and scale of the batch's reference rows.

    Features that are constant among the reference rows of the training set, or nearly so (see
    ``_whitening.usable``), are left out: their values are 0. A feature that is constant in one
    batch only is divided by the scale of the training set.
    """

    Params: ClassVar[type] = ScalingParams
    name: ClassVar[str]
    divides: ClassVar[bool] = True
    """Whether rows are divided by an estimated scale, so that features without one are left out."""

    def __init__(self, params: ScalingParams) -> None:
        self.params = params
        self._centre = np.zeros(0)
        self._scale = np.zeros(0)

    @staticmethod
    def estimate(X: Doubles) -> tuple[Doubles, Doubles]:
        """Return the centre and the scale, ``(d,)`` each, of reference rows ``(n, d)``."""
        raise TypeError("a scaling method must implement estimate")

    @classmethod
    def access(cls, params: ScalingParams) -> Access:
        """Return test-controls, or test-batch access if all rows give the statistics."""
        if params.rows == "controls":
            return Access.CONTROLS | Access.TEST_CONTROLS
        return Access.TEST_BATCH

    @classmethod
    def needs(cls, params: ScalingParams) -> frozenset[str]:
        """Return what the data must have: controls, unless all rows give the statistics."""
        return frozenset({"controls"} if params.rows == "controls" else ())

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn the fallback: centre and scale of all reference rows of the training set.

        Raises
        ------
        BenchError
            If no training row is a reference row.
        NotApplicable
            If all features are constant among the reference rows.
        """
        reference = self._reference(train)
        if not len(reference):
            raise BenchError(
                f"{self.name} needs negative controls among the training rows and found none; "
                f"use --set {self.name}.rows=all"
            )
        self._centre, self._scale = type(self).estimate(reference.astype(np.float64))
        if self.divides:
            X = profiles(train, self.name)
            varying = usable(self._scale, self._centre, spread_of(X, mean_of(X)))
            if not varying.any():
                raise NotApplicable(
                    f"{self.name} needs features that vary among its reference rows, and all "
                    f"{len(varying)} are constant there: give it another table"
                )
            self._scale = np.where(varying, self._scale, 0.0)

    def apply(self, samples: Samples) -> Output:
        """Correct one batch, ``(n, d)`` profiles of any scale, to unitless profiles."""
        reference = self._reference(samples)
        centre, scale, fallbacks = self._centre, self._scale, 0
        if len(reference) < self.params.min_rows:
            fallbacks = 1
        else:
            centre, scale = type(self).estimate(reference.astype(np.float64))
            if self.divides:
                own = usable(scale, centre, self._scale) & (self._scale > 0)
                scale = np.where(own, scale, self._scale)
        X: Floats = ((profiles(samples, self.name) - centre) * reciprocal(scale)).astype(np.float32)
        left_out = int((scale == 0).sum())
        note = f"{self.name}: {left_out} features constant among its reference rows were left out"
        return Output(X, fallbacks=fallbacks, notes=(note,) if left_out else ())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return centre and scale of the training set's reference rows, ``(d,)`` float64 each."""
        return {"centre": self._centre, "scale": self._scale}

    @classmethod
    def from_state(cls, params: ScalingParams, state: Mapping[str, NDArray[Any]]) -> Scaling:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._centre, method._scale = state["centre"], state["scale"]
        return method

    def _reference(self, samples: Samples) -> Floats:
        X = profiles(samples, self.name)
        return X[samples.controls()] if self.params.rows == "controls" else X
