"""Index of records: a parquet file derived from the ``run.json`` files, or from packed files.

Per run it stores the summary and the clusters, so that boards of thousands of runs read one file.
A row is valid while the stamps of the run's files are unchanged, so that their digests are checked
once. The index can be deleted.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING

from bench.core.once import file_stamp
from bench.records.digests import FILES
from bench.records.reading import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.records.record import Record


INDEX_VERSION = "12"
_FACTS = ("method_id", "split_id", "edition", "recipe", "seed", "status", "primary")


def run_stamps(runs: Path) -> dict[str, str]:
    """Return run id -> stamp of its files, which changes when one of them is changed."""
    stamps: dict[str, str] = {}
    try:
        prefixes = [entry.path for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return stamps
    for prefix in prefixes:
        with contextlib.suppress(FileNotFoundError), os.scandir(prefix) as entries:
            for entry in entries:
                if not RUN_ID.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    stamps[entry.name] = _run_stamp(entry.path)
    return stamps


def _run_stamp(folder: str) -> str:
    """Return the stamps of a run's files. Raises ``FileNotFoundError`` without ``run.json``."""
    stamps = [file_stamp(f"{folder}/{FILES[0]}")]
    for name in FILES[1:]:
        try:
            stamps.append(file_stamp(f"{folder}/{name}"))
        except FileNotFoundError:
            stamps.append("")
    return ";".join(stamps)


def read_index(index: Path) -> dict[str, tuple[str, tuple[str, str]]]:
    """Return run id -> stamp and JSON of summary and clusters; empty if the file is unusable."""
    if not index.is_file():
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not pq.read_table: it imports all that partitioned data sets need.
        names = ["run_id", "stamp", "summary", "clusters"]
        with pq.ParquetFile(index) as file:
            metadata = file.schema_arrow.metadata or {}
            if metadata.get(b"labshift_index") != INDEX_VERSION.encode():
                return {}
            rows: dict[str, tuple[str, tuple[str, str]]] = {}
            # In batches, so that the texts are in memory once.
            for batch in file.iter_batches(batch_size=1000, columns=names, use_threads=False):
                columns = [batch.column(name).to_pylist() for name in names]
                for run_id, stamp, summary, clusters in zip(*columns, strict=True):
                    rows[run_id] = (stamp, (summary, clusters))
    except (OSError, KeyError, pa.ArrowException):
        return {}
    return rows


def index_bytes(records: Mapping[str, Record], stamps: Mapping[str, str]) -> bytes:
    """Return the contents of the index for records and stamps by run id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for run_id in sorted(records):
        record = records[run_id]
        summary, clusters = record.brief
        rows.append(
            {
                "run_id": run_id,
                **{name: getattr(record, name) for name in _FACTS},
                "value": record.value(),
                "stamp": stamps[run_id],
                "summary": summary,
                "clusters": clusters,
            }
        )
    text = ("run_id", "method_id", "split_id", "edition", "recipe", "status", "primary", "stamp")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in (*text, "summary", "clusters")),
            ("seed", pa.int64()),
            ("value", pa.float64()),
        ],
        metadata={"labshift_index": INDEX_VERSION},
    )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
    return sink.getvalue()
