"""Read ``run.json`` files, and records of packed files.

A line of a packed file is the canonical JSON of ``{"n": [...], "run": {...}}``: the contents of
``run.json``, and the number of scored units of each of its metric values, sorted by metric and
subset. It has the same information as ``run.json`` and ``metrics.parquet``.
"""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from bench.core.canonical import no_constant
from bench.core.disk import disk_errors
from bench.core.errors import BenchError
from bench.records.checking import check, migrated
from bench.records.digests import digests_of
from bench.records.schema import SCHEMA
from bench.records.tables import metric_keys

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Json, RunRecord


RUN_ID = re.compile(r"[0-9a-f]{8,64}")

Kind = Literal["fit", "apply"]

_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading any JSON can raise: older records are completed before their types are checked."""


class PackedLine(NamedTuple):
    """Position of a record in a packed file: a line at a byte offset."""

    run_id: str
    file: Path
    offset: int
    length: int


def parse_record(text: str, path: Path) -> RunRecord:
    """Return the checked contents of a ``run.json``.

    Raises
    ------
    BenchError
        If it is damaged, was written by a later labshift or belongs to another folder.
    """
    try:
        record = _checked(json.loads(text, parse_constant=no_constant), f"the record {path}")
        if record["run_id"] != path.name:
            raise ValueError(f"it is the record of {record['run_id']}")
    except _DAMAGE as exc:
        raise damaged(path, exc) from exc
    return record


def damaged(path: Path, problem: Exception) -> BenchError:
    """Return the error of a record that cannot be used."""
    reason = "too deeply nested" if isinstance(problem, RecursionError) else problem
    return BenchError(
        f"the record in {path} is damaged ({reason}): delete that folder and run again"
    )


def parse_line(line: bytes, file: Path) -> tuple[RunRecord, list[int]]:
    """Return the checked record of a line of a packed file, and its numbers of scored units.

    Raises
    ------
    BenchError
        If the line is damaged or was written by a later labshift.
    """
    try:
        entry = json.loads(line, parse_constant=no_constant)
        if not isinstance(entry, dict):
            raise ValueError("it is not a record")
        record = _checked(entry.get("run"), f"a record in {file}")
        n = _aligned(entry.get("n"), entry["run"]["metrics"], record)
    except _DAMAGE as exc:
        raise BenchError(
            f"a record in {file} is damaged ({exc}): restore the file, or publish its runs again"
        ) from exc
    return record, n


def _aligned(n: object, stored: dict[str, dict[str, float]], record: RunRecord) -> list[int]:
    """Return the numbers of scored units of the record's metric values, in sorted order.

    Reading an older record can add subsets, such as the pooled value next to the mean over folds.
    They have the number of units of the complete test set.
    """
    keys = metric_keys(stored)
    if not isinstance(n, list) or len(n) != len(keys):
        raise ValueError("'n' must have one number per metric value")
    counts = dict(zip(keys, n, strict=True))
    return [
        counts.get((name, subset), counts.get((name, "all"), 0))
        for name, subset in metric_keys(record["metrics"])
    ]


def read_line(line: PackedLine) -> tuple[RunRecord, list[int]]:
    """Return the record at a position of a packed file; see :func:`parse_line`."""
    with disk_errors("read", line.file), line.file.open("rb") as file:
        file.seek(line.offset)
        record, n = parse_line(file.read(line.length), line.file)
    if record["run_id"] != line.run_id:
        raise BenchError(f"{line.file} was replaced in the meantime: start again")
    return record, n


def _checked(data: object, place: str) -> RunRecord:
    """Return ``data`` as a record; raise ValueError if it is none."""
    if not isinstance(data, dict) or "run_id" not in data or "spec" not in data:
        raise ValueError("it is not a record")
    version = data.get("schema", 0)
    if isinstance(version, int) and version > SCHEMA:
        raise BenchError(
            f"{place} has schema {version}, but this labshift reads schemas up to {SCHEMA}: "
            "install a newer labshift"
        )
    digests_of(data)
    try:
        return check(migrated(cast("dict[str, Json]", data)))
    except BenchError as exc:
        raise ValueError(str(exc)) from exc


def checked_id(identity: str) -> str:
    """Return an id that is safe as the name of a folder."""
    if not RUN_ID.fullmatch(identity):
        raise BenchError(f"'{identity}' is not the id of a run: ids are 8 to 64 digits 0-9, a-f")
    return identity


def text_of(folder: Path, name: str = "run.json") -> str | None:
    """Return the text of a file, or None if it does not exist."""
    file = folder / name
    with disk_errors("read", folder):
        try:
            # Reading a pipe or a device would never end.
            if not stat.S_ISREG(file.lstat().st_mode):
                raise BenchError(f"{file} is not a regular file: delete {folder} and run again")
            return file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError as exc:
            raise BenchError(
                f"the record in {folder} is damaged ({exc.reason}): delete that folder and run "
                "again"
            ) from exc
