r"""ComBat: empirical Bayes estimates of each batch's location and scale.

With each feature's grand mean :math:`\alpha` and variance within batches :math:`\sigma^2` (divisor
n), :math:`x = \alpha + \sigma (\gamma_b + \sqrt{\delta_b}\, \epsilon)`. Let :math:`\hat\gamma_b`
and :math:`\hat\delta_b` (divisor n - 1) be the mean and variance of the standardised rows of a
batch. They are shrunk towards normal and inverse gamma priors by iterating

.. math::
    \gamma^* = \frac{n \tau^2 \hat\gamma + \delta^* \bar\gamma}{n \tau^2 + \delta^*}, \qquad
    \delta^* = \frac{\theta + \tfrac12 \sum_i (z_i - \gamma^*)^2}{n / 2 + \lambda - 1}

and the batch's rows become :math:`\alpha + \sigma (z - \gamma^*) / \sqrt{\delta^*}`. No label
enters the model. It assumes that batches have about the same mixture of classes;
``unseen=controls`` does not.

``prior`` says over what the moments :math:`\bar\gamma, \tau^2, \lambda, \theta` of the priors are
taken. ``features`` of the batch is the published form, as in sva and scanpy. ``batches`` of the
training set for each feature is that of combatlearn 2.3.

``unseen`` says what happens to a batch that was not in training, with its track:

``estimate-from-batch``
    location and scale from all its own rows, towards training's :math:`\alpha` and :math:`\sigma`
    (test-batch). A training batch gets the same estimate as in training: given
    :math:`\alpha, \sigma` and the priors batches are independent of each other.
``controls``
    the same, with everything, in training too, estimated from negative controls (test-controls).
``reference``
    none: it is taken to be at the reference already and passes unchanged, while training rows are
    corrected (inductive).

A batch with fewer than ``min_rows`` rows to estimate from passes unchanged and is counted. Features
that do not vary within any training batch pass unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, NotApplicable, Output, param

from ._rows import control_rows, find_names, groups_of, pack_names, profiles, unpack_names
from ._whitening import CONSTANT, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

    from ._whitening import Doubles

META = {
    "kind": "method",
    "name": "combat",
    "class": "ComBat",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Empirical Bayes location and scale of each batch.",
    "reference": "Johnson et al. 2007, Biostatistics 8:118-127",
    "url": "https://doi.org/10.1093/biostatistics/kxj037",
    "access": ["train-batch", "test-batch"],
    "helps": ["location", "scale", "hierarchical"],
    "hurts": ["label-shift"],
}

ITERATIONS = 1000
TOLERANCE = 1e-8
FLOOR = 1e-12
"""Smallest variance of a prior, and smallest scale, in units of the variance within batches."""


@dataclass(frozen=True)
class ComBatParams:
    """Parameters of ComBat."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    unseen: str = param(
        "estimate-from-batch",
        "what happens to a batch that was not in training",
        choices=("estimate-from-batch", "controls", "reference"),
        search=("estimate-from-batch", "controls", "reference"),
    )
    prior: str = param(
        "features",
        "over what the priors' moments are taken",
        choices=("features", "batches"),
        search=("features", "batches"),
    )
    mean_only: bool = param(False, "correct the location alone", search=(False, True))
    min_rows: int = param(
        4,
        "a batch with fewer rows (or controls) to estimate from passes unchanged",
        unit="rows",
        low=2,
        high=10_000,
    )


def shrink(
    gamma: Doubles, delta: Doubles, n: int, prior: tuple[Doubles, ...], *, mean_only: bool
) -> tuple[Doubles, Doubles]:
    """Return the posterior location and scale of a batch, ``(d,)`` each.

    Parameters
    ----------
    gamma, delta
        ``(d,)`` mean and variance (divisor n - 1) of the batch's standardised rows.
    n
        Number of rows.
    prior
        Mean and variance of locations, shape and scale of the inverse gamma of variances; ``(d,)``
        each.
    mean_only
        Whether the scale stays 1.
    """
    mean, spread, shape, rate = prior
    delta = np.maximum(delta, FLOOR)
    d = delta
    g = (n * spread * gamma + d * mean) / (n * spread + d)
    for _ in range(ITERATIONS):
        squares = (n - 1) * delta + n * (gamma - g) ** 2
        d_new = np.maximum((rate + squares / 2) / (n / 2 + shape - 1), FLOOR)
        g_new = (n * spread * gamma + d_new * mean) / (n * spread + d_new)
        moved = max(
            float(np.abs(g_new - g).max(initial=0.0)),
            float((np.abs(d_new - d) / d).max(initial=0.0)),
        )
        g, d = g_new, d_new
        if moved < TOLERANCE:
            break
    return g, np.ones_like(d) if mean_only else d


def prior_over(gamma: Doubles, delta: Doubles, axis: int) -> tuple[Doubles, ...]:
    """Return the priors' moments from estimates ``(B, d)`` over batches (0) or features (1)."""
    several = gamma.shape[axis] > 1
    mean, average = gamma.mean(axis=axis), delta.mean(axis=axis)
    spread = gamma.var(axis=axis, ddof=1) if several else np.full_like(mean, np.inf)
    scatter = delta.var(axis=axis, ddof=1) if several else np.full_like(mean, np.inf)
    spread, scatter = np.maximum(spread, FLOOR), np.maximum(scatter, FLOOR)
    # One estimate says nothing of a spread: a flat prior, written with finite numbers.
    spread, scatter = np.minimum(spread, 1 / FLOOR), np.minimum(scatter, 1 / FLOOR)
    shape = average**2 / scatter + 2
    return mean, spread, shape, average * (shape - 1)


