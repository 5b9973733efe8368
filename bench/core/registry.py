"""Lazy registry of methods, data sets and metrics, and of figures and studies in plugin files.

Entries come from the packaged folders, from plugin files (``--plugin FILE`` or ``$BENCH_PLUGINS``,
separated as in ``PATH``) and from entry points of the groups ``bench.methods``, ``bench.datasets``
and ``bench.metrics``.

Files specified by the user must be usable; otherwise an error is raised immediately. Broken plugins
found via the environment or entry points are stored with their error, which is raised on use.
Duplicate names raise an error that lists both providers.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bench.core.entry import Entry
from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.core.meta import PLUGINS, check_meta, read_literal, read_meta, with_defaults

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDERS = {"method": "bench.methods", "dataset": "bench.datasets", "metric": "bench.metrics"}
"""Package of the kinds that the registry itself lists, and name of their entry-point group."""
_CONTROLS = "bench.scoring.controls"
_OWN = "labshift"
Isolate = Literal["none", "plugins", "all"]
"""Methods, and metrics of others, that run in processes of their own: none, those of plugin files,
or all."""
ISOLATE: tuple[Isolate, ...] = get_args(Isolate)


class Registry:
    """All registered names: packaged, from plugin files, and from entry points.

    Packaged figures and studies are listed by their own packages, not here.

    Parameters
    ----------
    plugins
        Files specified by the user. Each must be usable, and its name must be unused.

    Attributes
    ----------
    isolate
        Methods and metrics to isolate.

    Raises
    ------
    BenchError
        If a file in ``plugins`` cannot be used or its name already exists.
    """

    isolate: Isolate = "none"

    def __init__(self, plugins: tuple[Path, ...] = ()) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self.broken: list[Entry] = []
        for kind in _FOLDERS:
            self._add_folder(kind)
        self._add_references()
        named = {path.resolve() for path in plugins}
        for path in plugins:
            self._add_file(path, strict=True)
        for text in os.environ.get(PLUGINS, "").split(os.pathsep):
            if text and expanded(text).resolve() not in named:
                self._add_file(expanded(text), strict=False)
        self._add_entry_points()

    def _add(self, entry: Entry, *, strict: bool = False) -> None:
        key = (entry.kind, entry.name)
        other = self._entries.get(key)
        if other is None:
            self._entries[key] = entry
            return
        same = (entry.path, entry.module, entry.attribute, entry.provider)
        if same == (other.path, other.module, other.attribute, other.provider):
            return
        owners = f"{other.origin} and {entry.origin}"
        message = f"two {entry.kind}s are named '{entry.name}': {owners}; rename one of them"
        if strict:
            raise BenchError(message)
        self._entries[key] = replace(other, problem=f"is ambiguous: {message}")
        self.broken.append(replace(entry, problem=f"cannot be used: {message}"))

    def _add_broken(self, kind: str, name: str, provider: str, path: Path, reason: str) -> None:
        problem = f"is broken: {reason}"
        self.broken.append(Entry(kind, name, provider, path=path, problem=problem))

    def _add_folder(self, kind: str) -> None:
        package = importlib.import_module(_FOLDERS[kind])
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("[!_]*.py")):
                module = f"{_FOLDERS[kind]}.{path.stem}"
                try:
                    meta = read_meta(path)
                except BenchError as error:
                    name = path.stem if kind == "metric" else path.stem.replace("_", "-")
                    self._add_broken(kind, name, _OWN, path, str(error))
                    continue
                self._add(Entry(kind, meta["name"], _OWN, meta, module, path))

    def _add_references(self) -> None:
        from bench.core.control_names import METAS

        for meta in METAS:
            name = str(meta["name"])
            cls = name.title().replace("-", "")
            self._add(Entry("method", name, _OWN, meta, _CONTROLS, attribute=cls))

    def _add_file(self, path: Path, *, strict: bool) -> None:
        try:
            meta = read_meta(path)
        except BenchError as error:
            if strict:
                raise
            name = path.stem.replace("_", "-")
            self._add_broken("plugin", name, path.name, path, str(error))
            return
        entry = Entry(meta["kind"], meta["name"], path.name, meta, None, path.resolve())
        self._add(entry, strict=strict)

    def _add_entry_points(self) -> None:
        from importlib.metadata import entry_points

        installed = entry_points()  # reads the files of all installed packages
        for kind, group in _FOLDERS.items():
            for point in installed.select(group=group):
                provider = point.dist.name if point.dist is not None else "unknown distribution"
                self._add(
                    Entry(
                        kind,
                        point.name,
                        provider,
                        with_defaults(kind, {"summary": "not loaded"}),
                        point.module,
                        attribute=point.attr,
                        resolved=False,
                    )
                )

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return sorted(name for k, name in self._entries if k == kind)

    def entries(self, kind: str) -> list[Entry]:
        """Return the entries of a kind, sorted by name."""
        return [self._entries[kind, name] for name in self.names(kind)]

    def entry(self, kind: str, name: str) -> Entry:
        """Return a usable entry. The literal of an entry point is read on first use.

        A method with an ``argument`` in its ``META`` takes it after a colon: ``encoder:resnet50``.

        Raises
        ------
        BenchError
            For an unknown name, with the most similar names; for a duplicate name, with both
            providers; for a broken plugin, with the reason.
        """
        named = self._entries.get((kind, name))
        base, colon, argument = name.partition(":")
        if named is None and colon and argument and (kind, base) in self._entries:
            entry = self.entry(kind, base)
            if "argument" not in entry.meta:
                raise BenchError(f"{kind} '{base}' takes nothing after a colon: write {base}")
            return replace(entry, name=name, argument=argument)
        if named is None:
            for entry in self.broken:
                if entry.name == name and entry.kind in (kind, "plugin"):
                    raise BenchError(f"{kind} '{name}' of {entry.origin} {entry.problem}")
            raise BenchError(did_you_mean(name, self.names(kind), kind))
        if not named.resolved:
            named = _resolved(named)
            self._entries[kind, name] = named
        if named.problem:
            raise BenchError(f"{kind} '{name}' of {named.origin} {named.problem}")
        return self._isolated(named)

    def _isolated(self, entry: Entry) -> Entry:
        """Return the entry of a method or metric, marked if it must run in another process."""
        file = entry.provider != _OWN and entry.module is None
        if entry.module == _CONTROLS or not (
            self.isolate == "all" or (self.isolate == "plugins" and file)
        ):
            return entry
        if entry.kind == "metric" and entry.provider != _OWN:
            return replace(entry, isolated=True)
        if entry.kind != "method":
            return entry
        owner = self._entries.get(("method", str(entry.meta.get("fit", ""))))
        shared = owner is not None and owner.provider == _OWN and entry.provider != _OWN
        return replace(entry, isolated=True, fitted_by=owner if shared else None)

    def isolating(self, isolate: Isolate) -> Registry:
        """Return a copy in which methods and metrics of others are isolated."""
        if isolate == "all" and not hasattr(os, "fork"):
            raise BenchError("--isolate requires a system with fork, such as Linux or macOS")
        result = copy.copy(self)
        result.isolate = isolate if hasattr(os, "fork") else "none"
        return result


def _resolved(entry: Entry) -> Entry:
    """Return an entry point with the literal of its file.

    The file is located without importing it (Python imports the packages above it). If it is not
    available as source, or has no ``META`` because it re-exports an object of another module, the
    module is imported and the ``META`` of the defining module is used.
    """
    try:
        path, literal = _source_of(entry)
        meta = check_meta(literal, entry.origin)
        if (meta["kind"], meta["name"]) != (entry.kind, entry.name):
            raise BenchError(
                f"META is of {meta['kind']} '{meta['name']}', the entry point of "
                f"{entry.kind} '{entry.name}': they must agree"
            )
    except BenchError as error:
        problem = (
            f"cannot be used: {error}; report this to the authors of {entry.provider}, or "
            "uninstall it"
        )
        return replace(entry, problem=problem, resolved=True)
    return replace(entry, meta=meta, path=path, resolved=True)


def _source_of(entry: Entry) -> tuple[Path | None, object]:
    assert entry.module is not None
    try:
        spec = importlib.util.find_spec(entry.module)
        if spec is None:
            raise BenchError(f"no module named {entry.module}")
        if spec.origin is not None and spec.origin.endswith(".py") and Path(spec.origin).is_file():
            path = Path(spec.origin)
            literal = read_literal(path)
            if literal is not None:
                return path, literal
        module = importlib.import_module(entry.module)
    except BenchError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BenchError(f"{type(error).__name__}: {error}") from error
    target = getattr(module, entry.attribute, None) if entry.attribute else None
    home = sys.modules.get(getattr(target, "__module__", ""), module)
    file = getattr(home, "__file__", None)
    source = Path(file) if file and file.endswith(".py") and Path(file).is_file() else None
    return source, getattr(home, "META", None)


def registry_with(plugins: Iterable[Path | str] = ()) -> Registry:
    """Return all names, including those in plugin files.

    Raises
    ------
    BenchError
        If a file cannot be used or its name is taken.
    """
    return Registry(tuple(expanded(plugin).resolve() for plugin in plugins))


def open_registry(plugins: Iterable[Path | str] = ()) -> Registry:
    """Return all names, including those in plugin files. Worker processes inherit the files.

    Raises
    ------
    BenchError
        If a file cannot be used or its name is taken.
    """
    paths = tuple(expanded(plugin).resolve() for plugin in plugins)
    registry = registry_with(paths)
    if paths:
        inherited = [text for text in os.environ.get(PLUGINS, "").split(os.pathsep) if text]
        merged = dict.fromkeys([*inherited, *map(str, paths)])
        os.environ[PLUGINS] = os.pathsep.join(merged)
    return registry
