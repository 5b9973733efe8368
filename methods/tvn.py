r"""Typical variation normalisation: whiten on negative controls, then align each batch on its own.

Untreated wells differ for technical reasons only. Step 1 makes their variation isotropic over the
training set; step 2 does so within each batch, by correlation alignment of its controls.
Three versions with one name are in use. With controls' mean :math:`\mu`, standard deviations
:math:`s` (divisor n) and covariance :math:`V \Lambda V^\top` of :math:`(x - \mu) / s`:

``ando``
    :math:`y = \frac{x - \mu}{s} V (\Lambda + \lambda I)^{-1/2} V^\top`, then
    :math:`z = y\,(M_b + \eta I)^{-1/2} (M + \eta I)^{1/2}` with the *uncentred* second moments
    (divisor n) of the controls of the batch and of the training set. Published with
    :math:`\lambda = 0.02, \eta = 1` and without :math:`s`, as in the notebook of Lin & Lu 2022.
    ``standardise=false`` gives exactly that. Learned features share one unit, measured ones do not.
    A shift of the batch is a large second moment in one direction. It is compressed to a bounded
    length but not removed.
``efaar``
    :math:`y = \frac{x - \mu}{s} V (\Lambda + \lambda I)^{-1/2}`, then
    :math:`z = y\,(C_b + \eta I)^{-1/2}` with the centred covariance (divisor n - 1) of the batch's
    controls and no re-colouring. Published with :math:`\lambda = 0, \eta = 0.5`. The location of a
    batch is not changed.
``controls-zscore``
    :math:`p = \frac{x - \mu}{s} V`, :math:`y = (p - m_b) / \sqrt{v_b + \lambda}` with mean and
    variance (divisor n) of the batch's controls for each component. Then
    :math:`z = y\,(C_b + \eta I)^{-1/2} (C + \eta I)^{1/2}` with covariances (divisor n - 1) of
    controls transformed in this way. They are those of the batch and of all training batches.
    Published with :math:`\lambda = 0, \eta = 0.5`. It removes location, scale and covariance.

The default variant is ``ando``: it is the published procedure and harms least where batches do not
differ. Unlike ``efaar`` it acts on location. Unlike ``controls-zscore`` it does not divide each
component by a scale that is estimated from a few controls.

``shrinkage=ledoit-wolf`` (the default) replaces each covariance and second moment :math:`S` that is
inverted by :math:`(1 - \rho) S + \rho\,\tfrac{\mathrm{tr} S}{d} I`. The weight is that of Ledoit
and Wolf 2004. Here :math:`S` is that of the training controls or of a batch's controls. With fewer
controls than features :math:`S` is singular. Without shrinkage, noise of new wells in directions
without variance among the training controls is multiplied by :math:`\lambda^{-1/2}`, about 7.
``shrinkage=none`` is the published procedure. The default was chosen by the mean difference to no
correction. It was measured on planted shifts (50 to 250 features, 4 to 64 controls per batch). It
was also measured on plates of CPJUMP1 (100 to 904 features, 8 to 64 controls per plate). No split
with published results was used. In points, planted and CPJUMP1: no shrinkage +6.2 and -4.8,
whitening alone +7.6 and -1.1, both steps +6.7 and +1.3; oracle approximating shrinkage (Chen et al.
2010) in both steps +6.4 and -0.5.

Where a batch has fewer than ``min_controls`` controls, the training controls' moments replace its
own, which leaves the global step; such batches are counted. Directions without any variance among
the training controls are dropped where :math:`\lambda = 0` and nothing is shrunk. Features that are
constant there, or vary 500 times less than among all training rows, are left out. The result states
how many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, NotApplicable, Output, param

from ._rows import control_rows, groups_of, profiles
from ._whitening import (
    Spectrum,
    covariance,
    fold,
    inverse_root,
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

    from bench.api import Context, Floats, Samples

    from ._whitening import Doubles

META = {
    "kind": "method",
    "name": "tvn",
    "class": "TVN",
    "deterministic": True,
    "level": "profile",
    "version": 3,
    "summary": "Whiten on negative controls, then align the covariance of each batch's controls.",
    "reference": "Ando et al. 2017, bioRxiv 161422",
    "url": "https://doi.org/10.1101/161422",
    "access": ["controls", "test-controls"],
    "helps": ["location", "scale", "hierarchical", "confounded"],
}

PUBLISHED = {"ando": (0.02, 1.0), "efaar": (0.0, 0.5), "controls-zscore": (0.0, 0.5)}
"""Regularisation and batch regularisation of each variant as published."""
FLAT = 1e-12
"""A component whose variance in a batch is below this share of its usual one takes the usual."""


@dataclass(frozen=True)
class TVNParams:
    """Parameters of typical variation normalisation."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    variant: str = param(
        "ando",
        "which of the three versions in use",
        choices=tuple(PUBLISHED),
        search=tuple(PUBLISHED),
    )
    regularisation: float = param(
        0.0,
        "added to the variance of each direction before its root; 0 takes the variant's published "
        "value: 0.02 for ando, none for the others",
        unit="variance of a standardised feature",
        low=0.0,
        high=1000.0,
        search=(1e-4, 10.0),
        log=True,
    )
    batch_regularisation: float = param(
        0.0,
        "added to the diagonal of each batch's covariance; 0 takes the variant's published value: "
        "1 for ando, 0.5 for the others",
        unit="variance of a whitened direction",
        low=0.0,
        high=1000.0,
        search=(0.03, 30.0),
        log=True,
    )
    shrinkage: str = shrinkage_param()
    standardise: bool = param(
        True,
        "for ando: divide features by the training controls' standard deviation first; the others "
        "always do",
    )
    min_controls: int = param(
        4,
        "with fewer controls in a batch it gets the global step only",
        unit="rows",
        low=2,
        high=10_000,
    )


