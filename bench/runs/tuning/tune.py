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

    from bench.core.types import Facts, Recipe, Values
    from bench.data.partitions import Fold
    from bench.records.record import Record
    from bench.records.schema import FoldTuning, TuningBudget
    from bench.records.schema import Tuning as TuningFacts
    from bench.runs.runner import Runner


@dataclass
class _Fold:
    """The study of one fold."""

    tuning: Tuning
    fold: Fold
    runner: Runner

    def __post_init__(self) -> None:
        tuning = self.tuning
        metric = tuning.registry.entry("metric", tuning.task.split.metric)
        self.higher = metric.meta["higher_is_better"]
        self.fold_name = self.fold.name if len(tuning.task.folds) > 1 else ""
        if tuning.rule == "oracle":
            self.validations = [oracle(tuning.task, self.fold)]
        else:
            self.validations = validation(
                tuning.task, self.fold, tuning.rule, level=tuning.level, parts=tuning.budget.parts
            )
            check_only_training(tuning.task, self.fold, self.validations)
        base = tuning.base
        self.name = f"{base.chain.method_id} on {tuning.task.split.name} " + digest(
            {
                "parts": [job.spec() for job in self.jobs({}, {})],
                "space": [dimension.spec for dimension in tuning.space],
                "fold": self.fold.name,
            },
            16,
        )

    @property
    def not_applicable(self) -> str:
        """Why the method cannot run on a validation split, or an empty string."""
        reasons = [job.not_applicable for job in self.jobs({}, {}) if job.not_applicable]
        return reasons[0] if reasons else ""

    def jobs(self, params: Values, recipe: Recipe) -> list[Job]:
        return [trial_job(self.tuning, task, params, recipe, SEED) for task in self.validations]

    def run(self) -> tuple[Choice, FoldTuning]:
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
        defaults = {dimension.name: dimension.default for dimension in space}
        if not (done or others or waiting) and all(d.contains(d.default) for d in space):
            study.enqueue_trial({d.name: d.default for d in space if d.acts(defaults)})
        trial = study.ask()
        trial.set_user_attr(WORKER, f"{HOST}:{os.getpid()}")
        params, recipe = suggest(study, trial, self.name, space)
        seconds = 0.0
        runs: list[str] = []
        scores: list[float] = []
        state: Any = TrialState.COMPLETE
        beat = Beat(trial, on=bool(self.tuning.storage))
        for k, job in enumerate(self.jobs(params, recipe)):
            written_before = set(self.runner.written)
            with beat:
                record = self.runner.run(job)
            self._drop(job, self.runner.written - written_before)
            seconds += record.cost["fit_s"] + record.cost["apply_s"]
            score = record.value() if record.ok else None
            if score is None:
                trial.set_user_attr(FAILED, record.reason or f"it has no {record.primary}")
                state = TrialState.FAIL
                break
            runs.append(record.run_id)
            scores.append(score)
            trial.report(scores[-1], k)
            if k + 1 < len(self.validations) and trial.should_prune():
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
        result = f"{value:.3f}" if value is not None else state
        where = f" {self.fold_name}" if self.fold_name else ""
        self.tuning.say(
            f"{self.tuning.method}{where} trial {n}/{self.tuning.budget.trials}: "
            f"{', '.join(chosen)}: {result}"
        )

    def _drop(self, job: Job, written: set[str]) -> None:
        """Delete the artifacts of a candidate, except those of unchanged stages."""
        names = [task.split.name for task in self.validations]
        base = self.jobs({}, {})[names.index(job.task.split.name)]
        kept: set[str] = set()
        for fold in base.task.folds:
            for ids in base.ids(fold):
                kept.update((ids.fit, ids.apply_train, ids.apply_test))
        self.tuning.store.drop_artifacts(sorted(written - kept))
        self.runner.written.difference_update(written - kept)

    def _chosen(self, done: Sequence[Any]) -> tuple[Choice, FoldTuning]:
        tuning = self.tuning
        runs = [run for trial in done for run in trial.user_attrs.get(RUNS, ())]
        records = [record for run in runs if (record := tuning.store.find(run)) is not None]
        try:
            choice = select(
                records,
                tuning.rule,
                tuning.task.split.name,
                tuning.base.chain.method_id,
                seed=SEED,
                level=tuning.level,
                fold=self.fold_name,
                higher=self.higher,
            )
        except BenchError:
            reasons = [str(t.user_attrs[FAILED]) for t in done if FAILED in t.user_attrs]
            reason = f": {reasons[0]}" if reasons else ""
            fold = f" for fold {self.fold_name}" if self.fold_name else ""
            raise RunFailed(
                f"all {len(done)} trials of {tuning.method} failed{fold}{reason}"
            ) from None
        states = [trial.state.name.lower() for trial in done]
        facts: FoldTuning = {
            "fold": self.fold.name,
            "trials": len(done),
            "pruned": states.count("pruned"),
            "failed": states.count("fail"),
            "seconds": round(spent_budget(done), 3),
            "validations": len(self.validations),
            "score": choice.score,
            "params": {stage: dict(values) for stage, values in choice.params.items()},
            "recipe": {
                key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe
            },
        }
        return choice, facts


