"""Results in an object store: one object per run, and a copy in the cache of each machine.

::

    s3://bucket/folder/runs/<run id>.zip          a complete run, written in one step
    s3://bucket/folder/artifacts/<id>.zip, .json  an artifact; its facts are written last
    s3://bucket/folder/failed/<run id>.zip        traceback and environment of a failed run

A run is written only if the object does not exist (a conditional write), so of two machines that
make the same run at the same time one wins, and the other takes its record. The archives are not
compressed, have no times, and contain the files of a folder of :class:`Store`. Checkpoints, locks
and journals stay on the machine.
"""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import digest, no_constant
from bench.core.disk import write_file
from bench.core.errors import BenchError
from bench.core.folders import cache_folder
from bench.core.objects import TOGETHER, ObjectStore
from bench.core.progress import report
from bench.records.store import Store, to_stderr
from bench.records.writing import discard, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.core.types import JsonObject
    from bench.records.artifacts import Artifact
    from bench.records.reading import Kind

FRESH_S = 2.0
"""Seconds for which a listing of the store is used again."""
WITNESSES = {"runs": "run.json", "failed": "traceback.txt", "artifacts": "meta.json"}
"""Kind of object -> the file without which its local folder is incomplete."""


class RemoteStore(Store):
    """All records below a URL.

    Parameters
    ----------
    url
        A URL of fsspec, such as ``s3://bucket/folder``.
    warn
        As for :class:`Store`.
    """

    def __init__(self, url: str, warn: Callable[[str], None] = to_stderr) -> None:
        self._objects = ObjectStore(url)
        super().__init__(cache_folder("results") / digest(self._objects.url, 24), warn)
        self._listings: dict[str, tuple[float, dict[str, str]]] = {}
        self._facts: dict[str, JsonObject] = {}

    @property
    def location(self) -> str:
        """The URL."""
        return self._objects.url

    @property
    def shown(self) -> str:
        """Where the records are, for people."""
        return f"{self.location}/runs"

    @property
    def outputs(self) -> Path:
        """``results/`` in the working folder: people read them on this machine."""
        return Path("results")

    def prepare(self) -> None:
        """Check that the store and the local copy can be written."""
        super().prepare()
        self._objects.write("probe", b"", replace=True)
        self._objects.delete("probe")

    def refresh(self) -> None:
        """Download new and changed runs; upload those that were interrupted."""
        self._listings.pop("runs", None)
        self._update("runs")

    # ------------------------------------------------------------------ artifacts

    def has_artifact(self, artifact_id: str) -> bool:
        """Return whether an artifact exists, without reading it."""
        return bool(self.artifact_meta(artifact_id))

    def artifact_meta(self, artifact_id: str) -> JsonObject:
        """Return the facts of an artifact without its arrays; empty if there is none."""
        meta = super().artifact_meta(artifact_id) or self._facts.get(artifact_id, {})
        key = f"artifacts/{artifact_id}.json"
        if not meta and (text := self._objects.read([key]).get(key)):
            meta = self._facts[artifact_id] = json.loads(text, parse_constant=no_constant)
        return meta

    def read_artifact(self, kind: Kind, artifact_id: str) -> Artifact | None:
        """Return an artifact, or None if it does not exist; see the base class."""
        if not super().artifact_meta(artifact_id) and self.artifact_meta(artifact_id):
            self._download("artifacts", [artifact_id])
        return super().read_artifact(kind, artifact_id)

    def drop_artifacts(self, ids: Iterable[str]) -> None:
        """Delete artifacts; missing ones are ignored."""
        dropped = list(ids)
        super().drop_artifacts(dropped)
        for artifact_id in dropped:
            self._facts.pop(artifact_id, None)
            for suffix in ("json", "zip"):  # facts first: an artifact without facts is none
                self._objects.delete(f"artifacts/{artifact_id}.{suffix}")

    # ------------------------------------------------------------------ local copies

    def _local(self, kind: str, name: str) -> Path:
        return self.path_of(name) if kind == "runs" else self.root / kind / name

    def _known(self, kind: str, name: str) -> Path:
        """Return the file with the stamp of the object that the local folder is a copy of."""
        return self.root / "remote" / kind / name

    def _listed(self, kind: str) -> dict[str, str]:
        """Return the ids in the store with their stamps, from a recent listing."""
        when, listed = self._listings.get(kind, (0.0, {}))
        if not when or time.monotonic() - when > FRESH_S:
            stamps = self._objects.stamps(kind).items()
            names = {re.sub(r".*/|\.zip$", "", key): stamp for key, stamp in stamps}
            listed = {name: stamp for name, stamp in names.items() if re.fullmatch(r"\w+", name)}
            self._listings[kind] = time.monotonic(), listed
        return listed

    def _update(self, kind: str, names: Iterable[str] | None = None) -> None:
        """Make the local folders of some ids equal to the store; default: all ids."""
        listed = self._listed(kind)
        wanted = []
        if names is None:
            folders = self.runs.glob("*/*") if kind == "runs" else (self.root / kind).glob("*/")
            names = sorted({path.name for path in folders} | listed.keys())
        for name in names:
            file = self._known(kind, name)
            known = file.read_text() if file.is_file() else None
            local = (self._local(kind, name) / WITNESSES[kind]).is_file()
            if name in listed and (listed[name] != known or not local):
                wanted.append(name)
            elif name not in listed and local and known:  # deleted by somebody else
                discard(self.root, self._local(kind, name))
                file.unlink(missing_ok=True)
            elif name not in listed and local:  # its upload was interrupted
                self._upload(kind, name, replace=False)
        self._download(kind, wanted)

    def _download(self, kind: str, names: list[str]) -> None:
        stamps = self._listings.get(kind, (0.0, {}))[1]
        for start in range(0, len(names), TOGETHER):
            if len(names) > TOGETHER:
                report(f"downloading {kind}", start, len(names))
            some = names[start : start + TOGETHER]
            objects = self._objects.read([f"{kind}/{name}.zip" for name in some])
            for name in some:
                data = objects.get(f"{kind}/{name}.zip")
                if data is None:  # deleted meanwhile
                    continue
                files = unpacked(data, f"{self.location}/{kind}/{name}.zip")
                place(self.root, files, self._local(kind, name), WITNESSES[kind], replace=True)
                write_file(self._known(kind, name), stamps.get(name, "-"))

    def _upload(self, kind: str, name: str, *, replace: bool) -> None:
        """Write the object of a local folder; if there is one, it replaces the local folder.

        The facts of an artifact are an object of their own, and artifacts are never replaced here.
        """
        key = f"{kind}/{name}.zip"
        if kind == "artifacts":
            folder = self.artifact_path(name)
            self._objects.write(key, packed(folder), replace=replace)
            facts = (folder / "meta.json").read_bytes()
            self._objects.write(f"artifacts/{name}.json", facts, replace=replace)
            return
        own = self._objects.write(key, packed(self._local(kind, name)), replace=replace)
        stamp = self._objects.stamp(key)
        self._listings.setdefault(kind, (0.0, {}))[1][name] = stamp
        if own:
            write_file(self._known(kind, name), stamp)
        else:
            self._download(kind, [name])

    def _forget(self, kind: str, name: str) -> None:
        """Delete an object and what is known about it."""
        self._objects.delete(f"{kind}/{name}.zip")
        self._known(kind, name).unlink(missing_ok=True)
        self._listings.get(kind, (0.0, {}))[1].pop(name, None)


def packed(folder: Path) -> bytes:
    """Return the files of a folder as an archive; equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
    return buffer.getvalue()


def unpacked(data: bytes, where: str) -> dict[str, bytes]:
    """Return the files of an archive by name.

    Raises
    ------
    BenchError
        If it is damaged, compressed, or has a file with a path.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if not re.fullmatch(r"\w[\w.\-]*", entry.filename):
                    raise ValueError(f"'{entry.filename}' is no file name")
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError("it is compressed")
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    # zipfile: NotImplementedError for encryption that it cannot read, RuntimeError for a password.
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BenchError(f"{where} is damaged ({error}): delete it and run again") from error
