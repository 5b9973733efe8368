"""``report``: one HTML file that works offline, from records alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.board_options import BUNDLES, with_bundles
from bench.cli.options import REFERENCE, SPLIT_FILTER, Common, common_options, output_option
from bench.cli.output import note, print_json, print_line, write_output
from bench.core.words import count, file_size


@click.command()
@SPLIT_FILTER
@output_option(help="Output file [default: RESULTS/report.html].")
@click.option("--figures/--no-figures", default=True, help="Skip figures (much faster).")
@REFERENCE
@BUNDLES
@common_options
def command(
    split: str | None,
    output: str | None,
    figures: bool,
    reference: bool,
    bundles: tuple[str, ...],
    common: Common,
) -> None:
    """Write an offline HTML report: summary, boards, figures, one page per method."""
    from bench.data.catalog import canonical_name
    from bench.output.report import build

    registry = common.registry()
    store = common.store()
    file = Path(output) if output else store.outputs / "report.html"

    def say(step: str) -> None:
        if sys.stderr.isatty() and not common.as_json:
            note(f"making {step} …")

    report = build(
        with_bundles(store.load_all(reference=reference), bundles),
        registry,
        split=canonical_name(split, registry),
        failures=store.failures(),
        figures=figures,
        results=store.root,
        say=say,
    )
    if output is None:
        store.outputs.mkdir(parents=True, exist_ok=True)
    write_output(str(file), report.html)
    size, n_boards, n_figures = len(report.html.encode()), report.n_boards, report.n_pictures
    if common.as_json:
        facts = {"file": str(file), "bytes": size, "runs": report.n_runs, "boards": n_boards}
        print_json({**facts, "figures": n_figures})
    else:
        shown = f"{count(n_boards, 'board')}, {count(n_figures, 'figure')}"
        print_line(f"{file}  {file_size(size)}: {shown}")