def tune(tuning: Tuning, runner: Runner, seeds: Sequence[int]) -> list[Record]:
    """Tune a method on every fold of a split, refit it on all training rows, and score it.

    Parameters
    ----------
    runner
        Makes the runs. Its options apply to the runs of the refitted method.
    seeds
        Seeds of the refits. The selection itself uses seed 0.

    Returns
    -------
    list of Record
        The records, one per seed; one for a deterministic chain. ``selection`` is the rule,
        ``tuning`` the budget, its cost and the selected values. If all trials of a fold failed,
        the status is ``failed``.

    Raises
    ------
    BenchError
        If the method has no search space, or the split has no validation data.
    """
    _check(tuning)
    seeds = seeds[:1] if tuning.base.chain.deterministic else seeds
    base = dataclasses.replace(tuning.base, selection=tuning.rule)
    if base.not_applicable:
        return [runner.run(dataclasses.replace(tuning.base, seed=seed)) for seed in seeds]
    trial_runner = _quiet(runner)
    scored = [fold for fold in tuning.task.folds if fold.scored.any()]
    studies = [_Fold(tuning, fold, trial_runner) for fold in scored]
    reasons = [reason for study in studies if (reason := study.not_applicable)]
    if reasons:
        base = dataclasses.replace(base, not_applicable=reasons[0])
        return [runner.run(dataclasses.replace(base, seed=seed)) for seed in seeds]
    try:
        selected = {study.fold.name: study.run() for study in studies}
    except RunFailed as error:
        return [runner.failed(dataclasses.replace(base, seed=seed), error) for seed in seeds]
    tuned: dict[str, Tuned] = {}
    for fold, (choice, _) in selected.items():
        recipe = {key: choice.recipe[key] for key in tuning.recipe_keys if key in choice.recipe}
        job = trial_job(tuning, tuning.task, choice.params, recipe, SEED)
        tuned[fold] = Tuned(job.chain, job.recipe, recipe)
    folds = [facts for _, facts in selected.values()]
    budget: TuningBudget = {
        "rule": tuning.rule,
        "level": tuning.level or tuning.task.opened.level,
        "trials": min(facts["trials"] for facts in folds),
        "trials_asked": tuning.budget.trials,
        "seconds_asked": tuning.budget.seconds,
        "validations": max(facts["validations"] for facts in folds),
        "space": [dimension.words for dimension in tuning.space],
    }
    results: TuningFacts = {
        "seconds": round(math.fsum(facts["seconds"] for facts in folds), 3),
        "seed": SEED,
        "folds": folds,
    }
    job = dataclasses.replace(base, tuned=tuned, tuning=budget, tuning_facts=results)
    return [runner.run(dataclasses.replace(job, seed=seed)) for seed in seeds]


def tune_fold(tuning: Tuning, runner: Runner, fold: Fold) -> None:
    """Spend the budget of one fold; :func:`tune` then reads its trials from disk."""
    _check(tuning)
    _Fold(tuning, fold, _quiet(runner)).run()


def _check(tuning: Tuning) -> None:
    """Raise if the method or split cannot be tuned."""
    if not rule(tuning.rule).tuned:
        raise BenchError(
            f"--rule {tuning.rule} does not select parameters: use `python -m bench run`, or "
            "another rule"
        )
    task = tuning.task
    if not task.supervised:
        raise BenchError(
            f"{task.split.name} has no training set, so there are no validation rows to tune on: "
            "use `python -m bench run`"
        )
    if not tuning.space:
        raise BenchError(
            f"{tuning.method} has no search space: add --recipe-keys {','.join(RECIPE_SPACE)}, or "
            "use `python -m bench run`"
        )


def _quiet(runner: Runner) -> Runner:
    """Return a runner for trials. It always reads existing records from disk."""
    from bench.runs.runner import Runner

    options = dataclasses.replace(runner.options, if_exists="skip")
    return Runner(runner.store, options, runner.say, runner.progress)
