"""``data fetch``: download a data set by name, check its files and put them in the data folder.

Files are fetched in stages: first those with known names, then those listed in a fetched table. The
size and licence of each stage are shown before the transfer. Files that are present are not fetched
again, an interrupted fetch is resumed, and archives are unpacked.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.disk import new_file
from bench.core.errors import BenchError
from bench.core.folders import expanded
from bench.core.words import count, file_size
from bench.data.fetch.https import Meter, download
from bench.data.fetch.listing import File
from bench.data.fetch.tree import Desk, Tree, packed_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.core.types import JsonObject
    from bench.data.fetch.check import Report
    from bench.data.fetch.listing import Fetchable


LOCK = ".fetch.lock"


@dataclass
class Fetcher:
    """One fetch of one data set.

    Attributes
    ----------
    source
        ``--from``: a file, a folder, or an https URL to take files from; empty for the published
        URLs.
    zenodo
        Host of the record search; tests use another one.
    """

    what: Fetchable
    source: str = ""
    desk: Desk = field(default_factory=Desk)
    options: JsonObject = field(default_factory=dict)
    zenodo: str = ""

    def __post_init__(self) -> None:
        self.tree = Tree(self.what, self.desk)
        self.folder = self.tree.folder
        self._local = _local(self.source)

    def run(self) -> Report:
        """Fetch, unpack and check; return the report of the tree check.

        Raises
        ------
        BenchError
            If the user declines, a file is unavailable or not the published one, or another
            fetch is running in the folder.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK, timeout=0)
            lock.acquire()
        except Timeout:
            raise BenchError(
                f"another fetch is running in {self.folder}: wait for it, or stop it"
            ) from None
        except OSError as error:
            raise BenchError(
                f"{self.folder} cannot be written ({error.strerror}): point $BENCH_DATA elsewhere"
            ) from None
        try:
            if not self.tree.link(self._local):
                for stage in self._stages():
                    self._stage(stage)
            return self.tree.check()
        finally:
            lock.release()
            self._tidy()

    def _tidy(self) -> None:
        """Remove empty folders after a fetch that failed."""
        (self.folder / LOCK).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _stages(self) -> Iterator[list[File]]:
        what = self.what
        licence, title = what.licence, what.title
        packed = packed_files(what, self._local or self.folder)
        files = list(packed or what.files)
        if what.packed and not files:
            names = " and ".join(file.name for file in what.packed)
            raise BenchError(
                f"{what.name} cannot be downloaded, only its packed files can be used: "
                f"`python -m bench data fetch {what.name} --from FOLDER`, with a folder that "
                f"contains {names}"
            )
        if what.zenodo:
            files, licence, title = self._record(licence, title)
        self.desk.say(title)
        self.desk.say(f"licence: {licence}")
        self.desk.say(f"folder: {self.folder}")
        if what.note:
            self.desk.say(f"note: {what.note}")
        for rows in what.rows:
            self.desk.say(f"then one file per row of {rows.table}")
        if files:
            yield files
        for rows in what.rows:
            yield rows.files(self.folder)

    def _record(self, licence: str, title: str) -> tuple[list[File], str, str]:
        """Return the files of a record that is searched for; with --from, only their names."""
        from bench.data.fetch.zenodo import HOST, find_record

        names = self.what.zenodo["files"]
        here = [name for name in names if self.tree.has(File(name, ()))]
        if self.source or len(here) == len(names):
            return [File(name, ()) for name in names], licence, title
        self.desk.say(f"looking for the record of {self.what.name} at Zenodo")
        record = find_record(self.what.zenodo, self.zenodo or HOST, self.desk.say)
        self.tree.source["doi"], self.tree.source["record_title"] = record.doi, record.title
        self.tree.source["licence"] = record.licence
        return list(record.files), record.licence, f"{record.title} (doi:{record.doi})"

    def _stage(self, files: list[File]) -> None:
        missing = [file for file in files if not self.tree.has(file)]
        n_here = len(files) - len(missing)
        if n_here:
            self.desk.say(f"{n_here} of {len(files)} files are already there")
        waiting = [file for file in missing if file.unpack and (self.folder / file.name).is_file()]
        for file in waiting if self._local is None else ():
            # copied here by the user, or by a fetch that was killed before unpacking
            self.desk.say(f"{file.name} is already there and will be unpacked")
            archive = self.folder / file.name
            received = self.tree.examined(file, archive, file.name)
            self.tree.note(file, received, archive)
            self.tree.unpack(file, archive, received)
            missing.remove(file)
        if not missing:
            return
        sizes = [file.bytes for file in missing]
        n_bytes = sum(size for size in sizes if size is not None)
        n_unknown = sizes.count(None)
        amount = file_size(n_bytes) if not n_unknown else f"{n_unknown} of unknown size"
        if n_unknown and n_bytes:
            amount = f"{file_size(n_bytes)} and {amount}"
        origin = f" from {self.source}" if self.source else ""
        self._room(n_bytes * (2 if any(file.unpack for file in missing) else 1))
        question = f"fetch {count(len(missing), 'file')}, {amount}{origin}?"
        if not self.desk.confirm(question):
            raise BenchError("nothing was fetched: the answer was no")
        for number, file in enumerate(missing, 1):
            label = file.name if len(missing) == 1 else f"{file.name} ({number}/{len(missing)})"
            self._get(file, label)

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise BenchError(
                f"{self.folder} has {file_size(free)} free and needs about {file_size(needed)}: "
                "free space, or point $BENCH_DATA elsewhere"
            )

    def _get(self, file: File, label: str) -> None:
        target = self.folder / file.name
        if self._local is not None:
            origin = _find(self._local, file.name)
            if file.unpack:
                received = self.tree.examined(file, origin, label)
                self.tree.unpack(file, origin, received)
                return
            received = self.tree.examined(file, origin, label)
            with new_file(target) as part:
                shutil.copyfile(origin, part)
        else:
            received = download(
                self._urls(file),
                target,
                size=file.bytes,
                sha256=file.sha256,
                md5=file.md5,
                meter=Meter(self.desk.bar(label)),
                say=self.desk.say,
                **self.options,
            )
        self.tree.note(file, received, target)
        if file.unpack:
            self.tree.unpack(file, target, received)

    def _urls(self, file: File) -> tuple[str, ...]:
        if not self.source:
            return file.urls
        if self.source.rsplit("/", 1)[-1] == file.name.rsplit("/", 1)[-1]:
            return (self.source,)
        alone = len(self.what.files) == 1 and not self.what.rows and not self.what.zenodo
        if alone and not self.source.endswith("/"):
            return (self.source, f"{self.source}/{file.name}")
        return (f"{self.source.rstrip('/')}/{file.name}",)


def _local(origin: str) -> Path | None:
    if not origin:
        return None
    if origin.startswith("https://"):
        return None
    if "://" in origin:
        raise BenchError(f"--from {origin}: it must be https, or a path on this machine")
    path = expanded(origin)
    if not path.exists():
        raise BenchError(f"--from {origin}: there is no such file or folder")
    return path.absolute()


def _find(origin: Path, name: str) -> Path:
    """Return the file of that name in a folder, or the file itself."""
    if origin.is_file():
        return origin
    plain = name.rsplit("/", 1)[-1]
    for path in (origin / name, origin / plain):
        if path.is_file():
            return path
    raise BenchError(f"--from {origin}: it has no {plain}, which is needed")
