"""Apply a network with batch statistics to a test batch too large for one forward pass.

Statistics of a layer depend on those of the previous layers, so all pieces of the batch pass
through the network together, layer by layer (:mod:`bench.training.lockstep`), at the cost of one
forward pass. If the activations of all rows do not fit into memory, the pass starts again, and
those of waiting pieces are kept in a file (:mod:`bench.training.swap`). If the disk is full, too,
the remaining layers are collected one at a time, each in a pass over all pieces that stops at the
layer. All three give bit-identical results.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from bench.core.errors import RunFailed
from bench.core.folders import cache_folder
from bench.training.lockstep import NotEnoughMemory, available_bytes, run_in_lockstep
from bench.training.swap import Activations, Swap

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.training.batchnorm import BatchStatistics, Scope


T = TypeVar("T")
Piece = tuple[Tensor, Tensor | None]

SPARE = 0.2
"""Fraction of the initially free memory that must remain free."""


class _Enough(Exception):
    """Raised when the layer whose statistics are collected is reached."""


class _Moments:
    """Mean and biased variance per channel over pieces, in float64.

    Pieces are merged with the algorithm of Chan, Golub and LeVeque 1979 (STAN-CS-79-773).
    """

    def __init__(self) -> None:
        self._count = 0.0
        self._mean: Tensor | None = None
        self._m2: Tensor | None = None

    def add(self, x: Tensor, mask: Tensor | None) -> None:
        """Add the rows of ``(n, C, ...)`` that the mask selects."""
        if mask is not None and mask.shape[0] != x.shape[0]:
            raise RunFailed(
                "the network changes the number of rows, so rows cannot be distinguished"
            )
        kept = x if mask is None else x[mask]
        if not kept.shape[0]:
            return
        count = kept.numel() // kept.shape[1]
        mean, m2 = _channel_moments(kept, count)
        if self._mean is None or self._m2 is None:
            self._count, self._mean, self._m2 = float(count), mean, m2
            return
        both = self._count + count
        gap = mean - self._mean
        self._m2 = self._m2 + m2 + gap.square() * (self._count * count / both)
        self._mean = self._mean + gap * (count / both)
        self._count = both

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance, ``(1, C)`` float32."""
        if self._mean is None or self._m2 is None:
            raise RunFailed("a test batch has no rows that give normalisation statistics")
        variance = (self._m2 / self._count).clamp(min=0)
        return self._mean.float()[None], variance.float()[None]


