"""Execute one task of a sweep, in this process or on a worker."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, RunFailed
from bench.core.time_limit import time_limit
from bench.core.version import NUMERICS, __version__
from bench.records.record import Record
from bench.runs import identity
from bench.runs.chain import Chain
from bench.runs.device import threads
from bench.runs.sweeps.graph import learnt_stage
from bench.runs.sweeps.units import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.data.partitions import Fold
    from bench.records.schema import RunRecord
    from bench.runs.job import Job
    from bench.runs.progress import Progress
    from bench.runs.runner import Runner
    from bench.runs.sweeps.graph import Task
    from bench.runs.sweeps.units import Host, OpenUnit

Stamp = tuple[str, int, int]
"""Version of labshift, version of its numerics, and threads of a fit."""


@dataclass(frozen=True)
class Result:
    """The end of a task.

    Attributes
    ----------
    failed
        Why a training, an inference or the tuning of a fold failed; empty if it did not. Runs that
        depend on it fail with the same reason.
    details
        Its traceback.
    records
        ``(run.json, path)`` of the runs that were made.
    """

    failed: str = ""
    details: str = ""
    records: tuple[tuple[RunRecord, str], ...] = ()

    def read(self) -> list[Record]:
        """Return the records."""
        return [Record(data, Path(path)) for data, path in self.records]


class Misfit(BenchError):
    """A worker that does not fit the command; it ends the sweep."""


def stamp() -> Stamp:
    """Return what must agree between the command and its workers."""
    return __version__, NUMERICS, threads()


def execute(task: Task, parents: Sequence[Result], progress: Progress, expected: Stamp) -> Result:
    """Execute a task. Its results are in the results folder; what is there is not repeated.

    Parameters
    ----------
    task
        The task.
    parents
        Results of its parents.
    progress
        Receives messages and steps.
    expected
        :func:`stamp` of the command.

    Raises
    ------
    Misfit
        If the worker does not fit the command. A task that fails is a result, not an error.
    """
    with as_in_the_command(task.unit.host):
        _check(task.unit.host, expected)
        unit = opened(task.unit)
        runner = unit.runner(progress)
        if task.perform is not None:
            return as_result(task.perform(task, unit, runner))
        if task.kind in ("tune", "fold"):
            return _tuned(task, unit, runner, parents)
        job = unit.jobs[task.number]
        if task.kind == "run":
            return _run(task, job, runner, parents)
        # Without its parent this task would train again, and fail in the same way.
        for parent in parents:
            if parent.failed:
                return parent
        [fold] = [fold for fold in job.task.folds if fold.name == task.fold]
        return _failure(lambda: _stage(task, job.of_fold(fold), fold, runner))


def lost(task: Task, reason: str) -> Result:
    """Return the result of a task after its workers were killed; its runs are failed."""
    if task.kind in ("fit", "apply", "fold"):
        return Result(failed=reason, details=reason)
    with as_in_the_command(task.unit.host):
        unit = opened(task.unit)
        runner = unit.runner()
        job = unit.tunings[task.number].base if unit.tunings else unit.jobs[task.number]
        return as_result([_failed(runner, job, RunFailed(reason))])


def _run(task: Task, job: Job, runner: Runner, parents: Sequence[Result]) -> Result:
    run_id = identity.run_id(job.spec())
    if run_id != task.result:
        raise Misfit(
            f"{task.label}: this worker would make run {run_id[:8]} instead of {task.result[:8]}: "
            "its data or plugins differ from those of the command"
        )
    for parent in parents:
        if parent.failed:
            return as_result([_failed(runner, job, RunFailed(parent.failed), parent.details)])
    try:
        return as_result([runner.run(job)])
    except BenchError as error:  # bad input ends `run`, but other runs of a sweep go on
        return as_result([runner.failed(job, error)])


def _stage(task: Task, job: Job, fold: Fold, runner: Runner) -> None:
    """Train a network, or apply it to both sides of a fold."""
    k = learnt_stage(job)
    assert k is not None
    chain = Chain(job.chain.typed, job.chain.stages[: k + 1])
    run = runner.fold_run(replace(job, chain=chain), fold, label=task.label)
    try:
        with time_limit(runner.options.timeout):
            if task.kind == "fit":
                run.network()
            else:
                run.outputs()
    finally:
        run.cache.release()


def _tuned(task: Task, unit: OpenUnit, runner: Runner, parents: Sequence[Result]) -> Result:
    """Spend the budget of one fold, or refit and score with the selected parameters."""
    from bench.runs.tuning.known import remember
    from bench.runs.tuning.tune import tune, tune_fold

    tuning = replace(unit.tunings[task.number], say=runner.say)
    for parent in parents:
        if parent.failed:
            job = replace(tuning.base, selection=tuning.rule)
            return as_result([_failed(runner, job, RunFailed(parent.failed), parent.details)])
    release = unit.store.lock(
        task.result, lambda: runner.say(f"{task.label}: waiting for another process that tunes it")
    )
    try:
        if task.kind == "tune":
            records = tune(tuning, runner, unit.experiment.seeds_of(tuning.task))
            remember(unit.store, task.result, records)
            return as_result(records)
        [fold] = [fold for fold in tuning.task.folds if fold.name == task.fold]
        return _failure(lambda: tune_fold(tuning, runner, fold))
    finally:
        release()


def _failure(call: Callable[[], object]) -> Result:
    """Call a function; return its failure with the reason that a record of it would have."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - methods raise anything, and other tasks go on
        reason = " ".join(str(error).split())
        if not isinstance(error, BenchError):
            reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        return Result(failed=reason, details=traceback.format_exc())
    return Result()


def _failed(runner: Runner, job: Job, error: RunFailed, details: str = "") -> Record:
    try:
        raise error from (RuntimeError(details) if details else None)
    except RunFailed:
        return runner.failed(job, error)


def as_result(records: Sequence[Record]) -> Result:
    """Return the result of a task that made records."""
    return Result(records=tuple((record.data, str(record.path or "")) for record in records))


def _check(host: Host, expected: Stamp) -> None:
    """Raise if this process would not give the numbers of the command."""
    names = ("labshift", "numerics", "$BENCH_THREADS")
    here = stamp()
    if here != expected:
        other = [
            f"{name} {a}, the command {b}"
            for name, a, b in zip(names, here, expected, strict=True)
            if a != b
        ]
        raise Misfit(
            f"a worker on {platform.node()} has "
            f"{', '.join(other)}: use the same environment for both"
        )
    if "://" not in host.results and not Path(host.results).is_dir():
        raise Misfit(
            f"a worker does not see the results folder {host.results}: put it on a disk that all "
            "machines share"
        )


@contextlib.contextmanager
def as_in_the_command(host: Host) -> Iterator[None]:
    """Use the working folder and the command line of the command, which records store."""
    argv, before = sys.argv, Path.cwd()
    if Path(host.folder).is_dir():
        os.chdir(host.folder)
    sys.argv = [argv[0] if argv else "", *host.argv]
    try:
        yield
    finally:
        sys.argv = argv
        os.chdir(before)
