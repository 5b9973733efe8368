"""Data sets that can be fetched: one TOML file each, read without importing the data set.

``files/NAME.toml`` of ``bench.datasets`` states the URLs of a data set's published files, their
sizes, their checksums if a source states them, the archives to unpack, and the checks of the
result. Values that no source states are omitted from the file, shown as ``unknown``, and recorded
on download. A plugin gives the same table as ``"fetch"`` in its ``META``.

.. code-block:: toml

    title = "…"
    licence = "…"
    folder = "jump"                  # in the data folder; default: the name
    [[file]]
    name = "archive.tar.gz"          # below the folder
    urls = ["https://…"]             # mirrors, tried in this order
    bytes = 7413123845
    sha256 = "…"                     # or md5
    unpack = "rxrx1_v1.0"            # archive: the target folder
    members = ["images/*.png"]       # archive: what to unpack, below its top folder
    [[packed]]                       # --from: files that replace all the published ones
    name = "sheet.png"
    sha256 = "…"
    [[rows]]                         # one file per row of a table fetched before
    table = "metadata/plate.csv.gz"
    where = { Metadata_PlateType = ["TARGET2"] }
    name = "{Metadata_Source}/{Metadata_Plate}.parquet"
    urls = ["https://…/{Metadata_Source}/{Metadata_Plate}.parquet"]
    [zenodo]                         # a record found by its title and files
    titles = ["…"]
    files = ["…"]
    [[check]]                        # see bench.data.fetch.check
    kind = "images"
"""

from __future__ import annotations

import importlib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from bench.core.registry import Registry
    from bench.core.types import Facts, JsonObject


