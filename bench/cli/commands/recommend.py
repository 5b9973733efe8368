"""``recommend``: which correction to use on one's own data."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from typing import Any

import click

from bench.cli import completion
from bench.cli.commands.check_data import open_all
from bench.cli.main import common, registry_for, store_for, write_text
from bench.cli.options import check_names, names
from bench.cli.progress import Bar, waiting
from bench.core.errors import BenchError

METHODS = (
    "identity",
    "erm",
    "adabn",
    "ben",
    "ben-controls",
    "center",
    "zscore",
    "robust",
    "sphering",
    "tvn",
    "combat",
    "coral-to-train",
    "harmony-map",
)
"""Tried unless --method says otherwise: no correction, the fixed statistics of a batch or of its
controls, whitening, the two models of batch effects most in use, and batch-wise networks."""


@click.command()
@click.argument("file", shell_complete=completion.splits)
@click.option(
    "--method", "-m", shell_complete=completion.methods, help="Names, M[,M...]; a dozen by default."
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    type=click.Choice(("smoke", "default", "paper")),
)
@click.option("--edition", default="auto", show_default=True, help="Of a registered data set.")
@click.option("--output", metavar="FILE", help="Write a page (.html) that opens from disk.")
@common
def command(
    file: str,
    method: str | None,
    seeds: int,
    recipe: str,
    edition: str,
    output: str | None,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> int:
    r"""Run the applicable methods on the holdouts of FILE and say which correction to use.

    FILE is a dataset.toml, FILE.toml:NAME for one of its splits, or the name of a registered split.

    \b
    python -m bench recommend my_screen.toml
    python -m bench recommend my_screen.toml:weeks --output advice.html
    """
    from bench.advice.checkup import examine
    from bench.advice.recommend import advise
    from bench.advice.support import supported
    from bench.runs.job import Options
    from bench.runs.plan import plan
    from bench.runs.runner import Runner

    registry = registry_for(plugin)
    asked = list(METHODS) if method is None else names(method, "--method")
    check_names(asked, registry)
    asked = list(dict.fromkeys(["erm", *asked]))
    store = store_for(results)
    options = Options(recipe)
    with waiting(f"reading {file}"):
        opened, splits, targets = open_all(file, registry, edition)
        usable = [target for target in targets if target.supervised]
        if not usable:
            raise BenchError(
                f"{file} has no split with a training set, which advice needs: add one with "
                'hold_out = "COLUMN"'
            )
        lines = examine(opened, splits)
        supports = supported(usable, registry, lines)
        jobs = []
        for target in usable:
            for name in asked:
                try:
                    jobs += plan([name], [target], list(range(seeds)), options, registry)
                except BenchError:
                    if method is not None:
                        raise
    jobs = [job for job in jobs if not job.not_applicable]
    made: dict[str, list[Any]] = {target.split.name: [] for target in usable}
    with Bar(len(jobs), show=sys.stderr.isatty(), say=_say, held=[]) as bar:
        runner = Runner(store, options, bar.say, bar.update)
        for job in jobs:
            record = runner.run(job)
            bar.done(record)
            made[job.target.split.name].append(record)
    failed = any(record["status"] == "failed" for runs in made.values() for record in runs)
    advice = [advise(runs, lines, supports) for runs in made.values()]
    if output is not None:
        from bench.advice.page import page

        words = ["python", "-m", "bench", "recommend", file, "--seeds", str(seeds)]
        words += [] if method is None else ["--method", method]
        words += [] if recipe == "default" else ["--recipe", recipe]
        words += [] if edition == "auto" else ["--edition", edition]
        write_text(output, page(advice, lines, shlex.join(words)))
    if as_json:
        document = {"advice": [dataclasses.asdict(one) for one in advice]}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return int(failed)
    for one in advice:
        _print(one)
    if output is not None:
        click.echo(f"page: {output}")
    return int(failed)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(advice: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Text(advice.title, style="bold"))
    for heading, sentences in advice.sections.items():
        console.print(Text(f"\n{heading}", style="bold"))
        for sentence in sentences:
            console.print(Text(f"  {sentence}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "told", "score", "sd", "against", "gain", "interval", "better in", ""):
        table.add_column(name, no_wrap=True)
    for name, mean in advice.baselines.items():
        table.add_row(name, "", f"{mean:.3f}", "", "", "", "", "", "no correction")
    for row in advice.rows:
        span = "" if row.low is None else f"[{row.low:+.3f}, {row.high:+.3f}]"
        table.add_row(
            Text(row.method),
            row.track,
            f"{row.mean:.3f}",
            "" if row.sd is None else f"{row.sd:.3f}",
            row.without,
            f"{row.gain:+.3f}",
            span,
            f"{row.better_in} of {row.n_batches}",
            {"none": ""}.get(row.grade, row.grade),
        )
    console.print()
    console.print(table)
    console.print()
