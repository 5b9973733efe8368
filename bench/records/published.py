"""Published records: one packed file per split.

::

    results/reference/records/coos7/test4.jsonl     one line per run, sorted by run id

The format of a line is described in :mod:`bench.records.reading`. Equal records give equal bytes.
Published records of earlier versions, which have a folder each, are read as well.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.core.canonical import canonical_json
from bench.core.disk import disk_errors, write_file
from bench.core.errors import BenchError
from bench.core.once import file_stamp
from bench.records.reading import PackedLine, parse_line, parse_record, text_of
from bench.records.record import Record
from bench.records.tables import packed_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Skip = Callable[[str, BenchError], None]


FOLDER = "records"


def packed_file(reference: Path, split_id: str) -> Path:
    """Return the file of a split in the folder of published records."""
    names = [quote(name, safe=" ~@+=,") for name in split_id.split("/")]
    if not all(name.strip(". ") for name in names):
        raise BenchError(
            f"runs of a split named '{split_id}' cannot be published: rename the split"
        )
    return reference.joinpath(FOLDER, *names[:-1], f"{names[-1]}.jsonl")


def packed_files(reference: Path) -> list[Path]:
    """Return the packed files, sorted."""
    return sorted(file for file in (reference / FOLDER).rglob("*.jsonl") if file.is_file())


def unpacked_folders(reference: Path) -> list[Path]:
    """Return the folders of published records that are not packed, sorted by run id."""
    folders = (file.parent for file in reference.rglob("run.json"))
    return sorted(folders, key=lambda folder: folder.name)


def load_packed(
    reference: Path, index: Mapping[str, tuple[str, tuple[str, str]]], skip: Skip
) -> tuple[dict[str, Record], dict[str, str]]:
    """Return the records of all packed files, and their rows of the index.

    Parameters
    ----------
    index
        Contents of the index, from :func:`bench.records.index.read_index`. Files that changed
        since are read again.
    skip
        Called with a key and the error of each record that cannot be read.

    Returns
    -------
    records : dict
        Run id -> record.
    stamps : dict
        Run id -> stamp in the index. Files with a damaged record are left out, so that they are
        read and reported again.
    """
    indexed: dict[str, list[tuple[PackedLine, str, tuple[str, str]]]] = {}
    for run_id, (stamp, brief) in index.items():
        stamp_of_file, name, offset, length = stamp.split("|")
        line = PackedLine(run_id, reference / name, int(offset), int(length))
        indexed.setdefault(f"{stamp_of_file}|{name}", []).append((line, stamp, brief))
    records: dict[str, Record] = {}
    stamps: dict[str, str] = {}
    for file in packed_files(reference):
        key = f"{file_stamp(file)}|{file.relative_to(reference).as_posix()}"
        if key in indexed:
            for line, stamp, brief in indexed[key]:
                records[line.run_id] = Record(None, line, brief)
                stamps[line.run_id] = stamp
            continue
        lines, complete = _read(file, skip)
        for line, record in lines:
            records[line.run_id] = record
            if complete:
                stamps[line.run_id] = f"{key}|{line.offset}|{line.length}"
    return records, stamps


def _read(file: Path, skip: Skip) -> tuple[list[tuple[PackedLine, Record]], bool]:
    """Return the records of a packed file, and whether none was skipped."""
    records = []
    offset, complete = 0, True
    for line in file.read_bytes().splitlines(keepends=True):
        try:
            data, _ = parse_line(line, file)
            position = PackedLine(data["run_id"], file, offset, len(line))
            # Only the summary is kept in memory.
            records.append((position, Record(None, position, Record(data).brief)))
        except BenchError as exc:
            complete = False
            skip(f"{file}:{offset}", exc)
        except Exception as exc:  # noqa: BLE001 - a line of any content
            complete = False
            skip(f"{file}:{offset}", BenchError(f"a record in {file} cannot be summarised ({exc})"))
        offset += len(line)
    return records, complete


def pack(reference: Path, folders: Iterable[Path], *, replace: bool = False) -> list[Path]:
    """Add runs to the packed files of their splits, without predictions and curves.

    Parameters
    ----------
    folders
        Folders of complete runs. Those in ``reference`` are deleted afterwards.

    Raises
    ------
    BenchError
        If a record is damaged or a file cannot be written. Each file is written atomically.
    """
    added: dict[Path, dict[str, str]] = {}
    folders = list(folders)
    for folder in folders:
        split_id, run_id, line = _line_of(folder)
        added.setdefault(packed_file(reference, split_id), {})[run_id] = line
    for file, lines in sorted(added.items()):
        with disk_errors("publish to", file):
            previous = {} if replace else _lines(file)
            merged = {**previous, **lines}
            write_file(file, "".join(merged[run_id] for run_id in sorted(merged)))
    for folder in folders:
        if folder.is_relative_to(reference):
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
    return sorted(added)


def _line_of(folder: Path) -> tuple[str, str, str]:
    """Return split, run id and line of a run."""
    text = text_of(folder)
    if text is None:
        raise BenchError(f"there is no run {folder.name} in {folder.parent.parent}: run it first")
    record = parse_record(text, folder)
    table = Record(record, folder).metrics_table()
    if table is None:
        raise BenchError(f"metrics.parquet of {folder} is missing: run it again")
    try:
        # As it was written: keys and values that are added when it is read are left out.
        written = json.loads(text)
        n = packed_counts(written["metrics"], table)
    except BenchError as exc:
        raise BenchError(f"the record in {folder} is damaged ({exc}): run it again") from None
    line = canonical_json({"n": n, "run": written}) + "\n"
    return record["spec"]["split_id"], record["run_id"], line


def _lines(file: Path) -> dict[str, str]:
    """Return run id -> line of a packed file; empty without the file."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return {json.loads(line)["run"]["run_id"]: line for line in lines}