@dataclass(frozen=True)
class File:
    """A published file.

    Attributes
    ----------
    name
        Path relative to the data set's folder, with ``/``.
    urls
        Mirrors, tried in this order.
    bytes
        Size, or None if no source states it.
    sha256, md5
        Hexadecimal, or empty if no source states it.
    unpack
        For an archive, the folder to unpack it to; ``.`` is the data set's folder.
    members
        For an archive with one top folder, such as that of a commit: patterns
        (:func:`fnmatch.fnmatchcase`) of the members to unpack, below the top folder, which is left
        out. If empty, all members are unpacked with their full names.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str = ""
    md5: str = ""
    unpack: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """One file per distinct row of a table fetched before, with ``{COLUMN}`` placeholders.

    Attributes
    ----------
    table
        The table, a csv, csv.gz or parquet file in the data set's folder.
    where
        Column -> accepted values; other rows are ignored.
    name, urls, unpack
        As in :class:`File`, with ``{COLUMN}`` placeholders.
    """

    table: str
    name: str
    urls: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpack: str = ""

    def files(self, folder: Path) -> list[File]:
        """Return the files that the table lists, in its order.

        Raises
        ------
        BenchError
            If the table cannot be read or lacks a column.
        """
        path = folder / self.table
        table = text_table(path)
        used = set(re.findall(r"{(\w+)}", " ".join((self.name, *self.urls))))
        missing = sorted((used | set(self.where)) - set(table.columns))
        if missing:
            raise BenchError(f"{path} has no column '{missing[0]}': it is not the published table")
        for column, values in self.where.items():
            table = table[table[column].isin(values)]
        files: dict[str, File] = {}
        for row in table[sorted(used)].drop_duplicates().to_dict("records"):
            cells = {str(key): str(value) for key, value in row.items()}
            quoted = {key: quote(value, safe="") for key, value in cells.items()}
            name = _inside(self.name.format_map(cells), str(path))
            urls = tuple(url.format_map(quoted) for url in self.urls)
            files[name] = File(name, urls, unpack=self.unpack)
        return list(files.values())


def text_table(path: Path) -> pd.DataFrame:
    """Return a csv, csv.gz or parquet table with all values as text.

    Raises
    ------
    BenchError
        If the table cannot be read.
    """
    import pandas as pd

    kind = "parquet" if path.suffix == ".parquet" else "csv"
    try:
        if kind == "parquet":
            return pd.read_parquet(path).astype(str)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"{path} cannot be read as {kind} ({reason}): delete it") from None


@dataclass(frozen=True)
class Fetchable:
    """Everything that one name of ``data fetch`` downloads.

    Attributes
    ----------
    packed
        Files without URLs that replace all the published ones: ``--from`` accepts a folder that
        contains them.
    """

    name: str
    title: str
    licence: str
    folder: str
    files: tuple[File, ...]
    packed: tuple[File, ...] = ()
    rows: tuple[Rows, ...] = ()
    zenodo: Facts = field(default_factory=dict)
    checks: tuple[Facts, ...] = ()
    note: str = ""
    dataset: str = ""

    @property
    def bytes(self) -> int | None:
        """The size of all files, or None if one of them is unknown."""
        sizes = [file.bytes for file in self.files]
        if self.rows or self.zenodo or not sizes or None in sizes:
            return None
        return sum(size for size in sizes if size is not None)


_KEYS = {
    "title": str,
    "licence": str,
    "folder": str,
    "dataset": str,
    "note": str,
    "file": list,
    "packed": list,
    "rows": list,
    "zenodo": dict,
    "check": list,
}
_FILE_KEYS = ("name", "urls", "bytes", "sha256", "md5", "unpack", "members")
_PACKED_KEYS = ("name", "bytes", "sha256")
_ROWS_KEYS = ("table", "where", "name", "urls", "unpack")


def _inside(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name or "\\" in name or ":" in name:
        raise BenchError(f"{where} names the file '{name}', which is outside the data folder")
    return name


def _urls(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(u, str) for u in value):
        raise BenchError(f'{where} needs urls = ["https://…"], a list')
    for url in value:
        if not url.startswith("https://"):
            raise BenchError(f"{where}: {url} is not https: files are fetched by https alone")
    return tuple(value)


def _known(table: object, keys: Iterable[str], where: str) -> JsonObject:
    if not isinstance(table, dict):
        raise BenchError(f"{where} must be a table, not {table!r}")
    for key in table:
        if key not in keys:
            raise BenchError(f"{where}: {did_you_mean(key, list(keys), 'key')}")
    return table


def _file(table: object, keys: Sequence[str], where: str) -> File:
    """Return the file that a ``[[file]]`` or ``[[packed]]`` table describes."""
    values = _known(table, keys, where)
    for key, length in (("sha256", 64), ("md5", 32)):
        if key in values and not re.fullmatch(f"[0-9a-f]{{{length}}}", str(values[key])):
            raise BenchError(f"{where}: {key} must be {length} hexadecimal digits")
    size = values.get("bytes")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise BenchError(f"{where}: bytes must be a whole number")
    members = values.get("members", [])
    if not isinstance(members, list) or not all(isinstance(text, str) for text in members):
        raise BenchError(f"{where}: members must be a list of patterns")
    return File(
        _inside(str(values.get("name", "")), where),
        _urls(values.get("urls"), where) if "urls" in keys else (),
        size,
        str(values.get("sha256", "")),
        str(values.get("md5", "")),
        _inside(str(values["unpack"]), where) if "unpack" in values else "",
        tuple(members),
    )


def read_fetchable(name: str, content: Facts, where: str) -> Fetchable:
    """Return the data set that a table of plain values describes.

    Parameters
    ----------
    where
        The file, for messages.

    Raises
    ------
    BenchError
        For an unknown key, a wrong type, a name outside the folder, or a URL that is not https.
    """
    for key, value in _known(dict(content), _KEYS, where).items():
        if not isinstance(value, _KEYS[key]):
            raise BenchError(f"{where}: {key} must be a {_KEYS[key].__name__}, not {value!r}")
    for key in ("title", "licence"):
        if not content.get(key):
            raise BenchError(f"{where} has no {key}")
    files = [
        _file(table, _FILE_KEYS, f"{where}, file {number}")
        for number, table in enumerate(content.get("file", []), 1)
    ]
    packed = [
        _file(table, _PACKED_KEYS, f"{where}, packed {number}")
        for number, table in enumerate(content.get("packed", []), 1)
    ]
    rows = []
    for number, row in enumerate(content.get("rows", []), 1):
        at = f"{where}, rows {number}"
        table = _known(row, _ROWS_KEYS, at)
        rows.append(
            Rows(
                _inside(str(table.get("table", "")), at),
                str(table.get("name", "")),
                _urls(table.get("urls"), at),
                {k: tuple(map(str, v)) for k, v in table.get("where", {}).items()},
                str(table.get("unpack", "")),
            )
        )
    return Fetchable(
        name=name,
        title=content["title"],
        licence=content["licence"],
        folder=_inside(content.get("folder", name), where),
        files=tuple(files),
        packed=tuple(packed),
        rows=tuple(rows),
        zenodo=_known(content.get("zenodo", {}), ("titles", "files"), where),
        checks=tuple(content.get("check", ())),
        note=content.get("note", ""),
        dataset=content.get("dataset", name),
    )


def _packaged() -> dict[str, Path]:
    package = importlib.import_module("bench.datasets")
    return {
        path.stem: path
        for folder in package.__path__
        for path in sorted((Path(folder) / "files").glob("*.toml"))
    }


def fetchable_names(registry: Registry) -> list[str]:
    """Return the names that ``data fetch`` accepts, sorted."""
    own = [e.name for e in registry.entries("dataset") if isinstance(e.meta.get("fetch"), dict)]
    return sorted({*_packaged(), *own})


def packaged_fetchable(name: str) -> Fetchable | None:
    """Return the content of the packaged file of a name, or None if there is none."""
    path = _packaged().get(name)
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BenchError(f"{path.name} is not TOML: {error}; correct it") from None
    return read_fetchable(name, content, path.name)


def fetchable(name: str, registry: Registry) -> Fetchable:
    """Return the data set of a name.

    Raises
    ------
    BenchError
        For an unknown name or an invalid file.
    """
    packaged = packaged_fetchable(name)
    if packaged is not None:
        return packaged
    if name in registry.names("dataset"):
        entry = registry.entry("dataset", name)
        if isinstance(entry.meta.get("fetch"), dict):
            return read_fetchable(name, entry.meta["fetch"], f"META of {entry.origin}")
        raise BenchError(
            f"{name} has nothing to fetch: its files are generated, or you put them in its folder; "
            f"`python -m bench show dataset {name}` says where"
        )
    raise BenchError(did_you_mean(name, fetchable_names(registry), "data to fetch"))
