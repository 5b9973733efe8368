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
    from bench.core.types import Recipe, Values
    from bench.data.task import Task
    from bench.records.store import Store
    from bench.runs.job import Job, Options

__all__ = ["RECIPE_SPACE", "Budget", "Dimension", "Tuning", "search_space"]

RECIPE_SPACE: dict[str, tuple[float, float]] = {
    "lr": (1e-4, 1e-2),
    "weight_decay": (1e-6, 1e-2),
}
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
    default
        Default value.
    low, high, log
        Range of a number; an integer if the default is one.
    choices
        Options of a string or boolean; empty for a number.
    """

    owner: str
    key: str
    default: Any
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """``deep-coral.weight``, ``recipe.lr``."""
        return f"{self.owner}.{self.key}"

    @property
    def words(self) -> str:
        """``deep-coral.weight 0.01 .. 10 (log)``."""
        if self.choices:
            return f"{self.name} {' | '.join(map(str, self.choices))}"
        return f"{self.name} {self.low:g} .. {self.high:g}" + (" (log)" if self.log else "")

    def holds(self, value: Any) -> bool:  # noqa: ANN401 - a value of any parameter
        """Whether a value is in the search space."""
        if self.choices:
            return value in self.choices
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Budget:
    """Tuning budget of each method on each fold.

    Attributes
    ----------
    trials
        Number of trials, finished or pruned.
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
    store
        Results folder for records and, by default, studies.
    budget, rule, level
        Budget, selection rule, and its batch level (empty = the data set's default).
    storage
        Database URL, or empty for a journal in the results folder.
    recipe_keys
        Keys of :data:`RECIPE_SPACE` to tune in addition.
    say
        Receives progress messages.
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


# --------------------------------------------------------------------------- search space


def search_space(tuning: Tuning) -> list[Dimension]:
    """Return the search space of a chain: the space of each stage, and the requested recipe keys.

    Values set by hand are excluded. Choices that the method cannot run with on this split, such as
    statistics of controls without negative controls, are also excluded.

    Raises
    ------
    BenchError
        For a recipe key that cannot be tuned.
    """
    made: list[Dimension] = []
    base = tuning.base
    for stage in base.chain.stages:
        fixed = tuning.options.values.get(stage.name, {})
        for one in dataclasses.fields(stage.params):
            search = one.metadata.get("search")
            if search is None or one.name in fixed:
                continue
            if isinstance(one.default, (bool, str)):
                choices = tuple(v for v in search if _possible(tuning, stage.name, one.name, v))
                if len(choices) > 1:
                    made.append(Dimension(stage.name, one.name, one.default, choices=choices))
            else:
                low, high = search
                log = bool(one.metadata.get("log"))
                made.append(Dimension(stage.name, one.name, one.default, low, high, log))
    trained = any(stage.kind == "network" for stage in base.chain.stages)
    for key in tuning.recipe_keys:
        if key not in RECIPE_SPACE:
            raise BenchError(did_you_mean(key, list(RECIPE_SPACE), "recipe key to tune"))
        if key in tuning.options.overrides:
            raise BenchError(f"recipe.{key} is set and tuned: leave one of the two out")
        if trained:
            default = base.recipe[key]
            made.append(Dimension("recipe", key, default, *RECIPE_SPACE[key], log=True))
    return made


def _possible(tuning: Tuning, owner: str, key: str, value: object) -> bool:
    return not trial_job(tuning, tuning.task, {owner: {key: value}}, {}, SEED).not_applicable


def trial_job(
    tuning: Tuning,
    task: Task,
    params: Values,
    recipe: Recipe,
    seed: int,
) -> Job:
    """Return the validated job of a candidate."""
    stages = {name.strip() for name in tuning.method.split("+")}
    values = {name: dict(v) for name, v in tuning.options.values.items() if name in stages}
    for name, given in params.items():
        values.setdefault(name, {}).update(given)
    overrides = {**tuning.options.overrides, **recipe}
    options = dataclasses.replace(tuning.options, values=values, overrides=overrides)
    [job] = plan([tuning.method], [task], [seed], options, tuning.registry)
    return job


# --------------------------------------------------------------------------- one study

FAILED, SECONDS, RUNS, BEAT, WORKER = "failed", "seconds", "runs", "beat", "worker"


def short(value: object) -> str:
    """Format a value for messages; floats have three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
