"""Seeds and deterministic kernels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["reproducible"]


@contextmanager
def reproducible(seed: int, device: str, shape: Sequence[int]) -> Iterator[None]:
    """Deterministic kernels and a seeded global generator, both put back afterwards.

    Rows that are profiles are computed on one thread: the matrices are so small that threads wait
    for each other longer than they compute, above all where others use the machine too.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    threads = torch.get_num_threads()
    cuda = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        if len(shape) == 1:
            torch.set_num_threads(1)
        seed_torch(seed, device)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            torch.set_num_threads(threads)


def seed_torch(seed: int, device: str = "cpu") -> None:
    """Seed the generators that draws on a device come from, as ``torch.manual_seed`` does.

    That of the processor is seeded alone where it is the device: ``torch.manual_seed`` keeps the
    seed for each kind of accelerator that was not used yet, with the text of the call's stack,
    which takes longer than a training step of a small network may.
    """
    if device == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
