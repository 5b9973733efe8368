"""``run``: methods on splits, to records."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from bench.cli import common, registry_for, store_for
from bench.errors import BenchError, did_you_mean

WIDTH = 160
"""Columns where the output is no terminal."""


@click.command()
@click.option("--method", "-m", required=True, help="Names, M[,M...]; a chain is erm+zscore.")
@click.option("--split", "-s", required=True, help="Names or FILE.toml[:NAME], S[,S...].")
@click.option("--recipe", default="default", show_default=True, help="smoke, default or paper.")
@click.option("--edition", default="auto", show_default=True, help="auto, real or simulated.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
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
    from bench.opening import open_splits
    from bench.plan import Options, plan, with_metrics
    from bench.runner import Runner

    _one_of("recipe", recipe, ("smoke", "default", "paper"))
    _one_of("edition", edition, ("auto", "real", "simulated", "fixture"))
    _one_of("device", device, ("auto", "cpu", "cuda"))
    _one_of("if-exists", if_exists, ("skip", "rerun", "verify"))
    methods = _names(method, "--method")
    splits = _names(split, "--split")
    numbers = _seeds(seed, seeds)
    values, overrides, data = _settings(settings, methods)
    if network:
        overrides["network"] = network
    if standardise:
        overrides["standardise"] = standardise
    registry = registry_for(plugin)
    _known(methods, registry)
    store = store_for(results)
    _spread(values, methods, registry)
    _parameters(values, registry)
    options = Options(recipe, overrides, values, device, if_exists)
    # Lines about the data wait until all is known to be right: an error is one line, alone.
    held: list[str] = []
    with _waiting(f"opening {split}"):
        targets = open_splits(splits, registry, edition, data, held.append)
        if metrics is not None:
            names = _names(metrics, "--metrics")
            targets = [with_metrics(target, names, registry) for target in targets]
        jobs = plan(methods, targets, numbers, options, registry)
    if dry_run:
        for line in held:
            _say(line)
        return _dry(jobs, store, as_json)
    with _Bar(show=sys.stderr.isatty(), say=_say, held=held) as bar:
        runner = Runner(store, options, bar.say, bar.update)
        records = []
        for job in jobs:
            record = runner.run(job)
            records.append(record)
            bar.done(record)
        # With --json, too: how a result is printed decides nothing about what is on record.
        extra = _companions(jobs, records, runner, registry, edition, data)
    if as_json:
        click.echo(json.dumps({"runs": [summary(r) for r in records]}, indent=1, allow_nan=False))
    else:
        again = _again(values, overrides, data, recipe, edition, plugin, results)
        _print(records, extra, store.root, again)
    return 1 if any(r["status"] == "failed" for r in records) else 0


# --------------------------------------------------------------------------- arguments


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BenchError(f"--{option}: {did_you_mean(value, list(allowed), option)}")


def _names(text: str, option: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise BenchError(f"{option} is empty: give a name, or several with commas between")
    return list(dict.fromkeys(names))


def _seeds(seed: str | None, seeds: str | None) -> list[int]:
    if seed is not None and seeds is not None:
        raise BenchError("--seed and --seeds exclude each other: --seed 3 is one, --seeds 3 three")
    if seeds is not None:
        if not _whole(seeds) or not 1 <= int(seeds) <= 1000:
            raise BenchError(f"--seeds takes a whole number from 1 to 1000, not '{seeds}'")
        return list(range(int(seeds)))
    if seed is None:
        return [0]
    if not _whole(seed):
        raise BenchError(f"--seed takes a whole number of up to nine digits, not '{seed}'")
    return [int(seed)]


def _whole(text: str) -> bool:
    """Whether it is a whole number below 10^9; ``"²".isdigit()`` is true, too."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def _settings(
    texts: tuple[str, ...], methods: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Sort KEY=VALUE into method parameters, recipe overrides and data settings."""
    values: dict[str, dict[str, Any]] = {}
    overrides: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise BenchError(f"--set takes [NAME.]KEY=VALUE, not '{text}'")
        owner, _, name = key.rpartition(".")
        if owner == "recipe":
            overrides[name] = value
        elif owner == "data":
            data[name] = value
        else:
            values.setdefault(owner, {})[name] = value
    return values, overrides, data


def _known(methods: list[str], registry: Any) -> None:
    """Name unknown methods before any data are opened."""
    for typed in methods:
        for name in typed.split("+"):
            registry.entry("method", name.strip())


def _spread(values: dict[str, dict[str, Any]], methods: list[str], registry: Any) -> None:
    """Give a bare KEY to every chosen method, all of which must have it."""
    import dataclasses

    bare = values.pop("", {})
    for key, value in bare.items():
        for typed in methods:
            name = typed.split("+")[-1].strip()
            entry = registry.entry("method", name)
            fields: list[str] = []
            if entry.meta["level"] != "reference":
                fields = [f.name for f in dataclasses.fields(entry.load().Params)]
            if key not in fields:
                known = f"; its parameters are {', '.join(fields)}" if fields else ""
                raise BenchError(
                    f"--set {key}: {name} has no parameter of that name{known}; "
                    f"write METHOD.{key}=VALUE for one method alone"
                )
            values.setdefault(name, {})[key] = value


def _parameters(values: dict[str, dict[str, Any]], registry: Any) -> None:
    """Refuse wrong parameters before any data are opened, or even simulated."""
    from bench.api import make_params

    for name, given in values.items():
        entry = registry.entry("method", name)
        if entry.meta["level"] != "reference":
            make_params(name, entry.load().Params, given)


# --------------------------------------------------------------------------- doing


def _waiting(label: str) -> Any:
    """Show on a terminal that something is going on; leaves no line behind."""
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(label)


def _say(line: str) -> None:
    click.echo(line, err=True)


class _Bar:
    """A progress bar on a terminal, else a line for each finished run.

    Lines about the data are held until there is something to say about a run, or a bar: what ends
    in an error before that leaves the error alone on stderr.
    """

    def __init__(self, *, show: bool, say: Any, held: list[str]) -> None:
        self.show, self._say, self._held = show, say, held
        self._progress: Any = None
        self._task: Any = None
        self._label = ""

    def say(self, line: str) -> None:
        """Print a line, after those that were held."""
        self.release()
        self._say(line)

    def release(self) -> None:
        """Print the lines that were held."""
        while self._held:
            self._say(self._held.pop(0))

    def __enter__(self) -> _Bar:
        if self.show:
            self.release()
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, label: str, done: int, total: int) -> None:
        if self._progress is None:
            return
        if label != self._label:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(label, total=total)
            self._label = label
        self._progress.update(self._task, completed=done, total=total)

    def done(self, record: dict[str, Any]) -> None:
        self.release()
        if self.show:
            return
        what = f"{record['method']} on {record['split']}, seed {record['spec']['seed']}"
        what += "".join(
            f" ({why.removeprefix('study: ')})"
            for why in record["unranked_because"]
            if why.startswith("study: ")
        )
        if record["status"] == "ok":
            value = record["metrics"].get(record["primary"], {}).get("all")
            self.say(f"{what}: {record['primary']} {value:.3f}" if value is not None else what)
        else:
            self.say(f"{what}: {record['status']}: {record['reason']}")


def _companions(
    jobs: list[Any],
    records: list[dict[str, Any]],
    runner: Any,
    registry: Any,
    edition: str,
    data: dict[str, Any],
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Score the in-distribution companion of each split, which shares the training."""
    from bench.opening import open_splits
    from bench.plan import plan

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
        found[job.chain.typed, job.target.typed, job.seed] = made[key]
    return found


