"""The graph of a sweep: one task per training, inference, tuned fold and run.

A training of a network on a fold is a task of its own, and so is its inference, so that all runs
that share them wait for one process. Everything else, such as corrections of profiles and scoring,
belongs to the task of its run: it takes less time than a second process needs to read its input.
Which process executes a task does not change its result: ids, seeds and the order of rows are those
of ``run``.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from bench.core import progress
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.runs import identity
from bench.runs.progress import Silent
from bench.runs.sweeps.units import Unavailable, Unit, opened
from bench.runs.tuning.known import known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.data.partitions import Fold
    from bench.records.record import Record
    from bench.runs.job import Job
    from bench.runs.runner import Runner
    from bench.runs.sweeps.units import OpenUnit

Kind = Literal["fit", "apply", "fold", "tune", "run"]


@dataclass(frozen=True)
class Task:
    """One task, as it is sent to a worker.

    Attributes
    ----------
    key
        Unique name. Equal tasks of different sweeps have the same key.
    kind
        ``fit`` (a training), ``apply`` (inference of a network), ``fold`` (tuning of one fold),
        ``tune`` (refit and scores after tuning) or ``run`` (everything else of a run).
    label
        Text for people.
    unit, number
        The unit and the position of its job or tuning there.
    parents
        Keys of the tasks that come first.
    fold
        Name of the fold; of ``fit``, ``apply`` and ``fold`` only.
    result
        The id that is computed: of a fit, an apply or a run; empty for tuning.
    network
        Whether it may need an accelerator.
    perform
        For studies: a function of a module that makes the records of the task.
    """

    key: str
    kind: Kind
    label: str
    unit: Unit
    number: int
    parents: tuple[str, ...] = ()
    fold: str = ""
    result: str = ""
    network: bool = False
    perform: Callable[[Task, OpenUnit, Runner], Sequence[Record]] | None = None


@dataclass
class Graph:
    """Tasks of a sweep, parents first, and what is already on disk.

    Attributes
    ----------
    tasks
        The tasks by key.
    runs
        Run id -> key of its task, for the runs of the suite that are not on disk.
    stored
        Records on disk, by run id.
    unavailable
        Splits that are skipped.
    skipped
        One line for each method that cannot be tuned.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    stored: dict[str, Record] = field(default_factory=dict)
    unavailable: list[Unavailable] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, task: Task) -> str:
        """Add a task unless it is there; return its key."""
        self.tasks.setdefault(task.key, task)
        return task.key

    def count(self) -> dict[str, int]:
        """Return the number of tasks by kind."""
        return dict(Counter(task.kind for task in self.tasks.values()))


def build(
    units: Iterable[tuple[Unit, bool]],
    say: Callable[[str], None] = lambda line: None,
    visit: Callable[[OpenUnit, list[Job]], None] = lambda unit, jobs: None,
) -> Graph:
    """Open the data of all units, check them, and return the graph of what is not on disk.

    Parameters
    ----------
    units
        From :func:`bench.runs.sweeps.units.units_of`.
    say
        Receives one line per data set and per outdated record.
    visit
        Called with each unit and its jobs that are to run.

    Raises
    ------
    BenchError
        If the data of a unit cannot be opened, or a setting is wrong.
    """
    graph = Graph()
    lines: set[str] = set()

    def once(line: str) -> None:
        if line not in lines:
            lines.add(line)
            say(line)

    listed = list(units)
    for k, (unit, optional) in enumerate(listed):
        progress.report(unit.split, k + 1, len(listed))
        try:
            unit_open = opened(unit, once)
        except BenchError as error:
            if not optional:
                raise BenchError(f"block {unit.block}, {unit.split}: {error}") from None
            missing = Unavailable(unit.split, str(error))
            if missing not in graph.unavailable:
                graph.unavailable.append(missing)
            continue
        _add_tunings(graph, unit_open, once)
        visit(unit_open, _add_jobs(graph, unit_open, once))
    return graph


def folds_of(job: Job) -> list[Fold]:
    """Return the folds with rows to score."""
    return [fold for fold in job.task.folds if fold.scored.any()]


def learnt_stage(job: Job) -> int | None:
    """Return the position of the network or classifier in a chain; None without one."""
    for k, stage in enumerate(job.chain.stages):
        if stage.kind in ("network", "classifier"):
            return k
    return None


# --------------------------------------------------------------------------- runs


