"""The command group; a command is imported when it is called."""

from __future__ import annotations

import importlib

import click

from bench.core.errors import BenchError, did_you_mean
from bench.core.version import __version__

COMMANDS = {
    "run": ("run", "Run methods on splits and write records."),
    "tune": ("tune", "Tune parameters on validation rows, refit, and write records."),
    "sweep": ("sweep", "Run a suite of methods and splits, on one machine or a cluster."),
    "list": ("listing", "List methods, splits, runs and other things."),
    "show": ("show", "Show details of a method, split, data set, run or failure."),
    "score": ("score", "Score predictions or embeddings computed elsewhere."),
    "leaderboard": ("leaderboard", "Rank methods by their records."),
    "compare": ("compare", "Compare all pairs of methods: paired tests and ranks."),
    "study": ("study", "Run an ablation study: table, figure, short summary."),
    "figures": ("figures", "Draw figures from records."),
    "report": ("report", "Write an offline HTML report from records."),
    "fit": ("fit", "Fit a correction on a table and save it."),
    "apply": ("apply", "Correct a new table by a saved correction."),
    "verify": ("verify", "Check records and bundles; repeat runs of a bundle and compare."),
    "bundle": ("bundle", "Pack runs into one zip file that others can verify."),
    "submit": ("submit", "Write the folder of a pull request to a public leaderboard."),
    "card": ("card", "Write the card of a data set, a split or a saved correction."),
    "export": ("export", "Export the corrected embeddings of a run."),
    "results": ("results", "Show the size of the results folder; delete parts of it."),
    "recommend": ("recommend", "Recommend a correction for your own data."),
    "new": ("new", "Create a template for a new extension."),
    "data": ("data", "List, locate, fetch or verify published data sets."),
    "check": ("check", "Check that an extension follows its interface."),
    "check-data": ("check_data", "Check a data set and its splits before training."),
    "completion": ("completion", "Print a shell completion script."),
    "doctor": ("doctor", "Check the environment and suggest fixes."),
}
"""Command -> module in ``bench.cli.commands`` and one-line help."""


class _Lazy(click.Group):
    """A group that imports a command when it is called and suggests near names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            if ctx.resilient_parsing:  # the shell asks for completions of an unknown command
                return None
            raise BenchError(did_you_mean(name, list(COMMANDS), "command"))
        command: click.Command = importlib.import_module(
            f"bench.cli.commands.{COMMANDS[name][0]}"
        ).command
        # Docstrings are raw strings; click keeps the lines of examples after a real backspace only.
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
    """Benchmark batch-effect corrections on out-of-distribution splits."""
