"""``run``: methods on splits, to records."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from bench import completion
from bench.cli import common, registry_for, store_for
from bench.commands.arguments import (
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
from bench.commands.progress import Bar, waiting

WIDTH = 160
"""Columns where the output is no terminal."""


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
@click.option("--if-exists", default="skip", show_default=True, help="skip, rerun or verify.")
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
    from bench.commands.dry_run import dry_run as say_what_would_run
    from bench.opening import open_splits
    from bench.plan import Options, plan, with_metrics
    from bench.runner import Runner

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
        extra = _companions(jobs, records, runner, registry, edition, data)
    if as_json:
        click.echo(json.dumps({"runs": [summary(r) for r in records]}, indent=1, allow_nan=False))
    else:
        again = _again(values, overrides, data, recipe, edition, plugin, results)
        _print(records, extra, store.root, again)
        for tracker in told:
            click.echo(f"tracked: {tracker.where}")
    return 1 if any(r["status"] == "failed" for r in records) else 0


# --------------------------------------------------------------------------- doing


def _trackers(track: str | None, store: Any) -> list[Any]:
    if track is None:
        return []
    from bench.track import trackers

    return trackers(names(track, "--track"), store)


def _tell(told: list[Any], store: Any, record: dict[str, Any]) -> None:
    """Hand a run that is on record to the trackers; one that failed is none."""
    found = store.find(record["run_id"]) if told and record["status"] == "ok" else None
    if found is not None:
        for tracker in told:
            tracker.add(found)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _companions(
    jobs: list[Any],
    records: list[dict[str, Any]],
    runner: Any,
    registry: Any,
    edition: str,
    data: dict[str, Any],
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Score the companion of each split, which shares the training.

    A record gets the key ``new_batches``: whether its rows lie outside the batches of training.
    """
    from bench.opening import known_splits, open_splits
    from bench.plan import plan
    from bench.splits import find_split

    made = {
        (job.chain.typed, job.target.split.name, job.seed): record
        for job, record in zip(jobs, records, strict=True)
    }
    targets: dict[str, Any] = {}
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for job in jobs:
        name = job.target.split.companion
        if not name or job.not_applicable:
            continue
        key = (job.chain.typed, name, job.seed)
        if key not in made:
            if name not in targets:
                [targets[name]] = open_splits([name], registry, edition, data, lambda line: None)
            options = _only(runner.options, job)
            [twin] = plan([job.chain.typed], [targets[name]], [job.seed], options, registry)
            made[key] = runner.run(twin)
        shares = find_split(name, known_splits(registry)).shares
        found[job.chain.typed, job.target.typed, job.seed] = {
            **made[key],
            "new_batches": job.target.opened.level not in shares,
        }
    return found


def _only(options: Any, job: Any) -> Any:
    """Keep the parameters of one chain, since the others would be called unused."""
    import dataclasses

    names = {stage.name for stage in job.chain.stages}
    values = {name: given for name, given in options.values.items() if name in names}
    return dataclasses.replace(options, values=values)


# --------------------------------------------------------------------------- printing


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """Return what ``run --json`` prints of a record."""
    spec = record["spec"]
    return {
        "run_id": record["run_id"],
        "method": record["method"],
        "method_id": record["method_id"],
        "split": record["split"],
        "split_id": spec["split_id"],
        "dataset": spec["dataset"],
        "edition": spec["edition"],
        "recipe": spec["recipe"],
        "seed": spec["seed"],
        "track": record["track"],
        "readout": record["readout"],
        "status": record["status"],
        "reason": record["reason"],
        "metrics": record["metrics"],
        "n_eval": record["n_eval"],
        "n_excluded": record["n_excluded"],
        "cost": {key: record["cost"][key] for key in ("fit_s", "apply_s", "peak_bytes")},
        "path": record.get("path", ""),
    }


def _print(
    records: list[dict[str, Any]],
    companions: dict[tuple[str, str, int], dict[str, Any]],
    root: Any,
    again: dict[str, list[str]],
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "split", "data", "seed", "track"):
        table.add_column(name, justify="left", overflow="fold")
    primaries = {record["primary"] for record in records}
    heading = next(iter(primaries)).replace("_", " ") if len(primaries) == 1 else "score"
    outside = any(twin["new_batches"] for twin in companions.values())
    beside = "companion" if outside else "same plates"
    names = (heading, "chance", beside) if companions else (heading, "chance")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        key = (record["method"], record["split"], record["spec"]["seed"])
        twin = companions.get(key)
        same = ""
        if twin is not None and twin["status"] == "ok":
            same = f"{twin['metrics'][twin['primary']]['all']:.3f}"
        if record["status"] == "ok":
            score = f"{record['metrics'][record['primary']]['all']:.3f}"
        else:
            score = record["status"]
        if len(primaries) > 1 and record["status"] == "ok":
            score = f"{record['primary']} {score}"
        known = record["primary"] in ("accuracy", "balanced_accuracy")
        chance = f"{record['chance']:.3f}" if known else ""
        edition = record["spec"]["edition"]
        texts = [record["method"], _short(record), edition, str(key[2]), record["track"]]
        texts += [score, chance]
        table.add_row(*map(Text, [*texts, same] if companions else texts))
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    for line in dict.fromkeys([*_drops(records, companions), *_lines(records)]):
        console.print(Text(line))
    console.print(Text(f"records in {root / 'runs'}"))
    console.print(Text(f"next: {_next(records, again)}"))