def _add_jobs(graph: Graph, unit: OpenUnit, say: Callable[[str], None]) -> list[Job]:
    """Add the jobs of a unit that are not on disk; return them."""
    runner = unit.runner(_Notes(say))
    pending: list[tuple[int, Job, str]] = []
    for number, job in enumerate(unit.jobs):
        run_id = identity.run_id(job.spec())
        if run_id in graph.runs or run_id in graph.stored:
            continue
        stored = runner.stored(job)
        if stored is not None:
            graph.stored[run_id] = stored
        else:
            pending.append((number, job, run_id))
    for number, job, run_id in pending:
        parents = [] if job.not_applicable else list(_parents(graph, unit, number, job))
        name = f"{job.chain.typed} on {job.task.split.name}, seed {job.seed}"
        task = _task("run", name, unit.unit, number, run_id, parents=parents)
        graph.runs[run_id] = graph.add(task)
    return [job for _, job, _ in pending]


def _parents(graph: Graph, unit: OpenUnit, number: int, job: Job) -> Iterator[str]:
    """Add the trainings and inferences that a run needs, and yield their keys."""
    k = learnt_stage(job)
    if k is None:
        return
    stage, folds = job.chain.stages[k], folds_of(job)
    network = stage.kind == "network"
    runner = unit.runner(Silent())
    for fold in folds:
        fold_job = job.of_fold(fold)
        ids = fold_job.ids(fold)[k]
        cache = runner.fold_run(fold_job, fold).cache
        code = runner.codes.of_stage(fold_job, k)
        if all(cache.current(key, code) for key in (ids.apply_test, ids.apply_train)):
            continue
        where = f" {fold.name}" if len(job.task.folds) > 1 else ""
        end = f"{where} on {job.task.split.name}, seed {job.seed}"
        common = functools.partial(_task, fold=fold.name, network=network)
        fit: list[str] = []
        # The rows of a later stage are profiles of the stages before it.
        if network and k == 0 and not cache.current(ids.fit, runner.codes.of_fit(fold_job, k)):
            owner, _ = identity.fit_name(stage, job.registry)  # adabn shares the fit of erm
            fit = [graph.add(common("fit", owner + end, unit.unit, number, ids.fit))]
        name = stage.name + end
        task = common("apply", name, unit.unit, number, ids.apply_test, parents=fit)
        yield graph.add(task)


def _task(
    kind: Kind,
    label: str,
    unit: Unit,
    number: int,
    result: str,
    *,
    parents: Iterable[str] = (),
    fold: str = "",
    network: bool = False,
) -> Task:
    method = label.partition(" ")[0]
    text = {"fit": "train", "apply": "apply"}.get(kind, kind)
    key = f"{kind}-{method}-{digest([unit.host.results, kind, result, unit.host.if_exists], 16)}"
    shown = f"{text} {label}" if kind != "run" else label
    return Task(key, kind, shown, unit, number, tuple(parents), fold, result, network)


# --------------------------------------------------------------------------- tuning


def _add_tunings(graph: Graph, unit: OpenUnit, say: Callable[[str], None]) -> None:
    """Add the tunings of a unit that has no runs on disk."""
    runner = unit.runner(_Notes(say))
    for number, tuning in enumerate(unit.tunings):
        job = tuning.base
        label = f"{tuning.method} on {tuning.task.split.name}, {tuning.budget.trials} trials"
        if not (tuning.space or job.not_applicable):
            graph.skipped.append(f"{label}: it has no search space; add recipe_keys to the block")
            continue
        network = any(stage.kind == "network" for stage in job.chain.stages)
        parts = {
            "run": job.spec(),
            "rule": tuning.rule,
            "level": tuning.level,
            "budget": [tuning.budget.trials, tuning.budget.parts],
            "space": [dimension.spec for dimension in tuning.space],
        }
        seeds = list(unit.experiment.seeds_of(tuning.task))
        result = digest({**parts, "seeds": seeds})
        stored = known(tuning, runner, result, seeds)
        if stored is not None:
            graph.stored |= {record.run_id: record for record in stored}
            continue
        tasks = []
        folds = [] if job.not_applicable else folds_of(job)
        for fold in folds:
            where = f" {fold.name}" if len(folds) > 1 else ""
            of_fold = digest({**parts, "fold": fold.name})
            label_of = label.replace(" on ", f"{where} on ", 1)
            task = _task(
                "fold", label_of, unit.unit, number, of_fold, fold=fold.name, network=network
            )
            tasks.append(graph.add(replace(task, label=f"tune {label_of}")))
        task = _task("tune", label, unit.unit, number, result, parents=tasks, network=network)
        graph.add(replace(task, label=f"tuned {label}"))


class _Notes(Silent):
    """Progress of a runner that only looks at what is on disk."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say  # type: ignore[assignment,method-assign]
