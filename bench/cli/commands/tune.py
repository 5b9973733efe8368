"""``tune``: parameters chosen on validation rows, then a refit on all training rows."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from bench.cli.main import common, registry_for, store_for
from bench.core.errors import BenchError


@click.command()
@click.option("--method", "-m", required=True, help="Names, M[,M...]; a chain is erm+tvn.")
@click.option("--split", "-s", required=True, help="Names or FILE.toml[:NAME], S[,S...].")
@click.option("--trials", required=True, help="Candidates for each method and fold.")
@click.option("--seconds", default="0", help="Begin no trial after so many; 0 is no limit.")
@click.option(
    "--rule",
    "rule_name",
    default="ood-val",
    show_default=True,
    help="id-val, ood-val, leave-one-batch-out or oracle.",
)
@click.option("--level", default="", help="Batch level that the rule holds out.")
@click.option("--validations", default="2", show_default=True, help="Validation sets of a trial.")
@click.option(
    "--recipe-keys", default="", metavar="KEY[,KEY]", help="Tune these too: lr, weight_decay."
)
@click.option(
    "--storage",
    default="",
    metavar="URL",
    help="Database for many workers; else a journal in the results.",
)
@click.option("--recipe", default="default", show_default=True, help="smoke, default or paper.")
@click.option("--edition", default="auto", show_default=True, help="auto, real or simulated.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", help="One seed of the refit (default 0).")
@click.option("--seeds", help="N seeds of the refit, 0 to N-1.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    help="A parameter that is not to be tuned, recipe.KEY, or data.KEY.",
)
@click.option(
    "--if-exists", default="skip", show_default=True, help="skip, refresh, rerun or verify."
)
@click.option("--dry-run", is_flag=True, help="Say what would be tuned, and stop.")
@common
def command(
    method: str,
    split: str,
    trials: str,
    seconds: str,
    rule_name: str,
    level: str,
    validations: str,
    recipe_keys: str,
    storage: str,
    recipe: str,
    edition: str,
    device: str,
    seed: str | None,
    seeds: str | None,
    settings: tuple[str, ...],
    if_exists: str,
    dry_run: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> int:
    r"""Choose parameters on validation rows alone, refit on all training rows, and score.

    Validation rows are carved out of the training rows, for each fold of a split apart. Every
    method gets the same budget. Killed and started again, it goes on after the last finished
    trial.

    \b
    python -m bench tune --method deep-coral,dann --split ottawa --trials 20 --seeds 3
    python -m bench tune -m erm,ben -s screen.toml:weeks --trials 10 --recipe-keys lr
    """
    from bench.cli.options import (
        DEVICES,
        EDITIONS,
        IF_EXISTS,
        RECIPES,
        check_names,
        check_parameters,
        names,
        one_of,
        seeds_of,
        sorted_settings,
        spread,
    )
    from bench.cli.progress import Bar, waiting
    from bench.data.opening import open_splits
    from bench.records.selection import rule
    from bench.runs.job import Options
    from bench.runs.runner import Runner
    from bench.runs.tuning.space import Budget, Tuning
    from bench.runs.tuning.tune import tune

    one_of("recipe", recipe, RECIPES)
    one_of("edition", edition, EDITIONS)
    one_of("device", device, DEVICES)
    one_of("if-exists", if_exists, IF_EXISTS)
    rule(rule_name)
    methods, splits = names(method, "--method"), names(split, "--split")
    budget = Budget(
        _whole("--trials", trials),
        _number("--seconds", seconds),
        _whole("--validations", validations),
    )
    numbers = seeds_of(seed, seeds)
    values, overrides, data = sorted_settings(settings, methods)
    registry = registry_for(plugin)
    check_names(methods, registry)
    store = store_for(results)
    spread(values, methods, registry)
    check_parameters(values, registry)
    keys = tuple(key.strip() for key in recipe_keys.split(",") if key.strip())
    options = Options(recipe, overrides, values, device, if_exists)
    held: list[str] = []
    with waiting(f"opening {split}"):
        targets = open_splits(splits, registry, edition, data, held.append)
    records: list[dict[str, Any]] = []
    with Bar(0, show=sys.stderr.isatty(), say=_say, held=held) as bar:
        runner = Runner(store, options, bar.say, bar.update)
        plans = [
            Tuning(
                target,
                typed,
                registry,
                options,
                store,
                budget,
                rule_name,
                level,
                storage,
                keys,
                bar.say,
            )
            for target in targets
            for typed in methods
        ]
        plans = _with_a_space(plans, bar.say)
        if dry_run:
            return _dry(plans, as_json)
        for tuning in plans:
            for record in tune(tuning, runner, numbers):
                records.append(record)
                bar.done(record)
    if as_json:
        click.echo(json.dumps({"runs": [_summary(r) for r in records]}, indent=1, allow_nan=False))
    else:
        _print(records, store.root)
    return 1 if any(r["status"] == "failed" for r in records) else 0


def _say(line: str) -> None:
    click.echo(line, err=True)


def _whole(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise BenchError(f"{option} takes a whole number from 1 to 100000, not '{text}'")
    return int(text)


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise BenchError(f"{option} takes a number of seconds, 0 for no limit, not '{text}'")
    return value


def _with_a_space(plans: list[Any], say: Any) -> list[Any]:
    """Leave out methods that have nothing to tune, saying so; all of them is an error, later."""
    able = [tuning for tuning in plans if tuning.space or tuning.base.not_applicable]
    if able:
        for tuning in plans:
            if tuning not in able:
                say(
                    f"{tuning.method} has no search space and is left out: tune recipe keys with "
                    "--recipe-keys, or run it at its defaults"
                )
    return able or plans


def _dry(plans: list[Any], as_json: bool) -> int:
    rows = [
        {
            "method": tuning.method,
            "split_id": tuning.target.split.name,
            "rule": tuning.rule,
            "studies": sum(bool(fold.scored.any()) for fold in tuning.target.folds),
            "trials": tuning.budget.trials,
            "space": [one.words for one in tuning.space],
        }
        for tuning in plans
    ]
    if as_json:
        click.echo(json.dumps({"tune": rows}, indent=1))
        return 0
    for row in rows:
        click.echo(
            f"{row['method']} on {row['split_id']} by {row['rule']}: {row['studies']} studies of "
            f"{row['trials']} trials over {'; '.join(row['space']) or 'nothing'}"
        )
    return 0


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    from bench.cli.run_output import summary

    return {
        **summary(record),
        "selection": record["spec"]["selection"],
        "tuning": record.get("tuning", {}),
    }


def _print(records: list[dict[str, Any]], root: Any) -> None:
    from bench.cli.run_output import _short
    from bench.runs.tuning.space import short

    for record in records:
        where = f"{record['method']} on {_short(record)}, seed {record['spec']['seed']}"
        if record["status"] != "ok":
            click.echo(f"{where}: {record['status']}: {record['reason']}")
            continue
        said = record["tuning"]
        value = record["metrics"][record["primary"]]["all"]
        click.echo(
            f"{where}: {record['primary']} {value:.3f} by {said['rule']}; {said['trials']} trials "
            f"for each of {len(said['folds'])} folds, {said['seconds']:.1f} s of training and "
            "scoring"
        )
    for record in {r["method"] + r["split"]: r for r in records if r["status"] == "ok"}.values():
        for fold in record["tuning"]["folds"]:
            chosen = [
                f"{s}.{k}={short(v)}" for s, vs in fold["params"].items() for k, v in vs.items()
            ]
            chosen += [f"recipe.{key}={short(value)}" for key, value in fold["recipe"].items()]
            click.echo(
                f"  {record['method']} fold {fold['fold']}: {', '.join(chosen) or 'the defaults'} "
                f"(validation {fold['score']:.3f}; {fold['pruned']} of {fold['trials']} given up "
                "early)"
            )
    click.echo(f"records in {root / 'runs'}")
