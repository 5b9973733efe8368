"""Entry point of the command line: errors and exit codes.

Exit codes: 0 done, 1 a run failed, 2 wrong usage or bad input (one line on stderr that starts with
``error:``), 130 interrupted.

This module imports little, so that Ctrl-C during the imports of a command is handled here, too.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

COMPLETE = "_LABSHIFT_COMPLETE"
"""Environment variable by which a shell asks for completions."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments
        Command and options; default ``sys.argv[1:]``.
    """
    argv = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = _run(argv)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: run the same command again to continue\n")
        code = 130
    except BrokenPipeError:
        # The reader of a pipe ended, as in `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _run(argv: list[str]) -> int:
    import click

    from bench.cli.group import group
    from bench.core.errors import BenchError

    try:
        code = group.main(
            args=argv, prog_name="python -m bench", complete_var=COMPLETE, standalone_mode=False
        )
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        raise
    except (BenchError, click.ClickException, OSError) as error:
        if "--debug" in argv:
            raise
        sys.stderr.write(f"error: {_message(error)}\n")
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
