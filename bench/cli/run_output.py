"""What the commands ``run`` and ``tune`` print of records."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from bench.cli.output import Column, print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.cli.options import Common
    from bench.records.record import Record
    from bench.runs.companions import Companions
    from bench.runs.experiment import Experiment

__all__ = ["print_summary", "repeat_options", "short_split", "summary"]

_KEYS = ("status", "reason", "metrics", "n_eval", "n_excluded")


def summary(record: Record) -> dict[str, object]:
    """Return what ``run --json`` prints of a record."""
    spec = record["spec"]
    return {
        "run_id": record["run_id"],
        "method": record["method"],
        "method_id": record["method_id"],
        "split": record["split"],
        **{key: spec[key] for key in ("split_id", "dataset", "edition", "recipe", "seed")},
        "track": record["track"],
        "readout": record["readout"],
        **{key: record[key] for key in _KEYS},
        "cost": {key: record["cost"][key] for key in ("fit_s", "apply_s", "peak_bytes")},
        "path": record.get("path", ""),
    }


def short_split(record: Mapping[str, Any]) -> str:
    """Return the split as typed, or its name if that was a path."""
    typed, name = str(record["split"]), str(record["spec"]["split_id"])
    return name if ".toml" in typed else typed


def print_summary(
    records: Sequence[Record],
    companions: Companions,
    root: Path,
    again: Mapping[str, Sequence[str]],
) -> None:
    """Print a table of records, notes, and a command to run next.

    Parameters
    ----------
    records
        Records of the command.
    companions
        Their in-distribution companions.
    root
        The results folder.
    again
        As from :func:`repeat_options`.
    """
    primaries = {record["primary"] for record in records}
    heading = next(iter(primaries)).replace("_", " ") if len(primaries) == 1 else "score"
    columns: list[str | Column] = ["method", "split", "data", "seed", "track"]
    columns += [Column(heading, right=True, wrap=False), Column("chance", right=True, wrap=False)]
    if companions:
        new_batches = any(record["new_batches"] for record in companions.values())
        name = "companion" if new_batches else "same plates"
        columns.append(Column(name, right=True, wrap=False))
    rows = []
    for record in records:
        row = [record["method"], short_split(record), record["spec"]["edition"]]
        row += [str(record["spec"]["seed"]), record["track"]]
        row += [_score(record, named=len(primaries) > 1), _chance(record)]
        if companions:
            companion = companions.get(_key(record))
            ok = companion is not None and companion["status"] == "ok"
            row.append(f"{_primary(companion):.3f}" if companion is not None and ok else "")
        rows.append(row)
    print_table(columns, rows)
    for line in dict.fromkeys([*_drops(records, companions), *_notes(records)]):
        print_line(line)
    print_line(f"records in {root / 'runs'}")
    print_line(f"next: {_next(records, again)}")


def _key(record: Mapping[str, Any]) -> tuple[str, str, int]:
    return record["method"], record["split"], record["spec"]["seed"]


def _primary(record: Mapping[str, Any]) -> float:
    value: float = record["metrics"][record["primary"]]["all"]
    return value


def _score(record: Mapping[str, Any], *, named: bool) -> str:
    if record["status"] != "ok":
        return str(record["status"])
    return f"{record['primary']} {_primary(record):.3f}" if named else f"{_primary(record):.3f}"


def _chance(record: Mapping[str, Any]) -> str:
    if record["primary"] not in ("accuracy", "balanced_accuracy"):
        return ""
    return f"{record['chance']:.3f}"


def _drops(records: Sequence[Record], companions: Companions) -> list[str]:
    """Return the drop from companions whose test rows are from batches not in the training set.

    Both share a training and differ by the shift alone.
    """
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for record in records:
        companion = companions.get(_key(record))
        if companion is None or not companion["new_batches"]:
            continue
        if record["status"] != "ok" or companion["status"] != "ok":
            continue
        names = (record["method"], short_split(record), str(companion["spec"]["split_id"]))
        scores = tuple(r["metrics"][record["primary"]]["all"] for r in (companion, record))
        pairs.setdefault(names, []).append((scores[0], scores[1]))
    lines = []
    for (method, split, other), scores_of in pairs.items():
        before, after = (sum(column) / len(scores_of) for column in zip(*scores_of, strict=True))
        seeds = f", mean of {len(scores_of)} seeds" if len(scores_of) > 1 else ""
        change = "a drop" if before >= after else "a gain"
        lines.append(
            f"{method}: {before:.3f} on {other}, {after:.3f} on {split}: {change} of "
            f"{abs(before - after):.3f}{seeds}"
        )
    return lines


def _notes(records: Sequence[Record]) -> list[str]:
    lines = []
    for record in records:
        split = short_split(record)
        run = f"{record['method']} on {split}"
        if record["status"] != "ok":
            lines.append(f"{run}: {record['reason']}")
            continue
        lines.append(f"{split}: {record['shift']}")
        lines += [f"{run}: {note}" for note in record["notes"]]
        if record["undeclared_adaptation"]:
            lines.append(f"{record['method']}: {record['undeclared_adaptation']}; not ranked")
        if record["exposed"]:
            lines.append(f"{split}: methods see the columns {', '.join(record['exposed'])}")
        if record.get("preprocess"):
            lines.append(f"{split}: preprocessing before every method: {record['preprocess']}")
        if record["upstream"]:
            lines.append(f"{split}: upstream preprocessing: {'; '.join(record['upstream'])}")
        if record.get("verified"):
            lines.append(f"{run}: verified, predictions are identical")
    return lines


def repeat_options(experiment: Experiment, common: Common) -> dict[str, list[str]]:
    """Return the options that a further command needs to do the same.

    Returns
    -------
    dict
        Options by the method they belong to; those of all methods under ``""``, the results folder
        under ``results``. After the smoke recipe the next command uses the default one.
    """

    def sets(owner: str, settings: Mapping[str, object]) -> list[str]:
        return [
            text for key, value in settings.items() for text in ("--set", f"{owner}.{key}={value}")
        ]

    options = experiment.options
    result = {name: sets(name, values) for name, values in options.values.items()}
    result["results"] = ["--results", common.results] if common.results else []
    shared = [*sets("recipe", options.overrides), *sets("data", experiment.data)]
    if options.recipe == "paper":
        shared += ["--recipe", options.recipe]
    if experiment.edition != "auto":
        shared += ["--edition", experiment.edition]
    result[""] = shared + [text for file in common.plugins for text in ("--plugin", file)]
    return result


def _next(records: Sequence[Record], again: Mapping[str, Sequence[str]]) -> str:
    """Return a command to run next."""
    from bench.runs.job import RETRIEVAL

    methods = {record["method"] for record in records}
    seeds = {record["spec"]["seed"] for record in records}
    unsupervised = records[0]["primary"] in RETRIEVAL
    command = ["python", "-m", "bench"]
    if unsupervised or (len(seeds) >= 3 and "erm" in methods):
        split = records[0]["spec"]["split_id"]
        return shlex.join([*command, "leaderboard", "--split", split, *again["results"]])
    applicable = [r["method"] for r in records if r["status"] != "not-applicable"]
    names = list(dict.fromkeys(["erm", *applicable, "adabn"]))
    stages = {stage.strip() for name in names for stage in name.split("+")}
    command += ["run", "--method", ",".join(names), "--split", records[0]["split"], "--seeds", "3"]
    command += again[""]
    command += [text for name in again if name in stages for text in again[name]]
    return shlex.join([*command, *again["results"]])
