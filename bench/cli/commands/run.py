"""``run``: methods on splits, to records."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
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
from bench.cli.run_output import again_command, print_summary, summary
from bench.runs.companions import companions_of


@click.command()
@click.option(
    "--method",
    "-m",
    required=True,
    shell_complete=completion.methods,
    help="Names, M[,M...]; a chain is erm+zscore.",
)
@click.option(
    "--split",
    "-s",
    required=True,
    shell_complete=completion.splits,
    help="Names or FILE.toml[:NAME], S[,S...].",
)
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    shell_complete=completion.one_of(*RECIPES),
    help="smoke, default or paper.",
)
@click.option(
    "--edition",
    default="auto",
    show_default=True,
    shell_complete=completion.one_of(*EDITIONS),
    help="auto, real, simulated or fixture.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    shell_complete=completion.one_of(*DEVICES),
    help="auto, cpu or cuda.",
)
@click.option("--seed", help="One seed (default 0).")
@click.option("--seeds", help="N seeds, 0 to N-1.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    help="A method's parameter, recipe.KEY, or data.KEY.",
)
@click.option("--metrics", metavar="NAME[,NAME]", help="Score by these too; see list metrics.")
@click.option("--network", help="small-resnet, a torchvision name, or module:factory.")
@click.option("--standardise", help="none, image or plate.")
@click.option(
    "--if-exists", default="skip", show_default=True, help="skip, refresh, rerun or verify."
)
@click.option(
    "--track",
    metavar="TRACKER[,...]",
    shell_complete=completion.one_of("tensorboard", "mlflow"),
    help="Also tell tensorboard or mlflow (extra `track`).",
)
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
@common
def command(
    method: str,
    split: str,
    recipe: str,
    edition: str,
    device: str,
    seed: str | None,
    seeds: str | None,
    settings: tuple[str, ...],
    metrics: str | None,
    network: str | None,
    standardise: str | None,
    if_exists: str,
    track: str | None,
    dry_run: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> int:
    r"""Run methods on splits and write records.

    The same command again answers from disk.

    \b
    python -m bench run --method ben --split ottawa
    python -m bench run -m erm,ben,adabn -s coos7/test1,ottawa --seeds 3
    python -m bench run -m ben -s screen.toml:weeks --set ben.rows=controls
    python -m bench run -m ben -s ottawa --set data.strength=2 --set recipe.steps=800
    """
    from bench.cli.commands.dry_run import dry_run as say_what_would_run
    from bench.data.opening import open_splits
    from bench.data.target import with_metrics
    from bench.runs.job import Options
    from bench.runs.plan import plan
    from bench.runs.runner import Runner

    one_of("recipe", recipe, RECIPES)
    one_of("edition", edition, EDITIONS)
    one_of("device", device, DEVICES)
    one_of("if-exists", if_exists, IF_EXISTS)
    methods = names(method, "--method")
    splits = names(split, "--split")
    numbers = seeds_of(seed, seeds)
    values, overrides, data = sorted_settings(settings, methods)
    if network:
        overrides["network"] = network
    if standardise:
        overrides["standardise"] = standardise
    registry = registry_for(plugin)
    check_names(methods, registry)
    store = store_for(results)
    spread(values, methods, registry)
    check_parameters(values, registry)
    told = _trackers(track, store)
    options = Options(recipe, overrides, values, device, if_exists)
    # Lines about the data wait until all is known to be right: an error is one line, alone.
    held: list[str] = []
    with waiting(f"opening {split}"):
        targets = open_splits(splits, registry, edition, data, held.append)
        if metrics is not None:
            further = names(metrics, "--metrics")
            targets = [with_metrics(target, further, registry) for target in targets]
        jobs = plan(methods, targets, numbers, options, registry)
    if dry_run:
        for line in held:
            _say(line)
        return say_what_would_run(jobs, store, as_json)
    with Bar(len(jobs), show=sys.stderr.isatty(), say=_say, held=held) as bar:
        runner = Runner(store, options, bar.say, bar.update)
        records = []
        for job in jobs:
            record = runner.run(job)
            records.append(record)
            bar.done(record)
            _tell(told, store, record)
        # With --json, too: how a result is printed decides nothing about what is on record.
        extra = companions_of(jobs, records, runner, registry, edition, data)
    if as_json:
        click.echo(json.dumps({"runs": [summary(r) for r in records]}, indent=1, allow_nan=False))
    else:
        again = again_command(values, overrides, data, recipe, edition, plugin, results)
        print_summary(records, extra, store.root, again)
        for tracker in told:
            click.echo(f"tracked: {tracker.where}")
    return 1 if any(r["status"] == "failed" for r in records) else 0


# --------------------------------------------------------------------------- doing


def _trackers(track: str | None, store: Any) -> list[Any]:
    if track is None:
        return []
    from bench.records.trackers import trackers

    return trackers(names(track, "--track"), store)


def _tell(told: list[Any], store: Any, record: dict[str, Any]) -> None:
    """Hand a run that is on record to the trackers; one that failed is none."""
    found = store.find(record["run_id"]) if told and record["status"] == "ok" else None
    if found is not None:
        for tracker in told:
            tracker.add(found)


def _say(line: str) -> None:
    click.echo(line, err=True)
