"""What a network method is: a class with hooks into the one training loop.

A method overrides only what makes it different. The loop (``bench.training``) calls, for each step:

=====================  ============================================================================
hook                   decides
=====================  ============================================================================
``sampler``            which rows make a training batch
``adapt_sampler``      which unlabelled rows come along, for methods that adapt (access ADAPT)
``modify``             changes to the network, before training and whenever it is rebuilt
``extra_modules``      further trained modules and buffers: a domain head, group weights
``inputs``             what goes into the network: mixing, views
``train_statistics``   whose statistics BatchNorm uses
``forward``            how features and logits come about
``loss``               what is minimised
``after_step``         what happens once the weights have moved
=====================  ============================================================================

and for each test batch ``apply_statistics`` and ``adapt_model``. ``remarks`` says what the record
should tell of the training set, such as rows that could not take part. State that must survive an
interruption lives in buffers of ``extra_modules``; the checkpoint holds them like weights. Noise
comes from ``batch.generator``, which is seeded by the step, so a resumed run draws the same.

This module imports no torch, so that parameters can be read without it. Methods import torch
inside their hooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bench.api import Access, Output, Samples, param
from bench.errors import BenchError
from bench.samplers import batchwise, mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from bench.api import Context
    from bench.fitted import Fitted, Model
    from bench.inference import TestBatch
    from bench.samplers import Bools, Ints, Rows, Sampler

__all__ = [
    "ApplyStatistics",
    "Batch",
    "BatchwiseMethod",
    "BatchwiseParams",
    "NetworkMethod",
    "NoParams",
    "Statistics",
    "inference_rows",
    "rows_that_give",
]


@dataclass(frozen=True)
class Statistics:
    """Whose mean and variance BatchNorm uses in one forward pass.

    Attributes
    ----------
    source
        ``running``: PyTorch's ordinary behaviour, that is the rows of the call in training and
        the running averages afterwards. ``rows``: the rows of the call in both, with biased
        variance.
    mask
        ``(k,)`` bool: only these rows give the statistics; all rows are normalised.
    group
        ``(k,)`` int64: each row is normalised by the statistics of its own group.
    """

    source: Literal["running", "rows"] = "running"
    mask: Tensor | None = None
    group: Tensor | None = None


@dataclass(frozen=True)
class ApplyStatistics:
    """Whose statistics BatchNorm uses for a test batch.

    Attributes
    ----------
    gives
        ``(n,)`` bool: the rows of the view that give the statistics.
    chunk
        0 takes all of them at once; otherwise that many at a time.
    min_rows
        With fewer giving rows than this, the running averages are used instead and counted.
    pieces
        Splits the test batch in a way of the method's own, instead of ``chunk``. Takes the
        ``(n,)`` content keys of the rows, which order them at random whatever the order of the
        view, and returns for each piece ``(idx, kept, gives)``: positions of its rows, which may
        repeat; the positions within ``idx`` that this piece answers for, each row of the view
        once over all pieces; and ``(k,)`` bool, which rows of the piece give its statistics.
    """

    gives: Bools
    chunk: int = 0
    min_rows: int = 2
    pieces: Callable[[NDArray[np.uint64]], list[tuple[Ints, Ints, Bools]]] | None = None


@dataclass
class Batch:
    """One training batch, on the device.

    Attributes
    ----------
    x
        ``(k, C, H, W)`` or ``(k, d)`` float32, standardised and augmented.
    y
        ``(k,)`` int64 classes, -1 for rows without one.
    group
        ``(k,)`` int64 code of each row's experimental batch (all 0 without TRAIN_BATCH); rows of
        the adaptation set have codes of their own from ``n_batches`` on.
    controls
        ``(k,)`` bool if the method declared CONTROLS, else None.
    idx
        ``(k,)`` positions in the training view, on the CPU.
    step, total
        Number of this step, from 0, and of all steps.
    n_classes, n_batches
        Number of classes and of experimental batches in training.
    generator
        CPU generator seeded by the step.
    adapt
        A batch of unlabelled evaluation rows, for methods that declared ADAPT.
    extra
        Whatever ``inputs`` hands on to ``loss``, such as mixing weights.
    features, logits
        ``(k, d)`` and ``(k, n_classes)`` float32, there once ``forward`` has run.
    """

    x: Tensor
    y: Tensor
    group: Tensor
    controls: Tensor | None
    idx: Ints
    step: int
    total: int
    n_classes: int
    n_batches: int
    generator: torch.Generator
    adapt: Batch | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    features: Tensor | None = None
    logits: Tensor | None = None

    @property
    def progress(self) -> float:
        """Share of the training done, in [0, 1)."""
        return self.step / self.total


@dataclass(frozen=True)
class NoParams:
    """Of a method without parameters."""


class NetworkMethod:
    """Base of all methods that train a network. As it stands it is empirical risk minimisation.

    A subclass is one file. It states ``Params`` (a frozen dataclass of ``param`` fields), its
    ``access``, and overrides the hooks in which it differs.
    """

    Params: ClassVar[type] = NoParams
    needs_batch_norm: ClassVar[bool] = False
    """Whether a network without BatchNorm is refused."""
    has_head: ClassVar[bool] = True
    """Whether the classification head is trained; without one, logits are None."""

    def __init__(self, params: Any) -> None:
        self.params = params
        self._fitted: Fitted | None = None

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return what is seen beyond rows and labels of the training set."""
        return Access.NONE

    @classmethod
    def needs(cls, params: Any) -> frozenset[str]:
        """Return what the data must have: ``controls`` if they are declared."""
        seen = cls.access(params)
        uses = bool(seen & (Access.CONTROLS | Access.TEST_CONTROLS))
        return frozenset({"controls"}) if uses else frozenset()

    # ------------------------------------------------------------------ hooks while training

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return ``step -> (idx, group)``; see ``bench.samplers``.

        Parameters
        ----------
        train
            The training view.
        group
            ``(n,)`` codes of ``train.batch``.
        recipe
            The resolved recipe, for ``batch_size``.
        seed
            Seed of the stream.
        """
        return mixed(group, recipe["batch_size"], seed)

    def adapt_sampler(
        self, adapt: Samples, group: Ints, recipe: Mapping[str, Any], seed: int
    ) -> Sampler:
        """Return the stream of unlabelled rows, like :meth:`sampler`."""
        return mixed(group, recipe["batch_size"], seed)

    def modify(self, network: nn.Module) -> nn.Module:
        """Return the network with changed layers, such as other normalisation."""
        return network

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module | None:
        """Return further modules: trained with the network, reached as ``model.extra``."""
        return None

    def inputs(self, batch: Batch) -> Batch:
        """Return what is trained on; ``dataclasses.replace(batch, x=..., y=..., extra=...)``."""
        return batch

    def train_statistics(self, batch: Batch) -> Statistics:
        """Return whose statistics BatchNorm uses for this batch."""
        return Statistics()

    def forward(self, model: Model, batch: Batch) -> None:
        """Fill ``batch.features`` and ``batch.logits``; also of ``batch.adapt``, on its own."""
        for part in (batch, batch.adapt):
            if part is not None:
                with model.using(self.train_statistics(part)):
                    part.features, part.logits = model(part.x)

    def loss(self, model: Model, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return what is minimised, or named terms whose sum is; each is logged."""
        from bench.training import classification_loss

        return classification_loss(batch)

    def after_step(self, model: Model, batch: Batch) -> None:
        """Act after the optimiser's step, such as on an average of the weights."""

    def remarks(self, train: Samples) -> list[str]:
        """Return sentences for the record about this training set; a function of it alone."""
        return []

    # ------------------------------------------------------------------ hooks while applying

    def apply_statistics(self, samples: Samples) -> ApplyStatistics | None:
        """Return whose statistics BatchNorm uses for the view; None is the running averages."""
        return None

    def adapt_model(self, model: Model, rows: TestBatch) -> Model:
        """Return the model that is applied to a test batch: itself, or an adapted copy."""
        return model

    # ------------------------------------------------------------------ the contract

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Train with the recipe of the context.

        Raises
        ------
        RunFailed
            If the loss is not finite.
        BenchError
            If the network cannot be built or does not suit the method.
        """
        from bench.training import fit

        self._fitted = fit(self, train, adapt, ctx)

    def apply(self, samples: Samples) -> Output:
        """Return the inputs of the last linear layer, and the logits."""
        from bench.inference import apply

        return apply(self, self.fitted, samples)

    @property
    def fitted(self) -> Fitted:
        """What training left behind."""
        if self._fitted is None:
            raise BenchError(f"{type(self).__name__} is applied before it was fitted")
        return self._fitted

    @property
    def cost(self) -> dict[str, int]:
        """``steps`` of the training and ``images_seen``, the rows that went into the network."""
        return {"steps": self.fitted.steps, "images_seen": self.fitted.rows_seen}

    def to(self, device: str) -> None:
        """Move the fitted network to a device."""
        self.fitted.to(device)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return weights, scaling and the description of the network, as arrays."""
        return self.fitted.state()

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, NDArray[Any]]) -> NetworkMethod:
        """Rebuild a fitted method; the state may come from the method whose fit is shared."""
        from bench.fitted import restore

        method = cls(params)
        method._fitted = restore(method, state)
        return method


