"""Seeds and deterministic kernels."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def reproducible(seed: int, device: str, shape: Sequence[int]) -> Iterator[None]:
    """Use deterministic kernels and a seeded global generator; restore both on exit.

    Profiles are computed on one thread, because for such small matrices thread synchronisation
    takes longer than the computation, especially on a busy machine.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    threads = torch.get_num_threads()
    cuda = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        _use_deterministic_algorithms(True, warn_only=True)
        # Otherwise every new tensor is filled before it is written, about 1,000 kernels per step of
        # a ResNet-50. No kernel used here reads uninitialised memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        if len(shape) == 1:
            torch.set_num_threads(1)
        seed_torch(seed, device)
        try:
            yield
        finally:
            _use_deterministic_algorithms(before, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
            torch.set_num_threads(threads)


def _use_deterministic_algorithms(mode: bool, *, warn_only: bool) -> None:
    """Call ``torch.use_deterministic_algorithms``, without its import of the compiler.

    The import takes more than a second of processor time, only to set an option of the compiler.
    The first step of an optimiser imports it, too, but inference does not.
    """
    directly = getattr(torch._C, "_set_deterministic_algorithms", None)
    if directly is None or "torch._inductor" in sys.modules:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
    else:
        directly(mode, warn_only=warn_only)


def seed_torch(seed: int, device: str = "cpu") -> None:
    """Seed the generators used on a device, like ``torch.manual_seed``.

    On the CPU, only the CPU generator is seeded. ``torch.manual_seed`` also queues a seed for each
    uninitialised accelerator together with a formatted stack trace, which can take longer than a
    training step of a small network.
    """
    if device == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
