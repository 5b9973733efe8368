r"""Harmony for later batches: new rows are mapped onto clusters frozen in training.

Harmony runs on the training batches alone (standardisation, principal components, seed and order as
in ``harmony``). It keeps the centroids :math:`Y_k` on the unit sphere, the mass
:math:`N_k = \sum_i R_{ik}` of each cluster and its mean :math:`\mu_k` of corrected rows. A batch of
n rows :math:`z_i` is then soft-assigned,

.. math:: R_{ik} \propto \exp\!\left(-\tfrac{2}{\sigma}\left(1 - Y_k^\top z_i / |z_i|\right)\right)

and each cluster's mixture-of-experts step has the new batch as its only covariate. Let
:math:`n_k = \sum_i R_{ik}` and :math:`m_k = \sum_i R_{ik} z_i / n_k`. The intercept :math:`b_k` is
shared with the training rows of the cluster. It and the offset :math:`\beta_k` of the new batch
minimise

.. math:: N_k |\mu_k - b_k|^2 + n_k |m_k - b_k - \beta_k|^2 + \lambda_k |\beta_k|^2

up to a constant. Setting both gradients to zero, with
:math:`w_k = \lambda_k n_k / (n_k + \lambda_k)`,

.. math:: \beta_k = \frac{n_k}{n_k + \lambda_k}\, \frac{N_k}{N_k + w_k}\, (m_k - \mu_k), \qquad
          z_i \leftarrow z_i - \sum_k R_{ik} \beta_k.

:math:`\lambda_k` is ``ridge``, or as in Harmony :math:`\alpha` times the expected rows of the batch
in the cluster, :math:`\alpha n (N_k + n_k) / (N + n)`.

This is the idea of Symphony. Differences: Symphony assigns once, by the uncorrected rows. Here the
corrected rows are assigned again, and the uncorrected ones are corrected by that, as in Harmony.
This is done ``rounds`` times in all; 1 is Symphony's. :math:`\lambda_k` follows harmonypy.

Training batches pass through the same map one by one. The readout is trained on the same kind of
profiles as at test. A batch of fewer than ``min_rows`` rows keeps its components as they are and is
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, Output, param

from ._harmony import HarmonyParams, canonical, run_harmony, several_batches
from ._rows import profiles
from ._whitening import Components

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Floats, Samples

    from ._whitening import Doubles

META = {
    "kind": "method",
    "name": "harmony-map",
    "class": "HarmonyMap",
    "level": "profile",
    "version": 1,
    "summary": "Map each new batch onto the clusters of a Harmony of the training batches.",
    "reference": "Kang et al. 2021, Nature Communications 12:5890",
    "url": "https://doi.org/10.1038/s41467-021-25957-x",
    "access": ["train-batch", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
}

TINY = 1e-12
"""Keeps empty clusters and rows without length from a division by zero."""


@dataclass(frozen=True)
class HarmonyMapParams(HarmonyParams):
    """Parameters of Harmony and of the map."""

    rounds: int = param(
        3, "assignments of a new batch; 1 is Symphony's", low=1, high=100, phase="apply"
    )
    min_rows: int = param(
        8,
        "a batch with fewer rows keeps its components as they are",
        unit="rows",
        low=2,
        high=10_000,
        phase="apply",
    )


class HarmonyMap:
    """Harmony on training batches, and a map of later ones."""

    Params: ClassVar[type] = HarmonyMapParams
    name = "harmony-map"

    def __init__(self, params: HarmonyMapParams) -> None:
        self.params = params
        self._components = Components(np.zeros(0), np.zeros(0), np.zeros((0, 0)))
        self._centroids: Doubles = np.zeros((0, 0))
        self._mass: Doubles = np.zeros(0)
        self._means: Doubles = np.zeros((0, 0))

    @classmethod
    def access(cls, params: HarmonyMapParams) -> Access:
        """Return the training batches and all rows of the one test batch."""
        return Access.TRAIN_BATCH | Access.TEST_BATCH

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Run Harmony on the training rows ``(n, d)`` and keep its clusters.

        Raises
        ------
        NotApplicable
            If there is one training batch, or no feature varies.
        """
        X = profiles(train, self.name)
        order = canonical(X, train.batch)
        several_batches(order.codes, self.name)
        X = X[order.rows]
        self._components = Components.of(X, self.params.n_components, self.name)
        fitted = run_harmony(self._components.scores(X), order.codes, self.params, ctx.seed)
        shares = fitted.R.astype(np.float64)
        self._centroids = fitted.Y.astype(np.float64)
        self._mass = shares.sum(axis=0)
        self._means = shares.T @ fitted.Z_corr / np.maximum(self._mass, TINY)[:, None]

    def apply(self, samples: Samples) -> Output:
        """Map one batch, ``(n, d)`` profiles, to corrected components ``(n, p)``."""
        scores = self._components.scores(profiles(samples, self.name))
        if len(scores) < self.params.min_rows:
            return Output(scores, fallbacks=1)
        Z = scores.astype(np.float64)
        mapped = Z
        for _ in range(self.params.rounds):
            mapped = self._corrected(Z, self._assigned(mapped))
        out: Floats = mapped.astype(np.float32)
        return Output(out)

    def _assigned(self, Z: Doubles) -> Doubles:
        """Return soft assignments ``(n, K)`` of rows ``(n, p)`` to the frozen centroids."""
        length = np.linalg.norm(Z, axis=1, keepdims=True)
        cosine = Z / np.maximum(length, TINY) @ self._centroids
        logits = -2.0 * (1.0 - cosine) / self.params.sigma
        R = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Doubles = R / R.sum(axis=1, keepdims=True)
        return result

    def _corrected(self, Z: Doubles, R: Doubles) -> Doubles:
        """Return ``Z - R @ beta`` with the offsets of the module's equations."""
        n, N = len(Z), self._mass.sum()
        n_k = np.maximum(R.sum(axis=0), TINY)
        m_k = R.T @ Z / n_k[:, None]
        expected = n * (self._mass + n_k) / (N + n)
        ridge = self.params.ridge or self.params.alpha * expected
        w = ridge * n_k / (n_k + ridge)
        share = n_k / (n_k + ridge) * self._mass / (self._mass + w)
        result: Doubles = Z - R @ (share[:, None] * (m_k - self._means))
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """Components, centroids ``(p, K)``, masses ``(K,)`` and means ``(K, p)``, float64."""
        return {
            **self._components.arrays(),
            "centroids": self._centroids,
            "mass": self._mass,
            "means": self._means,
        }

    @classmethod
    def from_state(cls, params: HarmonyMapParams, state: Mapping[str, NDArray[Any]]) -> HarmonyMap:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._components = Components.from_arrays(state)
        method._centroids, method._mass = state["centroids"], state["mass"]
        method._means = state["means"]
        return method
