"""Bundles: runs in one zip file that others can check and repeat.

::

    bundle.json                 format, versions, runs with their commands, SHA-256 of every file
    commands.txt                one command per line, for a shell
    environment.txt             versions of all installed packages, as ``pip freeze``
    runs/ab/ab12…/run.json      records with their specs, and their tables

An unpacked bundle is a results folder. Equal runs and environments give equal bytes.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from bench.core.canonical import canonical_json, pretty_json
from bench.core.disk import disk_errors, write_file
from bench.core.errors import BenchError
from bench.core.version import __version__
from bench.records.digests import FILES
from bench.records.folder import read_folder
from bench.records.record import Record
from bench.records.reproduce import command_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

FORMAT = 1
"""Version of the bundle format. Bundles of a later version are refused."""
MANIFEST, COMMANDS, ENVIRONMENT = "bundle.json", "commands.txt", "environment.txt"
VERIFICATION = "verification.json"
"""Result of ``verify BUNDLE --output``, read next to the bundle."""
MAX_BYTES = 4 * 1024**3
"""Largest total size of an unpacked bundle; larger ones are refused before they are unpacked."""
NOT_VERIFIED = "not verified"
"""Mark of a row from a bundle without a run that was repeated with the same result."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEMBER = re.compile(
    rf"{MANIFEST}|{COMMANDS}|{ENVIRONMENT}|runs/[0-9a-f]{{2}}/[0-9a-f]{{16,64}}/"
    rf"(?:{'|'.join(re.escape(name) for name in FILES)})"
)


class BundledRun(TypedDict):
    """One run in ``bundle.json``."""

    run_id: str
    method: str
    split: str
    edition: str
    recipe: str
    seed: int
    status: str
    primary: str
    value: float | None
    command: str


class Manifest(TypedDict):
    """Contents of ``bundle.json``."""

    format: int
    labshift: str
    releases: list[str]
    runs: list[BundledRun]
    files: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked.

    Attributes
    ----------
    path
        The zip file.
    sha256
        Its digest, hex.
    manifest
        Contents of ``bundle.json``.
    files
        Name of each other file -> its content.
    """

    path: Path
    sha256: str
    manifest: Manifest
    files: dict[str, bytes]

    def unpack(self, folder: Path) -> list[Record]:
        """Write the bundle to a folder, which is then a results folder; return its records.

        Raises
        ------
        BenchError
            If a record is damaged, or the runs are not those of ``bundle.json``.
        """
        for name, content in self.files.items():
            write_file(folder / name, content)
        records = []
        for run in self.manifest["runs"]:
            place = folder / "runs" / run["run_id"][:2] / run["run_id"]
            record = read_folder(place)
            if record is None or record.data["run_id"] != run["run_id"]:
                raise BenchError(f"{self.path} lists run {run['run_id']} and does not contain it")
            records.append(record)
        return records


def installed_packages() -> str:
    """Return all installed distributions with their versions, one ``NAME==VERSION`` per line."""
    from importlib.metadata import distributions

    pairs = {(d.metadata["Name"] or "").lower(): d.version for d in distributions()}
    return "".join(f"{name}=={pairs[name]}\n" for name in sorted(pairs) if name)


def write_bundle(
    records: Sequence[Record], path: Path, *, releases: Mapping[str, str], environment: str
) -> Manifest:
    """Write runs to a zip file.

    Parameters
    ----------
    records
        Committed runs with their folders.
    path
        The zip file.
    releases
        Run id -> name of the benchmark release, empty outside one.
    environment
        As from :func:`installed_packages`.

    Returns
    -------
    Manifest
        As written.

    Raises
    ------
    BenchError
        If there are no runs, a record has no folder (published records have no predictions) or is
        damaged, or the file cannot be written.
    """
    if not records:
        raise BenchError("no runs to bundle: name runs by the start of their run_id")
    ordered = sorted(records, key=lambda record: record.run_id)
    files: dict[str, bytes] = {}
    for record in ordered:
        if record.path is None:
            raise BenchError(
                f"run {record.run_id} is a published record without predictions: run it first "
                f"(`{command_of([record])}`)"
            )
        with disk_errors("read", record.path):
            read_folder(record.path)  # a damaged record is refused here
            for name in FILES:
                if (file := record.path / name).is_file():
                    member = f"runs/{record.run_id[:2]}/{record.run_id}/{name}"
                    files[member] = file.read_bytes()
    runs = [_listed(record) for record in ordered]
    files[COMMANDS] = "".join(
        f"{line}\n" for line in dict.fromkeys(run["command"] for run in runs)
    ).encode()
    files[ENVIRONMENT] = environment.encode()
    manifest: Manifest = {
        "format": FORMAT,
        "labshift": __version__,
        "releases": sorted({releases[record.run_id] for record in ordered} - {""}),
        "runs": runs,
        "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    files[MANIFEST] = pretty_json(manifest)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    with disk_errors("write", path, "--output"):
        write_file(path, sink.getvalue())
    return manifest


def _listed(record: Record) -> BundledRun:
    return {
        "run_id": record.run_id,
        "method": record.method,
        "split": record.split_id,
        "edition": record.edition,
        "recipe": record.recipe,
        "seed": record.seed,
        "status": record.status,
        "primary": record.primary,
        "value": record.value(),
        "command": command_of([record]),
    }


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check its files against ``bundle.json``; nothing is written.

    Raises
    ------
    BenchError
        If the file is no bundle, is of a later format, is too large, or has a file that is not
        listed, missing or changed.
    """
    try:
        raw = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            for name in names:
                if not _MEMBER.fullmatch(name):
                    raise BenchError(f"{path} has the file '{name}', which no bundle has")
            if len(set(names)) != len(names):
                raise BenchError(f"{path} has two files of one name: make the bundle again")
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise BenchError(f"{path} unpacks to more than 4 GiB: bundle fewer runs")
            # zipfile reads no more than the declared size and checks the CRC.
            files = {name: archive.read(name) for name in names}
    except FileNotFoundError:
        raise BenchError(f"there is no file {path}: check the path") from None
    # zipfile: NotImplementedError for a compression or encryption that it cannot read, RuntimeError
    # for a password, EOFError for a truncated file.
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(
            f"{path} is not a bundle ({reason}): write one with `python -m bench bundle`"
        ) from None
    if MANIFEST not in files:
        raise BenchError(f"{path} has no {MANIFEST}: write it with `python -m bench bundle`")
    manifest = _manifest(files.pop(MANIFEST), path)
    if absent := sorted(manifest["files"].keys() - files.keys()):
        raise BenchError(f"{path} lacks {absent[0]}: make the bundle again")
    for name, content in files.items():
        if manifest["files"].get(name) != hashlib.sha256(content).hexdigest():
            raise BenchError(f"{name} in {path} does not match its digest: make the bundle again")
    return Bundle(path, hashlib.sha256(raw).hexdigest(), manifest, files)


