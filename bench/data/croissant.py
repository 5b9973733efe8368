"""Data cards: Croissant metadata of data sets and their splits.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) is JSON-LD on top of
schema.org. A packaged data set lists its published files with their checksums. A table of the user
also gets the types of its metadata columns, so that libraries can read them from the file. Every
card has a record set with the splits.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import file_sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import JsonObject
    from bench.data.fetch.listing import File
    from bench.data.own.spec import Spec

CONTEXT: JsonObject = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification recommends."""
_TYPES = {
    ".parquet": "application/x-parquet",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".zip": "application/zip",
    ".png": "image/png",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".h5ad": "application/x-hdf5",
    ".npy": "application/octet-stream",
}
_TABULAR = ("application/x-parquet", "text/csv", "text/tab-separated-values")
_PLACEHOLDER_URL = "https://pypi.org/project/labshift/"


def card(name: str, registry: Registry) -> JsonObject:
    """Return the card of a data set.

    Parameters
    ----------
    name
        A registered data set, one of its splits, or ``FILE.toml``.
    registry
        Registry used to look up names.

    Raises
    ------
    BenchError
        For an unknown name, or a description that does not fit its table or images.
    """
    from bench.data.catalog import known_splits, parse_split_argument, resolve_all

    splits = known_splits(registry)
    file = parse_split_argument(name)
    if file is not None:
        named = resolve_all(name, registry)
        if named[0].own is not None:
            named[0].own.open()  # refuses a description that does not fit its table
        return _own_card(file[0], [split.split for split in named])
    names = registry.names("dataset")
    # rxrx1 is a data set and the alias of a split.
    chosen = [s for s in splits.values() if name in (s.name, s.alias) and name not in names]
    dataset = chosen[0].dataset if chosen else name
    if dataset not in names:
        raise BenchError(did_you_mean(name, [*names, *splits], "data set or split"))
    return _packaged_card(
        dataset, chosen or [s for s in splits.values() if s.dataset == dataset], registry
    )


def _packaged_card(dataset: str, splits: Sequence[Split], registry: Registry) -> JsonObject:
    from bench.data.fetch.listing import fetchable, fetchable_names

    meta = registry.entry("dataset", dataset).meta
    files: tuple[File, ...] = ()
    licence, url, notes = meta["licence"], meta["url"], ""
    if dataset in fetchable_names(registry):
        source = fetchable(dataset, registry)
        files, licence, notes = source.files, source.licence, source.note
        if source.rows or source.zenodo:
            notes = f"{notes} Further files are listed by the ones above.".strip()
    objects = [_file_object(file) for file in files if file.urls]
    description = " ".join(filter(None, [meta["summary"], notes]))
    return _document(
        dataset,
        description,
        licence,
        citation=meta["reference"],
        url=url or (str(objects[0]["contentUrl"]) if objects else _PLACEHOLDER_URL),
        live=any("sha256" not in o and "md5" not in o for o in objects),
        version=str(meta["version"]),
        files=objects,
        record_sets=[_splits(splits)],
    )


def _own_card(path: Path, splits: Sequence[Split]) -> JsonObject:
    from bench.data.own.spec import parse

    spec = parse(path)
    table = path.parent / spec.table
    kind = _media_type(spec.table)
    if not table.is_file():
        raise BenchError(f"{table} does not exist: correct `table` in {path}")
    file = {
        "@type": "cr:FileObject",
        "@id": "table",
        "name": PurePosixPath(spec.table).name,
        "contentUrl": spec.table,
        "encodingFormat": kind,
        "contentSize": f"{table.stat().st_size} B",
        "sha256": file_sums(table)[0],
    }
    sets = [_splits(splits)]
    if kind in _TABULAR:
        sets.append(_rows(spec, table))
    return _document(
        spec.name,
        f"{spec.kind} with batches {', '.join(spec.batches)}. "
        + (f"Upstream processing: {', '.join(spec.steps)}." if spec.steps else ""),
        spec.licence or "",
        citation=spec.citation or "",
        url=_PLACEHOLDER_URL,
        live=False,
        version="1",
        files=[file],
        record_sets=sets,
    )


def _document(
    name: str,
    description: str,
    licence: str,
    *,
    citation: str,
    url: str,
    live: bool,
    version: str,
    files: Sequence[JsonObject],
    record_sets: Sequence[JsonObject],
) -> JsonObject:
    document: JsonObject = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description.strip(),
        "license": licence or "not stated",
        "url": url,
        "version": f"{version}.0.0",
        "distribution": list(files),
        "recordSet": list(record_sets),
    }
    if citation:
        document["citeAs"] = citation
    if live:
        document["isLiveDataset"] = True
    return document


def _media_type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def _file_object(file: File) -> JsonObject:
    sums = {"sha256": file.sha256, "md5": file.md5} if not file.sha256 else {"sha256": file.sha256}
    return {
        "@type": "cr:FileObject",
        "@id": _identifier(file.name),
        "name": _identifier(file.name),
        "contentUrl": file.urls[0],
        "encodingFormat": _media_type(file.name),
        **({"contentSize": f"{file.bytes} B"} if file.bytes is not None else {}),
        **{key: value for key, value in sums.items() if value},
    }


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _splits(splits: Iterable[Split]) -> JsonObject:
    """Return the record set with one row per split."""
    fields = {
        "name": "Name of the split",
        "shift": "What is new in the test rows",
        "hold_out": "Column; each of its values is the test set once; empty for a fixed test set",
        "task": "classify or retrieve",
        "metric": "Primary metric",
        "score_unit": "row, or the column by which rows are averaged before scoring",
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "Train and test splits; `--split NAME` selects one.",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"splits/{field}",
                "name": field,
                "description": text,
                "dataType": ["sc:Text", "cr:Split"] if field == "name" else "sc:Text",
            }
            for field, text in fields.items()
        ],
        "data": [
            {f"splits/{field}": str(getattr(split, field) or "") for field in fields}
            for split in splits
        ],
    }


def _rows(spec: Spec, table: Path) -> JsonObject:
    """Return the record set of a table: its metadata columns, read from the file."""
    from bench.data.own.files import open_table

    columns = open_table(table).columns
    roles: dict[str, str] = {}
    for text, names in (
        ("Part of the id of a row", spec.id or ()),
        ("Class", (spec.label,)),
        ("Batch level", spec.batches),
        ("Marks negative controls", (spec.control_column,)),
        ("Position on the plate", (spec.position,)),
        ("Treatment", spec.treatment or ()),
        ("Metadata", spec.metadata),
    ):
        for name in names:
            if name is not None and name in columns:
                roles.setdefault(name, text)
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "description": f"One row per sample; features are columns that match {spec.features}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"rows/{_identifier(name)}",
                "name": name,
                "description": text,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": "table"}, "extract": {"column": name}},
            }
            for name, text in roles.items()
        ],
    }
