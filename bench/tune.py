"""Tuning: every method's declared space, one budget for all, validation rows alone.

Each fold of a split is tuned by a study of its own. A choice that is shared by all folds would be
made with scores on rows that some other fold is tested on; so none is shared, and what was chosen
for a fold rests on that fold's training rows only. Within a study a trial is scored on the derived
splits of a selection rule (``bench.carve``), each a record of its own; a poor trial is given up
after the first of them. When the budget is spent, :func:`bench.selection.select` chooses among
those records, the method is fitted on *all* training rows with what was chosen, and only then does
anything touch the test rows.

The sampler has a seed for each trial, mixed from the study's name and the trial's place in it, and
a trial that was cut off gives its place to the next. So a study that was killed and continued
makes the same trials as one that never was, if one process works on it at a time. Several workers
can share a study through a database; then no trial is lost either, but their order is that of the
clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import RunFailed
from bench.carve import check_only_training, oracle, validation
from bench.errors import BenchError, did_you_mean
from bench.plan import Job, Options, Tuned, plan
from bench.seeds import seed_for
from bench.selection import Choice, rule, select
from bench.store import Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import optuna

    from bench.plan import Target
    from bench.registry import Registry
    from bench.runner import Runner
    from bench.splits import Fold

__all__ = ["RECIPE_SPACE", "Budget", "Dimension", "Tuning", "search_space", "tune"]

RECIPE_SPACE: dict[str, tuple[float, float]] = {
    "lr": (1e-4, 1e-2),
    "weight_decay": (1e-6, 1e-2),
}
"""Recipe keys that may be tuned beside a method's own, in logarithm."""
SEED = 0
"""Seed of every training that is made for a choice."""
WARM_UP = 4
"""Trials that are scored in full before any is given up early."""
SILENT_S = 600.0
"""A trial of another worker that has said nothing for so long is taken for lost."""
BEAT_S = 20.0
_HOST = platform.node()


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
        Of a number; an ``int`` default makes it whole.
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

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the space."""
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
        Disjoint validation sets; see :func:`bench.carve.validation`.
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
        As for a run; ``options`` hold values set by hand, which are not tuned.
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
        return _job(self, self.target, {}, {}, SEED)


# --------------------------------------------------------------------------- the space


def search_space(tuning: Tuning) -> list[Dimension]:
    """Return what is tuned of a chain: each stage's declared space, and the recipe keys asked for.

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


def _possible(tuning: Tuning, owner: str, key: str, value: Any) -> bool:
    return not _job(tuning, tuning.target, {owner: {key: value}}, {}, SEED).not_applicable


