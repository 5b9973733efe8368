"""``data fetch``: from a name to files in the data folder that were checked.

In stages: files whose names are known, then those that a fetched table names. Each stage is shown
with its size and the licence before anything is transferred. What is there already is taken, a
killed fetch goes on where it was, and archives are unpacked and checked file by file. What was
received, from where and with which checksums is written to ``source.json`` beside the files.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.folders import data_folder, file_sums
from bench.data.fetch.archive import unpack
from bench.data.fetch.check import Report, check_tree
from bench.data.fetch.https import Meter, Received, download
from bench.data.fetch.listing import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.data.fetch.listing import Fetchable

__all__ = ["SOURCE", "Desk", "Fetcher", "folder_of", "human", "verify"]

LOCK = ".fetch.lock"
SOURCE = "source.json"
"""Beside the files: where they came from, how large they are, their checksums."""


@dataclass
class Desk:
    """How a fetch talks to people.

    Attributes
    ----------
    say
        Takes a line.
    confirm
        Takes a question and answers it; raises if nobody can be asked.
    show
        ``show(label, done, total, unit)`` moves a bar.
    """

    say: Callable[[str], None] = lambda line: None
    confirm: Callable[[str], bool] = lambda question: True
    show: Callable[[str, int, int, str], None] = lambda label, done, total, unit: None

    def bar(self, label: str, unit: str = "bytes") -> Callable[[int, int], None]:
        """Return ``show(done, total)`` for one thing."""
        return lambda done, total: self.show(label, done, total, unit)


def folder_of(what: Fetchable) -> Path:
    """Return the folder of what is fetched; it need not exist."""
    return data_folder(what.folder)


def human(size: int | None) -> str:
    """Return a size as people write it, such as ``7.4 GB``; None is ``unknown size``."""
    if size is None:
        return "unknown size"
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


@dataclass
class Fetcher:
    """One fetch of one data set.

    Attributes
    ----------
    what
        What is fetched.
    given
        ``--from``: a file, a folder, or an https URL to take files from; empty is the published
        places.
    desk
        How it talks.
    options
        For :func:`bench.data.fetch.https.download`.
    zenodo
        Host of the record search; another one in tests.
    """

    what: Fetchable
    given: str = ""
    desk: Desk = field(default_factory=Desk)
    options: dict[str, Any] = field(default_factory=dict)
    zenodo: str = ""

    def __post_init__(self) -> None:
        self.folder = folder_of(self.what)
        self.source = _read_source(self.folder)
        self._local = _local(self.given)

    def run(self) -> Report:
        """Fetch, unpack and check; return what the check of the tree found.

        Raises
        ------
        BenchError
            If somebody says no, a file cannot be had, is not what is expected, or another fetch
            is at work in the folder.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK, timeout=0)
            lock.acquire()
        except Timeout:
            raise BenchError(
                f"another fetch is at work in {self.folder}: wait for it, or end it"
            ) from None
        except OSError as error:
            raise BenchError(
                f"{self.folder} cannot be written ({error.strerror}): point $BENCH_DATA elsewhere"
            ) from None
        try:
            if not self._tree_given():
                for stage in self._stages():
                    self._stage(stage)
            return self._check()
        finally:
            lock.release()
            self._tidy()

    def _tidy(self) -> None:
        """Leave no empty folder behind a fetch that came to nothing."""
        (self.folder / LOCK).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    # ------------------------------------------------------------------ what is to come

    def _stages(self) -> Iterator[list[File]]:
        what = self.what
        licence, title = what.licence, what.title
        files = list(what.files)
        if what.zenodo:
            files, licence, title = self._record(licence, title)
        self.desk.say(title)
        self.desk.say(f"licence: {licence}")
        self.desk.say(f"folder: {self.folder}")
        if what.note:
            self.desk.say(f"note: {what.note}")
        for rows in what.rows:
            self.desk.say(f"then one file for each row of {rows.table}, whose number it tells")
        if files:
            yield files
        for rows in what.rows:
            yield rows.files(self.folder)

    def _record(self, licence: str, title: str) -> tuple[list[File], str, str]:
        """Return the files of a record that is looked up, or, with --from, by name alone."""
        from bench.data.fetch.zenodo import HOST, find_record

        names = self.what.zenodo["files"]
        here = [name for name in names if self._have(File(name, ()))]
        if self.given or len(here) == len(names):
            return [File(name, ()) for name in names], licence, title
        self.desk.say(f"looking for the record of {self.what.name} at Zenodo")
        found = find_record(self.what.zenodo, self.zenodo or HOST, self.desk.say)
        self.source["doi"], self.source["record_title"] = found.doi, found.title
        self.source["licence"] = found.licence
        return list(found.files), found.licence, f"{found.title} (doi:{found.doi})"

    def _stage(self, files: list[File]) -> None:
        missing = [file for file in files if not self._have(file)]
        n_here = len(files) - len(missing)
        if n_here:
            self.desk.say(f"{n_here} of {len(files)} files are here already and are taken")
        waiting = [file for file in missing if file.unpack and (self.folder / file.name).is_file()]
        for file in waiting if self._local is None else ():
            # put here by hand, or by a fetch that was killed before it was unpacked
            self.desk.say(f"{file.name} is here already and is unpacked")
            archive = self.folder / file.name
            received = self._examined(file, archive, file.name)
            self._note(file, received, archive)
            self._open(file, archive, received)
            missing.remove(file)
        if not missing:
            return
        sizes = [file.bytes for file in missing]
        known = sum(size for size in sizes if size is not None)
        n_unknown = sizes.count(None)
        amount = human(known) if not n_unknown else f"{n_unknown} of unknown size"
        if n_unknown and known:
            amount = f"{human(known)} and {amount}"
        plural = "file" if len(missing) == 1 else "files"
        origin = f" from {self.given}" if self.given else ""
        self._room(known * (2 if any(file.unpack for file in missing) else 1))
        question = f"fetch {len(missing)} {plural}, {amount}{origin}?"
        if not self.desk.confirm(question):
            raise BenchError("nothing was fetched: the answer was no")
        for number, file in enumerate(missing, 1):
            label = file.name if len(missing) == 1 else f"{file.name} ({number}/{len(missing)})"
            self._get(file, label)

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise BenchError(
                f"{self.folder} has {human(free)} free and about {human(needed)} are needed: free "
                "space, or point $BENCH_DATA elsewhere"
            )

    # ------------------------------------------------------------------ what is here

    def _have(self, file: File) -> bool:
        """Whether a file is here and is what it should be; one that is not is an error."""
        noted = self.source["files"].get(file.name, {})
        path = self.folder / file.name
        if file.unpack and self._unpacked(file, noted):
            return True
        if file.unpack or not path.exists():
            return False
        stat = path.stat()
        mark = [stat.st_size, stat.st_mtime_ns]
        wanted = file.sha256 or file.md5 or noted.get("sha256", "")
        if noted.get("mark") == mark and wanted in (noted.get("sha256"), noted.get("md5")):
            return True
        sums = file_sums(path, self.desk.bar(f"checking {file.name}"))
        if (file.bytes not in (None, stat.st_size)) or (wanted and wanted not in sums):
            raise BenchError(
                f"{path} is not the file that was published or received: move it away, and the "
                "same command fetches it"
            )
        self._note(file, Received("was here", stat.st_size, *sums), path)
        return True

    def _unpacked(self, file: File, noted: dict[str, Any]) -> bool:
        if noted.get("unpacked"):
            return True
        target = self.folder / file.unpack
        if file.unpack == "." or not target.is_dir() or not any(target.iterdir()):
            return False
        # a tree that the user put there; what it lacks is said by the check
        self.source["files"][file.name] = {"url": "was here", "unpacked": True}
        _write_source(self.folder, self.source)
        return True

    def _tree_given(self) -> bool:
        """Take a folder that holds what the one archive unpacks to; by a link, not a copy."""
        archives = [file for file in self.what.files if file.unpack not in ("", ".")]
        if self._local is None or not self._local.is_dir() or len(archives) != 1:
            return False
        file = archives[0]
        target = self.folder / file.unpack
        inner = [str(c["metadata"]) for c in self.what.checks if "metadata" in c]
        prefix = f"{file.unpack}/"
        for root in (self._local / file.unpack, self._local):
            wanted = [text.removeprefix(prefix) for text in inner if text.startswith(prefix)]
            if wanted and all((root / text).exists() for text in wanted):
                break
        else:
            return False
        if target.exists():
            raise BenchError(f"{target} is there already: move it away to take {root} instead")
        if not self.desk.confirm(f"take {root} as {target}, by a link?"):
            raise BenchError("nothing was taken: the answer was no")
        target.symlink_to(root.resolve(), target_is_directory=True)
        self.source["files"][file.name] = {"url": str(root.resolve()), "unpacked": True}
        _write_source(self.folder, self.source)
        return True

    # ------------------------------------------------------------------ one file

    def _get(self, file: File, label: str) -> None:
        target = self.folder / file.name
        if self._local is not None:
            origin = _find(self._local, file.name)
            if file.unpack:
                received = self._examined(file, origin, label)
                self._open(file, origin, received)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            received = self._examined(file, origin, label)
            part = target.with_name(target.name + ".part")
            shutil.copyfile(origin, part)
            part.replace(target)
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
        self._note(file, received, target)
        if file.unpack:
            self._open(file, target, received)

    def _urls(self, file: File) -> tuple[str, ...]:
        if not self.given:
            return file.urls
        if self.given.rsplit("/", 1)[-1] == file.name.rsplit("/", 1)[-1]:
            return (self.given,)
        alone = len(self.what.files) == 1 and not self.what.rows and not self.what.zenodo
        if alone and not self.given.endswith("/"):
            return (self.given, f"{self.given}/{file.name}")
        return (f"{self.given.rstrip('/')}/{file.name}",)

    def _examined(self, file: File, origin: Path, label: str) -> Received:
        """Hold a local file against what is published of it."""
        sums = file_sums(origin, self.desk.bar(f"checking {label}"))
        size = origin.stat().st_size
        for wanted, found in ((file.sha256, sums[0]), (file.md5, sums[1])):
            if wanted and wanted != found:
                raise BenchError(f"{origin} is not the published {file.name}: its checksum differs")
        if file.bytes not in (None, size):
            raise BenchError(
                f"{origin} has {size:,} bytes and the published {file.name} {file.bytes:,}: it is "
                "truncated or another file"
            )
        return Received(str(origin.resolve()), size, *sums)

    def _open(self, file: File, archive: Path, received: Received) -> None:
        target = self.folder / file.unpack
        count = unpack(archive, target, self.desk.bar(f"unpacking {archive.name}"))
        self.desk.say(f"{archive.name}: {count:,} files unpacked to {target}")
        self._note(file, received, None, unpacked=True)

    def _note(
        self, file: File, received: Received, path: Path | None, *, unpacked: bool = False
    ) -> None:
        facts: dict[str, Any] = {
            "url": received.url,
            "bytes": received.bytes,
            "sha256": received.sha256,
            "md5": received.md5,
            "published checksum": file.sha256 or file.md5 or "unknown",
        }
        if path is not None:
            stat = path.stat()
            facts["mark"] = [stat.st_size, stat.st_mtime_ns]
        if unpacked:
            facts["unpacked"] = True
        self.source["files"][file.name] = facts
        _write_source(self.folder, self.source)

    # ------------------------------------------------------------------ the tree

    def _check(self) -> Report:
        report = check_tree(
            self.folder, self.what.checks, show=self.desk.bar("checking the files", "files")
        )
        if not report.problems:
            for name, noted in self.source["files"].items():
                if noted.get("unpacked"):
                    (self.folder / name).unlink(missing_ok=True)
        return report


