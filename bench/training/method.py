"""Base class of network methods: hooks into the shared training loop.

A method overrides only what makes it different. The loop (``bench.training.loop``) calls, for each
step:

=====================  ============================================================================
hook                   decides
=====================  ============================================================================
``sampler``            rows of a training batch
``adapt_sampler``      unlabelled rows in addition, for methods that adapt (access ADAPT)
``modify``             changes to the network, before training and whenever it is rebuilt
``extra_modules``      further trained modules and buffers: a domain head, group weights
``inputs``             inputs of the network: mixing, views
``train_statistics``   which statistics BatchNorm uses
``forward``            how features and logits are computed
``loss``               the minimised value
``after_step``         actions after each optimiser step
=====================  ============================================================================

and for each test batch ``apply_statistics`` and ``adapt_model``. ``remarks`` returns notes about
the training set for the record, such as rows that were excluded. State that must survive an
interruption is stored in buffers of ``extra_modules``, which are part of the checkpoint. Noise
comes from ``batch.generator``, which is seeded by step, so a resumed run draws the same values.

This module imports no torch, so that parameters can be read without it. Methods import torch
inside their hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.core.access import Access
from bench.core.errors import BenchError
from bench.training.samplers import mixed
from bench.training.statistics import ApplyStatistics, Batch, Statistics  # TC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from bench.core.method import Context
    from bench.core.samples import Output, Samples
    from bench.core.types import Array, Arrays, Recipe
    from bench.training.inference import TestBatch
    from bench.training.model import Fitted, Model
    from bench.training.samplers import Ints, Sampler


@dataclass(frozen=True)
class NoParams:
    """Parameters of a method without parameters."""


class NetworkMethod:
    """Base class of all methods that train a network. The default is empirical risk minimisation.

    A subclass is one file. It defines ``Params`` (a frozen dataclass of ``param`` fields) and
    ``access``, and overrides hooks.
    """

    Params: ClassVar[type] = NoParams
    needs_batch_norm: ClassVar[bool] = False
    """Whether the method requires a network with BatchNorm."""
    has_head: ClassVar[bool] = True
    """Whether the classification head is trained. If not, logits are None."""

    def __init__(self, params: Any) -> None:
        self.params = params
        self._fitted: Fitted | None = None

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the access required beyond rows and labels of the training set."""
        return Access.NONE

    @classmethod
    def needs(cls, params: Any) -> frozenset[str]:
        """Return the required data: ``controls`` if access to controls is declared."""
        seen = cls.access(params)
        uses = bool(seen & (Access.CONTROLS | Access.TEST_CONTROLS))
        return frozenset({"controls"}) if uses else frozenset()

    def sampler(self, train: Samples, group: Ints, recipe: Recipe, seed: int) -> Sampler:
        """Return ``step -> (idx, group)``; see ``bench.training.samplers``.

        Parameters
        ----------
        group
            ``(n,)`` codes of ``train.batch``.
        recipe
            The resolved recipe, for ``batch_size``.
        """
        return mixed(group, recipe["batch_size"], seed)

    def adapt_sampler(self, adapt: Samples, group: Ints, recipe: Recipe, seed: int) -> Sampler:
        """Return the stream of unlabelled rows, like :meth:`sampler`."""
        return mixed(group, recipe["batch_size"], seed)

    def modify(self, network: nn.Module) -> nn.Module:
        """Return the network with changed layers, such as other normalisation."""
        return network

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module | None:
        """Return additional modules, trained with the network and available as ``model.extra``."""
        return None

    def inputs(self, batch: Batch) -> Batch:
        """Return the training batch; ``dataclasses.replace(batch, x=..., y=..., extra=...)``."""
        return batch

    def train_statistics(self, batch: Batch) -> Statistics:
        """Return which statistics BatchNorm uses for this batch."""
        return Statistics()

    def forward(self, model: Model, batch: Batch) -> None:
        """Set ``batch.features`` and ``batch.logits``; for ``batch.adapt``, in a separate pass."""
        for part in (batch, batch.adapt):
            if part is not None:
                with model.using(self.train_statistics(part)):
                    part.features, part.logits = model(part.x)

    def loss(self, model: Model, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return the loss, or named terms whose sum is the loss. Each term is logged."""
        from bench.training.losses import classification_loss

        return classification_loss(batch)

    def after_step(self, model: Model, batch: Batch) -> None:
        """Run after each optimiser step, for example to average weights."""

    def remarks(self, train: Samples) -> list[str]:
        """Return remarks for the record, which depend on this training set only."""
        return []

    def apply_statistics(self, samples: Samples) -> ApplyStatistics | None:
        """Return which statistics BatchNorm uses; None means the running averages."""
        return None

    def adapt_model(self, model: Model, rows: TestBatch) -> Model:
        """Return the model to apply to a test batch: ``model`` itself or an adapted copy."""
        return model

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Train with the recipe of the context.

        Raises
        ------
        RunFailed
            If the loss is not finite.
        BenchError
            If the network cannot be built or does not suit the method.
        """
        from bench.training.loop import fit

        self._fitted = fit(self, train, adapt, ctx)

    def apply(self, samples: Samples) -> Output:
        """Return the inputs of the last linear layer, and the logits."""
        from bench.training.inference import apply

        return apply(self, self.fitted, samples)

    @property
    def fitted(self) -> Fitted:
        """The result of the training."""
        if self._fitted is None:
            raise BenchError(f"{type(self).__name__} is applied before it was fitted")
        return self._fitted

    @property
    def cost(self) -> dict[str, int]:
        """``steps`` of the training, and ``images_seen``, the rows passed through the network."""
        return {"steps": self.fitted.steps, "images_seen": self.fitted.rows_seen}

    def to(self, device: str) -> None:
        """Move the fitted network to a device."""
        self.fitted.to(device)

    def state(self) -> Arrays:
        """Return weights, scaling and network description as arrays."""
        return self.fitted.state()

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, Array]) -> NetworkMethod:
        """Rebuild a fitted method; the state may come from the method whose fit is shared."""
        from bench.training.model import restore

        method = cls(params)
        method._fitted = restore(method, state)
        return method