def _channel_moments(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return mean and sum of squared deviations of each channel, ``(C,)`` float64.

    An accelerator uses Welford's algorithm in float32, in one pass over the values.
    """
    dims = [0, *range(2, x.dim())]
    if x.is_cuda:
        variance, mean = torch.var_mean(x.float(), dims, correction=0)
        return mean.double(), variance.double() * count
    # Float64 sums of float32 values need no float64 copy. The deviations are from the rounded mean,
    # which the last term corrects.
    mean = x.sum(dims, dtype=torch.float64) / count
    centre = mean.to(x.dtype)
    deviation = x - centre.view(-1, *(1,) * (x.dim() - 2))
    m2 = deviation.square_().sum(dims, dtype=torch.float64)
    return mean, m2 - count * (mean - centre.double()).square()


class _OneLayer:
    """Passes that each collect the statistics of one layer and then stop."""

    def __init__(self, known: list[tuple[Tensor, Tensor]]) -> None:
        self.known = known
        self.reached = 0
        self.mask: Tensor | None = None
        self._moments = _Moments()

    def visit(self, layer: BatchStatistics, x: Tensor) -> Tensor:
        place = self.reached
        self.reached += 1
        if place < len(self.known):
            return layer.normalise(x, *self.known[place])
        self._moments.add(x, self.mask)
        raise _Enough

    def close(self) -> None:
        """Compute the statistics of the layer from the collected moments."""
        self.known.append(self._moments.result())
        self._moments = _Moments()


class _AllPieces:
    """One pass in which all pieces wait for each other at each layer of unknown statistics.

    Parameters
    ----------
    known
        Statistics of the first layers.
    n_pieces
        Number of pieces.
    swap
        File of the activations of waiting pieces, used if memory is short.
    """

    def __init__(
        self, known: list[tuple[Tensor, Tensor]], n_pieces: int, swap: Swap | None = None
    ) -> None:
        self.known = known
        self._n_waiting = n_pieces
        self._swap = swap
        self._moments = _Moments()
        self._here = threading.local()
        self._free_at_start: int | None = None

    def piece(
        self, call: Callable[[Tensor], T], read: Callable[[int], Piece], k: int
    ) -> Callable[[Callable[[], None]], T]:
        """Return a function that runs a piece; its rows are read when it starts."""

        def work(pause: Callable[[], None]) -> T:
            here = self._here
            here.pause, here.reached = pause, 0
            if self._swap is None:
                x, here.mask = read(k)
                return call(x)
            # The activations of this piece must not contain weights that the pieces share.
            torch.set_autocast_cache_enabled(False)
            with Activations(self._swap) as here.activations:
                x, here.mask = read(k)
                result = call(x)
                here.activations.read(result)
                return result

        return work

    def visit(self, layer: BatchStatistics, x: Tensor) -> Tensor:
        here, place = self._here, self._here.reached
        here.reached += 1
        if place == len(self.known):
            full = self._is_full(x)
            if self._swap is None:
                if full:
                    raise NotEnoughMemory
                self._n_waiting -= 1
                self._moments.add(x, here.mask)
            else:
                with here.activations.paused():
                    self._moments.add(x, here.mask)
                    if full:
                        here.activations.write()
            here.pause()
        return layer.normalise(x, *self.known[place])

    def _is_full(self, x: Tensor) -> bool:
        free = available_bytes(x.device)
        if free is None:
            return False
        if self._free_at_start is None:
            self._free_at_start = free
        # Moments need a copy of the selected values and one of the deviations. The other pieces
        # need as much as this one at the first layer; later they release about what they need.
        copies = 2 if self._swap is not None else 2 + max(self._n_waiting - 1, 0)
        return free - copies * x.numel() * x.element_size() < SPARE * self._free_at_start

    def close(self) -> None:
        """Compute the statistics of the layer from the collected moments."""
        self.known.append(self._moments.result())
        self._moments = _Moments()


def streamed(
    scope: Scope, call: Callable[[Tensor], T], read: Callable[[int], Piece], n_pieces: int
) -> list[T]:
    """Apply a network with the statistics of all rows of all pieces.

    The result equals one forward pass over all rows, up to rounding, and does not depend on the
    memory of the machine.

    Parameters
    ----------
    read
        Returns a piece by its index as ``(x, mask)``. Rows in the mask are used for the
        statistics; None means all rows.
    """
    known: list[tuple[Tensor, Tensor]] = []
    # Continue after the handlers, so that an exception does not keep activations in memory.
    with contextlib.suppress(NotEnoughMemory, torch.cuda.OutOfMemoryError):
        return _together(scope, call, read, n_pieces, _AllPieces(known, n_pieces))
    full = contextlib.suppress(OSError, torch.cuda.OutOfMemoryError)
    with full, Swap(cache_folder("activations")) as swap:
        return _together(scope, call, read, n_pieces, _AllPieces(known, n_pieces, swap))
    return _layer_by_layer(scope, call, read, n_pieces, known)


def _together(
    scope: Scope,
    call: Callable[[Tensor], T],
    read: Callable[[int], Piece],
    n_pieces: int,
    pieces: _AllPieces,
) -> list[T]:
    """Pass all pieces through the network together."""
    scope.stream = pieces
    try:
        works = [pieces.piece(call, read, k) for k in range(n_pieces)]
        return run_in_lockstep(works, pieces.close)
    finally:
        scope.stream = None


def _layer_by_layer(
    scope: Scope,
    call: Callable[[Tensor], T],
    read: Callable[[int], Piece],
    n_pieces: int,
    known: list[tuple[Tensor, Tensor]],
) -> list[T]:
    """Collect the remaining layers, with one pass over all pieces per layer."""
    stream = _OneLayer(known)
    scope.stream = stream
    try:
        while True:
            results, complete = [], True
            for k in range(n_pieces):
                x, mask = read(k)
                stream.reached, stream.mask = 0, mask
                try:
                    results.append(call(x))
                except _Enough:
                    complete = False
            if complete:
                return results
            stream.close()
    finally:
        scope.stream = None
