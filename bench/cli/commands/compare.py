"""``compare``: every pair of methods of a board, and their ranks, from records alone."""

from __future__ import annotations

import sys

import click

from bench.cli.main import common, registry_for, store_for, write_text


@click.command()
@click.option("--split", "-s", help="Name, alias or FILE.toml[:NAME]; all by default.")
@click.option("--method", "-m", help="Only these, M[,M...].")
@click.option("--metric", help="Instead of each split's primary metric.")
@click.option("--readout", default="auto", show_default=True, help="auto, head or probe.")
@click.option("--edition", help="real or simulated.")
@click.option("--recipe", help="smoke, default or paper.")
@click.option("--format", "form", default="table", help="table, md, csv or json.")
@click.option("--output", metavar="FILE", help="Write there instead of printing.")
@click.option("--reference", is_flag=True, help="Also read the records in results/reference.")
@common
def command(
    split: str | None,
    method: str | None,
    metric: str | None,
    readout: str,
    edition: str | None,
    recipe: str | None,
    form: str,
    output: str | None,
    reference: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Compare methods with each other: paired tests with Holm's correction, and ranks."""
    from bench.boards.pairs import compare
    from bench.boards.render.pairs import FORMATS, render
    from bench.boards.select import boards
    from bench.cli.commands.leaderboard import _width
    from bench.cli.options import names
    from bench.core.errors import BenchError, did_you_mean
    from bench.data.catalog import canonical_name

    if form not in FORMATS:
        raise BenchError(did_you_mean(form, list(FORMATS), "format"))
    registry = registry_for(plugin)
    made = boards(
        store_for(results).load_all(reference=reference),
        split=canonical_name(split, registry),
        metric=metric,
        readout=readout,
        edition=edition,
        recipe=recipe,
        methods=names(method, "--method") if method is not None else None,
    )
    terminal = output is None and sys.stdout.isatty()
    text = render(
        [compare(board) for board in made],
        "json" if as_json else form,
        width=_width(terminal),
        colour=terminal,
    )
    if output is None:
        click.echo(text.rstrip("\n"))
    else:
        write_text(output, text)
