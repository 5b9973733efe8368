"""Batch statistics that a network method asks for, and the batch it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.core.types import JsonObject
    from bench.training.samplers import Bools, Ints

__all__ = ["ApplyStatistics", "Batch", "Statistics"]


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
    extra: JsonObject = field(default_factory=dict)
    features: Tensor | None = None
    logits: Tensor | None = None

    @property
    def progress(self) -> float:
        """Share of the training done, in [0, 1)."""
        return self.step / self.total
