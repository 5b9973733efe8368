"""Run methods on splits; used by ``bench.run`` and the training commands."""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from bench.core.control_names import NAMES
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import PLUGINS
from bench.core.registry import ISOLATE, open_registry
from bench.records.results import results_store
from bench.records.runs import Runs
from bench.runs.arguments import names, seed_list
from bench.runs.job import Options
from bench.runs.progress import Progress, Stderr
from bench.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.core.dataset import Opened
    from bench.core.registry import Isolate, Registry
    from bench.data.task import Task
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.companions import Companions, JobKey
    from bench.runs.job import Job
    from bench.runs.runner import Runner


RECIPES = ("smoke", "default", "paper")
EDITIONS = ("auto", "real", "simulated", "fixture")
DEVICES = ("auto", "cpu", "cuda")
IF_EXISTS = ("skip", "refresh", "rerun", "verify")


@dataclass
class Experiment:
    """Methods, opened splits and seeds, checked and ready to run.

    Attributes
    ----------
    methods
        Methods or chains, as specified by the user.
    tasks
        The opened splits.
    seeds
        Seeds of each pair of method and split; None for the default of each split: three for
        tables, one for images.
    options
        Options common to all runs.
    registry, store
        Registry used to look up names, and results folder for records.
    edition, data
        Requested edition and settings of the data sets.
    known
        Records that worker processes made for this experiment, by run id.
    opened
        The opened data sets by name or file.
    """

    methods: list[str]
    tasks: list[Task]
    seeds: list[int] | None
    options: Options
    registry: Registry
    store: Store
    edition: str = "auto"
    data: Mapping[str, object] = field(default_factory=dict)
    known: dict[str, Record] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)

    def seeds_of(self, task: Task) -> list[int]:
        """Return the seeds of a split."""
        from bench.runs.plan import default_seeds

        return default_seeds(task) if self.seeds is None else self.seeds

    def jobs(self) -> list[Job]:
        """Return one job per split, method and seed; deterministic methods have one seed.

        Raises
        ------
        BenchError
            If a metric does not apply to a split, or a setting refers to a method that is not in
            the experiment.
        """
        from bench.runs.plan import plan

        return plan(self.methods, self.tasks, self.seeds, self.options, self.registry)

    def runner(self, progress: Progress | None = None) -> Runner:
        """Return a runner that writes to the store."""
        from bench.runs.runner import Runner

        shown = progress or Stderr()
        runner = Runner(self.store, self.options, shown.say, shown.update)
        runner.known = self.known
        return runner

    def run(
        self, jobs: Sequence[Job] | None = None, progress: Progress | None = None
    ) -> list[Record]:
        """Execute jobs, or read their records from disk.

        Parameters
        ----------
        jobs
            Default: all jobs of the experiment.
        progress
            Default: messages are printed on stderr.

        Returns
        -------
        list of Record
            In the order of the jobs. Their ``status`` is ``ok``, ``not-applicable`` or ``failed``.
        """
        shown = progress or Stderr()
        runner = self.runner(shown)
        records = []
        for job in self.jobs() if jobs is None else jobs:
            records.append(runner.run(job))
            shown.done(records[-1])
        return records

    def companions(
        self, jobs: Sequence[Job], records: Sequence[Record], progress: Progress | None = None
    ) -> Companions:
        """Run the in-distribution companions of jobs. They share the trainings of the jobs.

        Returns
        -------
        dict
            ``(method, split, seed)`` -> companion.
        """
        from bench.runs.companions import companions_of

        return companions_of(jobs, records, self.companion_jobs(jobs), self.runner(progress))

    def companion_jobs(self, jobs: Sequence[Job]) -> dict[JobKey, Job]:
        """Return the in-distribution companions that are not among the jobs themselves."""
        from bench.runs.companions import companion_jobs

        return companion_jobs(
            jobs, self.options, self.registry, self.edition, self.data, self.opened
        )

    def run_all(self, progress: Progress | None = None, *, controls: bool = True) -> list[Record]:
        """Run all jobs, their companions and control rows; return the records of the jobs."""
        records = self.run(jobs := self.jobs(), progress)
        self.companions(jobs, records, progress)
        if controls:
            self.control_rows(progress)
        return records

    def control_rows(self, progress: Progress | None = None) -> list[Record]:
        """Run the control rows of the splits that have no record yet.

        Boards show them next to every method. They are run with the default recipe only, and take
        seconds because they train no network.

        Returns
        -------
        list of Record
            The new records; empty with another recipe.
        """
        from bench.runs.identity import run_id

        runner = self.runner(progress)
        return [
            runner.run(job)
            for job in self.control_jobs()
            if self.store.find(run_id(job.spec())) is None
        ]

    def control_jobs(self) -> list[Job]:
        """Return the control rows that apply to the splits; none with another recipe."""
        from bench.runs.plan import plan

        if self.options.recipe != "default":
            return []
        options = dataclasses.replace(self.options, values={}, if_exists="skip")
        jobs = plan(list(NAMES), self.tasks, self.seeds, options, self.registry)
        return [job for job in jobs if not job.not_applicable]

    def reopen(
        self, split: str, data: Mapping[str, object], say: Callable[[str], None] | None = None
    ) -> Task:
        """Open a split with different settings of its data set."""
        from bench.data.opening import open_splits

        show = say or Stderr().say
        [task] = open_splits([split], self.registry, self.edition, {**self.data, **data}, show)
        return task


