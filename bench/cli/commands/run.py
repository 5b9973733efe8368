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
from bench.cli.progress import Bar
from bench.cli.run_output import print_summary, repeat_options, summary
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.types import JsonObject
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.records.trackers import Tracker
    from bench.runs.companions import Companions
    from bench.runs.experiment import Experiment
    from bench.runs.hits import Hit, Memory, Runs
    from bench.runs.job import Job


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
    if retry_failed:
        return _retry(methods or splits, training, common)
    methods, splits = _required("--method", methods), _required("--split", splits)
    where = workers.where(devices)
    training = _with_devices(training, devices)
    store = common.store()
    trackers = _trackers(track, store)
    known = None
    if not (dry_run or trackers) and where.serial and devices == 1:
        texts = (methods, splits, if_exists, metrics, network, standardise)
        known = _memory(texts, training, common, store, controls=controls, rescale=rescale)
        if known is not None and (hit := known.read()) is not None:
            return _show_hit(hit, store, common, metrics)
    pending: list[str] = []
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
        from bench.cli.dry_run import print_plan

        for line in pending:
            note(line)
        print_plan(planned, experiment.store, common.as_json, device=training.device)
        return 0

    lines = list(pending)
    run_on_workers(experiment, workers, common, pending, where, controls=controls)
    runs = _runs(experiment, planned, pending, trackers, controls=controls)
    facts = _facts(experiment, common)
    if known is not None and not runs.n_notes:
        known.write(experiment, planned, runs, lines, facts, controls=controls)
    _show(runs.records, runs.companions, runs.control_rows, facts, store, common, metrics)
    if not common.as_json:
        for tracker in trackers:
            print_line(f"tracked: {tracker.where}")
    return int(any(record.status == "failed" for record in runs.records))


def _runs(
    experiment: Experiment,
    planned: list[Job],
    pending: list[str],
    trackers: Sequence[Tracker],
    *,
    controls: bool,
) -> Runs:
    """Run the jobs, their companions and control rows."""
    from bench.runs.hits import Runs

    def also(record: Record) -> None:
        if record.ok:
            for tracker in trackers:
                tracker.add(record)

    with Bar(len(planned), pending, also=also) as bar:
        records = experiment.run(planned, bar)
        # With --json, too: the output format must not change what is on record.
        companions = experiment.companions(planned, records, bar)
        control_rows = experiment.control_rows(bar) if controls else []
    return Runs(records, companions, control_rows, bar.n_notes)


def _facts(experiment: Experiment, common: Common) -> JsonObject:
    """Return what the output depends on in addition to the records."""
    on_images = any(task.opened.is_images for task in experiment.tasks)
    return {
        "again": repeat_options(experiment, common),
        "one_seed": experiment.seeds is None and on_images,
    }


def _show(
    records: Sequence[Record],
    companions: Companions,
    control_rows: Sequence[Record],
    facts: JsonObject,
    store: Store,
    common: Common,
    metrics: str | None,
) -> None:
    """Print the records of a command, and with text its companions and control rows."""
    if common.as_json:
        print_json({"runs": [summary(record) for record in records]})
        return
    print_summary(
        records,
        companions,
        control_rows,
        facts["again"],
        store.shown,
        arguments.names(metrics, "--metrics") if metrics else [],
        one_seed=facts["one_seed"],
    )


def _show_hit(hit: Hit, store: Store, common: Common, metrics: str | None) -> int:
    """Print the records of a command that is remembered."""
    with Bar(len(hit.records), hit.lines) as bar:
        for record in hit.records:
            bar.done(record)
    _show(hit.records, hit.companions, [], hit.facts, store, common, metrics)
    return 0


def _memory(
    texts: tuple[str | None, ...],
    training: TrainingOptions,
    common: Common,
    store: Store,
    **flags: bool,
) -> Memory | None:
    """Return the memory of the command; None if it is not one that can be remembered.

    Parameters
    ----------
    texts
        Methods, splits, ``--if-exists``, and all other options with a text.
    flags
        All other options without.
    """
    from bench.runs.hits import memory

    methods, _, if_exists, *others = texts
    if if_exists not in ("skip", "refresh") or training.isolate == "all":
        return None
    request = {
        "texts": texts,
        "training": dataclasses.asdict(training),
        "results": common.results,
        **flags,
    }
    files = [methods, *training.settings, *others]
    return memory(request, store, [text for text in files if text], common.plugins)


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
    from bench.cli.retry import failed_experiments, retry

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
