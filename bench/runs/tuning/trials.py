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
    # On Windows, signal 0 of os.kill is Ctrl-C; heartbeats are used there.
    if host == HOST and pid.isdigit() and os.name == "posix":
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


def _position(study: optuna.Study, number: int) -> int:
    """Return a trial's position in the study: the number of earlier trials that were not lost."""
    from optuna.trial import TrialState

    return sum(
        t.number < number and (t.state != TrialState.FAIL or FAILED in t.user_attrs)
        for t in study.get_trials(deepcopy=False)
    )


def suggest(study: optuna.Study, trial: Any, name: str, space: Sequence[Dimension]) -> Any:  # noqa: ANN401 - types of optuna are imported lazily
    """Return a candidate ``(params, recipe)``: the defaults first, then samples."""
    import optuna

    position = _position(study, trial.number)
    if position == 0 and not all(dimension.contains(dimension.default) for dimension in space):
        return {}, {}  # the default is outside the space, such as 0 for the published value
    seed = seed_for("tune", name, position) % 2**32
    study.sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=10, multivariate=False, constant_liar=False
    )
    params: dict[str, JsonObject] = {}
    recipe: JsonObject = {}
    values: JsonObject = {}
    for dimension in space:
        if not dimension.acts(values):
            continue
        value = _suggested(trial, dimension)
        values[dimension.name] = value
        if dimension.owner == "recipe":
            recipe[dimension.key] = value
        else:
            params.setdefault(dimension.owner, {})[dimension.key] = value
    return params, recipe


def _suggested(trial: Any, dimension: Dimension) -> Any:  # noqa: ANN401 - any type of parameter
    name, low, high = dimension.name, dimension.low, dimension.high
    if dimension.choices:
        return trial.suggest_categorical(name, list(dimension.choices))
    if isinstance(dimension.default, int):
        return trial.suggest_int(name, int(low), int(high), log=dimension.log)
    return trial.suggest_float(name, low, high, log=dimension.log)
