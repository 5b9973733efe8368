"""``leaderboard``: methods ranked within tracks, from records alone."""

from __future__ import annotations

import dataclasses

import click

from bench.cli.board_options import BoardOptions, board_options
from bench.cli.options import Common, check, common_options
from bench.cli.output import note
from bench.core.words import count


@click.command()
@board_options("table, md, csv, html, latex or json.")
@click.option(
    "--all", "everything", is_flag=True, help="Include other recipes, data settings and selections."
)
@click.option(
    "--overall", is_flag=True, help="Compare methods over all splits: ranks and mean differences."
)
@click.option(
    "--draws", is_flag=True, help="Pool the draws of simulated data; each draw is a cluster."
)
@click.option("--studies", is_flag=True, help="Include runs of studies, on separate boards.")
@common_options
def command(
    options: BoardOptions,
    everything: bool,
    overall: bool,
    draws: bool,
    studies: bool,
    common: Common,
) -> None:
    """Rank methods: means over seeds, intervals, differences to the baseline."""
    from bench.boards.draws import pooled_draws
    from bench.boards.render.dispatch import FORMATS, render
    from bench.boards.select import plain_boards

    check("format", options.form, FORMATS)
    if overall:
        _print_overall(options, common)
        return
    if draws and options.readout == "auto":  # control rows, which have no head, are on some draws
        options = dataclasses.replace(options, readout="probe")
    available = options.boards(common.store(), common.registry(), failures=True, studies=studies)
    if draws:
        available = pooled_draws(available)
    narrowed = not everything and not studies and options.recipe is None
    boards = plain_boards(available) if narrowed else available
    if len(boards) < len(available):
        note(f"{count(len(available) - len(boards), 'other board')}: add --all")
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
