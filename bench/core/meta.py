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
import re
import warnings
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("method", "dataset", "metric")
LEVELS = ("network", "classifier", "profile")
KINDS_OF_SHIFT = ("location", "scale", "covariance", "nested", "label-shift")
"""What a method's ``helps`` and ``hurts`` are declared among: how new batches may differ."""
OBJECT = {"method": "class", "dataset": "class", "metric": "function"}
PLUGINS = "BENCH_PLUGINS"


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


def with_neighbours(path: Path) -> list[Path]:
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
    target = meta.get(OBJECT[kind])
    if not isinstance(target, str) or not target.isidentifier():
        raise BenchError(f"META of {where} needs a '{OBJECT[kind]}': its name in the file{hint}")
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
    from bench.core.access import Access

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
