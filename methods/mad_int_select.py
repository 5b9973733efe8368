r"""Preprocessing of Cell Painting profiles: MAD on DMSO, rank inverse normal, feature selection.

1. For each batch (by default a plate) and feature, :math:`x' = (x - \mathrm{med}) / \mathrm{MAD}`
   with median and median absolute deviation of the batch's negative controls. Features whose MAD is
   0 or nearly so in a training batch are dropped. The comparison is with their median and their
   spread among all training rows.
2. :math:`z = \Phi^{-1}\!\left(\frac{r - 3/8}{n + 1/4}\right)` with the rank :math:`r` of
   :math:`x'` among the :math:`n` training rows (Blom 1958), ties sharing their mean rank. The rank
   of a new row is interpolated linearly in the distribution of the training rows. That is stored at
   ``quantiles`` points; beyond it, the rank is that of the outermost training row.
3. Features with a variance below ``variance`` over training rows are dropped. Then, of each pair
with a correlation above ``correlation``, one is dropped. It is the one with the larger sum of
absolute correlations. Both steps are defined as in pycytominer.

The steps and their order are those of Arevalo et al. 2024. They ranked and selected over all rows,
test rows included. Here steps 2 and 3 are fitted on training rows alone; step 1 uses the controls
of the corrected batch, so every method after it is on the track test-controls. With at most
``quantiles`` training rows and no others, step 2 gives their values except for ties, which they
broke at random.

A batch with fewer than ``min_controls`` controls uses the median and MAD that are typical of the
training batches. Such batches are counted. A feature with a MAD near 0 in a test batch uses the
typical MAD. No array of the size of the table is allocated: batches are processed one by one, and
features in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, NotApplicable, Output, param

from ._rows import groups_of, profiles
from ._whitening import mean_of, spread_of, usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Floats, Samples

META = {
    "kind": "method",
    "name": "mad-int-select",
    "class": "MadIntSelect",
    "deterministic": True,
    "level": "profile",
    "version": 2,
    "summary": "Preprocessing: MAD of each batch's controls, rank inverse normal, and feature "
    "selection, fitted on training rows.",
    "reference": "Arevalo et al. 2024, Nat Commun 15:6516",
    "url": "https://github.com/carpenter-singh-lab/2023_Arevalo_BatchCorrection",
    "access": ["train-batch", "controls", "test-controls"],
}

BLOM = 3.0 / 8.0
BLOCK_BYTES = 1 << 27
"""Bytes of one block of features over all training rows."""


@dataclass(frozen=True)
class MadIntSelectParams:
    """Parameters of the preprocessing."""

    level: str = param("", "batch level of the MAD; empty is the data set's default")
    correlation: float = param(
        0.9, "of a pair of features correlated above this one is dropped", low=0.0, high=1.0
    )
    variance: float = param(
        1e-6, "features with a variance below this are dropped", low=0.0, high=1.0
    )
    quantiles: int = param(
        1001, "points at which the training distribution is kept", low=2, high=100_000
    )
    min_controls: int = param(
        4, "with fewer controls a batch takes the training batches' typical values", low=2, high=999
    )


def centre_and_mad(controls: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and median absolute deviation of each column of ``(k, d)`` rows."""
    rows = np.asarray(controls, np.float64)
    median = np.median(rows, axis=0)
    return median, np.median(np.abs(rows - median), axis=0)


