"""``figures``: drawn from records alone."""

from __future__ import annotations

import json

import click

from bench.cli import common, registry_for, store_for


@click.command()
@click.argument("names", nargs=-1)
@click.option("--output", metavar="DIR", help="Folder; else figures/ in the results folder.")
@click.option("--reference", is_flag=True, help="Also read the records in results/reference.")
@common
def command(
    names: tuple[str, ...],
    output: str | None,
    reference: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Draw figures from records: PDF, PNG and the CSV behind each."""
    from pathlib import Path

    from bench.figures import draw

    registry_for(plugin)
    store = store_for(results)
    out = Path(output) if output else store.root / "figures"
    files = draw(store.load_all(reference=reference), names, out, results=store.root)
    if as_json:
        click.echo(json.dumps({"files": [str(file) for file in files]}, indent=1))
        return
    for file in files:
        click.echo(str(file))