def _job(
    tuning: Tuning,
    target: Target,
    params: Mapping[str, Mapping[str, Any]],
    recipe: Mapping[str, Any],
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


# --------------------------------------------------------------------------- storage


@contextlib.contextmanager
def _study(tuning: Tuning, name: str, higher: bool) -> Iterator[optuna.Study]:
    """Open or make a study; a journal belongs to one process at a time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP, n_warmup_steps=0)
    with contextlib.ExitStack() as stack:
        if tuning.storage:
            storage = _database(tuning.storage)
        else:
            storage = stack.enter_context(_journal(tuning.store.root / "tuning", name))
        yield optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize" if higher else "minimize",
            pruner=pruner,
            load_if_exists=True,
        )


def _database(url: str) -> Any:
    import optuna

    if "://" not in url:
        raise BenchError(
            f"--storage takes the URL of a database, such as sqlite:///tuning.db or "
            f"postgresql+psycopg://user@host/name, not '{url}'"
        )
    try:
        for attempt in range(5):
            try:
                return optuna.storages.RDBStorage(url)
            except Exception as error:
                # Workers that start together make the tables together, and all but one fail.
                race = any(text in str(error) for text in ("already exists", "duplicate key"))
                if not race or attempt == 4:
                    raise
                time.sleep(0.5 * (attempt + 1))
    except (ImportError, OSError) as error:
        raise BenchError(
            f"--storage {_without_password(url)}: the driver cannot be loaded ({error}); "
            "install it, such as `pip install 'psycopg[binary]'`"
        ) from error
    except Exception as error:
        # SQLAlchemy and each driver have exceptions of their own.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BenchError(
            f"--storage {_without_password(url)} cannot be opened ({first}): mend the URL or start "
            "the database"
        ) from error


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.split(':')[0]}@{tail}" if at else url


@contextlib.contextmanager
def _journal(folder: Path, name: str) -> Iterator[Any]:
    """Open the journal of a study, whole even after a kill in the middle of a line."""
    from filelock import FileLock, Timeout
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"{folder} cannot be made ({error.strerror}): choose another folder with --results"
        ) from None
    path = folder / f"{digest(name, 16)}.journal"
    owner = FileLock(str(path.with_suffix(".owner")))
    try:
        owner.acquire(timeout=0)
    except Timeout:
        raise BenchError(
            f"another process is tuning '{name}' in {folder}: wait for it, or give all workers one "
            "database with --storage URL"
        ) from None
    try:
        # We are alone: a lock of optuna's that is still here belongs to a process that was killed.
        Path(f"{path}.lock").unlink(missing_ok=True)
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        yield JournalStorage(JournalFileBackend(str(path)))
    finally:
        owner.release()


# --------------------------------------------------------------------------- one study

_FAILED, _SECONDS, _RUNS, _BEAT, _WORKER = "failed", "seconds", "runs", "beat", "worker"


def _finished(study: optuna.Study) -> list[Any]:
    """Return the trials that count against the budget, in order: all but lost and running ones."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return [t for t in trials if t.state in done or _FAILED in t.user_attrs]


def _spent(trials: Sequence[Any]) -> float:
    return math.fsum(float(trial.user_attrs.get(_SECONDS, 0.0)) for trial in trials)


def _others(study: optuna.Study, alone: bool) -> int:
    """Return how many trials other workers have under way, giving up those that are lost."""
    from optuna.trial import TrialState

    running = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if alone or _lost(trial):
            # No attribute marks it as failed: its place goes to the next trial.
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            running += 1
    return running


def _lost(trial: Any) -> bool:
    """Whether a trial's worker is gone: its process here, or silent for long elsewhere."""
    host, _, pid = str(trial.user_attrs.get(_WORKER, "")).rpartition(":")
    if host == _HOST and pid.isdigit():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # somebody else's, and alive
        return int(pid) == os.getpid()  # between two trials of our own
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    # Wall clocks, since workers may be on several machines.
    return time.time() - float(trial.user_attrs.get(_BEAT) or started) > SILENT_S


def _place(study: optuna.Study, number: int) -> int:
    """Return a trial's place in the study: how many trials before it were not lost."""
    from optuna.trial import TrialState

    return sum(
        t.number < number and (t.state != TrialState.FAIL or _FAILED in t.user_attrs)
        for t in study.get_trials(deepcopy=False)
    )


def _suggest(study: optuna.Study, trial: Any, name: str, space: Sequence[Dimension]) -> Any:
    """Return a candidate ``(params, recipe)``: the defaults first, then what the sampler draws."""
    import optuna

    place = _place(study, trial.number)
    if place == 0 and not all(one.holds(one.default) for one in space):
        return {}, {}  # a default that stands for something else, such as 0 for the published value
    seed = seed_for("tune", name, place) % 2**32
    study.sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=10, multivariate=False, constant_liar=False
    )
    params: dict[str, dict[str, Any]] = {}
    recipe: dict[str, Any] = {}
    for one in space:
        if one.choices:
            value = trial.suggest_categorical(one.name, list(one.choices))
        elif isinstance(one.default, int):
            value = trial.suggest_int(one.name, int(one.low), int(one.high), log=one.log)
        else:
            value = trial.suggest_float(one.name, one.low, one.high, log=one.log)
        if one.owner == "recipe":
            recipe[one.key] = value
        else:
            params.setdefault(one.owner, {})[one.key] = value
    return params, recipe


