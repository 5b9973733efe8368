"""``leaderboard``: methods ranked within tracks, from records alone."""

from __future__ import annotations

import click

from bench.cli.board_options import BoardOptions, board_options
from bench.cli.options import Common, check, common_options
from bench.cli.output import note


@click.command()
@board_options("table, md, csv, html, latex or json.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Include other recipes, data settings and selections.",
)
@click.option(
    "--overall", is_flag=True, help="Compare methods over all splits: ranks and mean differences."
)
@click.option("--studies", is_flag=True, help="Include runs of studies, on separate boards.")
@common_options
def command(
    options: BoardOptions, everything: bool, overall: bool, studies: bool, common: Common
) -> None:
    """Rank methods: means over seeds, intervals, differences to the baseline."""
    from bench.boards.render.dispatch import FORMATS, render
    from bench.boards.select import plain_boards

    check("format", options.form, FORMATS)
    if overall:
        _print_overall(options, common)
        return
    available = options.boards(common.store(), common.registry(), failures=True, studies=studies)
    narrowed = not everything and not studies and options.recipe is None
    boards = plain_boards(available) if narrowed else available
    if len(boards) < len(available):
        note(f"{len(available) - len(boards)} other boards: add --all")
    options.print(
        common, lambda form, width, colour: render(boards, form, width=width, colour=colour)
    )


def _print_overall(options: BoardOptions, common: Common) -> None:
    """Print the comparison over all splits."""
    from bench.boards.overall import overall
    from bench.boards.render.overall import FORMATS, render

    check("format", options.form, FORMATS)
    results = overall(options.boards(common.store(), common.registry()))
    options.print(
        common, lambda form, width, colour: render(results, form, width=width, colour=colour)
    )
