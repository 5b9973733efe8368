"""``leaderboard``: methods ranked within tracks, from records alone."""

from __future__ import annotations

import click

from bench.cli.board_options import BoardOptions, board_options
from bench.cli.options import Common, check, common_options


@click.command()
@board_options("table, md, csv, html, latex or json.")
@click.option("--studies", is_flag=True, help="Include runs of studies, on separate boards.")
@common_options
def command(options: BoardOptions, studies: bool, common: Common) -> None:
    """Rank methods: means over seeds, intervals, paired differences to ERM."""
    from bench.boards.render.dispatch import FORMATS, render

    check("format", options.form, FORMATS)
    boards = options.boards(common.store(), common.registry(), failures=True, studies=studies)
    options.print(
        common, lambda form, width, colour: render(boards, form, width=width, colour=colour)
    )