@dataclass
class _Fold:
    """The study of one fold."""

    tuning: Tuning
    fold: Fold
    runner: Runner
    higher: bool

    def __post_init__(self) -> None:
        tuning = self.tuning
        self.whose = self.fold.name if len(tuning.target.folds) > 1 else ""
        if tuning.rule == "oracle":
            self.parts = [oracle(tuning.target, self.fold)]
        else:
            self.parts = validation(
                tuning.target,
                self.fold,
                tuning.rule,
                level=tuning.level,
                parts=tuning.budget.parts,
            )
            check_only_training(tuning.target, self.fold, self.parts)
        base = tuning.base
        self.name = f"{base.chain.method_id} on {tuning.target.split.name} " + digest(
            {
                "parts": [one.spec() for one in self.jobs({}, {})],
                "space": [dataclasses.asdict(one) for one in tuning.space],
                "fold": self.fold.name,
            },
            16,
        )

    def jobs(self, params: Mapping[str, Mapping[str, Any]], recipe: Mapping[str, Any]) -> list[Job]:
        return [_job(self.tuning, part, params, recipe, SEED) for part in self.parts]

    def run(self) -> tuple[Choice, dict[str, Any]]:
        """Spend the budget and return what is chosen, with what it cost."""
        tuning, budget = self.tuning, self.tuning.budget
        with _study(tuning, self.name, self.higher) as study:
            while True:
                done = _finished(study)
                others = _others(study, alone=not tuning.storage)
                out_of_time = 0 < budget.seconds <= _spent(done)
                if len(done) >= budget.trials or (out_of_time and not others):
                    break
                if out_of_time or len(done) + others >= budget.trials:
                    time.sleep(1.0)  # the last trials are with other workers
                    continue
                self._trial(study, done, others)
            done = _finished(study)[: budget.trials]
        return self._chosen(done)

    def _trial(self, study: optuna.Study, done: Sequence[Any], others: int) -> None:
        from optuna.trial import TrialState

        space = self.tuning.space
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not (done or others or waiting) and all(one.holds(one.default) for one in space):
            study.enqueue_trial({one.name: one.default for one in space})
        trial = study.ask()
        trial.set_user_attr(_WORKER, f"{_HOST}:{os.getpid()}")
        params, recipe = _suggest(study, trial, self.name, space)
        seconds = 0.0
        runs: list[str] = []
        scores: list[float] = []
        state: Any = TrialState.COMPLETE
        beat = _Beat(trial, on=bool(self.tuning.storage))
        for k, job in enumerate(self.jobs(params, recipe)):
            made_before = set(self.runner.made)
            with beat:
                record = self.runner.run(job)
            self._drop(job, self.runner.made - made_before)
            seconds += record["cost"]["fit_s"] + record["cost"]["apply_s"]
            if record["status"] != "ok":
                trial.set_user_attr(_FAILED, str(record["reason"]))
                state = TrialState.FAIL
                break
            runs.append(record["run_id"])
            scores.append(float(record["metrics"][record["primary"]]["all"]))
            trial.report(scores[-1], k)
            if k + 1 < len(self.parts) and trial.should_prune():
                state = TrialState.PRUNED
                break
        trial.set_user_attr(_SECONDS, seconds)
        trial.set_user_attr(_RUNS, runs)
        value = math.fsum(scores) / len(scores) if state == TrialState.COMPLETE else None
        study.tell(trial, value, state=None if value is not None else state)
        self._said(len(done) + 1, params, recipe, value, state.name.lower())

    def _said(
        self, n: int, params: Mapping[str, Any], recipe: Mapping[str, Any], value: Any, state: str
    ) -> None:
        chosen = [f"{s}.{k}={short(v)}" for s, vs in params.items() for k, v in vs.items()]
        chosen += [f"recipe.{key}={short(value)}" for key, value in recipe.items()]
        result = (
            f"{value:.3f}" if value is not None else {"pruned": "given up early"}.get(state, state)
        )
        where = f" {self.whose}" if self.whose else ""
        self.tuning.say(
            f"{self.tuning.method}{where} trial {n}/{self.tuning.budget.trials}: "
            f"{', '.join(chosen)}: {result}"
        )

    def _drop(self, job: Job, made: set[str]) -> None:
        """Delete what a candidate left, except what a stage left as it was will be asked for."""
        names = [part.split.name for part in self.parts]
        base = self.jobs({}, {})[names.index(job.target.split.name)]
        kept: set[str] = set()
        for fold in base.target.folds:
            for one in base.ids(fold):
                kept.update((one.fit, one.apply_train, one.apply_test))
        self.tuning.store.drop_artifacts(sorted(made - kept))
        self.runner.made.difference_update(made - kept)

    def _chosen(self, done: Sequence[Any]) -> tuple[Choice, dict[str, Any]]:
        tuning = self.tuning
        runs = [run for trial in done for run in trial.user_attrs.get(_RUNS, ())]
        records = [found for run in runs if (found := tuning.store.find(run)) is not None]
        try:
            choice = select(
                records,
                tuning.rule,
                tuning.target.split.name,
                tuning.base.chain.method_id,
                seed=SEED,
                level=tuning.level,
                fold=self.whose,
                higher=self.higher,
            )
        except BenchError:
            reasons = [str(t.user_attrs[_FAILED]) for t in done if _FAILED in t.user_attrs]
            why = f": {reasons[0]}" if reasons else ""
            raise RunFailed(
                f"{tuning.method}: none of {len(done)} trials has a score"
                f"{' for fold ' + self.whose if self.whose else ''}{why}"
            ) from None
        states = [trial.state.name.lower() for trial in done]
        facts = {
            "fold": self.fold.name,
            "trials": len(done),
            "pruned": states.count("pruned"),
            "failed": states.count("fail"),
            "seconds": round(_spent(done), 3),
            "validations": len(self.parts),
            "score": choice.score,
            "params": {stage: dict(values) for stage, values in choice.params.items()},
            "recipe": {
                key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe
            },
        }
        return choice, facts


