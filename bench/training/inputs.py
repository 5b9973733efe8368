"""Network inputs from native rows: reading, standardisation and augmentation on the device."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import RunFailed
from bench.core.resampling import resampling_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bench.core.samples import Samples
    from bench.core.types import Array
    from bench.training.samplers import Ints, Sampler


PRELOAD_BYTES = 1 << 30
"""Maximum size of training images that are cached in memory."""
STEPS_AHEAD = 3
"""Number of training batches prefetched for an accelerator."""
DEVICE_SHARE = 0.25
"""Maximum fraction of an accelerator's free memory for training images in their native dtype."""


@dataclass
class Scaling:
    """Conversion of native rows to float32 inputs.

    Attributes
    ----------
    standardise
        ``image``: each image and channel by its own mean and standard deviation (n - 1 in the
        denominator, as published). ``plate``: by those of all rows of the row's batch. ``none``:
        by constants of the training set. A standard deviation of 0 is replaced by 1. Profiles are
        scaled per feature instead of per channel, with n in the denominator.
    mean, sd
        ``(C,)`` or ``(d,)`` float32 constants of the training set; used with ``none``.
    """

    standardise: str
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    def __call__(self, x: Tensor, plates: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return standardised ``x``; ``plates`` are ``(k or 1, C)`` statistics for ``plate``."""
        tail = (1,) * (x.dim() - 2)
        if self.standardise == "image" and x.dim() == 4:
            sd, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
            return (x - mean) / torch.where(sd > 0, sd, torch.ones_like(sd))
        if self.standardise == "plate":
            if plates is None:
                raise RunFailed("standardise=plate requires the statistics of the plate")
            mean, sd = plates
        else:
            mean = torch.from_numpy(self.mean).to(x.device)[None]
            sd = torch.from_numpy(self.sd).to(x.device)[None]
        return (x - mean.view(*mean.shape, *tail)) / sd.view(*sd.shape, *tail)


def as_float(rows: Array | Tensor, device: str) -> Tensor:
    """Move native rows to the device and convert them to float32 there.

    Parameters
    ----------
    rows
        ``(k, ...)`` uint8, uint16, float32 or int16. int16 are the bits of uint16 values.
    device
        ``cpu`` or ``cuda``.
    """
    if not isinstance(rows, Tensor):
        rows = np.ascontiguousarray(rows)
        rows = torch.from_numpy(rows.view(np.int16) if rows.dtype == np.uint16 else rows)
    rows = rows.to(device, non_blocking=True)
    if rows.dtype == torch.int16:  # some builds of torch cannot convert uint16
        return rows.int().bitwise_and_(0xFFFF).float()
    return rows.float()


def moved(values: Array, device: str) -> Tensor:
    """Copy a small array to the device, without synchronising with it."""
    tensor = torch.from_numpy(values)
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def channel_moments(
    read: Callable[[Ints], Array], idx: Ints, chunk: int = 512
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation per channel or feature over the rows; 0 becomes 1."""
    count, mean, m2 = 0.0, np.zeros(1), np.zeros(1)
    for start in range(0, len(idx), chunk):
        rows = read(idx[start : start + chunk]).astype(np.float64)
        flat = np.moveaxis(rows, 1, 0).reshape(rows.shape[1], -1)
        n, chunk_mean = flat.shape[1], flat.mean(1)
        spread = np.square(flat - chunk_mean[:, None]).sum(1)
        gap = chunk_mean - mean
        m2 = m2 + spread + gap**2 * (count * n / (count + n))
        mean = mean + gap * (n / (count + n))
        count += n
    sd = np.sqrt(m2 / count)
    # Constant columns have a standard deviation of rounding size; do not divide by it.
    sd = np.where(sd > 1e-6 * np.abs(mean), sd, 1.0)
    return mean.astype(np.float32), sd.astype(np.float32)


class RowReader:
    """Reads rows of a view, from memory if they fit, otherwise prefetched in a thread.

    An accelerator keeps the rows in its own memory if they fit. Otherwise they are prefetched into
    pinned memory, so that copies overlap with computation.

    Parameters
    ----------
    expected
        Number of rows that training will read.
    device
        ``cpu`` or ``cuda``.
    """

    def __init__(self, samples: Samples, expected: int, device: str = "cpu") -> None:
        self._samples = samples
        self._kept: Array | None = samples.X
        self._pinned = device != "cpu"
        self._device = device
        self._copies: Any = torch.cuda.Stream(device) if self._pinned else None  # type: ignore[no-untyped-call]
        self._copied: dict[int, torch.cuda.Event] = {}
        self._ahead: dict[int, Future[Array | Tensor]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._on_device = self._copied_to_device(expected) if self._pinned else None
        if self._on_device is not None:
            return
        n = len(samples)
        if samples.X is None and n and n <= 2 * expected:
            first = samples.images(np.zeros(1, np.int64))
            if first.nbytes * n <= PRELOAD_BYTES:
                self._kept = np.empty((n, *first.shape[1:]), first.dtype)
                for start in range(0, n, 1024):
                    chunk = np.arange(start, min(start + 1024, n))
                    self._kept[chunk] = samples.images(chunk)

    def _copied_to_device(self, expected: int) -> Tensor | None:
        """Return all rows in the memory of the accelerator, or None if they do not fit."""
        samples, n = self._samples, len(self._samples)
        if not n or n > 2 * expected:
            return None
        first = samples.images(np.zeros(1, np.int64)) if samples.X is None else samples.X[:1]
        if first.nbytes * n > DEVICE_SHARE * torch.cuda.mem_get_info(self._device)[0]:
            return None
        kept: Tensor | None = None
        for start in range(0, n, 1024):
            rows = self.read(np.arange(start, min(start + 1024, n)))
            bits = rows.view(np.int16) if rows.dtype == np.uint16 else rows
            block = torch.from_numpy(np.ascontiguousarray(bits))
            if kept is None:
                kept = torch.empty((n, *block.shape[1:]), dtype=block.dtype, device=self._device)
            kept[start : start + len(block)] = block.to(self._device)
        return kept

    def read(self, idx: Ints) -> Array:
        """Return rows in their native dtype."""
        if self._kept is not None:
            return self._kept[idx]
        return self._samples.images(idx)

    def _gathered(self, idx: Ints) -> Array | Tensor:
        rows = self.read(idx)
        if not self._pinned:
            return rows
        bits = rows.view(np.int16) if rows.dtype == np.uint16 else rows
        pinned = torch.from_numpy(np.ascontiguousarray(bits)).pin_memory()
        with torch.cuda.stream(self._copies):
            rows_there = pinned.to(self._device, non_blocking=True)
            self._copied[id(rows_there)] = self._copies.record_event()
        return rows_there

    def step(self, step: int, sampler: Sampler, total: int) -> tuple[Ints, Ints, Array | Tensor]:
        """Return positions, codes and rows of a step, and prefetch the next steps."""
        idx, group = sampler(step)
        if self._on_device is not None:
            return idx, group, self._on_device[moved(idx, self._device)]
        if self._kept is not None and not self._pinned:
            return idx, group, self._kept[idx]
        waiting = self._ahead.pop(step, None)
        rows = self._gathered(idx) if waiting is None else waiting.result()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(STEPS_AHEAD if self._pinned else 1, "rows")
        for later in range(step + 1, min(step + 1 + (STEPS_AHEAD if self._pinned else 1), total)):
            if later not in self._ahead:
                self._ahead[later] = self._pool.submit(self._gathered, sampler(later)[0])
        if isinstance(rows, Tensor):
            computing = torch.cuda.current_stream(rows.device)
            computing.wait_event(self._copied.pop(id(rows)))
            rows.record_stream(computing)
        return idx, group, rows

    def close(self) -> None:
        """Stop the reading threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """Return each image under one of the eight symmetries of the square, drawn uniformly.

    Both axes are flipped and, if the image is square, transposed, each with probability 1/2. The
    products are the flips and right-angle rotations, each exactly once.
    """
    draws = torch.rand((3, x.shape[0], 1, 1, 1), generator=rng)
    if x.device.type != "cpu":
        draws = draws.pin_memory().to(x.device, non_blocking=True)
    draws = draws < 0.5
    x = torch.where(draws[0], x.flip(3), x)
    x = torch.where(draws[1], x.flip(2), x)
    if x.shape[2] == x.shape[3]:
        x = torch.where(draws[2], x.transpose(2, 3), x)
    return x


def magnified(x: Tensor, largest: float, rng: torch.Generator) -> Tensor:
    """Return each image magnified about its centre by its own random factor.

    Factors are log-uniform between ``1 / largest`` and ``largest``. The size in pixels stays; see
    :func:`bench.core.resampling.resampling_weights` for the kernel and the margin.
    """
    exponents = 2 * torch.rand(x.shape[0], generator=rng).double().numpy() - 1
    steps = np.exp(exponents * math.log(largest))
    height, width = (
        moved(resampling_weights(size, steps), x.device.type)[:, None] for size in x.shape[2:]
    )
    return height @ x @ width.transpose(2, 3)


def laid_out(x: Tensor, channels_last: bool) -> Tensor:
    """Return ``x`` in the memory format of the network."""
    if channels_last and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()