def ranked(x: NDArray[Any], grid: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Return the rank inverse normal of values ``(k, d)`` in training distributions.

    Parameters
    ----------
    x
        Values.
    grid
        ``(m, d)`` quantiles of the ``n`` training values, at equal steps from 0 to 1.
    n
        Number of training values.
    """
    from scipy.special import ndtri

    place = np.linspace(0.0, 1.0, len(grid))
    share = np.empty(x.shape)
    for j in range(x.shape[1]):
        column, points = x[:, j], grid[:, j]
        # from both ends, so that values that tie share their mean rank
        low = np.interp(column, points, place)
        high = -np.interp(-column, -points[::-1], -place[::-1])
        share[:, j] = (low + high) / 2
    rank = share * (n - 1) + 1
    result: NDArray[np.float64] = ndtri((rank - BLOM) / (n - 2 * BLOM + 1))
    return result


def uncorrelated(correlation: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return which features stay, ``(d,)`` bool, given their correlations ``(d, d)``.

    Of each pair above the threshold, the feature with the larger sum of absolute correlations is
    dropped.
    """
    total = np.abs(correlation).sum(axis=0)
    place = np.empty(len(total), np.int64)
    place[np.argsort(total, kind="stable")] = np.arange(len(total))
    stays = np.ones(len(total), bool)
    first, second = np.nonzero(np.tril(correlation > threshold, k=-1))
    stays[np.where(place[first] > place[second], first, second)] = False
    return stays


class MadIntSelect:
    """MAD on controls, rank inverse normal, feature selection."""

    Params: ClassVar[type] = MadIntSelectParams
    name = "mad-int-select"

    def __init__(self, params: MadIntSelectParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: MadIntSelectParams) -> Access:
        """Return training batches, and the controls of each batch."""
        return Access.TRAIN_BATCH | Access.CONTROLS | Access.TEST_CONTROLS

    @classmethod
    def needs(cls, params: MadIntSelectParams) -> frozenset[str]:
        """Return that the data must have controls."""
        return frozenset({"controls"})

    # ------------------------------------------------------------------ fit

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn the training distribution of each feature, and which features stay.

        Raises
        ------
        NotApplicable
            If no training batch has enough controls, or no feature stays.
        """
        X, controls = profiles(train, self.name), train.controls()
        groups = groups_of(train.batch)
        moments = [self._moments(X, rows[controls[rows]]) for rows in groups]
        estimated = [pair for pair in moments if pair is not None]
        if not estimated:
            raise NotApplicable(
                f"{self.name} needs at least {self.params.min_controls} negative controls in a "
                "training batch, and none has as many"
            )
        usual = spread_of(X, mean_of(X))
        varying = [usable(mad, median, usual) for median, mad in estimated]
        lively = np.flatnonzero(np.all(varying, axis=0))
        if not len(lively):
            raise NotApplicable(f"{self.name} finds no feature whose controls vary in all batches")
        median = np.median([m for m, _ in estimated], axis=0)[lively]
        mad = np.median([s for _, s in estimated], axis=0)[lively]
        centres = np.stack([median if pair is None else pair[0][lively] for pair in moments])
        scales = np.stack([mad if pair is None else pair[1][lively] for pair in moments])
        grid = self._quantiles(X, groups, lively, centres, scales)
        stays = self._selected(X, groups, lively, centres, scales, grid, ctx)
        if not stays.any():
            raise NotApplicable(f"{self.name} finds no feature that varies among training rows")
        self._state = {
            "features": lively[stays],
            "median": median[stays],
            "mad": mad[stays],
            "grid": grid[:, stays],
            "rows": np.array([len(X)], np.int64),
        }

    def _moments(self, X: Floats, rows: NDArray[np.int64]) -> tuple[Any, Any] | None:
        if len(rows) < self.params.min_controls:
            return None
        return centre_and_mad(X[rows])

    def _quantiles(
        self,
        X: Floats,
        groups: list[NDArray[np.int64]],
        lively: NDArray[np.int64],
        centres: NDArray[np.float64],
        scales: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return quantiles of each feature's scaled training values, ``(m, d)``."""
        n = len(X)
        points = np.linspace(0.0, 1.0, min(n, self.params.quantiles))
        grid = np.empty((len(points), len(lively)))
        step = max(1, BLOCK_BYTES // (8 * n))
        for start in range(0, len(lively), step):
            part = slice(start, min(len(lively), start + step))
            block = np.empty((n, part.stop - part.start))
            for k, rows in enumerate(groups):
                values = X[np.ix_(rows, lively[part])]
                block[rows] = (values - centres[k, part]) / scales[k, part]
            block.sort(axis=0)
            where = points * (n - 1)
            # on a row where it means one: a value that ties must equal its points
            where = np.where(np.abs(where - np.rint(where)) < 1e-9, np.rint(where), where)
            low = np.floor(where).astype(np.int64)
            high = np.minimum(low + 1, n - 1)
            weight = (where - low)[:, None]
            grid[:, part] = block[low] * (1 - weight) + block[high] * weight
        return grid

    def _selected(
        self,
        X: Floats,
        groups: list[NDArray[np.int64]],
        lively: NDArray[np.int64],
        centres: NDArray[np.float64],
        scales: NDArray[np.float64],
        grid: NDArray[np.float64],
        ctx: Context,
    ) -> NDArray[np.bool_]:
        """Return which features vary and are not redundant, ``(d,)`` bool."""
        d, n = len(lively), len(X)
        total, product = np.zeros(d), np.zeros((d, d))
        for k, rows in enumerate(groups):
            z = ranked((X[np.ix_(rows, lively)] - centres[k]) / scales[k], grid, n)
            total += z.sum(axis=0)
            product += z.T @ z
            ctx.progress(k + 1, len(groups))
        mean = total / n
        # z has mean 0 and variance about 1: the difference loses no digits that matter
        covariance = product / n - np.outer(mean, mean)
        variance = np.diag(covariance)
        stays = variance > self.params.variance
        sd = np.sqrt(variance[stays])
        correlation = covariance[np.ix_(stays, stays)] / np.outer(sd, sd)
        stays[stays] = uncorrelated(correlation, self.params.correlation)
        return stays

    # ------------------------------------------------------------------ apply

    def apply(self, samples: Samples) -> Output:
        """Return the selected features of one batch, scaled by its own controls."""
        state = self._state
        X = profiles(samples, self.name)[:, state["features"]]
        controls = samples.controls()
        median, mad = state["median"], state["mad"]
        few = int(controls.sum()) < self.params.min_controls
        notes: tuple[str, ...] = ()
        if few:
            notes = (
                f"{self.name}: batches with fewer than {self.params.min_controls} controls took "
                "the training batches' typical median and MAD",
            )
        else:
            median, own = centre_and_mad(X[controls])
            mad = np.where(usable(own, median, mad), own, mad)
        z = ranked((X - median) / mad, state["grid"], int(state["rows"][0]))
        return Output(z.astype(np.float32), fallbacks=int(few), notes=notes)

    def state(self) -> dict[str, NDArray[Any]]:
        """Positions of the features that stay, and their training distributions."""
        return self._state

    @classmethod
    def from_state(
        cls, params: MadIntSelectParams, state: Mapping[str, NDArray[Any]]
    ) -> MadIntSelect:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method