def _drops(
    records: list[dict[str, Any]], companions: dict[tuple[str, str, int], dict[str, Any]]
) -> list[str]:
    """Say what is lost against companions whose rows are not of the training batches.

    Both have one training, and they differ by the shift alone: the drop is the result.
    """
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for record in records:
        twin = companions.get((record["method"], record["split"], record["spec"]["seed"]))
        if twin is None or not twin["new_batches"]:
            continue
        if record["status"] != "ok" or twin["status"] != "ok":
            continue
        scores = [one["metrics"][record["primary"]]["all"] for one in (twin, record)]
        of = (record["method"], _short(record), str(twin["spec"]["split_id"]))
        pairs.setdefault(of, []).append((scores[0], scores[1]))
    lines = []
    for (method, split, other), found in pairs.items():
        before, after = (sum(column) / len(found) for column in zip(*found, strict=True))
        seeds = f", mean of {len(found)} seeds" if len(found) > 1 else ""
        change = "a drop" if before >= after else "a gain"
        lines.append(
            f"{method}: {before:.3f} on {other}, {after:.3f} on {split}: {change} of "
            f"{abs(before - after):.3f}{seeds}"
        )
    return lines


def _lines(records: list[dict[str, Any]]) -> list[str]:
    lines = []
    for record in records:
        split = _short(record)
        if record["status"] != "ok":
            lines.append(f"{record['method']} on {split}: {record['reason']}")
            continue
        lines.append(f"{split}: {record['shift']}")
        lines += [f"{record['method']} on {split}: {note}" for note in record["notes"]]
        if record["undeclared_adaptation"]:
            lines.append(f"{record['method']}: {record['undeclared_adaptation']}; not ranked")
        if record["exposed"]:
            lines.append(f"{split} exposes {', '.join(record['exposed'])} to methods")
        if record.get("preprocess"):
            lines.append(f"{split}: every method is preceded by {record['preprocess']}")
        if record["upstream"]:
            lines.append(f"{split}: the data had been {'; '.join(record['upstream'])}")
        if record.get("verified"):
            lines.append(f"{record['method']} on {split}: verified, the same predictions")
    return lines


def _short(record: dict[str, Any]) -> str:
    """Return the split's name: what was typed may be a long path."""
    typed, name = str(record["split"]), str(record["spec"]["split_id"])
    return name if ".toml" in typed else typed


def _again(
    values: dict[str, dict[str, Any]],
    overrides: dict[str, Any],
    data: dict[str, Any],
    recipe: str,
    edition: str,
    plugin: tuple[str, ...],
    results: str | None,
) -> dict[str, list[str]]:
    """Return the options that the next command needs to mean the same, by the method they are of.

    Under ``""`` stand those of all methods, under ``results`` where the records are. After the
    smoke recipe comes the default one.
    """

    def sets(owner: str, given: dict[str, Any]) -> list[str]:
        return [
            word for key, value in given.items() for word in ("--set", f"{owner}.{key}={value}")
        ]

    made = {name: sets(name, given) for name, given in values.items()}
    made["results"] = ["--results", results] if results else []
    made[""] = [*sets("recipe", overrides), *sets("data", data)]
    if recipe == "paper":
        made[""] += ["--recipe", recipe]
    if edition != "auto":
        made[""] += ["--edition", edition]
    made[""] += [word for file in plugin for word in ("--plugin", file)]
    return made


def _next(records: list[dict[str, Any]], again: dict[str, list[str]]) -> str:
    """Return the command most worth typing now."""
    from bench.plan import RETRIEVAL

    typed = {record["method"] for record in records}
    seeds = {record["spec"]["seed"] for record in records}
    unsupervised = records[0]["primary"] in RETRIEVAL
    if unsupervised or (len(seeds) >= 3 and "erm" in typed):
        split = records[0]["spec"]["split_id"]
        return shlex.join(
            ["python", "-m", "bench", "leaderboard", "--split", split, *again["results"]]
        )
    methods = [r["method"] for r in records if r["status"] != "not-applicable"]
    methods = list(dict.fromkeys(["erm", *methods, "adabn"]))
    stages = {name.strip() for method in methods for name in method.split("+")}
    words = ["python", "-m", "bench", "run", "--method", ",".join(methods)]
    words += ["--split", records[0]["split"], "--seeds", "3", *again[""]]
    words += [w for name in again if name in stages for w in again[name]]
    return shlex.join([*words, *again["results"]])
