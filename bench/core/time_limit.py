"""A time limit for code of others in this process."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, RunFailed
from bench.core.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterator


class _TimeOver(BaseException):
    """Not an ``Exception``, so that ``except Exception`` in a method does not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise RunFailed in the block after some seconds; 0 is no limit.

    It ends loops and waiting of Python code. Code of an extension that does not return to the
    interpreter is not interrupted.

    Raises
    ------
    BenchError
        If the system has no interval timer, or this is not the main thread.
    """
    if not seconds:
        yield
        return
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        raise BenchError(
            "--timeout takes a number of seconds, on a POSIX system in the main thread"
            ": correct it or leave it out"
        )

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 - signature of signal
        raise _TimeOver

    previous = signal.signal(signal.SIGALRM, stop)
    # Again every second, in case the code catches the exception.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    except _TimeOver:
        raise RunFailed(f"not finished after {duration(seconds)} (--timeout)") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
