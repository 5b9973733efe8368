r"""Whitening by the covariance of negative controls ("sphering").

With mean :math:`\mu` and covariance :math:`V \Lambda V^\top` (divisor n - 1) of the training set's
negative controls,

.. math:: z = \frac{x - \mu}{s}\; V (\Lambda + \rho I)^{-1/2} \; [V^\top],

where :math:`s` is 1, or the controls' standard deviation for the kinds ending in ``-cor``. The last
factor belongs to the ZCA kinds. Directions in which untreated wells vary much, among them those in
which their batches differ, are shrunk; directions in which they hardly vary are stretched.

Differences from the published procedure: :math:`\rho` is a share of the mean variance, so it has no
unit. The covariance is shrunk towards a multiple of the identity with the weight of Ledoit and Wolf
(2004). With fewer controls than features it is singular, and noise of new wells would be stretched.
``tvn`` describes how this default was chosen. Mean differences to no correction by whitening alone,
in points, were measured without and with shrinkage. They are -2.3 and +2.3 on planted shifts, -3.4
and +1.1 on plates of CPJUMP1. With ``shrinkage=none`` and :math:`\rho = 0` directions without
variance among the controls are dropped, where pycytominer stretches them like the least variable
one; on the other directions all four kinds are pycytominer's (PCA up to the sign of a component).

``centre=controls`` first subtracts from each batch the mean of its controls. The covariance is then
that within batches. The location of a batch is removed by centring, and no longer affects which
directions are shrunk. It is off by default: sphering as published learns from training controls
alone and uses no row of a new batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.api import Access, Output, param

from ._rows import control_rows, groups_of, profiles
from ._sphering import SpheringParams, Whitening
from ._whitening import mean_of

if TYPE_CHECKING:
    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "sphering",
    "class": "Sphering",
    "deterministic": True,
    "level": "profile",
    "version": 2,
    "summary": "Whiten by the covariance of the training set's negative controls.",
    "reference": "Kessy et al. 2018, The American Statistician 72:309-314",
    "url": "https://doi.org/10.1080/00031305.2016.1277159",
    "access": ["controls"],
    "hurts": ["location"],
}


@dataclass(frozen=True)
class ControlSpheringParams(SpheringParams):
    """Parameters of whitening on controls."""

    centre: str = param(
        "none",
        "whether each batch is first centred on its own controls",
        choices=("none", "controls"),
        search=("none", "controls"),
    )
    min_controls: int = param(
        4,
        "with fewer controls in a batch the training controls' mean is subtracted instead",
        unit="rows",
        low=1,
        high=10_000,
    )


class Sphering(Whitening):
    """Whitening on negative controls."""

    Params: ClassVar[type] = ControlSpheringParams
    name = "sphering"

    @classmethod
    def access(cls, params: ControlSpheringParams) -> Access:
        """Return the controls; those of the test batch too if batches are centred."""
        if params.centre == "controls":
            return Access.CONTROLS | Access.TRAIN_BATCH | Access.TEST_CONTROLS
        return Access.CONTROLS

    @classmethod
    def needs(cls, params: ControlSpheringParams) -> frozenset[str]:
        """Return that the data must have controls."""
        return frozenset({"controls"})

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Estimate mean and covariance of the training controls.

        Raises
        ------
        NotApplicable
            If there are fewer than two training controls.
        """
        X = profiles(train, self.name)
        controls = control_rows(train, self.name, "use sphering-all, which whitens on all rows")
        mean = mean_of(controls)
        if self.params.centre == "controls":
            shifted = controls.astype(np.float64)
            for rows in groups_of(train.batch[train.controls()]):
                centre = mean_of(controls[rows]) if self._enough(len(rows)) else mean
                shifted[rows] -= centre
            self.learn(shifted, X)
            self._mean = mean
        else:
            self.learn(controls, X)

    def apply(self, samples: Samples) -> Output:
        """Whiten rows ``(n, d)``: of any batches, or of one if batches are centred."""
        if self.params.centre == "none":
            return self.transform(samples)
        controls = profiles(samples, self.name)[samples.controls()]
        if not self._enough(len(controls)):
            out = self.transform(samples)
            return Output(out.X, fallbacks=1, notes=out.notes)
        return self.transform(samples, mean_of(controls))

    def _enough(self, n: int) -> bool:
        return n >= int(self.params.min_controls)
