"""Make the runs of a study on workers, before the study itself is computed.

A study asks for conditions one after another, and some depend on earlier results. It is therefore
called repeatedly with a context that answers conditions with records on disk, and notes the
others; their runs are made in parallel. A worker finds its run in the same way, by calling the
study until it asks for that run, so that derived splits and groupings need no description. The
study then reads all records from disk. What it computes besides runs, such as the extra fits of
``drift``, stays in the process of the command.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from bench.core.canonical import digest
from bench.runs import identity
from bench.runs.progress import Silent
from bench.runs.sweeps import graph as sweep
from bench.studies._context import StudyContext
from bench.studies._results import Condition, ConditionResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.data.task import Task
    from bench.records.record import Record
    from bench.runs.experiment import Experiment
    from bench.runs.job import Job
    from bench.runs.progress import Progress
    from bench.runs.runner import Runner
    from bench.runs.sweeps.units import OpenUnit, Unit


_Context = TypeVar("_Context", bound=StudyContext)


class _Stop(Exception):
    """Ends the call of a study."""


@dataclass(frozen=True)
class StudyTask(sweep.Task):
    """One run of a study.

    Attributes
    ----------
    study, points
        Name of the study and its ``--points``.
    """

    study: str = ""
    points: tuple[float, ...] = ()


def context_of(experiment: Experiment, points: Sequence[float], progress: Progress) -> StudyContext:
    """Return the context of a study on the only split of an experiment."""
    return _context(StudyContext, experiment, points, experiment.runner(progress), progress)


def records_of(
    name: str,
    experiment: Experiment,
    points: Sequence[float],
    unit: Unit,
    execute: Callable[[sweep.Graph], Sequence[Record]],
) -> dict[str, Record]:
    """Make the runs of a study on workers; return their records, failed ones included.

    Parameters
    ----------
    name, points
        The study and its points.
    unit
        The experiment, as it is sent to workers.
    execute
        Executes a graph and returns its records.
    """
    known: dict[str, Record] = {}
    tried: set[str] = set()
    while True:
        runner = experiment.runner(Silent())
        runner.known = known
        missing = _explored(name, experiment, points, runner).missing
        jobs = {run_id: job for run_id, job in missing.items() if run_id not in tried}
        if not jobs:
            return known
        tried |= jobs.keys()
        graph = sweep.Graph()
        for run_id, job in jobs.items():
            graph.runs[run_id] = graph.add(_task(name, points, unit, run_id, job))
        known |= {record.run_id: record for record in execute(graph)}


def make(task: sweep.Task, unit: OpenUnit, runner: Runner) -> list[Record]:
    """Make the run of a task; nothing if the study no longer asks for it."""
    assert isinstance(task, StudyTask)
    for answers in (False, True):  # most conditions are found without reading any results
        explorer = _explored(
            task.study, unit.experiment, task.points, runner, task.result, answers=answers
        )
        if explorer.record is not None:
            return [explorer.record]
    return []


def _task(name: str, points: Sequence[float], unit: Unit, run_id: str, job: Job) -> StudyTask:
    return StudyTask(
        f"study-{digest([unit.host.results, run_id, unit.host.if_exists], 16)}",
        "run",
        f"{job.chain.typed} on {job.task.split.name}, seed {job.seed}",
        unit,
        0,
        result=run_id,
        network=any(stage.kind == "network" for stage in job.chain.stages),
        perform=make,
        study=name,
        points=tuple(points),
    )


class _Runs:
    """The part of a runner that an explored study may use: no fits besides runs."""

    def __init__(self, runner: Runner) -> None:
        self.run, self.stored, self.known = runner.run, runner.stored, runner.known


class _Explorer(StudyContext):
    """A context that runs nothing but one wanted run, and notes what is missing."""

    def explore(
        self, study: Callable[[StudyContext], object], wanted: str, *, answers: bool
    ) -> None:
        """Call a study until it ends, asks for the wanted run, or computes something else.

        Parameters
        ----------
        answers
            Whether it gets results that are on disk.
        """
        self.wanted, self.answers = wanted, answers
        self.record: Record | None = None
        self.missing: dict[str, Job] = {}
        self.runner = cast("Runner", _Runs(self.runner))
        # Without results a study can fail; the command calls it again with all results.
        with contextlib.suppress(Exception):
            study(self)

    def result(self, condition: Condition) -> ConditionResult:
        """Return the scores of a condition if all its records are on disk."""
        jobs = [self.job(condition, seed) for seed in self.seeds]
        missing = {}
        for job in jobs:
            run_id = identity.run_id(job.spec())
            if run_id == self.wanted:
                self.record = self.runner.run(job)
                raise _Stop
            known = self.answers and run_id in self.runner.known
            if not known and not (self.answers and self.runner.stored(job)):
                missing[run_id] = job
        self.missing |= missing
        if missing:
            return ConditionResult(condition, condition.method, reason="not run yet")
        return super().result(condition)

    def depend_on(self, identity: str) -> None:  # noqa: ARG002 - the study computes it itself
        """End the call: what follows is computed by the command."""
        raise _Stop


def _explored(
    name: str,
    experiment: Experiment,
    points: Sequence[float],
    runner: Runner,
    wanted: str = "",
    *,
    answers: bool = True,
) -> _Explorer:
    from bench.studies import load

    explorer = _context(_Explorer, experiment, points, runner, Silent())
    explorer.explore(load(name, experiment.registry), wanted, answers=answers)
    return explorer


def _context(
    kind: type[_Context],
    experiment: Experiment,
    points: Sequence[float],
    runner: Runner,
    progress: Progress,
) -> _Context:
    [task] = experiment.tasks

    def reopen(split: str, data: Mapping[str, object]) -> Task:
        return experiment.reopen(split, data, progress.say)

    return kind(
        task,
        experiment.methods,
        experiment.seeds_of(task),
        points,
        experiment.registry,
        runner,
        experiment.options,
        reopen,
        done=progress.done,
    )