# --------------------------------------------------------------------------- batch-wise training


@dataclass(frozen=True)
class BatchwiseParams:
    """How a training batch is made of experimental batches; all belong to the fit."""

    level: str = param(
        "", "batch level that a training batch comes from; empty is the data set's default"
    )
    rows: str = param(
        "all",
        "rows that give the normalisation statistics, in training and at test",
        choices=("all", "treated", "controls"),
        search=("all", "treated", "controls"),
    )
    sampler: str = param(
        "independent",
        "independent draws a batch uniformly at each step, as published; covering visits every "
        "row once an epoch",
        choices=("independent", "covering"),
        search=("independent", "covering"),
    )
    per_batch: int = param(
        1,
        "batches in one training batch, each normalised by its own statistics",
        unit="batches",
        low=1,
        high=64,
        search=(1, 4),
    )
    control_share: float = param(
        0.5,
        "share of controls in a training batch when rows = controls",
        low=0.05,
        high=0.95,
        search=(0.25, 0.75),
    )
    min_rows: int = param(
        2,
        "least number of rows that give statistics: training batches with fewer are left out, "
        "test batches with fewer take the running averages and are counted. 2 is the least "
        "that has a variance; BEN itself sets no minimum",
        unit="rows",
        low=1,
        high=1_000_000,
    )


