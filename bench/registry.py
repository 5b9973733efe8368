"""Names to code, without importing the code until it is needed.

A method, data set or metric is one file with a literal ``META`` at its top. The literal is read
with :func:`ast.literal_eval`, so that listing costs no import. Plugins come from ``--plugin FILE``,
from ``$BENCH_PLUGINS`` (files separated as in ``PATH``) and from entry points of the groups
``bench.methods``, ``bench.datasets`` and ``bench.metrics``.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

KINDS = ("method", "dataset", "metric")
_FOLDERS = {"method": "bench.methods", "dataset": "bench.datasets", "metric": "bench.metrics"}
PLUGINS = "BENCH_PLUGINS"


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes
    ----------
    kind
        ``method``, ``dataset`` or ``metric``.
    meta
        The literal of the file; empty for an entry point that was not loaded.
    module
        Dotted name, or None for a plugin file.
    path
        The file, if known without importing.
    provider
        ``labshift``, the distribution of an entry point, or the plugin file's name.
    problem
        Why it cannot be used, or an empty string.
    """

    kind: str
    name: str
    provider: str
    meta: dict[str, Any] = field(default_factory=dict)
    module: str | None = None
    path: Path | None = None
    attribute: str = ""
    problem: str = ""

    @property
    def origin(self) -> str:
        """Who provides it, and where, in words for a message."""
        where = self.path.name if self.path else self.module
        return f"{self.provider} ({where})"

    def load(self) -> Any:
        """Import the file and return its class or function.

        Raises
        ------
        BenchError
            If the import fails or the named object is missing.
        """
        if self.problem:
            raise BenchError(f"{self.kind} '{self.name}' of {self.origin} {self.problem}")
        try:
            module = self._module()
        except BenchError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise BenchError(
                f"{self.kind} '{self.name}' of {self.origin} cannot be imported: "
                f"{type(error).__name__}: {error}; mend the file or leave the plugin out"
            ) from error
        attribute = self.attribute or self.meta.get("class") or self.meta.get("function")
        if not attribute or not hasattr(module, attribute):
            raise BenchError(
                f"{self.origin} has no '{attribute}': META of {self.name} must name its class"
            )
        return getattr(module, attribute)

    def _module(self) -> ModuleType:
        if self.module is not None:
            return importlib.import_module(self.module)
        assert self.path is not None
        tag = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:12]
        name = f"bench_plugin_{tag}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def read_meta(path: Path) -> dict[str, Any]:
    """Return the literal ``META`` of a file without importing it.

    Raises
    ------
    BenchError
        If the file cannot be read or parsed, or has no literal of that name.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise BenchError(
            f"plugin file {path} cannot be read ({error.strerror}): check the path"
        ) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", "?")
        raise BenchError(
            f"{path} is not valid Python (line {line}: {getattr(error, 'msg', error)}): "
            "mend the file"
        ) from None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "META" for t in targets):
            assert isinstance(node, ast.Assign)
            try:
                meta = ast.literal_eval(node.value)
            except ValueError:
                raise BenchError(
                    f"META of {path} must be a literal: only strings, numbers, lists and dicts"
                ) from None
            if isinstance(meta, dict) and meta.get("kind") in KINDS and meta.get("name"):
                return meta
            raise BenchError(
                f"META of {path} needs a kind ({', '.join(KINDS)}) and a name; "
                "`python -m bench new method NAME` writes a correct one"
            )
    raise BenchError(
        f"{path} has no META = {{...}} at its top; `python -m bench new method NAME` writes one"
    )


class Registry:
    """All names that are known: packaged, from plugin files, and from entry points."""

    def __init__(self, plugins: tuple[Path, ...] = ()) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self.broken: list[Entry] = []
        for kind in KINDS:
            self._add_folder(kind)
        self._add_references()
        for path in plugins:
            self._add_file(path, strict=True)
        for text in os.environ.get(PLUGINS, "").split(os.pathsep):
            if text and Path(text) not in plugins:
                self._add_file(Path(text), strict=False)
        self._add_entry_points()

    def _add(self, entry: Entry) -> None:
        key = (entry.kind, entry.name)
        other = self._entries.get(key)
        if other is not None and other.path != entry.path:
            raise BenchError(
                f"two {entry.kind}s are named '{entry.name}': {other.origin} and {entry.origin}; "
                "rename one of them"
            )
        self._entries[key] = entry

    def _add_folder(self, kind: str) -> None:
        package = importlib.import_module(_FOLDERS[kind])
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("[!_]*.py")):
                meta = read_meta(path)
                module = f"{_FOLDERS[kind]}.{path.stem}"
                self._add(Entry(kind, meta["name"], "labshift", meta, module, path))

    def _add_references(self) -> None:
        from bench.reference_rows import METAS

        for meta in METAS:
            self._add(Entry("method", meta["name"], "labshift", meta))

    def _add_file(self, path: Path, *, strict: bool) -> None:
        try:
            meta = read_meta(path)
        except BenchError as error:
            if strict:
                raise
            self.broken.append(
                Entry("plugin", path.stem, path.name, path=path, problem=f"is broken: {error}")
            )
            return
        self._add(Entry(meta["kind"], meta["name"], path.name, meta, None, path))

    def _add_entry_points(self) -> None:
        from importlib.metadata import entry_points

        for kind in KINDS:
            for point in entry_points(group=_FOLDERS[kind]):
                provider = point.dist.name if point.dist is not None else "unknown distribution"
                self._add(
                    Entry(
                        kind,
                        point.name,
                        provider,
                        {"summary": "not loaded"},
                        point.module,
                        None,
                        point.attr,
                    )
                )

    def names(self, kind: str) -> list[str]:
        """Return the known names of a kind, sorted."""
        return sorted(name for k, name in self._entries if k == kind)

    def entries(self, kind: str) -> list[Entry]:
        """Return the entries of a kind, sorted by name."""
        return [self._entries[kind, name] for name in self.names(kind)]

    def entry(self, kind: str, name: str) -> Entry:
        """Return one entry, with the literal of an entry point's file read.

        Raises
        ------
        BenchError
            For an unknown name, with the nearest known ones.
        """
        try:
            found = self._entries[kind, name]
        except KeyError:
            raise BenchError(did_you_mean(name, self.names(kind), kind)) from None
        if found.path is None and found.module is not None:
            found = self._resolve(found)
            self._entries[kind, name] = found
        return found

    @staticmethod
    def _resolve(entry: Entry) -> Entry:
        assert entry.module is not None
        try:
            spec = importlib.util.find_spec(entry.module)
        except (ImportError, ValueError) as error:
            spec = None
            reason = str(error)
        else:
            reason = "module not found"
        if spec is None or spec.origin is None:
            return Entry(
                entry.kind,
                entry.name,
                entry.provider,
                entry.meta,
                entry.module,
                None,
                entry.attribute,
                f"cannot be imported ({reason}); reinstall {entry.provider}",
            )
        path = Path(spec.origin)
        return Entry(
            entry.kind,
            entry.name,
            entry.provider,
            read_meta(path),
            entry.module,
            path,
            entry.attribute,
        )
