"""Names to code, without importing the code until it is needed.

A method, data set or metric is one file with a literal ``META`` at its top. The literal is read
with :func:`ast.literal_eval`, so that listing costs no import. Plugins come from ``--plugin FILE``,
from ``$BENCH_PLUGINS`` (files separated as in ``PATH``) and from entry points of the groups
``bench.methods``, ``bench.datasets`` and ``bench.metrics``.

What the user names on the command line must work, so a mistake there stops at once. What merely
lies around (an environment variable, an installed distribution, a half-written file) is kept with
its reason and stops only those who ask for that name. A name that is taken twice belongs to
nobody: whoever asks for it is told both owners.

A plugin file may import its neighbours relatively (``from ._helpers import x``): its folder stands
in for the package. It may not go above that folder.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import BenchError, did_you_mean

KINDS = ("method", "dataset", "metric")
LEVELS = ("network", "classifier", "profile")
KINDS_OF_SHIFT = ("location", "scale", "covariance", "nested", "label-shift")
"""What a method's ``helps`` and ``hurts`` are declared among: how new batches may differ."""
_FOLDERS = {"method": "bench.methods", "dataset": "bench.datasets", "metric": "bench.metrics"}
_OBJECT = {"method": "class", "dataset": "class", "metric": "function"}
_OWN = "labshift"
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
    resolved
        Whether the literal was read; not so for an entry point nobody asked for.
    """

    kind: str
    name: str
    provider: str
    meta: dict[str, Any] = field(default_factory=dict)
    module: str | None = None
    path: Path | None = None
    attribute: str = ""
    problem: str = ""
    resolved: bool = True

    @property
    def origin(self) -> str:
        """Who provides it, and where, in words for a message."""
        where = self.path.name if self.path else self.module
        return self.provider if where in (None, self.provider) else f"{self.provider} ({where})"

    @property
    def sources(self) -> list[Path]:
        """The file and the neighbours that it imports relatively: a change there is a change."""
        return [] if self.path is None else _with_neighbours(self.path)

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
                f"{self.origin} has no '{attribute}': META of {self.name} must name its "
                f"{_OBJECT.get(self.kind, 'class')}"
            )
        return getattr(module, attribute)

    def _module(self) -> ModuleType:
        if self.module is not None:
            return importlib.import_module(self.module)
        assert self.path is not None
        return _import_file(self.path.resolve())


def _import_file(path: Path) -> ModuleType:
    """Import a plugin file as a member of a package that is its folder."""
    folder = hashlib.sha256(str(path.parent).encode()).hexdigest()[:12]
    package = f"bench_plugin_{folder}"
    if package not in sys.modules:
        made = ModuleType(package)
        made.__path__ = [str(path.parent)]
        sys.modules[package] = made
    stem = path.stem
    if not stem.isidentifier():
        stem = "file_" + hashlib.sha256(path.name.encode()).hexdigest()[:12]
    name = f"{package}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"plugin file {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _parse(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes and such: the import will say it
            return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise BenchError(
            f"plugin file {path} cannot be read ({error.strerror}): check the path"
        ) from None
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", "?")
        raise BenchError(
            f"{path} is not valid Python (line {line}: {getattr(error, 'msg', error)}): "
            "mend the file"
        ) from None


def _with_neighbours(path: Path) -> list[Path]:
    """Return a file and all files that it imports relatively, directly or not."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found[file] = None
        try:
            tree = _parse(file)
        except BenchError:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            folder = file.parents[node.level - 1] if node.level <= len(file.parents) else None
            if folder is None:
                continue
            base = folder.joinpath(*(node.module or "").split("."))
            names = [base] if node.module else []
            names += [base / alias.name for alias in node.names]
            waiting += [name.with_name(name.name + ".py") for name in names]
    return sorted(found)


def read_meta(path: Path) -> dict[str, Any]:
    """Return the literal ``META`` of a file without importing it.

    Raises
    ------
    BenchError
        If the file cannot be read or parsed, or its literal is missing or incomplete.
    """
    meta = read_literal(path)
    if meta is None:
        raise BenchError(
            f"{path} has no META = {{...}} at its top; `python -m bench new method NAME` writes one"
        )
    check_meta(meta, str(path))
    return meta


def read_literal(path: Path) -> dict[str, Any] | None:
    """Return the literal ``META`` at the top of a file, or None if it has none.

    Raises
    ------
    BenchError
        If the file cannot be read or parsed, or its ``META`` is not a literal.
    """
    for node in _parse(path).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if not any(isinstance(t, ast.Name) and t.id == "META" for t in targets):
            continue
        try:
            meta = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError):
            meta = None
        if not isinstance(meta, dict):
            raise BenchError(
                f"META of {path} must be a literal: only strings, numbers, lists and dicts"
            )
        return meta
    return None


