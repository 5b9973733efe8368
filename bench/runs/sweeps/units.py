"""Units of a sweep: the methods and options of a block on one split, opened when needed.

A unit consists of names and numbers, so that it can be sent to another process, which opens the
same data and plans the same jobs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.control_names import is_control_row
from bench.core.errors import BenchError, did_you_mean
from bench.core.registry import registry_with
from bench.runs.code import Codes
from bench.runs.experiment import Experiment, prepare
from bench.runs.sweeps.suite import BlockOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.core.registry import Registry
    from bench.records.store import Store
    from bench.runs.job import Job
    from bench.runs.progress import Progress
    from bench.runs.runner import Runner
    from bench.runs.sweeps.suite import Block, Suite
    from bench.runs.tuning.space import Tuning

Settings = tuple[tuple[str, object], ...]
ALL = "all"
"""In a suite: all packaged methods; those that do not apply to a split are recorded as such."""
OPEN = 3
"""Units that a process keeps open; their tables are in memory."""


@dataclass(frozen=True)
class Host:
    """Where a sweep reads and writes, and how it runs.

    Attributes
    ----------
    results
        Absolute path or URL of the results folder.
    folder
        Working folder of the command, to which paths in names of splits are relative.
    plugins
        Absolute paths of the plugin files and their contents.
    argv
        Arguments of the command, as recorded with each run.
    device, if_exists, isolate
        As the options of ``run``.
    timeout
        Seconds after which a task is stopped and its runs fail; 0 is no limit.
    """

    results: str
    folder: str
    plugins: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    device: str = "auto"
    if_exists: str = "skip"
    timeout: float = 0.0
    isolate: str = "plugins"


@dataclass(frozen=True)
class Unit(BlockOptions):
    """Methods on one split with the same options.

    Attributes
    ----------
    host
        Where it runs.
    block
        Number of its block in the suite, from 1.
    methods, split, settings
        As the options of ``run``.
    trials
        0 for default parameters, otherwise the tuning budget.
    seconds, storage
        As the options of ``tune``.
    """

    host: Host
    block: int
    methods: tuple[str, ...]
    split: str
    settings: Settings = ()
    trials: int = 0
    seconds: float = 0.0
    storage: str = ""


@dataclass(frozen=True)
class Unavailable:
    """A split that is skipped because its data are not on this machine."""

    split: str
    reason: str


class OpenUnit:
    """A unit with its data.

    Attributes
    ----------
    experiment
        The opened experiment.
    """

    def __init__(
        self, unit: Unit, registry: Registry, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.unit = unit
        self.experiment: Experiment = prepare(
            unit.methods,
            unit.split,
            seeds=unit.seeds,
            recipe=unit.recipe,
            edition=unit.edition,
            settings=dict(unit.settings),
            metrics=unit.metrics,
            network=unit.network,
            standardise=unit.standardise,
            rescale=unit.rescale,
            device=unit.host.device,
            if_exists=unit.host.if_exists,
            isolate=unit.host.isolate,
            results=unit.host.results,
            registry=registry,
            say=say,
        )
        experiment = self.experiment
        experiment.options = dataclasses.replace(experiment.options, timeout=unit.host.timeout)

    @functools.cached_property
    def jobs(self) -> list[Job]:
        """Its runs, their companions and the control rows; empty if parameters are tuned."""
        if self.unit.trials:
            return []
        runs = self.experiment.jobs()
        jobs = list(runs)
        if self.unit.companions:
            jobs += self.experiment.companion_jobs(runs).values()
        if self.unit.controls:
            jobs += self.experiment.control_jobs()
        return jobs

    @property
    def store(self) -> Store:
        """The results folder."""
        return self.experiment.store

    def runner(self, progress: Progress | None = None) -> Runner:
        """Return a runner; all runners of a process read each source file once."""
        runner = self.experiment.runner(progress)
        runner.codes = _CODES
        return runner

    @functools.cached_property
    def tunings(self) -> list[Tuning]:
        """Methods to tune; empty for default parameters."""
        from bench.runs.tuning.space import Budget, tunings_of

        if not self.unit.trials:
            return []
        unit = self.unit
        return tunings_of(
            self.experiment,
            Budget(unit.trials, unit.seconds, unit.validations),
            rule=unit.rule,
            level=unit.level,
            storage=unit.storage,
            recipe_keys=unit.recipe_keys,
        )


def units_of(suite: Suite, host: Host) -> list[tuple[Unit, bool]]:
    """Return the units of a suite, each with whether its data may be missing.

    Raises
    ------
    BenchError
        For the name of an unknown method or split.
    """
    from bench.data.catalog import resolve

    registry = _registry(host.plugins)
    units: list[tuple[Unit, bool]] = []
    for number, block in enumerate(suite.blocks, 1):
        try:
            _check_names(block, registry)
            for split in block.splits:
                resolve(split, registry)
        except BenchError as error:
            raise BenchError(f"{suite.name}, block {number}: {error}") from None
        options = {f.name: getattr(block, f.name) for f in dataclasses.fields(BlockOptions)}
        methods = _all_methods(registry) if block.methods == (ALL,) else block.methods
        units += [
            (
                Unit(host, number, methods, split, tuple(settings.items()), trials, **options),
                block.optional,
            )
            for split in block.splits
            for settings in block.settings
            for trials in block.trials
        ]
    return units


def units_like(experiment: Experiment, host: Host, **fields: Any) -> list[Unit]:  # noqa: ANN401 - fields of several types
    """Return the units of an experiment, one per split.

    Parameters
    ----------
    experiment
        Methods, splits, seeds and options.
    host
        Where the units run.
    **fields
        Other fields of :class:`Unit`, such as ``controls`` and ``trials``.
    """
    options = experiment.options
    settings: dict[str, object] = {
        f"{name}.{key}": value
        for name, values in (
            *options.values.items(),
            ("recipe", options.overrides),
            ("data", experiment.data),
        )
        for key, value in values.items()
    }
    return [
        Unit(
            host,
            1,
            tuple(experiment.methods),
            task.typed,
            tuple(settings.items()),
            seeds=None if experiment.seeds is None else tuple(experiment.seeds),
            recipe=options.recipe,
            edition=experiment.edition,
            metrics=tuple(task.split.metrics),
            **fields,
        )
        for task in experiment.tasks
    ]


def _all_methods(registry: Registry) -> tuple[str, ...]:
    """Return the packaged methods, without control rows and those that need an argument."""
    entries = [registry.entry("method", name) for name in registry.names("method")]
    return tuple(
        entry.name
        for entry in entries
        if not is_control_row(entry.meta["level"])
        and not entry.meta.get("argument")
        and entry.provider == "labshift"
    )


def _check_names(block: Block, registry: Registry) -> None:
    from bench.records import selection
    from bench.runs.experiment import EDITIONS, RECIPES

    for method in () if block.methods == (ALL,) else block.methods:
        for name in method.split("+"):
            registry.entry("method", name.strip())
    for noun, value, allowed in (
        ("recipe", block.recipe, RECIPES),
        ("edition", block.edition, EDITIONS),
    ):
        if value not in allowed:
            raise BenchError(did_you_mean(value, list(allowed), noun))
    selection.rule(block.rule)


_CODES = Codes()
_OPEN: OrderedDict[Unit, OpenUnit] = OrderedDict()


def opened(unit: Unit, say: Callable[[str], None] = lambda line: None) -> OpenUnit:
    """Open a unit, or return it if this process has it open.

    Raises
    ------
    BenchError
        If the data cannot be opened, or a setting is wrong.
    """
    if unit not in _OPEN:
        _OPEN[unit] = OpenUnit(unit, _registry(unit.host.plugins), say)
        while len(_OPEN) > OPEN:
            _OPEN.popitem(last=False)
    _OPEN.move_to_end(unit)
    return _OPEN[unit]


@functools.lru_cache(maxsize=4)
def _registry(plugins: tuple[tuple[str, str], ...]) -> Registry:
    return registry_with(_files(plugins))


def _files(plugins: Sequence[tuple[str, str]]) -> list[str]:
    """Return the plugin files; those that this machine does not have are written to its cache."""
    from pathlib import Path

    from bench.core.canonical import digest
    from bench.core.disk import write_file
    from bench.core.folders import cache_folder

    files = []
    for name, text in plugins:
        path = Path(name)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path = cache_folder("plugins") / digest(text, 16) / path.name
            write_file(path, text)
        files.append(str(path))
    return files
