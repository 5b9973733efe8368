"""Cache of fitted weights and corrected profiles on disk, valid for unchanged code only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bench.core.code_digest import differing
from bench.core.errors import BenchError
from bench.core.words import listed
from bench.runs.isolation import ISOLATED, serves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.core.types import Array, JsonObject
    from bench.records.artifacts import Artifact
    from bench.records.reading import Kind
    from bench.records.schema import Code, Isolated
    from bench.records.store import Store


Use = Literal["keep", "renew", "ignore"]
"""How to use artifacts on disk: read and write; replace those of other processes; ignore."""


class Cache:
    """Artifacts of one run.

    Parameters
    ----------
    use
        Whether artifacts are read and written.
    written
        Ids of artifacts written by this process; new ids are added.
    say
        Receives a message for each training that is repeated because the code changed.

    Attributes
    ----------
    isolated
        Isolation of the methods by id of the artifact; those of weaker isolation are not read.
    """

    def __init__(
        self, store: Store, use: Use, written: set[str], say: Callable[[str], None]
    ) -> None:
        self._store, self.use, self._written, self._say = store, use, written, say
        self._outdated: set[str] = set()
        self._damaged: set[str] = set()
        self._locks: dict[str, Callable[[], None]] = {}
        self.isolated: Mapping[str, Isolated | None] = {}

    def read(self, kind: Kind, key: str, code: Code, name: str) -> Artifact | None:
        """Return an artifact, or None if there is no valid one.

        If another process is computing it, wait for it. If the answer is None, other processes
        wait until :meth:`write` or :meth:`release` is called.

        Parameters
        ----------
        kind, key
            Kind of the artifact, ``fit`` or ``apply``, and its id.
        """
        if self.use == "ignore" or (self.use == "renew" and key not in self._written):
            return None
        artifact = self._valid(kind, key, code)
        if artifact is None and key not in self._locks:

            def waiting() -> None:
                self._say(f"{name}: waiting for another process that computes the same")

            self._locks[key] = self._store.lock(key, waiting)
            artifact = self._valid(kind, key, code)
            if artifact is not None:
                self._locks.pop(key)()
        if artifact is None and kind == "fit" and key in self._outdated - self._damaged:
            made_by = self._store.artifact_meta(key).get("code", {})
            files = differing(made_by.get("files", {}), code["files"]) if made_by else []
            names = f" ({listed(files, 3)})" if files else ""
            self._say(f"note: {name} is fitted again: its stored fit was made by other code{names}")
        return artifact

    def _valid(self, kind: Kind, key: str, code: Code) -> Artifact | None:
        """Return an artifact that was computed by the current code."""
        try:
            artifact = self._store.read_artifact(kind, key)
        except BenchError as error:
            if key not in self._damaged:
                self._say(f"note: computed again: {error}")
            self._damaged.add(key)
            self._outdated.add(key)
            return None
        if artifact is None:
            return None
        if self._usable(key, artifact.meta, code):
            self._outdated.discard(key)
            return artifact
        self._outdated.add(key)
        return None

    def current(self, key: str, code: Code) -> bool:
        """Return whether a valid artifact is on disk, without reading its arrays."""
        return self.use == "keep" and self._usable(key, self._store.artifact_meta(key), code)

    def _usable(self, key: str, meta: JsonObject, code: Code) -> bool:
        """Return whether an artifact was computed by this code and isolated as required."""
        same = meta.get("code", {}).get("digest") == code["digest"]
        return same and serves(meta.get(ISOLATED), self.isolated.get(key))

    def release(self) -> None:
        """Let other processes compute what was not found and not written."""
        while self._locks:
            self._locks.popitem()[1]()

    def write(
        self,
        kind: Kind,
        key: str,
        arrays: Mapping[str, Array],
        facts: Mapping[str, object],
        code: Code,
    ) -> None:
        """Store an artifact, replacing an outdated one."""
        if self.use == "ignore":
            return
        replace = key in self._outdated or (self.use == "renew" and key not in self._written)
        isolated = self.isolated.get(key)
        meta = {**facts, "code": code, **({} if isolated is None else {ISOLATED: isolated})}
        self._store.write_artifact(kind, key, arrays, meta, replace=replace)
        self._written.add(key)
        self._outdated.discard(key)
        if key in self._locks:
            self._locks.pop(key)()

    def scratch(self, fit_id: str, code: Code) -> Path | None:
        """Return the folder of a fit's checkpoints. Only unchanged code resumes from them."""
        if self.use == "ignore":
            return None
        if self.use == "renew":
            self._store.drop_scratch(fit_id)
        folder = self._store.scratch(fit_id) / code["digest"]
        folder.mkdir(exist_ok=True)
        return folder