def check_meta(meta: Any, where: str) -> None:
    """Raise :class:`BenchError` if a literal lacks what the harness itself reads.

    Parameters
    ----------
    meta
        The literal.
    where
        The file or module, for the message.
    """
    hint = "; `python -m bench new method NAME` writes a correct one"
    if not isinstance(meta, dict) or meta.get("kind") not in KINDS or not meta.get("name"):
        raise BenchError(f"META of {where} needs a kind ({', '.join(KINDS)}) and a name{hint}")
    kind, name = meta["kind"], meta["name"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BenchError(
            f"META of {where}: '{name}' is no name: letters, digits, - and _, such as my-method"
        )
    target = meta.get(_OBJECT[kind])
    if not isinstance(target, str) or not target.isidentifier():
        raise BenchError(f"META of {where} needs a '{_OBJECT[kind]}': its name in the file{hint}")
    version = meta.get("version", 1 if kind == "metric" else None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise BenchError(f"META of {where} needs a version: a whole number, at first 1{hint}")
    if kind != "method":
        return
    if meta.get("level") not in LEVELS:
        raise BenchError(f"META of {where} needs a level: {', '.join(LEVELS)}{hint}")
    access = meta.get("access")
    if not isinstance(access, list) or not all(isinstance(word, str) for word in access):
        raise BenchError(f"META of {where} needs an access: a list of words, [] for none{hint}")
    from bench.api import Access

    try:
        Access.parse(access)
    except BenchError as error:
        raise BenchError(f"META of {where}: {error}") from None
    _check_declared(meta, where)


def _check_declared(meta: dict[str, Any], where: str) -> None:
    """Look at what a method says of itself: what it helps, what it hurts, against what."""
    kinds = ", ".join(KINDS_OF_SHIFT)
    for key in ("helps", "hurts"):
        words = meta.get(key, [])
        if not isinstance(words, list) or not all(word in KINDS_OF_SHIFT for word in words):
            raise BenchError(
                f"META of {where}: {key} must be a list of kinds of shift, out of {kinds}; "
                "[] if it claims none"
            )
    both = [word for word in meta.get("helps", []) if word in meta.get("hurts", [])]
    if both:
        raise BenchError(
            f"META of {where}: {both[0]} stands under helps and under hurts: keep one of them"
        )
    against = meta.get("against", "erm")
    if not isinstance(against, str) or not against or meta.get("against") == meta["name"]:
        raise BenchError(
            f"META of {where}: against must name the other method that helps and hurts are "
            "measured against; leave it out for erm (networks) or identity (profiles)"
        )


class Registry:
    """All names that are known: packaged, from plugin files, and from entry points.

    Parameters
    ----------
    plugins
        Files that the user named: each must be readable, and its name free.

    Attributes
    ----------
    broken
        What was found but cannot be used, with the reason.

    Raises
    ------
    BenchError
        If a file in ``plugins`` is unusable or its name is taken.
    """

    def __init__(self, plugins: tuple[Path, ...] = ()) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self.broken: list[Entry] = []
        for kind in KINDS:
            self._add_folder(kind)
        self._add_references()
        named = {path.resolve() for path in plugins}
        for path in plugins:
            self._add_file(path, strict=True)
        for text in os.environ.get(PLUGINS, "").split(os.pathsep):
            if text and Path(text).resolve() not in named:
                self._add_file(Path(text), strict=False)
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
        taken = f"two {entry.kind}s are named '{entry.name}': {owners}; rename one of them"
        if strict:
            raise BenchError(taken)
        self._entries[key] = replace(other, problem=f"cannot be told apart: {taken}")
        self.broken.append(replace(entry, problem=f"cannot be used: {taken}"))

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
        from bench.reference_rows import METAS

        for meta in METAS:
            self._add(Entry("method", meta["name"], _OWN, meta))

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
                        attribute=point.attr,
                        resolved=False,
                    )
                )

    def names(self, kind: str) -> list[str]:
        """Return the known names of a kind, sorted."""
        return sorted(name for k, name in self._entries if k == kind)

    def entries(self, kind: str) -> list[Entry]:
        """Return the entries of a kind, sorted by name."""
        return [self._entries[kind, name] for name in self.names(kind)]

    def entry(self, kind: str, name: str) -> Entry:
        """Return one usable entry, with the literal of an entry point's file read.

        Raises
        ------
        BenchError
            For an unknown name, with the nearest known ones; for a name that is taken twice, with
            both owners; for a plugin that is broken, with the reason.
        """
        found = self._entries.get((kind, name))
        if found is None:
            for entry in self.broken:
                if entry.name == name and entry.kind in (kind, "plugin"):
                    raise BenchError(f"{kind} '{name}' of {entry.origin} {entry.problem}")
            raise BenchError(did_you_mean(name, self.names(kind), kind))
        if not found.resolved:
            found = _resolved(found)
            self._entries[kind, name] = found
        if found.problem:
            raise BenchError(f"{kind} '{name}' of {found.origin} {found.problem}")
        return found


def _resolved(entry: Entry) -> Entry:
    """Return an entry point with the literal of its file.

    The file is looked for without importing it (Python imports the packages above it). Where it
    cannot be found or read as source, or holds no ``META`` because it only passes on what another
    module defines, the module is imported and the defining module's ``META`` is taken.
    """
    try:
        path, meta = _source_of(entry)
        check_meta(meta, entry.origin)
        if (meta["kind"], meta["name"]) != (entry.kind, entry.name):
            raise BenchError(
                f"its META says {meta['kind']} '{meta['name']}', its entry point "
                f"{entry.kind} '{entry.name}': they must agree"
            )
    except BenchError as error:
        problem = f"cannot be used: {error}; tell the authors of {entry.provider}, or uninstall it"
        return replace(entry, problem=problem, resolved=True)
    return replace(entry, meta=meta, path=path, resolved=True)


def _source_of(entry: Entry) -> tuple[Path | None, Any]:
    assert entry.module is not None
    try:
        spec = importlib.util.find_spec(entry.module)
        if spec is None:
            raise BenchError(f"there is no module {entry.module}")
        if spec.origin is not None and spec.origin.endswith(".py") and Path(spec.origin).is_file():
            path = Path(spec.origin)
            meta = read_literal(path)
            if meta is not None:
                return path, meta
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
