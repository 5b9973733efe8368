"""Run one network on several pieces of a batch, layer by layer, in one pass.

The statistics of a BatchNorm layer over all rows are known once every piece has reached the layer.
Each piece runs in its own thread that pauses at each layer. One thread runs at a time, in a fixed
order, so results do not depend on scheduling. The required activations of all pieces are in memory
together, as in one forward pass over all rows.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from bench.core.errors import RunFailed
from bench.core.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


T = TypeVar("T")


class NotEnoughMemory(Exception):
    """The activations of all pieces do not fit into memory."""


class _Cancelled(BaseException):
    """Ends the thread of a piece that is no longer needed."""


def available_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None if unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    return available_memory()


class _Piece(Generic[T]):
    """One piece: a thread that runs until the next layer and waits there."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._resume = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._cancelled = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.finished = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def _run(self) -> None:
        self._resume.acquire()
        try:
            if not self._cancelled:
                with torch.no_grad():  # this setting is per thread
                    self.result = self._work()
        except _Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self.error = error
        self.finished = True
        self._paused.release()

    def pause(self) -> None:
        """Wait at a layer; called from the piece's thread."""
        self._paused.release()
        self._resume.acquire()
        if self._cancelled:
            raise _Cancelled

    def advance(self) -> None:
        """Run the piece to its next layer, or to its end."""
        if not self._thread.is_alive():
            self._thread.start()
        self._resume.release()
        self._paused.acquire()
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        """Stop the thread."""
        if self._thread.is_alive():
            self._cancelled = True
            self._resume.release()
            self._thread.join()


def run_in_lockstep(
    works: Sequence[Callable[[Callable[[], None]], T]], layer_complete: Callable[[], None]
) -> list[T]:
    """Run all pieces layer by layer and return their results.

    Parameters
    ----------
    works
        A function per piece. It receives ``pause`` and calls it at each layer, after adding its
        rows to the statistics of that layer.
    layer_complete
        Called when all pieces have reached a layer, before any of them continues.

    Raises
    ------
    RunFailed
        If pieces pass through different numbers of layers.
    """
    pieces: list[_Piece[T]] = []
    for work in works:

        def bound(work: Callable[[Callable[[], None]], T] = work, k: int = len(pieces)) -> T:
            return work(pieces[k].pause)

        pieces.append(_Piece(bound))
    try:
        while True:
            for piece in pieces:
                piece.advance()
            finished = sum(piece.finished for piece in pieces)
            if finished == len(pieces):
                return [piece.result for piece in pieces]  # type: ignore[misc]
            if finished:
                raise RunFailed(
                    "pieces of a test batch pass through different numbers of BatchNorm layers: "
                    "the network must not depend on the number of rows"
                )
            layer_complete()
    finally:
        for piece in pieces:
            piece.cancel()