def _manifest(content: bytes, path: Path) -> Manifest:
    try:
        data = json.loads(content)
        later = int(data["format"]) > FORMAT
        runs = [str(run["run_id"]) for run in data["runs"]]
        valid = isinstance(data["files"], dict) and all(
            f"runs/{run[:2]}/{run}/{FILES[0]}" in data["files"] for run in runs
        )
        writer = str(data["labshift"])
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"{MANIFEST} in {path} is damaged: make the bundle again") from None
    if later:
        raise BenchError(
            f"{path} was written by labshift {writer}, a later version: update labshift"
        )
    if not valid or not runs:
        raise BenchError(f"{MANIFEST} in {path} is damaged: make the bundle again")
    return cast("Manifest", data)


class VerifiedRun(TypedDict):
    """Result of ``verify`` for one run of a bundle."""

    files: str
    repeated: str
    reason: str


class VerificationReport(TypedDict):
    """Contents of ``verification.json``."""

    bundle: str
    labshift: str
    platform: str
    created: str
    runs: dict[str, VerifiedRun]


def confirmed_runs(bundle: Bundle) -> frozenset[str]:
    """Return the runs that were repeated with the same result, from the report next to a bundle.

    A report on another file is ignored.

    Raises
    ------
    BenchError
        If the report is damaged.
    """
    path = bundle.path.with_name(VERIFICATION)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read ({error}): write it again with verify") from None
    try:
        report = cast("VerificationReport", json.loads(text))
        if report["bundle"] != bundle.sha256:
            return frozenset()
        passing = ("identical", "equal")
        return frozenset(
            run_id for run_id, run in report["runs"].items() if run["repeated"] in passing
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(f"{path} is damaged: write it again with verify") from None


def bundles_in(path: Path) -> list[Path]:
    """Return a bundle, or all bundles below a folder, sorted.

    Raises
    ------
    BenchError
        If a folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.zip"))
    if not files:
        raise BenchError(f"{path} has no bundle: name a .zip file or a folder with bundles")
    return files


def marked(records: Sequence[Record], confirmed: Collection[str]) -> list[Record]:
    """Return the records of a bundle; rows without a confirmed run are marked.

    Parameters
    ----------
    records
        As from :meth:`Bundle.unpack`; read completely, so that the folder can be deleted.
    confirmed
        Runs that were repeated with the same result.
    """

    def row(record: Record) -> str:
        return canonical_json([record.method_id, record.split_id, record.params, record.versions])

    verified = {row(record) for record in records if record.run_id in confirmed}
    result = []
    for record in records:
        data = copy.deepcopy(record.data)
        if row(record) not in verified and NOT_VERIFIED not in data["badges"]:
            data["badges"].append(NOT_VERIFIED)
        result.append(Record(data))
    return result
