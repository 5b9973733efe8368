"""``run``: methods on splits, to records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.options import (
    IF_EXISTS,
    METHODS,
    SPLITS,
    Common,
    TrainingOptions,
    common_options,
    training_options,
)
from bench.cli.output import note, print_json, print_line

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.records.trackers import Tracker


@click.command()
@METHODS
@SPLITS
@training_options
@click.option("--metrics", metavar="NAME[,NAME]", help="Additional metrics; see list metrics.")
@click.option("--network", metavar="NAME", help="small-resnet, torchvision name or module:factory.")
@click.option("--standardise", metavar="NAME", help="none, image or plate.")
@click.option("--rescale", is_flag=True, help="Resample images to the pixel size of training.")
@IF_EXISTS
@click.option(
    "--track",
    metavar="TRACKER[,...]",
    shell_complete=completion.one_of("tensorboard", "mlflow"),
    help="Also log to tensorboard or mlflow.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run, with cost estimates.")
@common_options
def command(
    methods: str,
    splits: str,
    training: TrainingOptions,
    metrics: str | None,
    network: str | None,
    standardise: str | None,
    rescale: bool,
    if_exists: str,
    track: str | None,
    dry_run: bool,
    common: Common,
) -> int:
    r"""Run methods on splits and write records.

    Runs on disk are not repeated.

    \b
    python -m bench run --method ben --split ottawa
    python -m bench run -m erm,ben,adabn -s coos7/test1,ottawa --seeds 3
    python -m bench run -m ben -s screen.toml:weeks --set ben.rows=controls
    python -m bench run -m ben -s ottawa --set data.strength=2 --set recipe.steps=800
    """
    from bench.cli.dry_run import print_plan
    from bench.cli.progress import Bar
    from bench.cli.run_output import print_summary, repeat_options, summary

    held: list[str] = []
    trackers = _trackers(track, common.store())
    experiment = training.experiment(
        methods,
        splits,
        common,
        held.append,
        if_exists=if_exists,
        metrics=metrics,
        network=network,
        standardise=standardise,
        rescale=rescale,
    )
    jobs = experiment.jobs()
    if dry_run:
        for line in held:
            note(line)
        print_plan(jobs, experiment.store, common.as_json)
        return 0

    def also(record: Record) -> None:
        if record.ok:
            for tracker in trackers:
                tracker.add(record)

    with Bar(len(jobs), held, also=also) as bar:
        records = experiment.run(jobs, bar)
        # With --json, too: the output format must not change what is on record.
        companions = experiment.companions(jobs, records, bar)
    if common.as_json:
        print_json({"runs": [summary(record) for record in records]})
    else:
        again = repeat_options(experiment, common)
        print_summary(records, companions, experiment.store.root, again)
        for tracker in trackers:
            print_line(f"tracked: {tracker.where}")
    return int(any(record.status == "failed" for record in records))


def _trackers(track: str | None, store: Store) -> list[Tracker]:
    if track is None:
        return []
    from bench.records.trackers import trackers

    return trackers(arguments.names(track, "--track"), store)