def verify(what: Fetchable, desk: Desk) -> Report:
    """Check what is in the folder: checksums of files, then the tree.

    Raises
    ------
    BenchError
        If the folder is not there.
    """
    folder = folder_of(what)
    if not folder.is_dir():
        raise BenchError(
            f"{folder} does not exist: `python -m bench data fetch {what.name}` fetches it"
        )
    source = _read_source(folder)
    problems: list[str] = []
    files = list(what.files)
    for rows in what.rows:
        if (folder / rows.table).exists():
            files += [f for f in rows.files(folder) if f.unpack or (folder / f.name).exists()]
    for name in what.zenodo.get("files", ()):
        files.append(File(name, ()))
    checked = 0
    for file in files:
        path = folder / file.name
        noted = source["files"].get(file.name, {})
        if not path.exists():
            if not (file.unpack and (noted.get("unpacked") or (folder / file.unpack).is_dir())):
                problems.append(f"{path} is missing")
            continue
        sums = file_sums(path, desk.bar(f"checking {file.name}"))
        wanted = file.sha256 or file.md5 or noted.get("sha256", "")
        checked += 1
        if wanted and wanted not in sums:
            what_is = "published" if file.sha256 or file.md5 else "received"
            problems.append(f"{path} is not the file that was {what_is}: its checksum differs")
    report = check_tree(folder, what.checks, show=desk.bar("checking the files", "files"))
    if not what.checks:
        report.groups.append(
            {"group": what.name, "expected": len(files), "found": checked, "unreadable": 0}
        )
    report.problems = [*problems, *report.problems]
    return report


def _read_source(folder: Path) -> dict[str, Any]:
    path = folder / SOURCE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("files"), dict):
            return found
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path} cannot be read ({error}): delete it; the files are then checked again"
        ) from None
    return {"files": {}}


def _write_source(folder: Path, source: dict[str, Any]) -> None:
    part = folder / f".{SOURCE}.{os.getpid()}"
    part.write_text(json.dumps(source, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / SOURCE)


def _local(given: str) -> Path | None:
    if not given:
        return None
    if given.startswith("https://"):
        return None
    if "://" in given:
        raise BenchError(f"--from {given}: it must be https, or a path on this machine")
    path = Path(given).expanduser()
    if not path.exists():
        raise BenchError(f"--from {given}: there is no such file or folder")
    return path.absolute()


def _find(given: Path, name: str) -> Path:
    """Return the file of that name in the folder given, or the file given itself."""
    if given.is_file():
        return given
    plain = name.rsplit("/", 1)[-1]
    for path in (given / name, given / plain):
        if path.is_file():
            return path
    raise BenchError(f"--from {given}: it holds no {plain}, which is needed")
