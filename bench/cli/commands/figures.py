"""``figures``: drawn from records alone."""

from __future__ import annotations

import json
from typing import Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
from bench.core.errors import BenchError


@click.command()
@click.argument("names", nargs=-1, shell_complete=completion.figures)
@click.option("--output", metavar="DIR", help="Folder; else figures/ in the results folder.")
@click.option("--reference", is_flag=True, help="Also read the records in results/reference.")
@click.option(
    "--split",
    metavar="SPLIT",
    shell_complete=completion.splits,
    help="With examples: open its data and choose images.",
)
@click.option("--edition", default="auto", show_default=True, help="With --split.")
@common
def command(
    names: tuple[str, ...],
    output: str | None,
    reference: bool,
    split: str | None,
    edition: str,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    r"""Draw figures from records: PDF, PNG and the CSV behind each; all if none is named.

    A name that ends in / stands for all that begin so. Example images need the data once:

    \b
    python -m bench figures examples --split ottawa
    python -m bench figures degradation ranking paper/ --reference
    """
    from pathlib import Path

    from bench.output.figures import draw

    registry = registry_for(plugin)
    store = store_for(results)
    if split:
        _keep_examples(names, split, edition, registry, store)
    out = Path(output) if output else store.root / "figures"
    files = draw(
        store.load_all(reference=reference), names, out, results=store.root, registry=registry
    )
    if as_json:
        click.echo(json.dumps({"files": [str(file) for file in files]}, indent=1))
        return
    for file in files:
        click.echo(str(file))


def _keep_examples(
    names: tuple[str, ...], split: str, edition: str, registry: Any, store: Any
) -> None:
    """Open the data of a split and keep a sheet of example images in the results folder."""
    from bench.data.opening import open_splits
    from bench.output.examples import make_sheet, save_sheet

    if "examples" not in names:
        raise BenchError("--split goes with the figure examples: figures examples --split ottawa")
    said: list[str] = []
    [target] = open_splits([split], registry, edition, {}, said.append)
    save_sheet(make_sheet(target.opened), store.root / "examples")
    for line in said:
        click.echo(line, err=True)