def prepare(  # noqa: PLR0913 - keywords of the public function
    methods: str | Iterable[str],
    splits: str | Iterable[str],
    *,
    seeds: int | Iterable[int] | None = None,
    recipe: str = "default",
    edition: str = "auto",
    settings: Mapping[str, object] | Iterable[str] = (),
    metrics: str | Iterable[str] = (),
    network: str | None = None,
    standardise: str | None = None,
    rescale: bool = False,
    device: str = "auto",
    if_exists: str = "skip",
    isolate: str = "plugins",
    results: Path | str | None = None,
    plugins: Iterable[Path | str] = (),
    registry: Registry | None = None,
    say: Callable[[str], None] | None = None,
) -> Experiment:
    """Check names and settings, and open the data. Nothing is trained.

    Parameters are those of :func:`run`, and:

    Parameters
    ----------
    registry
        Registry used to look up names. Default: :func:`open_registry` of ``plugins``.
    say
        Receives one line per data set with its edition. Default: printed on stderr.

    Raises
    ------
    BenchError
        If a name is unknown, a value is wrong, an edition is not available, or data are invalid.
    """
    method_names, split_names = names(methods, "--method"), names(splits, "--split")
    _check("recipe", recipe, RECIPES)
    _check("edition", edition, EDITIONS)
    _check("device", device, DEVICES)
    _check("if-exists", if_exists, IF_EXISTS)
    _check("isolate", isolate, ISOLATE)
    if registry is None:
        registry = open_registry(plugins)
    registry = registry.isolating(cast("Isolate", isolate))
    for method in method_names:
        for name in method.split("+"):
            registry.entry("method", name.strip())
    grouped = Settings.read(settings, method_names, registry)
    if network:
        grouped.recipe["network"] = network
    if standardise:
        grouped.recipe["standardise"] = standardise
    if rescale:
        grouped.recipe["rescale"] = True
    seed_numbers = None if seeds is None else seed_list(seeds)
    options = Options(recipe, grouped.recipe, grouped.methods, device, if_exists)
    store = results_store(results)

    from bench.data.opening import open_splits
    from bench.data.task import with_metrics

    opened: dict[str, Opened] = {}
    show = say or Stderr().say
    tasks = open_splits(split_names, registry, edition, grouped.data, show, opened)
    if metrics:
        further = names(metrics, "--metrics")
        tasks = [with_metrics(task, further, registry) for task in tasks]
    return Experiment(
        method_names,
        tasks,
        seed_numbers,
        options,
        registry,
        store,
        edition,
        grouped.data,
        opened=opened,
    )


def _check(option: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise BenchError(f"--{option}: {did_you_mean(value, list(allowed), option)}")


@contextmanager
def _plugins_of_the_call() -> Iterator[None]:
    """Restore ``$BENCH_PLUGINS`` at the end of a call from Python."""
    before = os.environ.get(PLUGINS)
    try:
        yield
    finally:
        os.environ.pop(PLUGINS, None)
        if before is not None:
            os.environ[PLUGINS] = before


@_plugins_of_the_call()
def run(  # noqa: PLR0913 - keywords of the public function
    methods: str | Iterable[str],
    splits: str | Iterable[str],
    *,
    seeds: int | Iterable[int] | None = None,
    recipe: str = "default",
    edition: str = "auto",
    settings: Mapping[str, object] | Iterable[str] = (),
    metrics: str | Iterable[str] = (),
    network: str | None = None,
    standardise: str | None = None,
    rescale: bool = False,
    device: str = "auto",
    if_exists: str = "skip",
    isolate: str = "plugins",
    results: Path | str | None = None,
    plugins: Iterable[Path | str] = (),
    controls: bool = True,
    progress: Progress | None = None,
) -> Runs:
    """Run methods on splits and write records, as ``bench.run("erm,ben", "ottawa")``.

    Parameters
    ----------
    methods, splits
        Names or chains, ``["erm", "ben+tvn"]`` or ``"erm,ben+tvn"``; names, aliases, or
        ``FILE.toml[:NAME]`` for your own data.
    seeds
        Number of seeds, or the seeds themselves. Default: three for tables, one for images. A
        deterministic method runs with the first seed only.
    recipe, edition, device
        Values of ``RECIPES``, ``EDITIONS`` and ``DEVICES`` of this module.
    settings
        ``{"ben.rows": "controls", "recipe.steps": 800, "data.strength": 2}``, or strings
        ``KEY=VALUE``. A key without a prefix is a parameter of all methods.
    metrics, network, standardise, rescale
        Additional metrics; shorthand for ``recipe.network``, ``recipe.standardise`` and
        ``recipe.rescale``.
    if_exists
        Action if a run exists: ``skip`` returns it; ``refresh`` repeats it if its code changed;
        ``rerun`` repeats it and its trainings; ``verify`` repeats it and compares predictions.
    isolate
        Methods that run in processes of their own, without data, test labels, results and, with
        bubblewrap, files and network: those of ``plugins`` (files), ``all``, or ``none``.
    results, plugins
        Results folder (default: ``$BENCH_RESULTS``, else ``results``); files with extensions.
    controls
        Whether to run the missing control rows, too (default recipe only). They are not returned.
    progress
        Receives messages and progress. Default: messages are printed on stderr.

    Returns
    -------
    Runs
        A list of :class:`Record`, one per split, method and seed, with ``status`` ``ok``,
        ``not-applicable`` or ``failed``, and ``reason``. ``to_frame()`` returns a DataFrame.

    Raises
    ------
    BenchError
        If a name is unknown, a value is wrong, an edition is not available, or data are invalid.
    """
    experiment = prepare(
        methods,
        splits,
        seeds=seeds,
        recipe=recipe,
        edition=edition,
        settings=settings,
        metrics=metrics,
        network=network,
        standardise=standardise,
        rescale=rescale,
        device=device,
        if_exists=if_exists,
        isolate=isolate,
        results=results,
        plugins=plugins,
        say=None if progress is None else progress.say,
    )
    return Runs(experiment.run_all(progress, controls=controls))
