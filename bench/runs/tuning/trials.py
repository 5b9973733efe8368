"""Trials of a tuning run."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from bench.core.seeds import seed_for
from bench.runs.tuning.space import (
    BEAT,
    FAILED,
    HOST,
    SECONDS,
    SILENT_S,
    WORKER,
    Dimension,  # TC
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from bench.core.types import JsonObject


def finished(study: optuna.Study) -> list[Any]:
    """Return the trials that count against the budget, in order; lost and running ones do not."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return [t for t in trials if t.state in done or FAILED in t.user_attrs]


def spent_budget(trials: Sequence[Any]) -> float:
    """Return the total duration of trials in seconds."""
    return math.fsum(float(trial.user_attrs.get(SECONDS, 0.0)) for trial in trials)


def other_trials(study: optuna.Study, alone: bool) -> int:
    """Return the number of trials running on other workers, after failing lost ones."""
    from optuna.trial import TrialState

    running = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if alone or _lost(trial):
            # No attribute marks it as failed: its position is re-queued.
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            running += 1
    return running


def _lost(trial: Any) -> bool:  # noqa: ANN401 - types of optuna are imported lazily
    """Whether a trial's local process is gone, or a remote worker's heartbeat has timed out."""
    host, _, pid = str(trial.user_attrs.get(WORKER, "")).rpartition(":")
    if host == HOST and pid.isdigit():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # another user's process, still running
        return int(pid) == os.getpid()  # a previous trial of this process
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    # Use wall-clock time, because workers may be on different machines.
    return time.time() - float(trial.user_attrs.get(BEAT) or started) > SILENT_S


def _place(study: optuna.Study, number: int) -> int:
    """Return a trial's position in the study: the number of earlier trials that were not lost."""
    from optuna.trial import TrialState

    return sum(
        t.number < number and (t.state != TrialState.FAIL or FAILED in t.user_attrs)
        for t in study.get_trials(deepcopy=False)
    )


def suggest(study: optuna.Study, trial: Any, name: str, space: Sequence[Dimension]) -> Any:  # noqa: ANN401 - types of optuna are imported lazily
    """Return a candidate ``(params, recipe)``: the defaults first, then samples."""
    import optuna

    place = _place(study, trial.number)
    if place == 0 and not all(one.holds(one.default) for one in space):
        return {}, {}  # the default is outside the space, such as 0 for the published value
    seed = seed_for("tune", name, place) % 2**32
    study.sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=10, multivariate=False, constant_liar=False
    )
    params: dict[str, JsonObject] = {}
    recipe: JsonObject = {}
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
