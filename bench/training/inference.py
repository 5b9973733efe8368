"""Apply a trained network row by row, or to a test batch with the batch's own statistics."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.samples import Output, Samples
from bench.training.determinism import reproducible
from bench.training.inputs import as_float, channel_moments, laid_out
from bench.training.statistics import ApplyStatistics, Statistics
from bench.training.streaming import streamed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import Array
    from bench.training.model import Fitted, Model
    from bench.training.samplers import Ints

__all__ = ["TestBatch", "apply", "chunked_rows"]

APPLY_ROWS = 256
"""Rows per forward pass if rows do not share statistics."""

WHOLE_VALUES = 1 << 24
"""Maximum input values of a test batch before it is normalised layer by layer, in pieces."""

PIECE_VALUES = 1 << 22
"""Input values per piece on the CPU."""
DEVICE_PIECE_VALUES = 1 << 27
"""Input values per piece on an accelerator, where many small kernels and allocations are slow."""


class TestBatch:
    """The rows of one call of ``apply``, for methods that adapt a copy of the model to them."""

    __test__ = False  # not collected by pytest

    def __init__(self, fitted: Fitted, samples: Samples) -> None:
        self._fitted = fitted
        self._samples = samples
        self._plate: tuple[Tensor, Tensor] | None = None
        if fitted.scaling.standardise == "plate":
            mean, sd = channel_moments(self._read, np.arange(len(samples)))
            device = fitted.device
            self._plate = (
                torch.from_numpy(mean)[None].to(device),
                torch.from_numpy(sd)[None].to(device),
            )

    def __len__(self) -> int:
        return len(self._samples)

    def _read(self, idx: Ints) -> Array:
        X = self._samples.X
        return self._samples.images(idx) if X is None else X[idx]

    def x(self, idx: Ints) -> Tensor:
        """Return rows as network inputs, ``(k, ...)`` float32, without augmentation."""
        native = as_float(self._read(idx), self._fitted.device)
        scaled = self._fitted.scaling(native, self._plate)
        return laid_out(scaled, self._fitted.model.channels_last)

    def keys(self) -> NDArray[np.uint64]:
        """Return ``(n,)`` keys that depend on the content of each row only.

        They define a random order of the rows that does not depend on the order of the view or the
        names of its rows.
        """
        found = np.empty(len(self), np.uint64)
        for start in range(0, len(self), APPLY_ROWS):
            idx = np.arange(start, min(start + APPLY_ROWS, len(self)))
            for k, row in zip(idx, np.ascontiguousarray(self._read(idx)), strict=True):
                found[k] = int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest())
        return found


def chunked_rows(
    gives: NDArray[np.bool_], keys: NDArray[np.uint64], k: int
) -> list[tuple[Ints, Ints]]:
    """Split a test batch into pieces whose statistics use exactly ``k`` rows each.

    Parameters
    ----------
    gives
        ``(n,)`` bool: the m rows used for the statistics.
    keys
        ``(n,)`` content keys that define a random order of the rows.
    k
        Number of rows for the statistics of a piece. If ``k >= m``, there is one piece.

    Returns
    -------
    list of (idx, kept)
        ``idx`` are positions of the rows in a piece, starting with the ``min(k, m)`` rows used for
        the statistics. ``kept`` are the positions within ``idx`` whose output is used. The last
        piece is filled up with rows whose output comes from another piece. A row not used for the
        statistics is assigned to a piece by its own key, independently of other such rows.
    """
    giving = np.flatnonzero(gives)
    giving = giving[np.argsort(keys[giving], kind="stable")]
    k = min(k, len(giving))
    starts = list(range(0, len(giving), k))
    others = np.flatnonzero(~gives)
    home = (keys[others] % np.uint64(len(starts))).astype(np.int64)
    pieces = []
    for number, start in enumerate(starts):
        begin = min(start, len(giving) - k)
        mine = others[home == number]
        idx = np.concatenate([giving[begin : begin + k], mine]).astype(np.int64)
        kept = np.arange(start - begin, len(idx))
        pieces.append((idx, kept))
    return pieces


class ApplyHooks(Protocol):
    """Method hooks called during inference; see ``NetworkMethod``."""

    has_head: ClassVar[bool]

    def apply_statistics(self, samples: Samples) -> ApplyStatistics | None: ...

    def adapt_model(self, model: Model, rows: TestBatch) -> Model: ...


def apply(method: ApplyHooks, fitted: Fitted, samples: Samples) -> Output:
    """Return features and logits of a view, with the statistics that the method selects.

    Neither method nor model is modified. Statistics of a test batch are computed from all of its
    selected rows, in one forward pass or, for large batches, layer by layer.
    """
    n, model = len(samples), fitted.model
    if tuple(samples.shape) != tuple(fitted.config["shape"]):
        raise BenchError(
            f"the network was trained on rows of shape {tuple(fitted.config['shape'])}, and these "
            f"have {tuple(samples.shape)}"
        )
    if n == 0:
        return Output(
            np.empty((0, model.head.in_features), np.float32),
            np.empty((0, model.head.out_features), np.float32) if method.has_head else None,
            notes=tuple(fitted.config.get("remarks", ())),
        )
    rows = TestBatch(fitted, samples)
    wanted = method.apply_statistics(samples)
    fallbacks = 0
    if wanted is not None and np.count_nonzero(wanted.gives) < max(wanted.min_rows, 1):
        wanted, fallbacks = None, 1
    X = np.empty((n, model.head.in_features), np.float32)
    logits = np.empty((n, model.head.out_features), np.float32)

    def put(idx: Ints, kept: Ints | slice, out: tuple[Tensor, Tensor]) -> None:
        X[idx[kept]] = out[0][kept].cpu().numpy()
        logits[idx[kept]] = out[1][kept].cpu().numpy()

    with reproducible(0, fitted.device, samples.shape):
        model = method.adapt_model(model, rows)
        with torch.no_grad():
            if wanted is None:
                for start in range(0, n, APPLY_ROWS):
                    idx = np.arange(start, min(start + APPLY_ROWS, n))
                    put(idx, slice(None), model(rows.x(idx)))
            else:
                given = wanted.gives
                if wanted.pieces is not None:
                    pieces = wanted.pieces(rows.keys())
                elif 0 < wanted.chunk < np.count_nonzero(given):
                    chunks = chunked_rows(given, rows.keys(), wanted.chunk)
                    pieces = [(idx, kept, given[idx]) for idx, kept in chunks]
                else:
                    pieces = [(np.arange(n), np.arange(n), given)]
                for idx, kept, gives in pieces:
                    put(idx, kept, _by_rows(model, rows, idx, gives))
    note = "a batch with fewer rows for its statistics than min_rows took the running averages"
    return Output(
        X,
        logits if method.has_head else None,
        fallbacks=fallbacks,
        notes=(*fitted.config.get("remarks", ()), *((note,) if fallbacks else ())),
    )


def _by_rows(
    model: Model, rows: TestBatch, idx: Ints, gives: NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
    """Apply the model to rows, with statistics from the rows selected by ``gives``."""
    device = next(model.parameters()).device
    values = math.prod(rows.x(idx[:1]).shape)
    mask = None if gives.all() else torch.from_numpy(gives).to(device)
    if len(idx) * values <= WHOLE_VALUES or len(idx) <= 2:
        with model.using(Statistics("rows", mask=mask)):
            features, logits = model(rows.x(idx))
        return features, logits
    size = max((PIECE_VALUES if device.type == "cpu" else DEVICE_PIECE_VALUES) // values, 1)

    def read(k: int) -> tuple[Tensor, Tensor | None]:
        part = slice(k * size, (k + 1) * size)
        return rows.x(idx[part]), None if mask is None else mask[part]

    parts = streamed(model.scope, model, read, math.ceil(len(idx) / size))
    return torch.cat([f for f, _ in parts]), torch.cat([g for _, g in parts])
