"""What the command ``run`` prints."""

from __future__ import annotations

import shlex
import sys
from typing import Any

WIDTH = 160
"""Columns where the output is no terminal."""


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


def print_summary(
    records: list[dict[str, Any]],
    companions: dict[tuple[str, str, int], dict[str, Any]],
    root: Any,
    again: dict[str, list[str]],
) -> None:
    """Print a table of records, and what to do next."""
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


def again_command(
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
    from bench.runs.job import RETRIEVAL

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
