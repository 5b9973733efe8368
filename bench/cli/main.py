"""Entry point of the command line: errors and exit codes.

Exit codes: 0 done, 1 a run failed, 2 wrong usage or bad input (one line on stderr that starts with
``error:``), 130 interrupted, 129 and 143 after SIGHUP and SIGTERM.

This module imports little, so that Ctrl-C during the imports of a command is handled here, too.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
from contextlib import suppress

from bench.core import interrupt

COMPLETE = "_LABSHIFT_COMPLETE"
"""Environment variable by which a shell asks for completions."""


ASCII = {"–": "-", "—": "-", "−": "-", "×": "x", "…": "...", "·": "-", "±": "+/-", "µ": "u"}
"""Replacements of characters that the encoding of the output cannot represent."""
SIGNALS = ("SIGTERM", "SIGHUP")
"""Signals that end the command like Ctrl-C. The second one, of a closed terminal, is of POSIX."""

OTHERS = 0o002
"""Permission that new files and folders never have: that all users may change them."""


class _Terminated(KeyboardInterrupt):
    """A signal; raised like Ctrl-C, so that files and locks are released in the same way."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    argv = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    mask = os.umask(0o022)
    os.umask(mask | OTHERS)
    try:
        interrupt.release()
        _accept_all_characters()
        for number in numbers:
            # `nohup` ignores SIGHUP; not in the main thread: ValueError
            if previous[number] != signal.SIG_IGN:
                with suppress(ValueError):
                    signal.signal(number, _terminate)
        code = _run(argv)
    except KeyboardInterrupt as error:
        terminated = isinstance(error, _Terminated)
        with suppress(OSError):  # the terminal is gone after SIGHUP
            sys.stderr.write(
                interrupt.LINE.replace("interrupted", "terminated")
                if terminated
                else interrupt.LINE
            )
        code = 128 + error.args[0] if terminated else 130  # as a shell reports it
    except BrokenPipeError:
        # The reader of a pipe ended, as in `| head`.
        _drop_output()
        code = 0
    finally:
        for number, handler in previous.items():
            with suppress(ValueError, TypeError):  # not in the main thread; set outside of Python
                signal.signal(number, handler)
        os.umask(mask)
    sys.exit(code)


def _drop_output() -> None:
    """Let the interpreter write what is left of the output to nowhere when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001 - signature of signal
    raise _Terminated(number)


def _accept_all_characters() -> None:
    """Print a replacement for characters that the encoding of stdout or stderr does not have."""

    def replace(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        characters = error.object[error.start : error.end]
        return "".join(ASCII.get(character, "?") for character in characters), error.end

    codecs.register_error("labshift", replace)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="labshift")


def _run(argv: list[str]) -> int:
    import click

    from bench.cli.group import group
    from bench.core.errors import BenchError
    from bench.core.words import printable

    try:
        code = group.main(
            args=argv, prog_name="python -m bench", complete_var=COMPLETE, standalone_mode=False
        )
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort as error:  # click replaces KeyboardInterrupt
        raise error.__cause__ or error.__context__ or KeyboardInterrupt from None
    except BrokenPipeError:
        raise
    except (BenchError, click.ClickException, OSError) as error:
        if "--debug" in argv:
            raise
        sys.stderr.write(f"error: {printable(_message(error))}\n")
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return 2
    return code if isinstance(code, int) else 0


def _message(error: Exception) -> str:
    """Return what is wrong and how to fix it, on one line."""
    import click

    if isinstance(error, click.ClickException):
        text = " ".join(error.format_message().split())
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context is not None else "python -m bench"
        return f"{text.rstrip('.')}; see `{path} --help`"
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}: free disk space or correct the path"
    return str(error)
