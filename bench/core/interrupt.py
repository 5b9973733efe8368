"""Ctrl-C while the command line is being imported: one line instead of a traceback.

Imports nothing but built-in modules, because it is used before all other imports.
"""

import _signal  # type: ignore[import-not-found]  # built in, without stubs
import os
import sys

LINE = "interrupted: run the same command again to continue\n"
COMMANDS = ("labshift", "labshift.exe")


def catch() -> None:
    """Exit with code 130 on Ctrl-C, if this process is the command line.

    ``sys.argv[0]`` is ``-m`` while ``python -m bench`` imports the package.
    """
    program = sys.argv[0] if sys.argv else ""
    if program != "-m" and os.path.basename(program) not in COMMANDS:  # noqa: PTH119 - see above
        return
    try:
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
            _signal.signal(_signal.SIGINT, _exit)
    except ValueError:  # not in the main thread
        return


def release() -> None:
    """Raise KeyboardInterrupt on Ctrl-C again."""
    if _signal.getsignal(_signal.SIGINT) is _exit:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _exit(number: int, frame: object) -> None:  # noqa: ARG001 - signature of signal
    os.write(2, LINE.encode())
    os._exit(130)
