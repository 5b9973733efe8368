"""Read the folder of a run and check all its files; find the records below a path."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from bench.core.disk import disk_errors
from bench.core.errors import BenchError
from bench.records.digests import FILES, check_tables
from bench.records.reading import PackedLine, damaged, parse_line, parse_record, text_of
from bench.records.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read_folder(folder: Path) -> Record | None:
    """Return the record of a folder, or None without ``run.json``.

    Raises
    ------
    BenchError
        If a file is damaged or does not match its digest, or the record cannot be summarised.
    """
    text = text_of(folder)
    if text is None:
        return None
    data = parse_record(text, folder)
    with disk_errors("read", folder):
        try:
            check_tables(data, folder)
            record = Record(data, folder)
            _ = record.brief  # what boards need
        except OSError:
            raise
        except Exception as exc:
            raise damaged(folder, exc) from exc
    return record


class Located(NamedTuple):
    """A record that is read on request.

    Attributes
    ----------
    place
        Its folder, or its packed file and line.
    read
        Returns the record. Raises BenchError if it is damaged.
    """

    place: str
    read: Callable[[], Record]


def located(path: Path) -> list[Located]:
    """Return the records of a run, of a packed file, or of all runs below a folder.

    Parameters
    ----------
    path
        The folder of a run or its ``run.json``, a packed ``.jsonl`` file, or a folder.

    Raises
    ------
    BenchError
        If there is no record.
    """
    if path.is_file():
        folders = [path.parent] if path.name == FILES[0] else []
        packed = [] if folders else [path]
    elif (path / FILES[0]).exists():
        folders, packed = [path], []
    else:
        # Folders of runs that are no results are ignored.
        roots = [path / name for name in ("runs", "reference") if (path / name).is_dir()] or [path]
        folders = sorted(file.parent for root in roots for file in root.rglob(FILES[0]))
        packed = sorted(f for root in roots for f in root.rglob("*.jsonl") if f.is_file())
    result = [Located(str(folder), partial(_complete, folder)) for folder in folders]
    for file in packed:
        with disk_errors("read", file):
            lines = file.read_bytes().splitlines(keepends=True)
        offset = 0
        for number, line in enumerate(lines, 1):
            result.append(Located(f"{file}:{number}", partial(_packed, file, line, offset)))
            offset += len(line)
    if not result:
        raise BenchError(f"{path} has no records: name a run, a .jsonl file or a results folder")
    return result


def _complete(folder: Path) -> Record:
    record = read_folder(folder)
    if record is None:
        raise BenchError(f"{folder} has no {FILES[0]}: run it again")
    return record


def _packed(file: Path, line: bytes, offset: int) -> Record:
    data, _ = parse_line(line, file)
    return Record(data, PackedLine(data["run_id"], file, offset, len(line)))
