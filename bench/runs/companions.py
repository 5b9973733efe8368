"""In-distribution companions of runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.data.task import Task
    from bench.records.record import Record
    from bench.runs.job import Job, Options
    from bench.runs.runner import Runner


class Companion(NamedTuple):
    """The in-distribution companion of a run.

    Attributes
    ----------
    new_batches
        Whether the scored rows of the split come from batches outside the training set.
    """

    record: Record
    new_batches: bool


JobKey = tuple[str, str, int]
"""``(method, split, seed)`` of a run."""
Companions = dict[JobKey, Companion]
"""Run -> its companion."""


def companion_jobs(
    jobs: Sequence[Job],
    options: Options,
    registry: Registry,
    edition: str,
    data: Mapping[str, object],
    opened: dict[str, Opened],
) -> dict[JobKey, Job]:
    """Return the companions that are not among the jobs. They share the trainings of the jobs.

    Parameters
    ----------
    edition, data
        Requested edition and settings of the data sets.
    opened
        Data sets that are open with them; others are added.
    """
    from bench.data.opening import open_splits
    from bench.runs.plan import plan

    known = {_key(job) for job in jobs}
    tasks: dict[str, Task] = {}
    twins: dict[JobKey, Job] = {}
    for job in jobs:
        name = job.task.split.companion
        key = (job.chain.typed, name, job.seed)
        if not name or job.not_applicable or key in known or key in twins:
            continue
        if name not in tasks:
            [tasks[name]] = open_splits([name], registry, edition, data, lambda line: None, opened)
        only = _only(options, job)
        [twins[key]] = plan([job.chain.typed], [tasks[name]], [job.seed], only, registry)
    return twins


def companions_of(
    jobs: Sequence[Job], records: Sequence[Record], twins: Mapping[JobKey, Job], runner: Runner
) -> Companions:
    """Run the companions of jobs and return them by the run that they belong to."""
    from bench.data.catalog import find_split, known_splits

    finished = {_key(job): record for job, record in zip(jobs, records, strict=True)}
    companions: Companions = {}
    for job in jobs:
        name = job.task.split.companion
        if not name or job.not_applicable:
            continue
        key = (job.chain.typed, name, job.seed)
        if key not in finished:
            finished[key] = runner.run(twins[key])
        shares = find_split(name, known_splits(job.registry)).shares
        companions[job.chain.typed, job.task.typed, job.seed] = Companion(
            finished[key], job.task.opened.level not in shares
        )
    return companions


def _key(job: Job) -> JobKey:
    return job.chain.typed, job.task.split.name, job.seed


def _only(options: Options, job: Job) -> Options:
    """Keep the parameters of one chain; others would raise as unused."""
    names = {stage.name for stage in job.chain.stages}
    values = {name: value for name, value in options.values.items() if name in names}
    return dataclasses.replace(options, values=values)
