r"""Remove row and column effects of each plate by median polish, as in the B score.

For the wells of one plate, :math:`x_{ij} = \mu + r_i + c_j + e_{ij}` per feature. It is fitted by
Tukey's median polish: medians of rows and of columns are subtracted in turn. The output is
:math:`\mu + e_{ij}`: the level of the plate stays. The B score divides by the plate's MAD as well,
which ``robust`` does.

The split must expose the well position: ``expose = ["position"]``. All rows of the plate are used.
A layout with a treatment in one row or column loses that effect. Several rows in one well share the
effects of its position. A plate with fewer than ``min_rows`` rows with a position passes unchanged
and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, Output, param

from ._exposed import rows_and_columns
from ._rows import profiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Floats, Ints, Samples

META = {
    "kind": "method",
    "name": "plate-position",
    "class": "PlatePosition",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Per plate: subtract row and column effects by median polish.",
    "reference": "Brideau et al. 2003, J Biomol Screen 8:634-647 (B score)",
    "url": "https://doi.org/10.1177/1087057103258285",
    "access": ["test-batch"],
}

ROUNDS = 10
"""Largest number of sweeps over rows and columns."""
CHANGE = 1e-4
"""Sweeps end when no effect changes by more than this share of the median absolute residual."""


@dataclass(frozen=True)
class PlatePositionParams:
    """Parameters of the median polish."""

    level: str = param("", "batch level of a plate; empty is the data set's default")
    column: str = param("position", "exposed column with positions such as B07")
    min_rows: int = param(
        24, "a plate with fewer rows with a position passes unchanged", low=4, high=10_000
    )


class PlatePosition:
    """Median polish of each plate."""

    Params: ClassVar[type] = PlatePositionParams
    name = "plate-position"

    def __init__(self, params: PlatePositionParams) -> None:
        self.params = params

    @classmethod
    def access(cls, params: PlatePositionParams) -> Access:
        """Return the unlabelled rows of the plate."""
        return Access.TEST_BATCH

    @classmethod
    def needs(cls, params: PlatePositionParams) -> frozenset[str]:
        """Return exposed columns."""
        return frozenset({"exposed"})

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Check the profiles; nothing is learned, as plates differ in their effects."""
        profiles(train, self.name)

    def apply(self, samples: Samples) -> Output:
        """Correct one plate, ``(n, d)``."""
        X = profiles(samples, self.name)
        row, column = rows_and_columns(samples, self.params.column)
        placed = np.flatnonzero(row >= 0)
        if len(placed) < self.params.min_rows:
            note = "plate-position: plates with too few rows with a position passed unchanged"
            return Output(X.copy(), fallbacks=1, notes=(note,))
        out: Floats = X.copy()
        out[placed] = X[placed] - effects(X[placed], row[placed], column[placed])
        return Output(out)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return an empty array: there is nothing to store."""
        return {"nothing": np.zeros(1)}

    @classmethod
    def from_state(
        cls,
        params: PlatePositionParams,
        state: Mapping[str, NDArray[Any]],
    ) -> PlatePosition:
        """Rebuild from :meth:`state`."""
        return cls(params)


def effects(X: Floats, row: Ints, column: Ints) -> Floats:
    """Return the row effect plus the column effect of each well, ``(n, d)`` float32.

    Parameters
    ----------
    X
        ``(n, d)`` profiles of one plate.
    row, column
        ``(n,)`` places of the wells.
    """
    rest = X.astype(np.float64)
    level = np.median(rest, axis=0)
    rest -= level
    total = np.zeros_like(rest)
    groups = [[np.flatnonzero(place == k) for k in np.unique(place)] for place in (row, column)]
    for _ in range(ROUNDS):
        largest = np.zeros(rest.shape[1])
        for kind in groups:
            found = np.stack([np.median(rest[own], axis=0) for own in kind])
            found -= np.median(found, axis=0)  # effects have median 0: the level stays
            for own, effect in zip(kind, found, strict=True):
                rest[own] -= effect
                total[own] += effect
            largest = np.maximum(largest, np.abs(found).max(axis=0))
        if (largest <= CHANGE * np.median(np.abs(rest), axis=0) + 1e-12).all():
            break
    return total.astype(np.float32)
