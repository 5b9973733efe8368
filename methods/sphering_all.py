r"""Whitening by the covariance of all training rows.

The same map as ``sphering``, :math:`(x - \mu) / s` times :math:`V (\Lambda + \rho I)^{-1/2}` (and
:math:`V^\top` for ZCA), but with mean and covariance of *all* training rows, treated ones included.
It therefore shrinks the directions in which treatments differ as well as those in which batches do.
It is a decorrelation rather than a batch correction, and not typical variation normalisation. The
covariance is shrunk as in ``sphering``.

Features that are constant over the training rows are left out, and the result states how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.api import Access, NotApplicable, Output

from ._rows import profiles
from ._sphering import SpheringParams, Whitening

if TYPE_CHECKING:
    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "sphering-all",
    "class": "SpheringAll",
    "deterministic": True,
    "level": "profile",
    "version": 2,
    "summary": "Whiten by the covariance of all training rows, treated ones included.",
    "reference": "Kessy et al. 2018, The American Statistician 72:309-314",
    "url": "https://doi.org/10.1080/00031305.2016.1277159",
    "access": [],
    "hurts": ["location"],
}


class SpheringAll(Whitening):
    """Whitening on all training rows."""

    name = "sphering-all"

    @classmethod
    def access(cls, params: SpheringParams) -> Access:
        """Return no access: one map for all rows."""
        return Access.NONE

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Estimate mean and covariance of the training rows, ``(n, d)``.

        Raises
        ------
        NotApplicable
            If there are fewer than two training rows.
        """
        X = profiles(train, self.name)
        if len(X) < 2:
            raise NotApplicable(f"{self.name} needs at least 2 training rows and found {len(X)}")
        self.learn(X, X)

    def apply(self, samples: Samples) -> Output:
        """Whiten rows ``(n, d)`` to unitless ones."""
        return self.transform(samples)
