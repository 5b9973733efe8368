"""Tune a method on validation batches."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.errors import BenchError, RunFailed
from bench.records.selection import Choice, rule, select
from bench.runs.holdouts import check_only_training, oracle, validation
from bench.runs.job import Job, Tuned
from bench.runs.tuning.space import (
    FAILED,
    HOST,
    RECIPE_SPACE,
    RUNS,
    SECONDS,
    SEED,
    WORKER,
    Tuning,  # TC
    short,
    trial_job,
)
from bench.runs.tuning.storage import Beat, open_study
from bench.runs.tuning.trials import finished, other_trials, spent_budget, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from bench.core.types import Facts, JsonObject, Recipe, Values
    from bench.data.partitions import Fold
    from bench.runs.runner import Runner

__all__ = ["tune"]


@dataclass
class _Fold:
    """The study of one fold."""

    tuning: Tuning
    fold: Fold
    runner: Runner
    higher: bool

    def __post_init__(self) -> None:
        tuning = self.tuning
        self.whose = self.fold.name if len(tuning.task.folds) > 1 else ""
        if tuning.rule == "oracle":
            self.parts = [oracle(tuning.task, self.fold)]
        else:
            self.parts = validation(
                tuning.task,
                self.fold,
                tuning.rule,
                level=tuning.level,
                parts=tuning.budget.parts,
            )
            check_only_training(tuning.task, self.fold, self.parts)
        base = tuning.base
        self.name = f"{base.chain.method_id} on {tuning.task.split.name} " + digest(
            {
                "parts": [one.spec() for one in self.jobs({}, {})],
                "space": [dataclasses.asdict(one) for one in tuning.space],
                "fold": self.fold.name,
            },
            16,
        )

    def jobs(self, params: Values, recipe: Recipe) -> list[Job]:
        return [trial_job(self.tuning, part, params, recipe, SEED) for part in self.parts]

    def run(self) -> tuple[Choice, JsonObject]:
        """Spend the budget and return the selected values and their cost."""
        tuning, budget = self.tuning, self.tuning.budget
        with open_study(tuning, self.name, self.higher) as study:
            while True:
                done = finished(study)
                others = other_trials(study, alone=not tuning.storage)
                out_of_time = 0 < budget.seconds <= spent_budget(done)
                if len(done) >= budget.trials or (out_of_time and not others):
                    break
                if out_of_time or len(done) + others >= budget.trials:
                    time.sleep(1.0)  # wait for trials of other workers
                    continue
                self._trial(study, done, others)
            done = finished(study)[: budget.trials]
        return self._chosen(done)

    def _trial(self, study: optuna.Study, done: Sequence[Any], others: int) -> None:
        from optuna.trial import TrialState

        space = self.tuning.space
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not (done or others or waiting) and all(one.holds(one.default) for one in space):
            study.enqueue_trial({one.name: one.default for one in space})
        trial = study.ask()
        trial.set_user_attr(WORKER, f"{HOST}:{os.getpid()}")
        params, recipe = suggest(study, trial, self.name, space)
        seconds = 0.0
        runs: list[str] = []
        scores: list[float] = []
        state: Any = TrialState.COMPLETE
        beat = Beat(trial, on=bool(self.tuning.storage))
        for k, job in enumerate(self.jobs(params, recipe)):
            made_before = set(self.runner.made)
            with beat:
                record = self.runner.run(job)
            self._drop(job, self.runner.made - made_before)
            seconds += record["cost"]["fit_s"] + record["cost"]["apply_s"]
            if record["status"] != "ok":
                trial.set_user_attr(FAILED, str(record["reason"]))
                state = TrialState.FAIL
                break
            runs.append(record["run_id"])
            scores.append(float(record["metrics"][record["primary"]]["all"]))
            trial.report(scores[-1], k)
            if k + 1 < len(self.parts) and trial.should_prune():
                state = TrialState.PRUNED
                break
        trial.set_user_attr(SECONDS, seconds)
        trial.set_user_attr(RUNS, runs)
        value = math.fsum(scores) / len(scores) if state == TrialState.COMPLETE else None
        study.tell(trial, value, state=None if value is not None else state)
        self._said(len(done) + 1, params, recipe, value, state.name.lower())

    def _said(self, n: int, params: Facts, recipe: Recipe, value: Any, state: str) -> None:  # noqa: ANN401 - a score or None, from optuna
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
        """Delete the artifacts of a candidate, except those of unchanged stages."""
        names = [part.split.name for part in self.parts]
        base = self.jobs({}, {})[names.index(job.task.split.name)]
        kept: set[str] = set()
        for fold in base.task.folds:
            for one in base.ids(fold):
                kept.update((one.fit, one.apply_train, one.apply_test))
        self.tuning.store.drop_artifacts(sorted(made - kept))
        self.runner.made.difference_update(made - kept)

    def _chosen(self, done: Sequence[Any]) -> tuple[Choice, JsonObject]:
        tuning = self.tuning
        runs = [run for trial in done for run in trial.user_attrs.get(RUNS, ())]
        records = [found for run in runs if (found := tuning.store.find(run)) is not None]
        try:
            choice = select(
                records,
                tuning.rule,
                tuning.task.split.name,
                tuning.base.chain.method_id,
                seed=SEED,
                level=tuning.level,
                fold=self.whose,
                higher=self.higher,
            )
        except BenchError:
            reasons = [str(t.user_attrs[FAILED]) for t in done if FAILED in t.user_attrs]
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
            "seconds": round(spent_budget(done), 3),
            "validations": len(self.parts),
            "score": choice.score,
            "params": {stage: dict(values) for stage, values in choice.params.items()},
            "recipe": {
                key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe
            },
        }
        return choice, facts


# --------------------------------------------------------------------------- one method


def tune(tuning: Tuning, runner: Runner, seeds: Sequence[int]) -> list[JsonObject]:
    """Tune a method on every fold of a split, refit it on all training rows, and score it.

    Parameters
    ----------
    tuning
        What to tune, and how.
    runner
        Makes the runs. Its options apply to the runs of the refitted method.
    seeds
        Seeds of the refits. The selection itself uses seed 0.

    Returns
    -------
    list
        The committed records, one per seed. ``spec["selection"]`` is the rule,
        ``spec["tuning"]`` the budget, and ``tuning`` the cost and the selected values.

    Raises
    ------
    BenchError
        If the method has no search space, the split has no validation data, or every trial of a
        fold failed.
    """
    _check(tuning)
    task = tuning.task
    base = tuning.base
    if base.not_applicable:
        return [runner.run(trial_job(tuning, task, {}, {}, seed)) for seed in seeds]
    meta = tuning.registry.entry("metric", task.split.metric).meta
    higher = bool(meta.get("higher_is_better", True))
    tuned: dict[str, Tuned] = {}
    facts: list[JsonObject] = []
    trial_runner = _quiet(runner)
    for fold in task.folds:
        if not fold.scored.any():
            continue
        study = _Fold(tuning, fold, trial_runner, higher)
        choice, spent = study.run()
        recipe = {key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe}
        job = trial_job(tuning, task, choice.params, recipe, SEED)
        tuned[fold.name] = Tuned(job.chain, job.recipe, recipe)
        facts.append(spent)
    budget = {
        "rule": tuning.rule,
        "level": tuning.level or task.opened.level,
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


def _check(tuning: Tuning) -> None:
    """Raise if the method or split cannot be tuned."""
    if not rule(tuning.rule).tuned:
        raise BenchError(
            f"--rule {tuning.rule} selects nothing: use `python -m bench run`, or another rule"
        )
    task = tuning.task
    if not task.supervised:
        raise BenchError(
            f"{task.split.name} has no training set to take validation rows from: nothing can "
            "be tuned on it without looking at the test"
        )
    if not tuning.space:
        raise BenchError(
            f"{tuning.method} has no search space: tune recipe keys with --recipe-keys "
            f"{','.join(RECIPE_SPACE)}, or run it at its defaults"
        )


def _quiet(runner: Runner) -> Runner:
    """Return a runner for trials. It always reads existing records from disk."""
    from bench.runs.runner import Runner

    options = dataclasses.replace(runner.options, if_exists="skip")
    return Runner(runner.store, options, runner.say, runner.progress)
