"""Read ``run.json`` files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

from bench.core.canonical import no_constant
from bench.core.disk import disk_errors
from bench.core.errors import BenchError
from bench.records.checking import check, migrated
from bench.records.schema import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import RunRecord

__all__ = ["RUN_ID", "Kind", "checked_id", "parse_record", "text_of"]

RUN_ID = re.compile(r"[0-9a-f]{8,64}")

Kind = Literal["fit", "apply"]


def parse_record(text: str, path: Path) -> RunRecord:
    """Return the checked contents of a ``run.json``.

    Raises
    ------
    BenchError
        If it is damaged, was written by a later labshift or belongs to another folder.
    """
    try:
        data = json.loads(text, parse_constant=no_constant)
        if not isinstance(data, dict) or "run_id" not in data or "spec" not in data:
            raise ValueError("it is not a record")
        version = data.get("schema", 0)
        if isinstance(version, int) and version > SCHEMA:
            raise BenchError(
                f"the record {path} has schema {version}, but this labshift reads schemas up to "
                f"{SCHEMA}: install a newer labshift"
            )
        if data["run_id"] != path.name:
            raise ValueError(f"it is the record of {data['run_id']}")
        try:
            return check(migrated(data))
        except BenchError as exc:
            raise ValueError(str(exc)) from exc
    except ValueError as exc:
        raise BenchError(
            f"the record in {path} is damaged ({exc}): delete that folder and run again"
        ) from exc


def checked_id(identity: str) -> str:
    """Return an id that is safe as the name of a folder."""
    if not RUN_ID.fullmatch(identity):
        raise BenchError(f"'{identity}' is not the id of a run: ids are 8 to 64 digits 0-9, a-f")
    return identity


def text_of(folder: Path, name: str = "run.json") -> str | None:
    """Return the text of a file, or None if it does not exist."""
    with disk_errors("read", folder):
        try:
            return (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            raise BenchError(
                f"the record in {folder} is damaged ({exc.reason}): delete that folder and run "
                "again"
            ) from exc
