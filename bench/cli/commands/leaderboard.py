"""``leaderboard``: what was run, ranked within tracks, from records alone."""

from __future__ import annotations

import sys

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for, write_text


@click.command()
@click.option(
    "--split",
    "-s",
    shell_complete=completion.splits,
    help="Name, alias or FILE.toml[:NAME]; all by default.",
)
@click.option("--metric", help="Instead of each split's primary metric.")
@click.option("--readout", default="auto", show_default=True, help="auto, head, probe or knn1.")
@click.option("--edition", help="real or simulated.")
@click.option("--recipe", help="smoke, default or paper.")
@click.option("--format", "form", default="table", help="table, md, csv, html, latex or json.")
@click.option("--output", metavar="FILE", help="Write there instead of printing.")
@click.option("--reference", is_flag=True, help="Also read the records in results/reference.")
@click.option("--studies", is_flag=True, help="Also runs of studies, on boards of their own.")
@common
def command(
    split: str | None,
    metric: str | None,
    readout: str,
    edition: str | None,
    recipe: str | None,
    form: str,
    output: str | None,
    reference: bool,
    studies: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Rank what was run: means over seeds, intervals, paired differences to ERM."""
    from bench.boards.render.dispatch import FORMATS, render
    from bench.boards.select import boards
    from bench.data.catalog import canonical_name

    if form not in FORMATS:
        from bench.core.errors import BenchError, did_you_mean

        raise BenchError(did_you_mean(form, list(FORMATS), "format"))
    registry = registry_for(plugin)
    store = store_for(results)
    made = boards(
        store.load_all(reference=reference),
        split=canonical_name(split, registry),
        metric=metric,
        readout=readout,
        edition=edition,
        recipe=recipe,
        failures=store.failures(),
        studies=studies,
    )
    terminal = output is None and sys.stdout.isatty()
    text = render(made, "json" if as_json else form, width=_width(terminal), colour=terminal)
    if output is None:
        click.echo(text.rstrip("\n"))
    else:
        write_text(output, text)


def _width(terminal: bool) -> int:
    import shutil

    return shutil.get_terminal_size((120, 24)).columns if terminal else 160
