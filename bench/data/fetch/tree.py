"""Folder of a fetched data set: its files, their checksums and their sources.

Sizes, checksums and sources are stored in ``source.json`` next to the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.disk import new_file
from bench.core.errors import BenchError
from bench.core.folders import data_folder, file_sums
from bench.core.words import without_user
from bench.data.fetch.archive import unpack
from bench.data.fetch.check import Report, check_tree, listed
from bench.data.fetch.https import Received
from bench.data.fetch.listing import File

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.core.types import Facts, JsonObject
    from bench.data.fetch.listing import Fetchable


SOURCE = "source.json"
"""File with the source, size and checksums of each file."""


@dataclass
class Desk:
    """Dialogue of a fetch with the user.

    Attributes
    ----------
    confirm
        Asks a question and returns the answer; raises if there is no user to ask.
    show
        ``show(label, done, total, unit)`` updates a progress bar.
    """

    say: Callable[[str], None] = lambda line: None
    confirm: Callable[[str], bool] = lambda question: True
    show: Callable[[str, int, int, str], None] = lambda label, done, total, unit: None

    def bar(self, label: str, unit: str = "bytes") -> Callable[[int, int], None]:
        """Return ``show(done, total)`` for one label."""
        return lambda done, total: self.show(label, done, total, unit)


def folder_of(what: Fetchable) -> Path:
    """Return the folder of a data set; it need not exist."""
    return data_folder(what.folder)


@dataclass
class Tree:
    """Files of a data set in its folder."""

    what: Fetchable
    desk: Desk = field(default_factory=Desk)

    def __post_init__(self) -> None:
        self.folder = folder_of(self.what)
        self.source = _read_source(self.folder)

    def write_source(self) -> None:
        """Write ``source.json``."""
        with new_file(self.folder / SOURCE) as part:
            text = json.dumps(self.source, indent=1, sort_keys=True) + "\n"
            part.write_text(text, encoding="utf-8")

    def has(self, file: File) -> bool:
        """Whether a file is present.

        Raises
        ------
        BenchError
            If it differs from both the published file and the received one.
        """
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
        self.note(file, Received("was here", stat.st_size, *sums), path)
        return True

    def _unpacked(self, file: File, noted: JsonObject) -> bool:
        if noted.get("unpacked"):
            return True
        target = self.folder / file.unpack
        if file.unpack == "." or not target.is_dir() or not any(target.iterdir()):
            return False
        # the user copied this tree; the check reports missing files
        self.source["files"][file.name] = {"url": "was here", "unpacked": True}
        self.write_source()
        return True

    def link(self, local: Path | None) -> bool:
        """Link to a local folder with the content of the only archive, instead of a copy."""
        archives = [file for file in self.what.files if file.unpack not in ("", ".")]
        if local is None or not local.is_dir() or len(archives) != 1:
            return False
        file = archives[0]
        target = self.folder / file.unpack
        inner = [name for check in self.what.checks for name in listed(check)]
        prefix = f"{file.unpack}/"
        for root in (local / file.unpack, local):
            wanted = [text.removeprefix(prefix) for text in inner if text.startswith(prefix)]
            if wanted and all((root / text).exists() for text in wanted):
                break
        else:
            return False
        if target.exists():
            raise BenchError(f"{target} exists already: move it away to use {root} instead")
        if not self.desk.confirm(f"link {target} to {root}?"):
            raise BenchError("nothing was linked: the answer was no")
        try:
            target.symlink_to(root.resolve(), target_is_directory=True)
        except OSError as error:  # Windows without the right to create links
            raise BenchError(
                f"cannot link {target} to {root} ({error.strerror}): copy the folder there"
            ) from None
        self.source["files"][file.name] = {"url": str(root.resolve()), "unpacked": True}
        self.write_source()
        return True

    def examined(self, file: File, origin: Path, label: str) -> Received:
        """Return size and checksums of a local file."""
        sums = file_sums(origin, self.desk.bar(f"checking {label}"))
        size = origin.stat().st_size
        for wanted, actual in ((file.sha256, sums[0]), (file.md5, sums[1])):
            if wanted and wanted != actual:
                raise BenchError(f"{origin} is not the published {file.name}: its checksum differs")
        if file.bytes not in (None, size):
            raise BenchError(
                f"{origin} has {size:,} bytes and the published {file.name} {file.bytes:,}: it is "
                "truncated or another file"
            )
        return Received(str(origin.resolve()), size, *sums)

    def unpack(self, file: File, archive: Path, received: Received) -> None:
        """Unpack an archive and record it."""
        target = self.folder / file.unpack
        show = self.desk.bar(f"unpacking {archive.name}")
        count = unpack(archive, target, show, file.members)
        self.desk.say(f"{archive.name}: {count:,} files unpacked to {target}")
        self.note(file, received, None, unpacked=True)

    def note(
        self, file: File, received: Received, path: Path | None, *, unpacked: bool = False
    ) -> None:
        """Record in ``source.json`` the source, size and checksums of a file."""
        facts: JsonObject = {
            "url": without_user(received.url),
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
        self.write_source()

    def check(self) -> Report:
        """Check the files against their metadata; delete archives that were unpacked."""
        report = check_tree(
            self.folder, checks_of(self.what), show=self.desk.bar("checking the files", "files")
        )
        if not report.problems:
            for name, noted in self.source["files"].items():
                if noted.get("unpacked"):
                    (self.folder / name).unlink(missing_ok=True)
        return report


def packed_files(what: Fetchable, folder: Path) -> tuple[File, ...]:
    """Return the packed files of a data set if the folder contains all of them, otherwise ()."""
    there = what.packed and all((folder / file.name).is_file() for file in what.packed)
    return what.packed if there else ()


def checks_of(what: Fetchable) -> tuple[Facts, ...]:
    """Return the checks of the folder; packed files replace the published tree."""
    return () if packed_files(what, folder_of(what)) else what.checks


def verify(what: Fetchable, desk: Desk) -> Report:
    """Check the content of the folder: checksums of files, then the tree."""
    folder = folder_of(what)
    if not folder.is_dir():
        raise BenchError(
            f"{folder} does not exist: `python -m bench data fetch {what.name}` fetches it"
        )
    source = _read_source(folder)
    problems: list[str] = []
    files = list(packed_files(what, folder) or what.files)
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
    checks = checks_of(what)
    report = check_tree(folder, checks, show=desk.bar("checking the files", "files"))
    if not checks:
        report.groups.append(
            {"group": what.name, "expected": len(files), "found": checked, "unreadable": 0}
        )
    report.problems = [*problems, *report.problems]
    return report


def _read_source(folder: Path) -> JsonObject:
    path = folder / SOURCE
    try:
        source = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(source, dict) and isinstance(source.get("files"), dict):
            return source
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path} cannot be read ({error}): delete it; the files are then checked again"
        ) from None
    return {"files": {}}
