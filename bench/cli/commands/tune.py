"""``tune``: parameters chosen on validation rows, then a refit on all training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.clusters import WorkerOptions, run_on_workers, worker_options
from bench.cli.completion import one_of
from bench.cli.options import (
    IF_EXISTS,
    METHODS,
    SPLITS,
    Common,
    TrainingOptions,
    choice_option,
    common_options,
    listed,
    training_options,
)
from bench.cli.output import print_json, print_line
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.records.record import Record
    from bench.runs.tuning.space import Tuning

RULES = ("id-val", "ood-val", "leave-one-batch-out", "oracle")


@click.command()
@METHODS
@SPLITS
@click.option("--trials", required=True, metavar="N", help="Trials per method and fold.")
@click.option("--seconds", metavar="S", default="0", help="Time budget in seconds [default: none].")
@choice_option("--rule", "ood-val", f"{', '.join(RULES[:-1])} or {RULES[-1]}.", one_of(*RULES))
@click.option("--level", metavar="NAME", default="", help="Batch level to hold out for validation.")
@click.option(
    "--validations", metavar="N", default="2", help="Validation sets per trial [default: 2]."
)
@listed("--recipe-keys", metavar="KEY[,...]", help="Also tune lr or weight_decay.")
@click.option(
    "--storage", default="", metavar="URL", help="Database of optuna [default: a journal file]."
)
@training_options
@IF_EXISTS
@click.option("--dry-run", is_flag=True, help="Print what would be tuned.")
@worker_options
@common_options
def command(  # noqa: PLR0913, PLR0917 - one argument per option
    methods: str,
    splits: str,
    trials: str,
    seconds: str,
    rule: str,
    level: str,
    validations: str,
    recipe_keys: str | None,
    storage: str,
    training: TrainingOptions,
    if_exists: str,
    dry_run: bool,
    workers: WorkerOptions,
    common: Common,
) -> int:
    r"""Tune parameters on validation rows, refit on all training rows, and score.

    Validation rows are part of the training rows of a fold. Every method gets the same budget. An
    interrupted command continues after the last finished trial.

    \b
    python -m bench tune --method deep-coral,dann --split ottawa --trials 20 --seeds 3
    python -m bench tune -m erm,ben -s screen.toml:weeks --trials 10 --recipe-keys lr
    """
    from bench.cli.progress import Bar
    from bench.records import selection
    from bench.runs.tuning.space import Budget, tunings_of
    from bench.runs.tuning.tune import tune

    selection.rule(rule)
    budget = Budget(
        _integer("--trials", trials),
        _seconds("--seconds", seconds),
        _integer("--validations", validations),
    )
    keys = tuple(key.strip() for key in (recipe_keys or "").split(",") if key.strip())
    pending: list[str] = []
    experiment = training.experiment(methods, splits, common, pending.append, if_exists=if_exists)
    records: list[Record] = []
    if not dry_run:
        fields = {"rule": rule, "level": level, "validations": budget.parts, "recipe_keys": keys}
        fields |= {"trials": budget.trials, "seconds": budget.seconds, "storage": storage}
        run_on_workers(experiment, workers, common, pending, None, **fields)
    with Bar(0, pending) as bar:
        tunings = tunings_of(
            experiment,
            budget,
            rule=rule,
            level=level,
            storage=storage,
            recipe_keys=keys,
            say=bar.say,
        )
        tunings = _tunable(tunings, bar.say)
        if dry_run:
            _print_plan(tunings, common.as_json)
            return 0
        runner = experiment.runner(bar)
        for tuning in tunings:
            for record in tune(tuning, runner, experiment.seeds_of(tuning.task)):
                records.append(record)
                bar.done(record)
    if common.as_json:
        print_json({"runs": [_row(record) for record in records]})
    else:
        _print(records, experiment.store.shown)
    return int(any(record.status == "failed" for record in records))


def _row(record: Record) -> dict[str, object]:
    from bench.cli.run_output import summary

    tuning = {"selection": record.selection, "tuning": record.data.get("tuning", {})}
    return {**summary(record), **tuning}


def _integer(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise BenchError(f"{option} takes an integer from 1 to 100000, not '{text}'")
    return int(text)


def _seconds(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise BenchError(f"{option} takes a number of seconds, 0 for no limit, not '{text}'")
    return value


def _tunable(tunings: list[Tuning], say: Callable[[str], None]) -> list[Tuning]:
    """Skip methods without a search space; if none has one, `tune` raises an error later."""
    tunable = [tuning for tuning in tunings if tuning.space or tuning.base.not_applicable]
    if tunable:
        for tuning in tunings:
            if tuning not in tunable:
                say(
                    f"{tuning.method} has no search space and is skipped: tune recipe keys with "
                    "--recipe-keys, or run it at its defaults"
                )
    return tunable or tunings


def _print_plan(tunings: Sequence[Tuning], as_json: bool) -> None:
    rows = [
        {
            "method": tuning.method,
            "split_id": tuning.task.split.name,
            "rule": tuning.rule,
            "studies": sum(bool(fold.scored.any()) for fold in tuning.task.folds),
            "trials": tuning.budget.trials,
            "space": [dimension.words for dimension in tuning.space],
        }
        for tuning in tunings
    ]
    if as_json:
        print_json({"tune": rows})
        return
    for tuning, row in zip(tunings, rows, strict=True):
        space = "; ".join(dimension.words for dimension in tuning.space)
        print_line(
            f"{row['method']} on {row['split_id']} by {row['rule']}: {row['studies']} studies of "
            f"{row['trials']} trials over {space or 'nothing'}"
        )


def _print(records: Sequence[Record], place: str) -> None:
    from bench.cli.run_output import short_split
    from bench.runs.tuning.space import short

    for record in records:
        run = f"{record.method} on {short_split(record)}, seed {record.seed}"
        tuning = record.tuning
        if not record.ok or tuning is None:
            print_line(f"{run}: {record.status}: {record.reason}")
            continue
        print_line(
            f"{run}: {record.primary} {record.value():.3f} by {tuning['rule']}; "
            f"{tuning['trials']} trials in each of {len(tuning['folds'])} folds, "
            f"{tuning['seconds']:.1f} s of training and scoring"
        )
    tuned = {(record.method, record.split): record.tuning for record in records if record.ok}
    for (method, _), tuning in tuned.items():
        for fold in [] if tuning is None else tuning["folds"]:
            chosen = [
                f"{stage}.{key}={short(value)}"
                for stage, values in fold["params"].items()
                for key, value in values.items()
            ]
            chosen += [f"recipe.{key}={short(value)}" for key, value in fold["recipe"].items()]
            print_line(
                f"  {method} fold {fold['fold']}: {', '.join(chosen) or 'the defaults'} "
                f"(validation {fold['score']:.3f}; {fold['pruned']} of {fold['trials']} trials "
                "pruned)"
            )
    print_line(f"records in {place}")
