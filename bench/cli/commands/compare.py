"""``compare``: all pairs of methods of a board, and their ranks, from records alone."""

from __future__ import annotations

import click

from bench.cli import arguments
from bench.cli.board_options import BoardOptions, board_options
from bench.cli.options import Common, check, common_options, methods_option


@click.command()
@methods_option(help="Methods [default: all]. Repeatable.")
@board_options("table, md, csv or json.")
@common_options
def command(method: str | None, options: BoardOptions, common: Common) -> None:
    """Compare all pairs of methods: paired tests with Holm's correction, and ranks."""
    from bench.boards.pairs import compare
    from bench.boards.render.pairs import FORMATS, render

    check("format", options.form, FORMATS)
    methods = None if method is None else arguments.names(method, "--method")
    boards = options.boards(common.store(), common.registry(), methods=methods)
    comparisons = [compare(board) for board in boards]
    options.print(
        common, lambda form, width, colour: render(comparisons, form, width=width, colour=colour)
    )