class ComBat:
    """Empirical Bayes location and scale."""

    Params: ClassVar[type] = ComBatParams
    name = "combat"

    def __init__(self, params: ComBatParams) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: ComBatParams) -> Access:
        """Return the training batches, and what the policy for unseen batches needs."""
        if params.unseen == "controls":
            return Access.TRAIN_BATCH | Access.CONTROLS | Access.TEST_CONTROLS
        if params.unseen == "reference":
            return Access.TRAIN_BATCH
        return Access.TRAIN_BATCH | Access.TEST_BATCH

    @classmethod
    def needs(cls, params: ComBatParams) -> frozenset[str]:
        """Return what the data must have: controls, if they give the estimates."""
        return frozenset({"controls"} if params.unseen == "controls" else ())

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Estimate the model on the training batches, ``(n, d)``.

        Raises
        ------
        NotApplicable
            If fewer than two training batches have enough rows, or no feature varies within one.
        """
        X, batch = profiles(train, self.name), train.batch
        if self.params.unseen == "controls":
            X = control_rows(train, self.name, "use --set combat.unseen=estimate-from-batch")
            batch = batch[train.controls()]
        groups = [rows for rows in groups_of(batch) if len(rows) >= self.params.min_rows]
        if len(groups) < 2:
            raise NotApplicable(
                f"combat needs two training batches with at least {self.params.min_rows} rows to "
                f"estimate from and found {len(groups)}: choose another level with "
                "--set combat.level=..., or lower --set combat.min_rows=..."
            )
        means = np.stack([mean_of(X[rows]) for rows in groups])
        sizes = np.array([len(rows) for rows in groups])
        squares = [((X[rows] - m) ** 2).sum(axis=0) for rows, m in zip(groups, means, strict=True)]
        grand = sizes @ means / sizes.sum()
        sigma = np.sqrt(np.sum(squares, axis=0) / sizes.sum())
        sigma = np.where(sigma > CONSTANT * np.abs(grand), sigma, 0.0)
        used = sigma > 0
        if not used.any():
            raise NotApplicable(
                f"combat needs features that vary within batches, and all {len(sigma)} are "
                "constant there: give it another table"
            )
        gamma = (means - grand)[:, used] / sigma[used]
        delta = np.stack(squares)[:, used] / sigma[used] ** 2 / (sizes[:, None] - 1)
        self._state = {"grand": grand, "sigma": sigma}
        if self.params.prior == "batches":
            self._state["prior"] = np.stack(prior_over(gamma, delta, axis=0))
        if self.params.unseen == "reference":
            stars = [self._star(g, v, n) for g, v, n in zip(gamma, delta, sizes, strict=True)]
            self._state["gamma"] = np.stack([g for g, _ in stars])
            self._state["delta"] = np.stack([v for _, v in stars])
            self._state["training"] = pack_names(np.concatenate([train.ids[r] for r in groups]))
            self._state["batch"] = np.repeat(np.arange(len(groups)), sizes)

    def _star(self, gamma: Doubles, delta: Doubles, n: int) -> tuple[Doubles, Doubles]:
        if self.params.prior == "batches":
            prior = tuple(self._state["prior"])
        else:
            prior = prior_over(gamma[None], delta[None], axis=1)
        return shrink(gamma, delta, int(n), prior, mean_only=self.params.mean_only)

    def apply(self, samples: Samples) -> Output:
        """Correct rows ``(n, d)``: of one batch, or of any under the policy ``reference``."""
        X = profiles(samples, self.name)
        if self.params.unseen == "reference":
            return self._known_only(samples, X)
        basis = X[samples.controls()] if self.params.unseen == "controls" else X
        if len(basis) < self.params.min_rows:
            few = f"fewer than {self.params.min_rows} rows to estimate from"
            return Output(X.copy(), fallbacks=1, notes=(f"combat: batches with {few} unchanged",))
        used, sigma = self._used()
        z = (basis[:, used] - self._state["grand"][used]) / sigma
        star = self._star(z.mean(axis=0), z.var(axis=0, ddof=1), len(z))
        what = "their controls" if self.params.unseen == "controls" else "all their rows"
        note = f"combat: location and scale of unseen batches were estimated from {what}"
        return Output(self._corrected(X, *star), notes=(note,))

    def _known_only(self, samples: Samples, X: NDArray[np.float32]) -> Output:
        place = find_names(samples.ids, unpack_names(self._state["training"]))
        out = X.copy()
        batch = self._state["batch"][place]
        for k in np.unique(batch[place >= 0]):
            rows = (batch == k) & (place >= 0)
            out[rows] = self._corrected(X[rows], self._state["gamma"][k], self._state["delta"][k])
        note = "combat: rows of unseen batches passed unchanged (policy reference)"
        return Output(out, notes=(note,) if (place < 0).any() else ())

    def _used(self) -> tuple[NDArray[np.bool_], Doubles]:
        used = self._state["sigma"] > 0
        return used, self._state["sigma"][used]

    def _corrected(
        self, X: NDArray[np.float32], gamma: Doubles, delta: Doubles
    ) -> NDArray[np.float32]:
        used, sigma = self._used()
        grand = self._state["grand"][used]
        out = X.copy()
        out[:, used] = grand + ((X[:, used] - grand) - sigma * gamma) / np.sqrt(delta)
        return out

    def state(self) -> dict[str, NDArray[Any]]:
        """Grand mean and scale ``(d,)``, and what the policy for unseen batches needs."""
        return self._state

    @classmethod
    def from_state(cls, params: ComBatParams, state: Mapping[str, NDArray[Any]]) -> ComBat:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method