def _only(options: Any, job: Any) -> Any:
    """Keep the parameters of one chain, since the others would be called unused."""
    import dataclasses

    names = {stage.name for stage in job.chain.stages}
    values = {name: given for name, given in options.values.items() if name in names}
    return dataclasses.replace(options, values=values)


def _dry(jobs: list[Any], store: Any, as_json: bool) -> int:
    from bench.store import digest

    rows = []
    for job in jobs:
        spec = job.spec()
        run_id = digest(spec)
        state = "on record" if store.find(run_id) else job.not_applicable or "to run"
        rows.append(
            {
                "method_id": job.chain.method_id,
                "split_id": job.target.split.name,
                "seed": job.seed,
                "track": job.chain.track,
                "fits": len({s["fit_id"] for f in spec["folds"] for s in f["stages"]}),
                "state": state,
                "run_id": run_id,
            }
        )
    if as_json:
        click.echo(json.dumps({"runs": rows}, indent=1))
        return 0
    for row in rows:
        click.echo(
            f"{row['method_id']} on {row['split_id']}, seed {row['seed']} ({row['track']}, "
            f"{row['fits']} fits): {row['state']}"
        )
    return 0


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
    names = (heading, "chance", "same plates") if companions else (heading, "chance")
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
    for line in dict.fromkeys(_lines(records)):
        console.print(Text(line))
    console.print(Text(f"records in {root / 'runs'}"))
    console.print(Text(f"next: {_next(records, again)}"))


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
