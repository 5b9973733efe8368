"""Output of the commands ``run`` and ``tune``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from bench.cli.output import Column, print_line, print_table
from bench.core.folders import data_folder
from bench.core.split import RETRIEVAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.cli.options import Common
    from bench.records.record import Record
    from bench.runs.companions import Companions
    from bench.runs.experiment import Experiment


REAL = "mitosis-scanners"
"""The smallest data set of real images from several microscopes that can be fetched."""


def summary(record: Record) -> dict[str, object]:
    """Return what ``run --json`` prints of a record."""
    data = record.data
    return {
        "run_id": data["run_id"],
        "method": data["method"],
        "method_id": data["method_id"],
        "split": data["split"],
        "split_id": record.split_id,
        "dataset": record.dataset,
        "edition": record.edition,
        "recipe": record.recipe,
        "seed": record.seed,
        "track": data["track"],
        "readout": data["readout"],
        "status": data["status"],
        "reason": data["reason"],
        "metrics": data["metrics"],
        "undefined": data.get("undefined", {}),
        "n_eval": data["n_eval"],
        "n_excluded": data["n_excluded"],
        "cost": {
            "fit_s": record.cost["fit_s"],
            "apply_s": record.cost["apply_s"],
            "peak_bytes": record.cost["peak_bytes"],
        },
        "path": str(record.path or ""),
    }


def short_split(record: Record) -> str:
    """Return the split as typed, or its name if that was a path."""
    return record.split_id if ".toml" in record.split else record.split


def print_summary(
    records: Sequence[Record],
    companions: Companions,
    control_rows: Sequence[Record],
    again: Mapping[str, Sequence[str]],
    shown: str,
    metrics: Sequence[str] = (),
    *,
    one_seed: bool = False,
) -> None:
    """Print a table of records, notes, and a command to run next.

    Parameters
    ----------
    again
        Options of a further command, see :func:`repeat_options`.
    shown
        Where the records are.
    metrics
        Additional metrics to print, one column each.
    one_seed
        Whether the default of one seed was used on images.
    """
    primaries = {record.primary for record in records}
    heading = next(iter(primaries)).replace("_", " ") if len(primaries) == 1 else "score"
    splits = {(short_split(record), record.edition) for record in records}
    if len(splits) == 1:
        [(split, edition)] = splits
        print_line(f"{split}, {edition} data", "bold")
    columns: list[str | Column] = ["method", Column("seed", wrap=False), "track"]
    if len(splits) > 1:
        columns.insert(1, "split")
    columns += [Column(heading, right=True, wrap=False), Column("chance", right=True, wrap=False)]
    metrics = [metric for metric in metrics if primaries != {metric}]
    columns += [Column(name.replace("_", " "), right=True, wrap=False) for name in metrics]
    if companions:
        new_batches = any(companion.new_batches for companion in companions.values())
        name = "companion" if new_batches else "same plates"
        columns.append(Column(name, right=True, wrap=False))
    rows = []
    for record in _distinct(records):
        seed = "" if record.status == "not-applicable" else str(record.seed)
        row = [record.method, seed, record.track]
        if len(splits) > 1:
            row.insert(1, f"{short_split(record)} ({record.edition})")
        row += [_score(record, named=len(primaries) > 1), _chance(record)]
        row += [_number(record, metric) for metric in metrics]
        if companions:
            companion = companions.get(_key(record))
            row.append(_number(None if companion is None else companion.record))
        rows.append(row)
    print_table(columns, rows)
    for line in dict.fromkeys([*_drops(records, companions), *_notes(records)]):
        print_line(line)
    if control_rows:
        print_line(_control_line(control_rows))
    if one_seed:
        print_line("one seed per method on images; for three seeds and intervals: --seeds 3")
    print_line(f"records in {shown}")
    print_line(f"next: {_next(records, again)}")
    if all(record.edition != "real" for record in records) and not data_folder(REAL).is_dir():
        print_line(
            f"real images of three slide scanners: `python -m bench data fetch {REAL}`, then "
            f"--split {REAL}/phase"
        )


def _distinct(records: Sequence[Record]) -> list[Record]:
    """Return records with one of the seeds where a method does not apply."""
    keys: dict[tuple[str, str, int | None], Record] = {}
    for record in records:
        seed = None if record.status == "not-applicable" else record.seed
        keys.setdefault((record.method, record.split, seed), record)
    return list(keys.values())


def _control_line(records: Sequence[Record]) -> str:
    names = ", ".join(dict.fromkeys(record.method for record in records if record.ok))
    failed = {record.method: record.reason for record in records if record.status == "failed"}
    line = f"control rows recorded for boards: {names or 'none'} (omit with --no-controls)"
    return line + "".join(f"; {name} failed: {reason}" for name, reason in failed.items())


def _key(record: Record) -> tuple[str, str, int]:
    return record.method, record.split, record.seed


def _number(record: Record | None, metric: str | None = None) -> str:
    """Return a metric, by default the primary one; empty without a value."""
    value = None
    if record is not None and record.ok:
        value = record.value(metric)
        if value is None and metric is not None:
            value = record.value(metric, "embedding")
    return "" if value is None else f"{value:.3f}"


def _score(record: Record, *, named: bool) -> str:
    if not record.ok:
        return record.status
    return f"{record.primary} {_number(record)}" if named else _number(record)


def _chance(record: Record) -> str:
    return f"{record.chance:.3f}" if record.primary in ("accuracy", "balanced_accuracy") else ""


def _drops(records: Sequence[Record], companions: Companions) -> list[str]:
    """Return the drop from companions whose test rows are from batches not in the training set.

    Both share a training and differ by the shift alone.
    """
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for record in records:
        companion = companions.get(_key(record))
        if companion is None or not companion.new_batches:
            continue
        before, after = companion.record.value(record.primary), record.value()
        if before is not None and after is not None:
            names = (record.method, short_split(record), companion.record.split_id)
            pairs.setdefault(names, []).append((before, after))
    lines = []
    for (method, split, other), scores in pairs.items():
        before, after = (sum(column) / len(scores) for column in zip(*scores, strict=True))
        seeds = f", mean of {len(scores)} seeds" if len(scores) > 1 else ""
        change = "a drop" if before >= after else "a gain"
        lines.append(
            f"{method}: {before:.3f} on {other}, {after:.3f} on {split}: {change} of "
            f"{abs(before - after):.3f}{seeds}"
        )
    return lines


def _notes(records: Sequence[Record]) -> list[str]:
    lines = []
    for record in records:
        split, data = short_split(record), record.data
        run = f"{record.method} on {split}"
        if not record.ok:
            lines.append(f"{run}: {record.reason}")
            continue
        lines.append(f"{split}: {record.shift}")
        lines += [f"{run}: {note}" for note in record.notes]
        if record.undeclared_adaptation:
            lines.append(f"{record.method}: {record.undeclared_adaptation}; not ranked")
        if data["exposed"]:
            lines.append(f"{split}: methods see the columns {', '.join(data['exposed'])}")
        if data.get("preprocess"):
            lines.append(f"{split}: preprocessing before every method: {data['preprocess']}")
        if record.upstream:
            lines.append(f"{split}: upstream preprocessing: {'; '.join(record.upstream)}")
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
    methods = {record.method for record in records}
    seeds = {record.seed for record in records}
    unsupervised = records[0].primary in RETRIEVAL
    command = ["python", "-m", "bench"]
    if unsupervised or (len(seeds) >= 3 and "erm" in methods):
        split = records[0].split_id
        return shlex.join([*command, "leaderboard", "--split", split, *again["results"]])
    applicable = [record.method for record in records if record.status != "not-applicable"]
    names = list(dict.fromkeys(["erm", *applicable, "adabn"]))
    stages = {stage.strip() for name in names for stage in name.split("+")}
    command += ["run", "--method", ",".join(names), "--split", records[0].split, "--seeds", "3"]
    command += again[""]
    command += [text for name in again if name in stages for text in again[name]]
    return shlex.join([*command, *again["results"]])
