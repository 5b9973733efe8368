"""Processes that tests start: waiting for them, and processes that kill themselves.

A test that waits until another process has come so far, and then kills it, fails where the machine
is busy: the process is sometimes faster and sometimes slower than the test. Where possible, the
process kills itself at a given call.
"""

from __future__ import annotations

import os
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

PATIENCE = 300.0
"""Seconds that a process may take on a busy machine. A hanging process fails its test by then."""


def wait_for(
    condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = PATIENCE
) -> None:
    """Wait until a condition is true while a process is running."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"nothing happened within {seconds:g} s"
        time.sleep(0.01)


def forked(call: Callable[[], object], before: str = "") -> int:
    """Call a function in a fork of this process, which saves the import of libraries.

    Parameters
    ----------
    before
        Code to run first, such as that of :func:`killed_at`.

    Returns
    -------
    int
        Exit code, negative for a signal.
    """
    pid = os.fork()
    if not pid:
        code = 1
        try:
            exec(before, {})
            call()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(module: str, name: str, call: int, *, before: bool = False) -> str:
    """Return code that makes a process kill itself after, or before, a call of a function.

    Parameters
    ----------
    module, name
        Function that is counted, such as ``"bench.training.checkpoint"``, ``"Checkpoint.save"``.
    call
        Number of the call, from 1.
    before
        Whether the process is killed before this call instead of after it.
    """
    owner, _, function = name.rpartition(".")
    holder = f"_module.{owner}" if owner else "_module"
    return f"""
import importlib, os, signal
_module = importlib.import_module({module!r})
_real, _calls = {holder}.{function}, [0]
def _counted(*arguments, **options):
    _calls[0] += 1
    if {before} and _calls[0] == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = _real(*arguments, **options)
    if _calls[0] == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
{holder}.{function} = _counted
"""
