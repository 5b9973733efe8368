r"""Principal components of the training rows, as a step of a chain.

Features are standardised with mean and standard deviation of the training rows. They are then
projected on the ``n_components`` leading eigenvectors of their covariance,
:math:`z = A^\top D^{-1} (x - m)`. This is no correction: ``harmony`` starts from the same
components, and the control row ``pca`` is this projection alone. In a chain, the steps before it
choose the directions that are kept: ``robust+components+sphering``.

``n_components`` above the rank of the training rows keeps all directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import Access, Output, param

from ._rows import profiles
from ._whitening import Components

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "components",
    "class": "PrincipalComponents",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Project on principal components of the training rows; a step, no correction.",
    "reference": "Jolliffe 2002, Principal Component Analysis (Springer)",
    "url": "https://doi.org/10.1007/b98835",
    "access": [],
}


@dataclass(frozen=True)
class ComponentsParams:
    """Parameters of the projection."""

    n_components: int = param(
        50, "number of components; at most the rank", low=1, high=10_000, search=(20, 200)
    )


class PrincipalComponents:
    """Projection on the principal components of the training rows."""

    Params: ClassVar[type] = ComponentsParams
    name = "components"

    def __init__(self, params: ComponentsParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: ComponentsParams) -> Access:
        """Return no access beyond the training rows."""
        return Access.NONE

    @classmethod
    def needs(cls, params: ComponentsParams) -> frozenset[str]:
        """Return nothing: labels and batches are not used."""
        return frozenset()

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Estimate mean and scale ``(d,)`` and axes ``(d, p)``."""
        X = profiles(train, self.name)
        self._state = dict(Components.of(X, self.params.n_components, self.name).arrays())

    def apply(self, samples: Samples) -> Output:
        """Return ``(n, p)`` components; other rows have no effect."""
        components = Components.from_arrays(self._state)
        return Output(components.scores(profiles(samples, self.name)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return mean, scale and axes."""
        return self._state

    @classmethod
    def from_state(
        cls, params: ComponentsParams, state: Mapping[str, NDArray[Any]]
    ) -> PrincipalComponents:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method
