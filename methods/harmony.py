r"""Harmony: soft clusters that mix batches, and a linear correction of their batch offsets.

Rows are standardised and converted to principal components :math:`Z`, both as learned from the
training rows. Harmony then alternates between two steps, on the training *and* the evaluation rows
together. The first is soft :math:`k`-means on the unit sphere, with a penalty on clusters that have
few batches. The second is

.. math:: z_i \leftarrow z_i - \sum_k R_{ik}\, \beta_{k, b(i)}

where :math:`\beta_{k,b}` is the ridge estimate of the offset of batch b in cluster k. The output
profiles are the corrected components, fewer than the input features.

It requires the unlabelled evaluation set, so it is transductive, and later rows cannot be
corrected: see ``harmony-map``. The library is harmonypy; nothing of the algorithm is changed. The
start of Harmony depends on a seed and on the row order. Rows are therefore sorted into an order
that depends on their contents only. A batch with rows on both sides counts as two, one of each
side; where the two sides have the same rows (a split without training) they are taken once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, Output

from ._harmony import HarmonyParams, canonical, run_harmony, several_batches
from ._rows import find_names, pack_names, profiles, unpack_names
from ._whitening import Components

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "harmony",
    "class": "Harmony",
    "level": "profile",
    "version": 1,
    "summary": "Harmony on training and evaluation rows together.",
    "reference": "Korsunsky et al. 2019, Nature Methods 16:1289-1296",
    "url": "https://doi.org/10.1038/s41592-019-0619-0",
    "access": ["train-batch", "adapt"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
}


class Harmony:
    """Harmony through harmonypy."""

    Params: ClassVar[type] = HarmonyParams
    name = "harmony"

    def __init__(self, params: HarmonyParams) -> None:
        self.params = params
        self._names = np.array([], dtype=str)
        self._corrected: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    @classmethod
    def access(cls, params: HarmonyParams) -> Access:
        """Return the training batches and the evaluation set with its batches."""
        return Access.TRAIN_BATCH | Access.ADAPT

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Correct training rows ``(n, d)`` and evaluation rows ``(m, d)`` together.

        Raises
        ------
        NotApplicable
            If all rows are of one batch, or no feature varies among the training rows.
        BenchError
            If there is no evaluation view.
        """
        X = profiles(train, self.name)
        if adapt is None:
            raise BenchError("harmony needs the evaluation rows while fitting")
        T = profiles(adapt, self.name)
        ours, theirs = canonical(X, train.batch), canonical(T, adapt.batch)
        same = ours.key == theirs.key
        joint = [(X, train.ids, ours)] if same else [(X, train.ids, ours), (T, adapt.ids, theirs)]
        codes = np.concatenate([order.codes for _, _, order in joint])
        codes[len(ours.codes) :] += ours.codes.max(initial=-1) + 1
        several_batches(codes, self.name)
        components = Components.of(X[ours.rows], self.params.n_components, self.name)
        Z = np.concatenate([components.scores(part[order.rows]) for part, _, order in joint])
        fitted = run_harmony(Z, codes, self.params, ctx.seed)
        names = [ids[order.rows] for _, ids, order in joint]
        self._corrected = fitted.Z_corr.astype(np.float32)
        if same:
            names.append(adapt.ids[theirs.rows])
            self._corrected = np.concatenate([self._corrected, self._corrected])
        self._names = np.concatenate(names)
        for step, value in enumerate(fitted.objective_harmony, start=1):
            ctx.log(step, objective=float(value))

    def apply(self, samples: Samples) -> Output:
        """Return the corrected components of rows that were part of the fit, ``(n, p)``.

        Raises
        ------
        BenchError
            For a row that was not part of the fit.
        """
        place = find_names(samples.ids, self._names)
        if (place < 0).any():
            raise BenchError(
                f"harmony has not seen {int((place < 0).sum())} of {len(place)} rows while "
                "fitting: it cannot correct later rows; harmony-map can"
            )
        return Output(self._corrected[place])

    def state(self) -> dict[str, NDArray[Any]]:
        """Names and corrected components ``(n + m, p)`` of all rows."""
        return {"names": pack_names(self._names), "corrected": self._corrected}

    @classmethod
    def from_state(cls, params: HarmonyParams, state: Mapping[str, NDArray[Any]]) -> Harmony:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._names = unpack_names(state["names"])
        method._corrected = np.asarray(state["corrected"], np.float32)
        return method