class _Beat:
    """Tells other workers now and then that a trial is still being worked on."""

    def __init__(self, trial: Any, *, on: bool) -> None:
        self._trial, self._on = trial, on
        self._stop: Any = None

    def __enter__(self) -> None:
        if not self._on:
            return
        import threading

        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(BEAT_S):
                self._trial.set_user_attr(_BEAT, time.time())

        self._stop = stop
        self._thread = threading.Thread(target=beat, daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        if self._stop is not None:
            self._stop.set()
            self._thread.join()
            self._stop = None


def short(value: Any) -> str:
    """Return a value as it is printed: three digits of a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------- one method


def tune(tuning: Tuning, runner: Runner, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Tune a method on every fold of a split, refit it on all training rows, and score it.

    Parameters
    ----------
    tuning
        What to tune, and how.
    runner
        Makes the runs; its options say how those of the refitted method are treated.
    seeds
        Of the refits. The choice is made once, with seed 0.

    Returns
    -------
    list
        The committed records, one for each seed: ``spec["selection"]`` is the rule,
        ``spec["tuning"]`` the budget, and ``tuning`` what was spent and chosen.

    Raises
    ------
    BenchError
        If the method has nothing to tune, the split nothing to validate on, or every trial of a
        fold failed.
    """
    chosen_rule = rule(tuning.rule)
    if not chosen_rule.tuned:
        raise BenchError(
            f"--rule {tuning.rule} selects nothing: use `python -m bench run`, or another rule"
        )
    target = tuning.target
    if not target.supervised:
        raise BenchError(
            f"{target.split.name} has no training set to carve validation rows from: nothing can "
            "be tuned on it without looking at the test"
        )
    if not tuning.space:
        raise BenchError(
            f"{tuning.method} has no search space: tune recipe keys with --recipe-keys "
            f"{','.join(RECIPE_SPACE)}, or run it at its defaults"
        )
    base = tuning.base
    if base.not_applicable:
        return [runner.run(_job(tuning, target, {}, {}, seed)) for seed in seeds]
    meta = tuning.registry.entry("metric", target.split.metric).meta
    higher = bool(meta.get("higher_is_better", True))
    tuned: dict[str, Tuned] = {}
    facts: list[dict[str, Any]] = []
    trial_runner = _quiet(runner)
    for fold in target.folds:
        if not fold.scored.any():
            continue
        study = _Fold(tuning, fold, trial_runner, higher)
        choice, spent = study.run()
        recipe = {key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe}
        job = _job(tuning, target, choice.params, recipe, SEED)
        tuned[fold.name] = Tuned(job.chain, job.recipe, recipe)
        facts.append(spent)
    budget = {
        "rule": tuning.rule,
        "level": tuning.level or target.opened.level,
        "trials": min(fact["trials"] for fact in facts),
        "trials_asked": tuning.budget.trials,
        "seconds_asked": tuning.budget.seconds,
        "validations": max(fact["validations"] for fact in facts),
        "space": [one.words for one in tuning.space],
    }
    spent_all = {
        "seconds": round(math.fsum(fact["seconds"] for fact in facts), 3),
        "seed": SEED,
        "folds": facts,
    }
    records = []
    for seed in seeds:
        job = dataclasses.replace(
            base,
            seed=seed,
            selection=tuning.rule,
            tuned=tuned,
            tuning=budget,
            tuning_facts=spent_all,
        )
        records.append(runner.run(job))
    return records


def _quiet(runner: Runner) -> Runner:
    """Return a runner for trials: what is on record is taken, whatever the refit does."""
    from bench.runner import Runner

    options = dataclasses.replace(runner.options, if_exists="skip")
    return Runner(runner.store, options, runner.say, runner.progress)
