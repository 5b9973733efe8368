"""Checks of errors by class and by the values that they name, not by their wording."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

E = TypeVar("E", bound=BaseException)

FIX = re.compile(r"[:;?`]|, ")
"""What a message with a fix contains: ``what is wrong: how to fix it``."""


@contextmanager
def raises(kind: type[E], *names: object, fix: bool = True) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expect an exception that names all that a reader needs to find the fault.

    Parameters
    ----------
    kind
        Class of the exception.
    names
        What the message must contain: columns, files, options, numbers. No sentences.
    fix
        Whether a `BenchError` must offer a fix. Errors of functions on arrays need none.
    """
    with pytest.raises(kind) as caught:
        yield caught
    message = str(caught.value)
    absent = [str(name) for name in names if str(name) not in message]
    assert not absent, f"{absent} not in: {message}"
    if fix and type(caught.value) is BenchError:
        assert FIX.search(message), f"no fix is offered: {message}"


def mentions(text: str | Iterable[str], *names: object) -> None:
    """Check that a message, or one of several, contains all these names and values."""
    texts = [text] if isinstance(text, str) else list(text)
    assert any(all(str(name) in message for name in names) for message in texts), (names, texts)
