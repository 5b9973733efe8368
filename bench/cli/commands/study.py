"""``study``: one question, answered by a table, a figure and three sentences."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
from bench.cli.options import (
    DEVICES,
    EDITIONS,
    RECIPES,
    check_names,
    check_parameters,
    names,
    one_of,
    seeds_of,
    sorted_settings,
    spread,
)
from bench.cli.progress import Bar, waiting
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.meta import Meta


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--split",
    "-s",
    required=True,
    shell_complete=completion.splits,
    help="A name, or FILE.toml[:NAME].",
)
@click.option(
    "--method",
    "-m",
    shell_complete=completion.methods,
    help="Names, M[,M...]; else those of the study.",
)
@click.option("--points", help="X[,X...]: values of what the study varies, instead of its own.")
@click.option("--recipe", default="default", show_default=True, help="smoke, default or paper.")
@click.option("--edition", default="auto", show_default=True, help="auto, real or simulated.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", help="One seed (default: the study's three, 0 to 2).")
@click.option("--seeds", help="N seeds, 0 to N-1.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    help="A method's parameter, recipe.KEY, or data.KEY.",
)
@common
def command(
    name: str,
    split: str,
    method: str | None,
    points: str | None,
    recipe: str,
    edition: str,
    device: str,
    seed: str | None,
    seeds: str | None,
    settings: tuple[str, ...],
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> int:
    r"""Answer one question about corrections on one split; `list studies` has the questions.

    Runs that are on record are not made again; a study that was killed goes on where it was.

    \b
    python -m bench study batch-size --split ottawa --seeds 3
    python -m bench study label-shift -m erm,adabn,ben -s screen.toml:weeks
    """
    from bench.data.opening import open_splits
    from bench.runs.job import Options
    from bench.runs.runner import Runner
    from bench.studies import known, load

    registry = registry_for(plugin)
    studies = known(registry)
    if name not in studies:
        raise BenchError(did_you_mean(name, list(studies), "study"))
    meta = studies[name]
    one_of("recipe", recipe, RECIPES)
    one_of("edition", edition, EDITIONS)
    one_of("device", device, DEVICES)
    methods = list(meta["methods"]) if method is None else names(method, "--method")
    numbers = seeds_of(seed, "3" if seed is None and seeds is None else seeds)
    if len(names(split, "--split")) > 1:
        raise BenchError("--split: a study is of one split; call it once for each")
    at = _points(meta, points)
    values, overrides, data = sorted_settings(settings, methods)
    check_names(methods, registry)
    store = store_for(results)
    spread(values, methods, registry)
    check_parameters(values, registry)
    options = Options(recipe, overrides, values, device)
    held: list[str] = []
    with waiting(f"opening {split}"):
        [target] = open_splits([split], registry, edition, data, held.append)

    def reopen(typed: str, changed: Any) -> Any:
        [found] = open_splits([typed], registry, edition, {**data, **changed}, held.append)
        return found

    from bench.studies import StudyContext, folder_of, subtitle, write

    with Bar(
        1, show=sys.stderr.isatty(), say=lambda line: click.echo(line, err=True), held=held
    ) as bar:
        runner = Runner(store, options, bar.say, bar.update)
        context = StudyContext(
            target, methods, numbers, at, registry, runner, options, reopen, done=bar.done
        )
        below = subtitle(context)
        finding = load(name, registry)(context)
    files = write(folder_of(store.root, name, context), meta, context, finding)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "study": name,
                    "split_id": target.split.name,
                    "edition": target.opened.edition,
                    "recipe": recipe,
                    "runs_digest": context.runs_digest,
                    "rows": list(finding.table),
                    "reading": list(finding.reading),
                    "left_out": context.left_out,
                    "files": [str(file) for file in files],
                },
                indent=1,
                allow_nan=False,
            )
        )
    else:
        _print(meta, context, finding, below)
        for file in files:
            click.echo(str(file))
    return 1 if context.failed else 0


def _points(meta: Meta, text: str | None) -> list[float]:
    if text is None:
        return [float(value) for value in meta["points"]]
    if not meta["point"]:
        raise BenchError(f"--points: study {meta['name']} varies nothing that has values")
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise BenchError(f"--points takes numbers with commas between, not '{text}'") from None
    if not all(0 <= value < float("inf") for value in values):
        raise BenchError("--points takes numbers of at least 0")
    return values


def _print(meta: Meta, context: Any, finding: Any, below: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.cli.run_output import WIDTH
    from bench.studies import cell_text

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    console.print(f"{context.target.split.name}: {meta['question']}")
    console.print(below)
    if finding.table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        shown = [k for k in finding.shown if any(cell_text(row.get(k)) for row in finding.table)]
        for key in shown:
            table.add_column(finding.shown[key], overflow="fold")
        for row in finding.table:
            table.add_row(*[Text(cell_text(row.get(key))) for key in shown])
        console.print(table)
    for what, why in context.left_out.items():
        console.print(f"left out: {what}: {why}")
    console.print(" ".join(finding.reading))
