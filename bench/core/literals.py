"""Read the ``META`` literal of a source file and find its neighbours, without importing it."""

from __future__ import annotations

import ast
import copy
import functools
import warnings
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _parse(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes etc. are reported on import
            return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise BenchError(
            f"plugin file {path} cannot be read ({error.strerror}): check the path"
        ) from None
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", "?")
        raise BenchError(
            f"{path} is not valid Python (line {line}: {getattr(error, 'msg', error)}): "
            "fix the file"
        ) from None


def with_neighbours(path: Path) -> list[Path]:
    """Return a file and all files that it imports relatively, directly or indirectly, sorted."""
    files: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in files or not file.is_file():
            continue
        files[file] = None
        try:
            tree = _parse(file)
        except BenchError:
            continue
        for node in _statements(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            folder = file.parents[node.level - 1] if node.level <= len(file.parents) else None
            if folder is None:
                continue
            base = folder.joinpath(*(node.module or "").split("."))
            names = [base] if node.module else []
            names += [base / alias.name for alias in node.names]
            waiting += [name.with_name(name.name + ".py") for name in names]
    return sorted(files)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield all statements, without their expressions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                waiting += inner
                yield from (child for child in inner if isinstance(child, ast.stmt))


def read_literals(path: Path) -> list[dict[str, object]]:
    """Return the literals of a file, unchecked: ``META`` is a dict, or a list of dicts.

    Raises
    ------
    BenchError
        If the file cannot be read or parsed, or its ``META`` is not such a literal.
    """
    state: tuple[int, ...] = ()
    try:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        pass  # reading the file says why
    return copy.deepcopy(_literals(path, state))


@functools.lru_cache(maxsize=1024)
def _literals(path: Path, state: tuple[int, ...]) -> list[dict[str, object]]:  # noqa: ARG001 - part of the key
    """Return the literals of a file in one state, which is parsed once."""
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
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError):
            literal = None
        metas: list[dict[str, object]] = literal if isinstance(literal, list) else [literal]
        if not metas or not all(isinstance(meta, dict) for meta in metas):
            raise BenchError(
                f"META of {path} must be a literal: only strings, numbers, lists and dicts"
            )
        return metas
    return []
