"""``run``: run methods on splits and write records."""

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
    listed,
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
@listed("--metrics", metavar="NAME[,...]", help="Additional metrics; see `list metrics`.")
@click.option(
    "--network", metavar="NAME", help="small-resnet, a torchvision name or module:factory."
)
@click.option("--standardise", metavar="NAME", help="Input scaling: none, image or plate.")
@click.option("--rescale", is_flag=True, help="Resample images to the pixel size of training.")
@IF_EXISTS
@click.option(
    "--controls/--no-controls", default=True, help="Also run missing control rows [default: yes]."
)
@listed(
    "--track",
    metavar="TRACKER[,...]",
    shell_complete=completion.one_of("tensorboard", "mlflow"),
    help="Also log to tensorboard or mlflow.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan with cost estimates.")
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
    controls: bool,
    track: str | None,
    dry_run: bool,
    common: Common,
) -> int:
    r"""Run methods on splits and write records.

    Existing runs are not repeated. A method that does not apply to a split is reported; the others
    run. Control rows (no correction, chance, position, ...) take seconds and appear on every board.

    \b
    python -m bench run --method ben --split ottawa
    python -m bench run -m erm,ben,adabn -s coos7/test1,ottawa --seeds 3
    python -m bench run -m ben -s screen.toml:weeks --set ben.rows=controls
    python -m bench run -m ben -s ottawa --set data.strength=2 --set recipe.steps=800
    """
    from bench.cli.dry_run import print_plan
    from bench.cli.progress import Bar
    from bench.cli.run_output import print_summary, repeat_options, summary

    pending: list[str] = []
    trackers = _trackers(track, common.store())
    experiment = training.experiment(
        methods,
        splits,
        common,
        pending.append,
        if_exists=if_exists,
        metrics=metrics,
        network=network,
        standardise=standardise,
        rescale=rescale,
    )
    jobs = experiment.jobs()
    if dry_run:
        for line in pending:
            note(line)
        print_plan(jobs, experiment.store, common.as_json)
        return 0

    def also(record: Record) -> None:
        if record.ok:
            for tracker in trackers:
                tracker.add(record)

    with Bar(len(jobs), pending, also=also) as bar:
        records = experiment.run(jobs, bar)
        # With --json, too: the output format must not change what is on record.
        companions = experiment.companions(jobs, records, bar)
        control_rows = experiment.control_rows(bar) if controls else []
    if common.as_json:
        print_json({"runs": [summary(record) for record in records]})
    else:
        again = repeat_options(experiment, common)
        extra = arguments.names(metrics, "--metrics") if metrics else []
        print_summary(records, companions, control_rows, experiment, again, extra)
        for tracker in trackers:
            print_line(f"tracked: {tracker.where}")
    return int(any(record.status == "failed" for record in records))


def _trackers(track: str | None, store: Store) -> list[Tracker]:
    if track is None:
        return []
    from bench.records.trackers import trackers

    return trackers(arguments.names(track, "--track"), store)
