"""Tuning: every method's declared space, one budget for all, validation rows alone.

Each fold of a split is tuned by a study of its own. A choice that is shared by all folds would be
made with scores on rows that some other fold is tested on; so none is shared, and what was chosen
for a fold rests on that fold's training rows only. Within a study a trial is scored on the derived
splits of a selection rule (``bench.runs.holdouts``), each a record of its own; a poor trial is
given up after the first of them. When the budget is spent, :func:`bench.records.selection.select`
chooses among those records, the method is fitted on *all* training rows with what was chosen, and
only then does anything touch the test rows.

The sampler has a seed for each trial, mixed from the study's name and the trial's place in it, and
a trial that was cut off gives its place to the next. So a study that was killed and continued
makes the same trials as one that never was, if one process works on it at a time. Several workers
can share a study through a database; then no trial is lost either, but their order is that of the
clock.
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
    from bench.data.target import Target
    from bench.records.store import Store
    from bench.runs.job import Job, Options

__all__ = ["RECIPE_SPACE", "Budget", "Dimension", "Tuning", "search_space"]

RECIPE_SPACE: dict[str, tuple[float, float]] = {
    "lr": (1e-4, 1e-2),
    "weight_decay": (1e-6, 1e-2),
}
"""Recipe keys that may be tuned in addition to a method's own, on a log scale."""
SEED = 0
"""Seed of every training that is made for a choice."""
WARM_UP = 4
"""Trials that are scored in full before any is given up early."""
SILENT_S = 600.0
"""A trial of another worker that has said nothing for so long is taken for lost."""
BEAT_S = 20.0
HOST = platform.node()


@dataclass(frozen=True)
class Dimension:
    """One value that is tuned.

    Attributes
    ----------
    owner, key
        The stage and its parameter, or ``recipe`` and its key.
    default
        What it is without tuning.
    low, high, log
        Of a number; an integer if the default is one.
    choices
        Of a word or a truth value; empty for a number.
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

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Whether a value is in the space."""
        if self.choices:
            return value in self.choices
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Budget:
    """What each method compared may spend, on each fold.

    Attributes
    ----------
    trials
        Candidates that are scored, finished or given up early.
    seconds
        No trial is begun once those before it cost so much; 0 is no limit.
    parts
        Disjoint validation sets; see :func:`bench.runs.holdouts.validation`.
    """

    trials: int
    seconds: float = 0.0
    parts: int = 2


@dataclass
class Tuning:
    """How one method is to be tuned on one split.

    Attributes
    ----------
    target, method, registry, options
        As for a run; ``options`` has values set by hand, which are not tuned.
    store
        Where records and, by default, studies are.
    budget, rule, level
        What may be spent; the selection rule; its batch level, empty for the data set's own.
    storage
        URL of a database, or empty for a journal in the results folder.
    recipe_keys
        Keys of :data:`RECIPE_SPACE` to tune as well.
    say
        Takes one line for people.
    """

    target: Target
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
        """The dimensions that are tuned; empty if the method declares none."""
        if self._space is None:
            self._space = search_space(self)
        return self._space

    @property
    def base(self) -> Job:
        """The job at its defaults."""
        return trial_job(self, self.target, {}, {}, SEED)


# --------------------------------------------------------------------------- the space


def search_space(tuning: Tuning) -> list[Dimension]:
    """Return the search space of a chain: that of each stage, and the requested recipe keys.

    Values that were set by hand are left alone. A choice with which the method could not run on
    this split, such as statistics of controls where there are none, is left out.

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
    return not trial_job(tuning, tuning.target, {owner: {key: value}}, {}, SEED).not_applicable


def trial_job(
    tuning: Tuning,
    target: Target,
    params: Values,
    recipe: Recipe,
    seed: int,
) -> Job:
    """Return the checked job of a candidate."""
    stages = {name.strip() for name in tuning.method.split("+")}
    values = {name: dict(v) for name, v in tuning.options.values.items() if name in stages}
    for name, given in params.items():
        values.setdefault(name, {}).update(given)
    overrides = {**tuning.options.overrides, **recipe}
    options = dataclasses.replace(tuning.options, values=values, overrides=overrides)
    [job] = plan([tuning.method], [target], [seed], options, tuning.registry)
    return job


# --------------------------------------------------------------------------- one study

FAILED, SECONDS, RUNS, BEAT, WORKER = "failed", "seconds", "runs", "beat", "worker"


def short(value: object) -> str:
    """Return a value as it is printed: three digits of a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
