"""Digests of source code that ignore docstrings and comments.

A digest covers the syntax tree of a file without docstrings, comments, annotations, imports and
``META``. It is computed from the tree's non-empty fields and not from :func:`ast.dump`, so that all
Python versions agree.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import sysconfig
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import canonical_json
from bench.core.checkout import ROOT
from bench.core.disk import write_files
from bench.core.errors import BenchError
from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


LENGTH = 8
"""Hex digits of the digest of one file."""
_CACHE = "code-1.json"
_CACHED = 5000
_IGNORED = frozenset({"ctx", "kind", "type_comment", "annotation", "returns", "type_ignores"})
_IMPORTS = (ast.Import, ast.ImportFrom)


def source_digest(source: str) -> str:
    """Return the SHA-256 (hex) of the code in a Python source text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    hasher = hashlib.sha256()
    for token in _tokens(tree):
        hasher.update(token.encode("utf-8", "surrogatepass"))
        hasher.update(b"\x1f")
    return hasher.hexdigest()


def _tokens(node: object) -> Iterator[str]:
    """Yield the node's type, its non-empty fields, and their contents."""
    if isinstance(node, list):
        for item in _joined(node):
            if not _is_silent(item):
                yield from _tokens(item)
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if name not in _IGNORED and value is not None and value != []:
                yield f".{name}"
                yield from _tokens(value)
        yield ")"
    else:
        yield f"{type(node).__name__}:{node!r}"


def _joined(items: list[object]) -> list[object]:
    """Merge adjacent strings of an f-string and drop empty ones; Python versions differ here."""
    result: list[object] = []
    for item in items:
        text = _text(item)
        before = _text(result[-1]) if result else None
        if text is not None and before is not None:
            result[-1] = ast.Constant(before + text)
        elif text != "":
            result.append(item)
    return result if any(isinstance(item, ast.FormattedValue) for item in items) else items


def _text(item: object) -> str | None:
    value = item.value if isinstance(item, ast.Constant) else None
    return value if isinstance(value, str) else None


def _is_silent(item: object) -> bool:
    """Return whether a statement is ignored: an import, a string, ``META``, ``__all__``."""
    if isinstance(item, _IMPORTS):
        return True
    if isinstance(item, ast.Expr):
        return _text(item.value) is not None
    if isinstance(item, ast.If):
        return isinstance(item.test, ast.Name) and item.test.id == "TYPE_CHECKING"
    targets: list[ast.expr] = []
    if isinstance(item, ast.Assign):
        targets = item.targets
    elif isinstance(item, ast.AnnAssign):
        targets = [item.target]
    return any(isinstance(t, ast.Name) and t.id in ("META", "__all__") for t in targets)


def file_digests(paths: Iterable[Path | str]) -> dict[str, str]:
    """Return :func:`path_digests` of files by :func:`by_name`."""
    return by_name(path_digests(Path(path).resolve() for path in paths))


def by_name(digests: Mapping[Path, str]) -> dict[str, str]:
    """Return digests by machine-independent names.

    Returns
    -------
    dict
        :func:`portable_name` -> hex digits, sorted by name. If two files have the same name, the
        second name gets a suffix.
    """
    named: dict[str, str] = {}
    for path in sorted(digests):
        name, value = portable_name(path), digests[path]
        if named.get(name, value) != value:
            name = f"{name}#{value}"
        named[name] = value
    return dict(sorted(named.items()))


def path_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Return a short digest of the code of files, by their resolved paths.

    Digests are cached under the SHA-256 of the file's content, so that each file is parsed once.
    A file that is not valid Python has the digest of its bytes.
    """
    cached = _read_cache()
    fresh: dict[str, str] = {}
    digests: dict[Path, str] = {}
    for path in sorted(set(paths)):
        content = path.read_bytes()
        key = hashlib.sha256(content).hexdigest()[:32]
        value = cached.get(key)
        if value is None:
            try:
                value = source_digest(content.decode())
            except (SyntaxError, ValueError, RecursionError):
                value = key
            fresh[key] = value = value[:LENGTH]
        digests[path] = value
    if fresh:
        older = cached if len(cached) + len(fresh) <= _CACHED else {}
        with contextlib.suppress(BenchError):
            write_files(cache_folder("code"), {_CACHE: json.dumps({**older, **fresh}).encode()})
    return digests


def _read_cache() -> dict[str, str]:
    try:
        digests = json.loads((cache_folder("code") / _CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return digests if isinstance(digests, dict) else {}


@functools.cache
def portable_name(path: Path) -> str:
    """Return a name of a source file that is the same on every machine.

    ``methods/ben.py``, ``datasets/coos7.py`` or ``bench/metrics/nsc.py`` for files of this project,
    the path inside ``site-packages`` for installed plugins, otherwise ``plugin/NAME.py``.
    """
    package = ROOT / "bench"
    for folder in ("methods", "datasets"):
        for root in (package / folder, package.parent / folder):
            if path.is_relative_to(root):
                return f"{folder}/{path.relative_to(root).as_posix()}"
    if path.is_relative_to(package):
        return f"bench/{path.relative_to(package).as_posix()}"
    for scheme in ("purelib", "platlib"):
        root = Path(sysconfig.get_path(scheme)).resolve()
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return f"plugin/{path.name}"


def combined(files: Mapping[str, str]) -> str:
    """Return one digest (24 hex digits) of the digests of files."""
    return hashlib.sha256(canonical_json(dict(files)).encode()).hexdigest()[:24]


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the sorted names of files whose digests differ or exist on one side only."""
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def by_folder(files: Mapping[str, str]) -> dict[str, str]:
    """Return one digest per folder, for folders that all runs of one split share.

    Folders of methods and metrics are excluded, since runs of different methods differ there.
    """
    folders: dict[str, dict[str, str]] = {}
    for name, value in files.items():
        folder = "/".join(name.split("/")[: 2 if name.startswith("bench/") else 1])
        if folder == "datasets" or (folder.startswith("bench/") and folder != "bench/metrics"):
            folders.setdefault(folder, {})[name] = value
    return {folder: combined(group)[:LENGTH] for folder, group in sorted(folders.items())}
