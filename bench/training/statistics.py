"""Selection of batch statistics by a network method, and the training batch."""

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


@dataclass(frozen=True)
class Statistics:
    """Selects mean and variance for BatchNorm in one forward pass.

    Attributes
    ----------
    source
        ``running``: PyTorch's default, the rows of the call in training and the running averages
        at test. ``rows``: the rows of the call in both cases, with biased variance.
    mask
        ``(k,)`` bool: rows used for the statistics; all rows are normalised.
    group
        ``(k,)`` int64: each row is normalised by the statistics of its group.
    """

    source: Literal["running", "rows"] = "running"
    mask: Tensor | None = None
    group: Tensor | None = None


@dataclass(frozen=True)
class ApplyStatistics:
    """Selects statistics for BatchNorm on a test batch.

    Attributes
    ----------
    gives
        ``(n,)`` bool: rows of the view used for the statistics.
    chunk
        Number of rows for the statistics of a piece; 0 means all at once.
    min_rows
        With fewer rows for the statistics, the running averages are used and the fallback is
        counted.
    pieces
        Custom split of the test batch, instead of ``chunk``. Takes the ``(n,)`` content keys of
        the rows, which define a random order independent of the view. Returns for each piece
        ``(idx, kept, gives)``: positions of its rows, which may repeat; positions within ``idx``
        whose output is used, each row of the view once over all pieces; and ``(k,)`` bool, the
        rows used for the statistics of the piece.
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
        ``(k,)`` int64 classes, -1 for rows without a class.
    group
        ``(k,)`` int64 code of each row's experimental batch (all 0 without TRAIN_BATCH). Rows of
        the adaptation set have separate codes from ``n_batches`` on.
    controls
        ``(k,)`` bool if the method declared CONTROLS, otherwise None.
    idx
        ``(k,)`` positions in the training view, on the CPU.
    step, total
        Number of this step, from 0, and of all steps.
    generator
        CPU generator seeded by the step.
    adapt
        A batch of unlabelled evaluation rows, for methods that declared ADAPT.
    extra
        Values that ``inputs`` passes to ``loss``, such as mixing weights.
    features, logits
        ``(k, d)`` and ``(k, n_classes)`` float32, set by ``forward``.
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
        """Fraction of training completed, in [0, 1)."""
        return self.step / self.total