class BatchwiseMethod(NetworkMethod):
    """Training batches that come from one experimental batch and are normalised by themselves.

    For channel c of a BatchNorm layer and the rows S of the training batch that give statistics,
    x is replaced by gamma_c (x - mean_S) / sqrt(var_S + eps) + beta_c, where mean_S and var_S
    (biased) run over S and all pixels, and gamma and beta are shared by all batches. The running
    averages are updated as PyTorch does, although only some methods read them.
    """

    Params: ClassVar[type] = BatchwiseParams
    needs_batch_norm: ClassVar[bool] = True

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the access of training; a subclass adds what it uses at test."""
        return Access.TRAIN_BATCH | (Access.NONE if params.rows == "all" else Access.CONTROLS)

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return training batches of ``per_batch`` experimental batches each."""
        return batchwise(
            group,
            recipe["batch_size"],
            seed,
            how=self.params.sampler,
            per_batch=self.params.per_batch,
            rows=self.params.rows,
            controls=None if self.params.rows == "all" else train.controls(),
            control_share=self.params.control_share,
            least=self.params.min_rows,
        )

    def train_statistics(self, batch: Batch) -> Statistics:
        """Return statistics of the batch, per experimental batch, of the rows that give them."""
        return Statistics(
            "rows",
            mask=batch.controls if self.params.rows == "controls" else None,
            group=batch.group if self.params.per_batch > 1 else None,
        )


def rows_that_give(samples: Samples, rows: Rows) -> Bools:
    """Return ``(n,)`` bool: which rows of a view give statistics."""
    if rows == "all":
        return np.ones(len(samples), bool)
    controls = samples.controls()
    return controls if rows == "controls" else ~controls


def inference_rows(text: str) -> int:
    """Return the number in a parameter ``inference``; 0 for ``whole``."""
    return 0 if text == "whole" else int(text)
