"""``recommend``: a correction for the user's own data."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from typing import TYPE_CHECKING

import click

from bench.advice.defaults import METHODS
from bench.cli import arguments, completion
from bench.cli.clusters import WorkerOptions, run_on_workers, worker_options
from bench.cli.options import Common, common_options, methods_option, output_option
from bench.cli.output import Column, print_json, print_line, print_table, write_output
from bench.cli.progress import Bar, waiting
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from bench.advice.advice import Advice


WIDE = 110
"""Terminals of this width in characters show all columns."""


@click.command()
@click.argument("file", shell_complete=completion.splits)
@methods_option(help=f"Methods [default: {len(METHODS)} common ones]. Repeatable.")
@click.option(
    "--seeds",
    metavar="N",
    default=3,
    type=click.IntRange(1, 1000),
    help="Number of seeds [default: 3].",
)
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    type=click.Choice(("smoke", "default", "paper")),
    help="Training settings.",
)
@click.option(
    "--edition",
    metavar="NAME",
    default="auto",
    help="Edition of a registered data set [default: auto].",
)
@output_option(help="Also write an offline HTML page to FILE.")
@worker_options
@common_options
def command(
    file: str,
    method: str | None,
    seeds: int,
    recipe: str,
    edition: str,
    output: str | None,
    workers: WorkerOptions,
    common: Common,
) -> int:
    r"""Run suitable methods on the holdouts of FILE and recommend a correction.

    FILE is a dataset.toml, FILE.toml:NAME for one of its splits, or the name of a registered split.

    \b
    python -m bench recommend my_screen.toml
    python -m bench recommend my_screen.toml:weeks --output advice.html
    """
    from bench.advice.checkup import examine
    from bench.advice.recommend import advise_splits
    from bench.advice.support import supported
    from bench.data.opening import open_all
    from bench.runs.experiment import Experiment
    from bench.runs.job import Options

    registry = common.registry()
    names = list(METHODS) if method is None else arguments.names(method, "--method")
    for name in names:
        for stage in name.split("+"):
            registry.entry("method", stage.strip())
    with waiting(f"reading {file}"):
        opened, splits, tasks = open_all(file, registry, edition)
        usable = [task for task in tasks if task.supervised]
        if not usable:
            raise BenchError(
                f"{file} has no split with a training set, which `recommend` requires: add one "
                'with hold_out = "COLUMN"'
            )
        checks = examine(opened, splits)
        supports = supported(usable, registry, checks)
        experiment = Experiment(
            list(dict.fromkeys(["erm", *names])),
            usable,
            list(range(seeds)),
            Options(recipe),
            registry,
            common.store(),
            edition,
        )
        planned = [job for job in experiment.jobs() if not job.not_applicable]
    run_on_workers(experiment, workers, common, [], controls=False, companions=False)
    with Bar(len(planned), []) as bar:
        records = experiment.run(planned, bar)
    advice = advise_splits(planned, records, checks, supports)
    if output is not None:
        from bench.advice.page import page

        again = ["python", "-m", "bench", "recommend", file, "--seeds", str(seeds)]
        again += [] if method is None else ["--method", method]
        again += [] if recipe == "default" else ["--recipe", recipe]
        again += [] if edition == "auto" else ["--edition", edition]
        write_output(output, page(advice, checks, shlex.join(again)))
    if common.as_json:
        print_json({"advice": [dataclasses.asdict(split) for split in advice]})
    else:
        for split in advice:
            _print(split)
        if output is not None:
            print_line(f"page: {output}")
    return int(any(record.status == "failed" for record in records))


def _print(advice: Advice) -> None:
    print_line(advice.title, "bold")
    for heading, sentences in advice.sections.items():
        print_line(f"\n{heading}", "bold")
        for sentence in sentences:
            print_line(f"  {sentence}", wrap=True)
    names = ("method", "score", "gain", "interval", "better in", "", "sd", "against", "uses")
    rows = [
        [name, f"{mean:.3f}", "", "", "", "no correction", "", "", ""]
        for name, mean in advice.baselines.items()
    ]
    rows += [
        [
            row.method,
            f"{row.mean:.3f}",
            f"{row.gain:+.3f}",
            "" if row.low is None else f"[{row.low:+.3f}, {row.high:+.3f}]",
            f"{row.better_in} of {row.n_batches}",
            "" if row.grade == "none" else row.grade,
            "" if row.sd is None else f"{row.sd:.3f}",
            row.without,
            row.track,
        ]
        for row in advice.rows
    ]
    shown = len(names) if shutil.get_terminal_size().columns >= WIDE else names.index("sd")
    print_line("")
    print_table([Column(name, wrap=False) for name in names[:shown]], [row[:shown] for row in rows])
    print_line("")
