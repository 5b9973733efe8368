"""In-distribution companions of runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


Companions = dict[tuple[str, str, int], Companion]
"""``(method, split, seed)`` of a run -> its companion."""


def companions_of(
    jobs: Sequence[Job],
    records: Sequence[Record],
    runner: Runner,
    registry: Registry,
    edition: str,
    data: Mapping[str, object],
) -> Companions:
    """Run the companion of each split. It shares the trainings of the split's runs."""
    from bench.data.catalog import find_split, known_splits
    from bench.data.opening import open_splits
    from bench.runs.plan import plan

    finished: dict[tuple[str, str, int], Record] = {
        (job.chain.typed, job.task.split.name, job.seed): record
        for job, record in zip(jobs, records, strict=True)
    }
    tasks: dict[str, Task] = {}
    companions: Companions = {}
    for job in jobs:
        name = job.task.split.companion
        if not name or job.not_applicable:
            continue
        key = (job.chain.typed, name, job.seed)
        if key not in finished:
            if name not in tasks:
                [tasks[name]] = open_splits([name], registry, edition, data, lambda line: None)
            options = _only(runner.options, job)
            [twin] = plan([job.chain.typed], [tasks[name]], [job.seed], options, registry)
            finished[key] = runner.run(twin)
        shares = find_split(name, known_splits(registry)).shares
        companions[job.chain.typed, job.task.typed, job.seed] = Companion(
            finished[key], job.task.opened.level not in shares
        )
    return companions


def _only(options: Options, job: Job) -> Options:
    """Keep the parameters of one chain; others would raise as unused."""
    names = {stage.name for stage in job.chain.stages}
    values = {name: value for name, value in options.values.items() if name in names}
    return dataclasses.replace(options, values=values)
