"""Processes that train one network together."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

__all__ = ["Group", "current", "together"]


@dataclass(frozen=True)
class Group:
    """The processes of a training, which have joined ``torch.distributed`` if there are several.

    Attributes
    ----------
    rank, size
        Number of this process, from 0, and number of processes.
    begin
        Called by process 0 before the training; the others start when it is called.
    """

    rank: int = 0
    size: int = 1
    begin: Callable[[], None] = lambda: None

    def slots(self, n: int) -> range:
        """Return which of the ``n`` batches of a step this process computes."""
        each = n // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes.

        Raises
        ------
        RunFailed
            If another process has ended.
        """
        if self.size > 1:
            import torch.distributed as dist

            try:
                dist.all_reduce(values)
            except RuntimeError as error:
                raise RunFailed(
                    f"another process of --devices has ended: {str(error).splitlines()[0]}"
                ) from error
        return values

    def shared(self, value: Any) -> Any:  # noqa: ANN401 - any checkpoint
        """Return the value of process 0."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


_CURRENT: ContextVar[Group | None] = ContextVar("group", default=None)


def current() -> Group:
    """Return the processes of trainings in this block; by default this process alone."""
    return _CURRENT.get() or Group()


@contextlib.contextmanager
def together(group: Group) -> Iterator[None]:
    """Train with other processes in a block."""
    token = _CURRENT.set(group)
    try:
        yield
    finally:
        _CURRENT.reset(token)
