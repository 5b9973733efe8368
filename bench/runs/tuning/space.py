"""Search spaces for tuning: one budget for all methods, validation rows only.

Each fold of a split has its own study. Hyperparameters shared across folds would be selected with
scores on rows that are test rows of another fold, so each fold uses its own training rows only.
Within a study, a trial is scored on the derived splits of a selection rule
(``bench.runs.holdouts``), one record per split. A poor trial is pruned after the first split. When
the budget is spent, :func:`bench.records.selection.select` selects among these records, the method
is refitted on *all* training rows, and only then are the test rows used.

The sampler seed of a trial is derived from the study name and the trial's position. Interrupted
trials are re-queued. A study that was killed and resumed therefore makes the same trials as an
uninterrupted one, if only one process works on it at a time. Several workers can share a study
through a database. No trial is lost then either, but their order depends on timing.
"""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, did_you_mean
from bench.runs.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.registry import Registry
    from bench.core.types import Facts, JsonObject, Recipe, Values
    from bench.data.task import Task
    from bench.records.store import Store
    from bench.runs.chain import Stage
    from bench.runs.experiment import Experiment
    from bench.runs.job import Job, Options


RECIPE_SPACE: dict[str, tuple[float, float]] = {"lr": (1e-4, 1e-2), "weight_decay": (1e-6, 1e-2)}
"""Recipe keys that may be tuned in addition to a method's own, on a log scale."""
SEED = 0
"""Seed of every training used for selection."""
WARM_UP = 4
"""Number of trials scored in full before any trial is pruned."""
SILENT_S = 600.0
"""Heartbeat timeout in seconds before a trial of another worker is considered dead."""
BEAT_S = 20.0
HOST = platform.node()


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter in the search space.

    Attributes
    ----------
    owner, key
        The stage and its parameter, or ``recipe`` and its key.
    low, high, log
        Range of a number; an integer if the default is one.
    choices
        Options of a string or boolean; empty for a number.
    acts_if
        Names of other dimensions with the values for which this one has an effect. It is sampled
        only in trials with these values.
    """

    owner: str
    key: str
    default: Any
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    acts_if: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def name(self) -> str:
        """``deep-coral.weight``, ``recipe.lr``."""
        return f"{self.owner}.{self.key}"

    @property
    def words(self) -> str:
        """``deep-coral.weight 0.01 .. 10 (log)``."""
        if self.choices:
            text = f"{self.name} {' | '.join(map(str, self.choices))}"
        else:
            text = f"{self.name} {self.low:g} .. {self.high:g}" + (" (log)" if self.log else "")
        for name, values in self.acts_if:
            text += f" if {name} = {' | '.join(map(str, values))}"
        return text

    @property
    def spec(self) -> JsonObject:
        """All fields; ``acts_if`` only if set, so that names of other studies do not change."""
        fields = dataclasses.asdict(self)
        if not self.acts_if:
            del fields["acts_if"]
        return fields

    def acts(self, values: Facts) -> bool:
        """Whether it has an effect, given the values of other dimensions by name."""
        return all(values.get(name) in allowed for name, allowed in self.acts_if)

    def contains(self, value: Any) -> bool:  # noqa: ANN401 - a value of any parameter
        """Whether a value is in the search space."""
        if self.choices:
            return value in self.choices
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Budget:
    """Tuning budget of each method on each fold.

    Attributes
    ----------
    seconds
        Time budget in seconds: no trial starts after it is spent (0 = unlimited).
    parts
        Number of disjoint validation sets; see :func:`bench.runs.holdouts.validation`.
    """

    trials: int
    seconds: float = 0.0
    parts: int = 2


@dataclass
class Tuning:
    """Tuning configuration of one method on one split.

    Attributes
    ----------
    task, method, registry, options
        As for a run. Values set by hand in ``options`` are not tuned.
    budget, rule, level
        Budget, selection rule, and its batch level (empty = the data set's default).
    storage
        Database URL, or empty for a journal in the results folder.
    recipe_keys
        Keys of :data:`RECIPE_SPACE` to tune in addition.
    """

    task: Task
    method: str
    registry: Registry
    options: Options
    store: Store
    budget: Budget
    rule: str = "ood-val"
    level: str = ""
    storage: str = ""
    recipe_keys: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda line: None
    _space: list[Dimension] | None = field(default=None, repr=False)

    @property
    def space(self) -> list[Dimension]:
        """The tuned hyperparameters; empty if the method declares none."""
        if self._space is None:
            self._space = search_space(self)
        return self._space

    @property
    def base(self) -> Job:
        """The job with default values."""
        return trial_job(self, self.task, {}, {}, SEED)


def tunings_of(
    experiment: Experiment,
    budget: Budget,
    **fields: Any,  # noqa: ANN401 - fields of several types
) -> list[Tuning]:
    """Return the tunings of an experiment; ``fields`` are further ones of :class:`Tuning`."""
    common = (experiment.registry, experiment.options, experiment.store, budget)
    return [
        Tuning(task, method, *common, **fields)
        for task in experiment.tasks
        for method in experiment.methods
    ]


def search_space(tuning: Tuning) -> list[Dimension]:
    """Return the search space of a chain: the space of each stage, and the requested recipe keys.

    Values set by hand are excluded. Choices that the method cannot run with on this split, such as
    statistics of controls without negative controls, are also excluded, and parameters that have
    no effect with any value of the others (``acts_if`` of :func:`bench.api.param`).
    """
    base = tuning.base
    space = [dimension for stage in base.chain.stages for dimension in _stage_space(tuning, stage)]
    trained = any(stage.kind == "network" for stage in base.chain.stages)
    for key in tuning.recipe_keys:
        if key not in RECIPE_SPACE:
            raise BenchError(did_you_mean(key, list(RECIPE_SPACE), "recipe key to tune"))
        if key in tuning.options.overrides:
            raise BenchError(f"recipe.{key} is both set and tuned: remove one of the two")
        if trained:
            default = base.recipe[key]
            space.append(Dimension("recipe", key, default, *RECIPE_SPACE[key], log=True))
    return space


def _stage_space(tuning: Tuning, stage: Stage) -> list[Dimension]:
    """Return the dimensions of a stage, each after those that it depends on."""
    fixed = tuning.options.values.get(stage.name, {})
    fields = {f.name: f for f in dataclasses.fields(stage.params)}
    space: dict[str, Dimension] = {}
    for name in sorted(fields, key=lambda name: bool(fields[name].metadata.get("acts_if"))):
        default, metadata = fields[name].default, fields[name].metadata
        search = metadata.get("search")
        if search is None or name in fixed:
            continue
        conditions = []
        for other, allowed in metadata.get("acts_if", {}).items():
            tuned = space.get(other)
            values = (getattr(stage.params, other),) if tuned is None else tuned.choices
            if not set(values) & set(allowed):
                break
            if tuned is not None and not set(values) <= set(allowed):
                conditions.append((tuned.name, tuple(v for v in values if v in allowed)))
        else:
            acts_if = tuple(conditions)
            if isinstance(default, (bool, str)):
                choices = tuple(v for v in search if _possible(tuning, stage.name, name, v))
                if len(choices) > 1:
                    space[name] = Dimension(
                        stage.name, name, default, choices=choices, acts_if=acts_if
                    )
            else:
                low, high = search
                log = bool(metadata.get("log"))
                space[name] = Dimension(stage.name, name, default, low, high, log, (), acts_if)
    return list(space.values())


def _possible(tuning: Tuning, owner: str, key: str, value: object) -> bool:
    return not trial_job(tuning, tuning.task, {owner: {key: value}}, {}, SEED).not_applicable


def trial_job(tuning: Tuning, task: Task, params: Values, recipe: Recipe, seed: int) -> Job:
    """Return the validated job of a candidate."""
    stages = {name.strip() for name in tuning.method.split("+")}
    values = {name: dict(v) for name, v in tuning.options.values.items() if name in stages}
    for name, changed in params.items():
        values.setdefault(name, {}).update(changed)
    overrides = {**tuning.options.overrides, **recipe}
    options = dataclasses.replace(tuning.options, values=values, overrides=overrides)
    [job] = plan([tuning.method], [task], [seed], options, tuning.registry)
    return job


FAILED, SECONDS, RUNS, BEAT, WORKER = "failed", "seconds", "runs", "beat", "worker"


def short(value: object) -> str:
    """Format a value for messages; floats have three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
