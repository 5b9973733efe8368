"""How far a long preparation is, for whoever shows it; nobody has to."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTENER: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("listener", default=None)


def report(label: str, done: int, total: int) -> None:
    """Tell whoever listens that ``done`` of ``total`` parts of ``label`` are there."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(label, done, total)


@contextmanager
def listening(listener: Callable[[str, int, int], None]) -> Iterator[None]:
    """Hand every report made inside the block to ``listener(label, done, total)``."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
