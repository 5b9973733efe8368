"""A time limit for code of others in this process."""

from __future__ import annotations

import ctypes
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, RunFailed
from bench.core.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AGAIN_S = 1.0
"""Seconds between two exceptions, in case the code catches the first one."""


class _TimeOver(BaseException):
    """Not an ``Exception``, so that ``except Exception`` in a method does not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise RunFailed in the block after some seconds; 0 is no limit.

    It ends loops of Python code, and in the main thread also its waiting. Code of an extension
    that does not return to the interpreter is not interrupted.

    Raises
    ------
    BenchError
        In the main thread of a system without an interval timer.
    """
    if not seconds:
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    if main and not hasattr(signal, "setitimer"):
        raise BenchError("--timeout requires a POSIX system: leave it out")
    cancel = _alarm(seconds) if main else _in_thread(seconds)
    try:
        try:
            yield
        finally:
            cancel()
    except _TimeOver:
        raise RunFailed(f"not finished after {duration(seconds)} (--timeout)") from None


def _alarm(seconds: float) -> Callable[[], None]:
    """Start a timer of the process; return a function that stops it."""

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 - signature of signal
        raise _TimeOver

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

    return cancel


def _in_thread(seconds: float) -> Callable[[], None]:
    """Start a thread that raises in the current one, as on a worker of Dask."""
    thread = ctypes.c_ulong(threading.get_ident())
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    ended, lock = threading.Event(), threading.RLock()

    def watch() -> None:
        wait = seconds
        while not ended.wait(wait):
            with lock:
                if not ended.is_set():
                    raise_in(thread, ctypes.py_object(_TimeOver))
            wait = AGAIN_S

    threading.Thread(target=watch, name="time limit", daemon=True).start()

    def end() -> None:
        with lock:
            ended.set()
            raise_in(thread, None)  # one that was not raised yet

    def cancel() -> None:
        try:
            end()
        except _TimeOver:  # raised in the lines above
            end()
            raise

    return cancel