class TVN:
    """Typical variation normalisation in three variants."""

    Params: ClassVar[type] = TVNParams
    name = "tvn"

    def __init__(self, params: TVNParams) -> None:
        self.params = params
        ridge, batch_ridge = PUBLISHED[params.variant]
        self._ridge = params.regularisation or ridge
        self._batch_ridge = params.batch_regularisation or batch_ridge
        self._shrink = params.shrinkage != "none"
        self._state: dict[str, NDArray[Any]] = {}
        self._right: NDArray[Any] = np.zeros((0, 0), np.float32)
        self._main: NDArray[Any] = self._right
        self._target: NDArray[Any] | None = None
        self._steep = False

    @classmethod
    def access(cls, params: TVNParams) -> Access:
        """Return training and test controls; one variant also compares training batches."""
        access = Access.CONTROLS | Access.TEST_CONTROLS
        return access | Access.TRAIN_BATCH if params.variant == "controls-zscore" else access

    @classmethod
    def needs(cls, params: TVNParams) -> frozenset[str]:
        """Return that the data must have controls."""
        return frozenset({"controls"})

    # ------------------------------------------------------------------ global step

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn the global step from the training controls, and what batches are aligned to.

        Raises
        ------
        NotApplicable
            If there are fewer than two training controls, or no feature varies among them.
        """
        controls = control_rows(train, self.name, "use sphering-all, which whitens on all rows")
        mean = mean_of(controls)
        spread = reference_spread(controls, mean, profiles(train, self.name))
        if not spread.any():
            raise NotApplicable(
                f"tvn needs features that vary among the training controls, and all {len(spread)} "
                "are constant there: give it another table"
            )
        if self.params.variant == "ando" and not self.params.standardise:
            spread = np.where(spread > 0, 1.0, 0.0)
        spectrum = Spectrum.of(covariance(controls, mean, spread, len(controls)), spread > 0)
        stretch = self._shrunk(spectrum, squared_lengths(controls, mean, spread)).stretch(
            self._ridge
        )
        kept = stretch > 0
        V, values, stretch = spectrum.vectors[:, kept], spectrum.values[kept], stretch[kept]
        self._state = {"mean": mean, "scale": spread, "variance": values, "stretch": stretch}
        eta, variant = self._batch_ridge, self.params.variant
        if variant == "ando":
            within = values * stretch**2
            matrix = V * stretch @ V.T
            target = V * np.sqrt(within + eta) @ V.T
            # The moments that replace a batch's are those of the target: they cancel.
            self._state |= {"target": target, "product": matrix @ target, "plain": matrix}
        elif variant == "efaar":
            matrix = V * stretch
            # Scaled components have their variance with divisor n, and batches use n - 1.
            unit = values * stretch**2 * len(controls) / (len(controls) - 1)
            self._state |= {"product": matrix, "plain": matrix * (unit + eta) ** -0.5}
        else:
            used = spectrum.values > 0
            matrix, values = spectrum.vectors[:, used], spectrum.values[used]
            self._state["variance"] = values
            self._state["plain"] = matrix * (values + self._ridge) ** -0.5
        self._state["matrix"] = matrix
        self._prepare()
        if variant == "controls-zscore":
            typical = self._typical(controls, train.batch[train.controls()])
            W = typical.vectors
            self._state["target"] = W * np.sqrt(typical.values + eta) @ W.T
            self._prepare()

    def _shrunk(self, spectrum: Spectrum, squares: Doubles) -> Spectrum:
        """Return a spectrum, shrunk by the rows' squared lengths ``(n,)`` if shrinkage is on."""
        if not self._shrink:
            return spectrum
        values = spectrum.values
        return spectrum.shrunk(ledoit_wolf(values, squares, len(values)))

    def _prepare(self) -> None:
        """Compute the matrices that batches are multiplied by from the state."""
        state, scale = self._state, self._state["scale"]
        # The components of controls-zscore are turned, not stretched.
        self._steep = self.params.variant != "controls-zscore" and steep(state["stretch"])
        self._right = fold(scale, state["matrix"], steep=self._steep)
        if "product" in state:
            self._main = fold(scale, state["product"], steep=self._steep)
        elif "target" in state:
            ones = np.ones(len(state["target"]))
            self._main = fold(ones, state["target"])
        if "target" in state:
            self._target = state["target"].astype(self._main.dtype)

    def _typical(self, controls: Floats, batch: NDArray[np.str_]) -> Spectrum:
        """Return the covariance of controls that were z-scored batch by batch, ``(r, r)``."""
        r = self._state["matrix"].shape[1]
        total, squares = np.zeros((r, r)), [np.zeros(0)]
        for rows in groups_of(batch):
            if len(rows) >= self.params.min_controls:
                p = project(controls[rows], self._state["mean"], self._right)
                centre, inverse = self._scores_of(p)
                y = (p - centre) * inverse
                total += y.T @ y
                squares.append(np.einsum("ij,ij->i", y, y))
        lengths = np.concatenate(squares)
        if not len(lengths):
            return Spectrum.of(np.eye(r))
        # Each batch has mean 0, so the sum of squares is that around the common mean.
        return self._shrunk(Spectrum.of(total / (len(lengths) - 1)), lengths)

    def _scores_of(self, p: Floats) -> tuple[Doubles, Doubles]:
        """Return mean and reciprocal scale of the components of a batch's controls, ``(r,)``."""
        variance = np.var(p, axis=0, dtype=np.float64)
        flat = variance <= FLAT * self._state["variance"]
        variance = np.where(flat, self._state["variance"], variance)
        return mean_of(p), (variance + self._ridge) ** -0.5

    # ------------------------------------------------------------------ batch step

    def apply(self, samples: Samples) -> Output:
        """Correct one batch, ``(n, d)`` profiles, by its own controls."""
        X, state = profiles(samples, self.name), self._state
        rows = samples.controls()
        few = int(rows.sum()) < self.params.min_controls
        lost = int((state["scale"] == 0).sum())
        notes = [f"tvn: {lost} features constant among the training controls were left out"]
        if few:
            notes.append(
                f"tvn: batches with fewer than {self.params.min_controls} controls got the global "
                "step only"
            )
            plain = fold(state["scale"], state["plain"], steep=self._steep)
            out = project(X, state["mean"], plain)
        elif self.params.variant == "controls-zscore":
            p = project(X, state["mean"], self._right)
            centre, inverse = self._scores_of(p[rows])
            y: Floats = ((p - centre) * inverse).astype(np.float32)
            out = self._aligned(y, np.zeros(y.shape[1]), y[rows], whiten=False)
        else:
            y = project(X[rows], state["mean"], self._right)
            out = self._aligned(X, state["mean"], y, whiten=True)
        return Output(out, fallbacks=int(few), notes=tuple(notes[not lost :]))

    def _aligned(self, X: Floats, mean: Doubles, y: Floats, *, whiten: bool) -> Floats:
        """Return rows ``(n, d)`` whitened, mapped by the batch's inverse root, and by the target.

        Parameters
        ----------
        X, mean
            The rows, and the vector subtracted from each.
        whiten
            Whether to whiten the rows first.
        y
            ``(k, r)`` whitened controls of the batch, whose moments give the root.
        """
        controls, ando = y, self.params.variant == "ando"
        if not ando:
            controls = (y - mean_of(y)).astype(np.float32)
        base, U, extra = inverse_root(
            controls, len(y) - (not ando), self._batch_ridge, shrink=self._shrink
        )
        # The root is a multiple of the identity and a matrix of low rank: one product per row for
        # whitening, alignment and target together.
        kind = self._main.dtype.type
        thin = U.astype(kind)
        first = self._right @ thin if whiten else thin
        second = thin.T if self._target is None else thin.T @ self._target
        return project(X, mean, self._main * kind(base), (first * extra.astype(kind), second))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return moments of the training controls and the matrices computed from them, float64."""
        return self._state

    @classmethod
    def from_state(cls, params: TVNParams, state: Mapping[str, NDArray[Any]]) -> TVN:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        method._prepare()
        return method
