"""Processes that tests start: waiting for them, and processes that kill themselves.

A test that waits until another process has come so far, and then kills it, fails where the machine
is busy: the process is sometimes faster and sometimes slower than the test. Where possible, the
process kills itself at a given call.
"""

from __future__ import annotations

import time
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
