"""``report``: one HTML file that opens from disk, from records alone."""

from __future__ import annotations

import json
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
@click.option("--output", metavar="FILE", help="Else report.html in the results folder.")
@click.option("--figures/--no-figures", default=True, help="Without them it takes a moment.")
@click.option("--reference", is_flag=True, help="Also read the records in results/reference.")
@common
def command(
    split: str | None,
    output: str | None,
    figures: bool,
    reference: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Write one offline page: a summary in words, boards, figures, a page for each method."""
    from pathlib import Path

    from bench.data.catalog import canonical_name
    from bench.output.report import build

    registry = registry_for(plugin)
    store = store_for(results)
    file = Path(output) if output else store.root / "report.html"

    def say(step: str) -> None:
        if sys.stderr.isatty() and not as_json:
            click.echo(f"making {step} …", err=True)

    made = build(
        store.load_all(reference=reference),
        registry,
        split=canonical_name(split, registry),
        failures=store.failures(),
        figures=figures,
        results=store.root,
        say=say,
    )
    if output is None:
        store.root.mkdir(parents=True, exist_ok=True)
    write_text(str(file), made.html)
    size = len(made.html.encode())
    if as_json:
        facts = {"file": str(file), "bytes": size, "runs": made.n_runs, "boards": made.n_boards}
        click.echo(json.dumps({**facts, "figures": made.n_pictures}, indent=1))
        return
    click.echo(f"{file}  {size / 1e6:.1f} MB: {made.n_boards} boards, {made.n_pictures} figures")
