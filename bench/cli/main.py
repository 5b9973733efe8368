"""The command line: one group whose commands are imported when they are called.

Exit codes: 0 done, 1 a run failed, 2 wrong usage or bad input (one line on stderr beginning with
``error:``), 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from bench.core.errors import BenchError, did_you_mean
from bench.core.version import __version__

COMMANDS = {
    "run": ("run", "Run methods on splits and write records."),
    "tune": ("tune", "Choose parameters on validation rows, refit, and write records."),
    "list": (
        "listing",
        "List methods, splits, datasets, metrics, studies, figures, claims or plugins.",
    ),
    "show": ("show", "Show a method, split, data set or run in full."),
    "leaderboard": ("leaderboard", "Rank what was run."),
    "compare": ("compare", "Compare methods with each other: paired tests and ranks."),
    "study": ("study", "Answer one question by a table, a figure and three sentences."),
    "figures": ("figures", "Draw figures from records."),
    "report": ("report", "Write one offline page from records."),
    "export": ("export", "Export the corrected embeddings of a run."),
    "recommend": ("recommend", "Say which correction to use on your own data."),
    "new": ("new", "Write the file of a new method or data set."),
    "data": ("data", "List, locate, fetch or verify the files of real data sets."),
    "check": ("check", "Check that a method keeps the contract."),
    "check-data": ("check_data", "Look at a data set and its splits before training."),
    "completion": ("completion", "Print what a shell needs to complete names after TAB."),
    "doctor": ("doctor", "Look what may stand in the way here, and tell the cure."),
}

COMPLETE = "_LABSHIFT_COMPLETE"
"""Environment variable by which a shell asks for completions."""


class _Lazy(click.Group):
    """A group that imports a command when it is called and names near misses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            if ctx.resilient_parsing:  # a shell asks what might follow: nothing
                return None
            raise BenchError(did_you_mean(name, list(COMMANDS), "command"))
        command: click.Command = importlib.import_module(
            f"bench.cli.commands.{COMMANDS[name][0]}"
        ).command
        # Examples stand in raw docstrings; click keeps their lines after a real backspace alone.
        command.help = (command.help or "").replace("\\b\n", "\b\n")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: python -m bench run --method ben --split ottawa",
)
@click.version_option(__version__, prog_name="labshift")
def group() -> None:
    """Tell which correction still works when the plate, laboratory or microscope is new."""


def common(command: Any) -> Any:
    """Add the options that every command takes."""
    options = [
        click.option("--results", metavar="DIR", help="Records; else $BENCH_RESULTS or ./results."),
        click.option("--plugin", metavar="FILE", multiple=True, help="A file with a method."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else."),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def registry_for(plugin: tuple[str, ...]) -> Any:
    """Return the registry with the plugin files given, which worker processes inherit too."""
    from pathlib import Path

    from bench.core.meta import PLUGINS
    from bench.core.registry import Registry

    paths = tuple(Path(text).resolve() for text in plugin)
    registry = Registry(paths)
    if paths:
        known = [text for text in os.environ.get(PLUGINS, "").split(os.pathsep) if text]
        merged = dict.fromkeys([*known, *map(str, paths)])
        os.environ[PLUGINS] = os.pathsep.join(merged)
    return registry


def store_for(results: str | None) -> Any:
    """Return the store of ``--results``."""
    from pathlib import Path

    from bench.records.store import Store

    return Store(Path(results or os.environ.get("BENCH_RESULTS") or "results"))


def write_text(output: str, text: str) -> None:
    """Write a file in one step.

    Raises
    ------
    BenchError
        If the folder is missing or not writable.
    """
    from pathlib import Path

    path = Path(output)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BenchError(
            f"{path} cannot be written ({error.strerror}): choose another --output"
        ) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    try:
        code = group.main(
            args=given,
            prog_name="python -m bench",
            complete_var=COMPLETE,
            standalone_mode=False,
        )
    except BenchError as error:
        _stop(str(error), debug)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        _stop(_usage(error), debug)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: run the same command again to continue", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe went away, as with `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _stop(f"{error.strerror or error}{where}: free space or mend the path", debug)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "python -m bench"
    return f"{text.rstrip('.')}; see `{path} --help`"


def _stop(message: str, debug: bool) -> None:
    if debug:
        raise
    click.echo(f"error: {message}", err=True)
    sys.exit(2)
