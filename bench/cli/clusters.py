"""Options that choose the processes of a sweep, and calls of the engine."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import completion
from bench.cli.options import PATH, bundle
from bench.cli.output import note

if TYPE_CHECKING:
    from bench.cli.options import Common
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.experiment import Experiment
    from bench.runs.sweeps.clusters import Connection, Where
    from bench.runs.sweeps.graph import Graph
    from bench.runs.sweeps.units import Host

SYSTEMS = ("slurm", "pbs", "lsf", "sge")
JOBS = click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 10_000),
    help="Worker processes (extra: cluster) [default: none].",
)
SCHEDULER = click.option(
    "--scheduler", metavar="ADDRESS", help="Address of a running Dask scheduler."
)


@dataclass(frozen=True)
class ClusterOptions:
    """Options of :class:`bench.runs.sweeps.clusters.Where`, as typed."""

    jobs: int | None
    memory: str | None
    scheduler: str | None
    cluster: str | None
    profile: str | None

    def where(self) -> Where:
        """Return the checked options.

        Raises
        ------
        BenchError
            If options exclude each other, or the profile is invalid.
        """
        from bench.runs.sweeps.clusters import Where, read_profile

        where = Where(self.jobs, self.memory, self.scheduler, self.cluster, self.profile)
        if self.profile is not None:
            read_profile(self.profile)
        return where


cluster_options = bundle(
    "cluster",
    ClusterOptions,
    [
        JOBS,
        click.option("--memory", metavar="SIZE", help="Memory limit of each worker of --jobs."),
        SCHEDULER,
        click.option(
            "--cluster",
            metavar="NAME",
            shell_complete=completion.one_of(*SYSTEMS),
            help="Batch system: slurm, pbs, lsf or sge.",
        ),
        click.option(
            "--profile", metavar="FILE", type=PATH, help="TOML file: resources of a batch job."
        ),
    ],
)


@dataclass(frozen=True)
class WorkerOptions:
    """``--jobs`` and ``--scheduler``."""

    jobs: int | None
    scheduler: str | None

    def where(self, devices: int = 1) -> Where:
        """Return the checked options.

        Raises
        ------
        BenchError
            If options exclude each other.
        """
        from bench.runs.sweeps.clusters import Where

        return Where(self.jobs, scheduler=self.scheduler, devices=devices)


worker_options = bundle("workers", WorkerOptions, [JOBS, SCHEDULER])


def host_of(
    store: Store,
    common: Common,
    device: str,
    if_exists: str,
    timeout: float = 0.0,
    isolate: str = "plugins",
) -> Host:
    """Return where the workers of this command read and write."""
    import os

    from bench.core.errors import BenchError, did_you_mean
    from bench.core.folders import expanded
    from bench.core.meta import PLUGINS
    from bench.runs.experiment import DEVICES
    from bench.runs.sweeps.units import Host

    if device not in DEVICES:
        raise BenchError(f"--device: {did_you_mean(device, list(DEVICES), 'device')}")
    if if_exists not in ("skip", "refresh"):
        raise BenchError(
            f"--if-exists {if_exists} runs in one process: use skip or refresh, or leave out --jobs"
        )
    inherited = [text for text in os.environ.get(PLUGINS, "").split(os.pathsep) if text]
    common.registry()  # raises for an unusable plugin
    files = dict.fromkeys(expanded(text).resolve() for text in (*common.plugins, *inherited))
    plugins = tuple((str(file), file.read_text(encoding="utf-8")) for file in files)
    folder = str(Path.cwd())
    argv = tuple(sys.argv[1:])
    return Host(store.location, folder, plugins, argv, device, if_exists, timeout, isolate)


def execute(
    graph: Graph,
    where: Where,
    store: Store,
    *,
    events: bool,
    connection: Connection | None = None,
) -> tuple[list[Record], float]:
    """Execute a graph with progress on stderr; return its new records and the seconds it took."""
    from bench.cli.sweep_output import Display
    from bench.runs.sweeps.engine import execute_graph

    started = time.monotonic()
    if graph.tasks:
        store.prepare()
    with Display(graph, events=events) as display:
        records = execute_graph(graph, where, display, connection)
    return records, time.monotonic() - started


def run_on_workers(
    experiment: Experiment,
    workers: WorkerOptions,
    common: Common,
    pending: list[str],
    where: Where | None = None,
    **fields: Any,  # noqa: ANN401 - fields of several types
) -> None:
    """Make the runs of an experiment in worker processes, and know their records.

    Parameters
    ----------
    experiment
        The experiment.
    workers
        Where they run; nothing happens without workers.
    common
        Options of every command.
    pending
        Lines to print first.
    where
        By default that of ``workers``.
    **fields
        Fields of :class:`bench.runs.sweeps.units.Unit`, such as ``controls``.
    """
    where = where or workers.where()
    if where.serial and where.devices == 1:
        return
    from bench.runs.sweeps.graph import build
    from bench.runs.sweeps.units import units_like

    options = experiment.options
    host = host_of(
        experiment.store,
        common,
        options.device,
        options.if_exists,
        options.timeout,
        experiment.registry.isolate,
    )
    graph = build((unit, False) for unit in units_like(experiment, host, **fields))
    while pending:
        note(pending.pop(0))
    records, _ = execute(graph, where, experiment.store, events=common.as_json)
    experiment.known = {record.run_id: record for record in records}


def study_on_workers(
    name: str,
    experiment: Experiment,
    points: list[float],
    workers: WorkerOptions,
    common: Common,
    pending: list[str],
) -> None:
    """Make the runs of a study in worker processes, and know their records.

    Parameters
    ----------
    name, points
        The study, and the values of what it varies.
    experiment
        Its methods, split and seeds; ``known`` gets the records.
    workers
        Where they run; nothing happens without workers.
    common
        Options of every command.
    pending
        Lines to print first.
    """
    where = workers.where()
    if where.serial:
        return
    from bench.runs.sweeps.clusters import connect
    from bench.runs.sweeps.units import units_like
    from bench.studies import records_of

    options = experiment.options
    isolate = experiment.registry.isolate
    host = host_of(experiment.store, common, options.device, options.if_exists, isolate=isolate)
    [unit] = units_like(experiment, host, controls=False, companions=False)
    while pending:
        note(pending.pop(0))
    with connect(where, options.device) as connection:

        def on_workers(graph: Graph) -> list[Record]:
            records, _ = execute(
                graph, where, experiment.store, events=common.as_json, connection=connection
            )
            return records

        experiment.known = records_of(name, experiment, points, unit, on_workers)
