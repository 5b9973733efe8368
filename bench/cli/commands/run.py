"""``run``: run methods on splits and write records."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.clusters import WorkerOptions, run_on_workers, worker_options
from bench.cli.options import (
    IF_EXISTS,
    Common,
    TrainingOptions,
    common_options,
    listed,
    methods_option,
    splits_option,
    training_options,
)
from bench.cli.output import note, print_json, print_line
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.records.trackers import Tracker


@click.command()
@methods_option("methods", help="Methods; chains such as erm+tvn. Repeatable.  [required]")
@splits_option("splits", help="Splits, or FILE.toml[:NAME]. Repeatable.  [required]")
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
@click.option(
    "--retry-failed", is_flag=True, help="Repeat the failed runs; no --method and --split."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Stop a run, or with workers each of its tasks, after SECONDS; it is recorded as failed.",
)
@click.option(
    "--devices",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=1,
    help="Processes per training; each step averages one batch per process.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan with cost estimates.")
@worker_options
@common_options
def command(  # noqa: PLR0913, PLR0917 - one parameter per option
    methods: str | None,
    splits: str | None,
    training: TrainingOptions,
    metrics: str | None,
    network: str | None,
    standardise: str | None,
    rescale: bool,
    if_exists: str,
    controls: bool,
    track: str | None,
    retry_failed: bool,
    timeout: float,
    devices: int,
    dry_run: bool,
    workers: WorkerOptions,
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
    python -m bench run --retry-failed
    """
    from bench.cli.dry_run import print_plan
    from bench.cli.progress import Bar
    from bench.cli.run_output import print_summary, repeat_options, summary

    if retry_failed:
        return _retry(methods or splits, training, common)
    methods, splits = _required("--method", methods), _required("--split", splits)
    where = workers.where(devices)
    training = _with_devices(training, devices)
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
    experiment.options = dataclasses.replace(experiment.options, timeout=timeout)
    planned = experiment.jobs()
    if dry_run:
        for line in pending:
            note(line)
        print_plan(planned, experiment.store, common.as_json, device=training.device)
        return 0

    def also(record: Record) -> None:
        if record.ok:
            for tracker in trackers:
                tracker.add(record)

    run_on_workers(experiment, workers, common, pending, where, controls=controls)
    with Bar(len(planned), pending, also=also) as bar:
        records = experiment.run(planned, bar)
        # With --json, too: the output format must not change what is on record.
        companions = experiment.companions(planned, records, bar)
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


def _with_devices(training: TrainingOptions, devices: int) -> TrainingOptions:
    """Return the options with one batch per step and process, unless more are set.

    Raises
    ------
    BenchError
        If the batches of a step cannot be divided equally.
    """
    name = "recipe.batches_per_step="
    numbers = [text.removeprefix(name) for text in training.settings if text.startswith(name)]
    if devices > 1 and not numbers:
        settings = (*training.settings, f"{name}{devices}")
        return dataclasses.replace(training, settings=settings)
    if devices > 1 and not (numbers[-1].isdigit() and int(numbers[-1]) % devices == 0):
        raise BenchError(
            f"--devices {devices}: {name}{numbers[-1]} must be a multiple of {devices}"
        )
    return training


def _required(option: str, value: str | None) -> str:
    if value is None:
        context = click.get_current_context()
        raise click.MissingParameter(ctx=context, param_hint=option, param_type="option")
    return value


def _retry(names: str | None, training: TrainingOptions, common: Common) -> int:
    """Repeat the failed runs and print a line for each."""
    if names is not None:
        raise BenchError("--retry-failed repeats recorded runs: remove --method and --split")
    from bench.cli.progress import Bar
    from bench.cli.retry import failed_experiments, retry
    from bench.cli.run_output import summary

    store, pending = common.store(), list[str]()
    experiments = failed_experiments(
        store, common.registry(training.isolate), training.device, pending.append, training.isolate
    )
    records: list[Record] = []
    with Bar(sum(len(failures) for _, failures in experiments), pending) as bar:
        bar.release()
        for experiment, failures in experiments:
            records += retry(experiment, failures, store, bar)
    if common.as_json:
        print_json({"runs": [summary(record) for record in records]})
    else:
        for record in records:
            print_line(f"{record.method} on {record.split}, seed {record.seed}: {record.status}")
        n_failed = sum(record.status == "failed" for record in records)
        print_line(f"{len(records)} runs repeated, {n_failed} failed again")
    return int(any(record.status == "failed" for record in records))


def _trackers(track: str | None, store: Store) -> list[Tracker]:
    if track is None:
        return []
    from bench.records.trackers import trackers

    return trackers(arguments.names(track, "--track"), store)
