"""``figures``: drawn from records alone."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import completion
from bench.cli.options import PATH, REFERENCE, Common, common_options
from bench.cli.output import note, print_json, print_line
from bench.core.errors import BenchError


@click.command()
@click.argument("names", nargs=-1, shell_complete=completion.figures)
@click.option(
    "--output", metavar="DIR", type=PATH, help="Output folder [default: RESULTS/figures/]."
)
@REFERENCE
@click.option(
    "--split",
    metavar="SPLIT",
    shell_complete=completion.splits,
    help="With examples: split whose images to show.",
)
@click.option("--edition", metavar="NAME", default="auto", help="With --split.")
@common_options
def command(
    names: tuple[str, ...],
    output: str | None,
    reference: bool,
    split: str | None,
    edition: str,
    common: Common,
) -> None:
    r"""Draw figures from records: PDF, PNG, and a CSV with the data of each; default: all.

    A name that ends in / selects all figures that start with it. Example images need the data:

    \b
    python -m bench figures examples --split ottawa
    python -m bench figures degradation ranking paper/ --reference
    """
    from bench.output.figures import draw

    registry = common.registry()
    store = common.store()
    if split:
        if "examples" not in names:
            raise BenchError("--split is for the figure examples: figures examples --split ottawa")
        from bench.data.opening import open_splits
        from bench.output.examples import make_sheet, save_sheet

        lines: list[str] = []
        [task] = open_splits([split], registry, edition, {}, lines.append)
        save_sheet(make_sheet(task.opened), store.root / "examples")
        for line in lines:
            note(line)
    folder = Path(output) if output else store.outputs / "figures"
    files = draw(
        store.load_all(reference=reference), names, folder, results=store.root, registry=registry
    )
    if common.as_json:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        print_line(str(file))
