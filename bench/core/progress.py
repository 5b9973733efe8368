"""Progress callbacks for long preparation steps."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTENER: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("listener", default=None)


def report(label: str, done: int, total: int) -> None:
    """Report that ``done`` of ``total`` parts of ``label`` are finished."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(label, done, total)


@contextmanager
def listening(listener: Callable[[str, int, int], None]) -> Iterator[None]:
    """Pass every report made inside the block to ``listener(label, done, total)``."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
