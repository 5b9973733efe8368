"""``study``: an ablation study, written as a table, a figure and a short summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.clusters import WorkerOptions, study_on_workers, worker_options
from bench.cli.options import (
    Common,
    TrainingOptions,
    common_options,
    listed,
    methods_option,
    splits_option,
    training_options,
)
from bench.cli.output import print_json, print_line, print_table
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.meta import Meta
    from bench.studies import Finding, StudyContext


@click.command()
@click.argument("name", metavar="NAME", shell_complete=completion.studies)
@splits_option(required=True, metavar="SPLIT", help="Split or FILE.toml[:NAME].")
@methods_option("methods", help="Methods [default: those of the study]. Repeatable.")
@listed("--points", metavar="X[,X...]", help="Values of the varied quantity. Repeatable.")
@training_options
@worker_options
@common_options
def command(
    name: str,
    split: str,
    methods: str | None,
    points: str | None,
    training: TrainingOptions,
    workers: WorkerOptions,
    common: Common,
) -> int:
    r"""Run an ablation study on one split; `list studies` lists the questions.

    Runs on disk are not repeated; an interrupted study continues. The default is three seeds.

    \b
    python -m bench study batch-size --split ottawa --seeds 3
    python -m bench study label-shift -m erm,adabn,ben -s screen.toml:weeks
    """
    from bench.cli.progress import Bar
    from bench.runs.progress import Silent
    from bench.studies import context_of, folder_of, known, load, subtitle, write

    registry = common.registry()
    studies = known(registry)
    if name not in studies:
        raise BenchError(did_you_mean(name, list(studies), "study"))
    meta = studies[name]
    if len(arguments.names(split, "--split")) > 1:
        raise BenchError("--split: a study takes one split; run it once per split")
    varied = _points(meta, points)
    pending: list[str] = []
    chosen = list(meta["methods"]) if methods is None else methods
    experiment = training.experiment(chosen, split, common, pending.append, n_seeds=3)
    [task] = experiment.tasks
    subtitle(context_of(experiment, varied, Silent()))  # refuses fixtures
    study_on_workers(name, experiment, varied, workers, common, pending)
    with Bar(1, pending) as bar:
        context = context_of(experiment, varied, bar)
        finding = load(name, registry)(context)
    files = write(folder_of(experiment.store.outputs, name, context), meta, context, finding)
    if common.as_json:
        print_json(
            {
                "study": name,
                "split_id": task.split.name,
                "edition": task.opened.edition,
                "recipe": training.recipe,
                "runs_digest": context.runs_digest,
                "rows": list(finding.table),
                "reading": list(finding.reading),
                "left_out": context.left_out,
                "files": [str(file) for file in files],
            }
        )
    else:
        print_line(f"{task.split.name}: {meta['question']}", wrap=True)
        print_line(subtitle(context))
        _print(context, finding)
        for file in files:
            print_line(str(file))
    return int(bool(context.failed))


def _points(meta: Meta, text: str | None) -> list[float]:
    if text is None:
        return [float(value) for value in meta["points"]]
    if not meta["point"]:
        raise BenchError(f"--points: study {meta['name']} does not vary a number")
    try:
        values = sorted({float(value) for value in text.split(",")})
    except ValueError:
        raise BenchError(f"--points takes numbers separated by commas, not '{text}'") from None
    if not all(0 <= value < float("inf") for value in values):
        raise BenchError("--points takes numbers of at least 0")
    return values


def _print(context: StudyContext, finding: Finding) -> None:
    from bench.studies import cell_text

    keys = [k for k in finding.shown if any(cell_text(row.get(k)) for row in finding.table)]
    if keys:
        print_table(
            [finding.shown[key] for key in keys],
            [[cell_text(row.get(key), key) for key in keys] for row in finding.table],
        )
    for what, reason in context.left_out.items():
        print_line(f"left out: {what}: {reason}", wrap=True)
    print_line(" ".join(finding.reading), wrap=True)
