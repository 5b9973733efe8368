"""Read and check the ``META`` literal at the top of an extension's file, without importing it.

Methods, data sets, metrics, figures and studies are files with a literal ``META``. It is read with
:func:`ast.literal_eval`, so they can be listed without importing them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict, TypeGuard, cast

from bench.core.errors import BenchError
from bench.core.literals import read_literals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


KINDS = ("method", "dataset", "metric", "figure", "study")
LEVELS = ("network", "classifier", "profile")
KINDS_OF_SHIFT = ("location", "scale", "covariance", "hierarchical", "confounded", "label-shift")
"""Values of a method's ``helps`` and ``hurts``: ways in which new batches can differ.

``hierarchical`` is plates within laboratories, whose effects add up. ``confounded`` is classes
within batches: a training batch has only some of the classes, so its statistics contain biology.
"""
IGNORED = ("names", "scale", "rotation", "translation", "monotone")
"""Values of a metric's ``ignores``: what can change without changing its value.

``names`` are those of classes and batches. ``scale`` multiplies all profiles by one number,
``rotation`` turns and ``translation`` moves them. ``monotone`` applies an increasing function to
the scores of each row.
"""
_FORMER_SHIFTS = {"nested": "hierarchical"}
"""Former value of ``helps`` and ``hurts`` -> present one; the former is accepted."""
FIGURE_NEEDS = ("records", "predictions", "embeddings", "studies", "examples")
"""What a figure may read: ``run.json``, the predictions next to it, and the folders ``artifacts/``,
``studies/`` and ``examples/`` of the results folder."""
PLUGINS = "BENCH_PLUGINS"
_TARGET = {"method": "class", "dataset": "class", "metric": "function"}
_FIXED_TARGET = {"figure": "draw", "study": "run"}

Meta = TypedDict(
    "Meta",
    {
        "kind": str,
        "name": str,
        "version": int,
        "summary": str,
        "reference": str,
        "url": str,
        "class": str,
        "function": str,
        # methods
        "level": str,
        "access": list[str],
        "helps": list[str],
        "hurts": list[str],
        "against": str,
        "fit": str,
        "argument": str,
        "deterministic": bool,
        # data sets
        "licence": str,
        "size": str,
        "files": str,
        "editions": list[str],
        "levels": list[str],
        "splits": list[dict[str, object]],
        "fetch": dict[str, object],
        # metrics (needs: str) and figures (needs: list)
        "needs": str | list[str],
        "range": list[float],
        "higher_is_better": bool,
        "oracle_is_best": bool,
        "ignores": list[str],
        "readout": str,
        "title": str,
        "paper": str,
        # studies
        "question": str,
        "methods": list[str],
        "point": str,
        "points": list[float],
    },
    total=False,
)
"""The literal of an extension; its keys depend on the kind."""
DEFAULTS: dict[str, Meta] = {
    "method": {
        "level": "",
        "access": [],
        "helps": [],
        "hurts": [],
        "deterministic": False,
    },
    "dataset": {"licence": "", "editions": [], "levels": [], "splits": []},
    "metric": {"higher_is_better": True, "oracle_is_best": False, "ignores": []},
    "figure": {"paper": ""},
    "study": {"point": "", "points": []},
}
"""Values of optional keys, by kind."""


def read_literal(path: Path) -> Meta | None:
    """Return the only literal of a file, unchecked, or None if it has none.

    Raises
    ------
    BenchError
        If the file cannot be read or parsed, or its ``META`` is not a literal dict.
    """
    metas = cast("list[Meta]", read_literals(path))
    if len(metas) > 1:
        raise BenchError(f"META of {path} is a list: only packaged files may have several")
    return metas[0] if metas else None


def read_meta(path: Path) -> Meta:
    """Return the checked literal ``META`` of a file without importing it.

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
    return check_meta(meta, str(path))


def read_folder(folder: Path, kind: str) -> list[tuple[Path, Meta]]:
    """Return the checked literals of all files of a folder whose names do not begin with ``_``.

    Parameters
    ----------
    kind
        The kind that each literal must have.

    Raises
    ------
    BenchError
        If a literal is missing, incomplete or of another kind, or two have the same name.
    """
    entries: list[tuple[Path, Meta]] = []
    owners: dict[str, Path] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        metas = cast("list[Meta]", read_literals(path))
        for literal in metas or [read_meta(path)]:
            meta = check_meta(literal, str(path))
            if meta["kind"] != kind:
                raise BenchError(
                    f"{path} is a {meta['kind']} in the folder of {kind} files: move it"
                )
            if meta["name"] in owners:
                raise BenchError(
                    f"{owners[meta['name']]} and {path} have the same name '{meta['name']}': "
                    "rename one"
                )
            owners[meta["name"]] = path
            entries.append((path, meta))
    return entries


def target_of(meta: Mapping[str, object] | Meta, kind: str = "") -> str:
    """Return the name of the class or function that a literal describes; empty if unknown."""
    kind = kind or str(meta.get("kind", ""))
    return _FIXED_TARGET.get(kind) or str(meta.get(_TARGET.get(kind, "class")) or "")


def check_meta(meta: object, where: str) -> Meta:
    """Return a literal if it has all required keys, with defaults and present names of values.

    Raises
    ------
    BenchError
        If it is not a dict, a key is missing, or a value has another type or is not allowed.
    """
    if not isinstance(meta, dict) or meta.get("kind") not in KINDS or not meta.get("name"):
        raise BenchError(
            f"META of {where} needs a kind ({', '.join(KINDS)}) and a name"
            "; `python -m bench new method NAME` writes a correct one"
        )
    kind, name = meta["kind"], meta["name"]
    hint = f"; `python -m bench new {kind} NAME` writes a correct one"
    group = "(?:[a-z0-9-]+/)?" if kind == "figure" else ""
    if not isinstance(name, str) or not re.fullmatch(group + r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BenchError(
            f"META of {where}: invalid name '{name}': use letters, digits, - and _, such as "
            f"my-{kind}"
        )
    if kind in _TARGET:
        target = meta.get(_TARGET[kind], name if kind == "metric" else None)
        if not isinstance(target, str) or not target.isidentifier():
            raise BenchError(
                f"META of {where} needs a '{_TARGET[kind]}': its name in the file{hint}"
            )
    version = meta.get("version", None if kind in ("method", "dataset", "study") else 1)
    if not isinstance(version, int) or isinstance(version, bool):
        raise BenchError(f"META of {where} needs a version: an integer, at first 1{hint}")
    present = {
        key: _present_shifts(value) if key in ("helps", "hurts") else value
        for key, value in meta.items()
    }
    if kind in _CHECKS:
        _CHECKS[kind](present, where, hint)
    return with_defaults(kind, cast("Meta", present))


def with_defaults(kind: str, meta: Meta) -> Meta:
    """Return a literal with the values of the optional keys that it does not have."""
    defaults: dict[str, object] = {"version": 1, "summary": "", "reference": "", "url": ""}
    defaults |= DEFAULTS.get(kind, {})
    if kind == "metric":
        defaults["function"] = meta.get("name", "")
    added = {key: value for key, value in defaults.items() if key not in meta}
    return cast("Meta", {**meta, **added})


def _present_shifts(value: object) -> object:
    """Return a list of kinds of shift with present names; other values are returned unchanged."""
    return [_FORMER_SHIFTS.get(kind, kind) for kind in value] if _strings(value) else value


def _check_method(meta: Mapping[str, object], where: str, hint: str) -> None:
    from bench.core.access import Access

    if meta.get("level") not in LEVELS:
        raise BenchError(f"META of {where} needs a level: {', '.join(LEVELS)}{hint}")
    access = meta.get("access")
    if not _strings(access):
        raise BenchError(f"META of {where} needs an access: a list of strings, [] for none{hint}")
    try:
        Access.parse(access)
    except BenchError as error:
        raise BenchError(f"META of {where}: {error}") from None
    shifts = {}
    for key in ("helps", "hurts"):
        value = meta.get(key, [])
        if _strings(value) and set(value) <= set(KINDS_OF_SHIFT):
            shifts[key] = value
        else:
            raise BenchError(
                f"META of {where}: {key} must be a list of kinds of shift, out of "
                f"{', '.join(KINDS_OF_SHIFT)}; [] if it claims none"
            )
    both = [shift for shift in shifts["helps"] if shift in shifts["hurts"]]
    if both:
        raise BenchError(f"META of {where}: {both[0]} is in helps and in hurts: remove one of them")
    if not isinstance(meta.get("deterministic", False), bool):
        raise BenchError(
            f"META of {where}: deterministic must be True or False; leave it out for a method that "
            "draws random numbers"
        )
    for key in ("fit", "argument"):
        if key in meta and (not isinstance(meta[key], str) or not meta[key]):
            raise BenchError(
                f"META of {where}: {key} must be a name; leave it out if there is none"
            )
    against = meta.get("against")
    if "against" in meta and (not isinstance(against, str) or against in ("", meta["name"])):
        raise BenchError(
            f"META of {where}: against must be the name of the other method that helps and hurts "
            "are measured against; leave it out for erm (networks) or identity (profiles)"
        )


def _check_metric(meta: Mapping[str, object], where: str, hint: str) -> None:
    ignored = meta.get("ignores", [])
    if not _strings(ignored) or not set(ignored) <= set(IGNORED):
        raise BenchError(
            f"META of {where} needs ignores as a list out of {', '.join(IGNORED)}; [] if the value "
            f"depends on all of them{hint}"
        )


def _check_figure(meta: Mapping[str, object], where: str, hint: str) -> None:
    for key in ("title", "summary"):
        if not isinstance(meta.get(key), str) or not meta[key]:
            raise BenchError(f"META of {where} needs a {key}: one sentence{hint}")
    needs = meta.get("needs")
    if not _strings(needs) or not set(needs) <= set(FIGURE_NEEDS):
        raise BenchError(
            f"META of {where}: needs must be a list out of {', '.join(FIGURE_NEEDS)}{hint}"
        )


def _check_study(meta: Mapping[str, object], where: str, hint: str) -> None:
    question = meta.get("question")
    if not isinstance(question, str) or not question.endswith("?"):
        raise BenchError(f"META of {where} needs a question: one sentence that ends in ?{hint}")
    if not _strings(meta.get("methods")):
        raise BenchError(f"META of {where} needs methods: a list of names{hint}")
    if not isinstance(meta.get("point", ""), str) or not isinstance(meta.get("points", []), list):
        raise BenchError(
            f"META of {where}: point is the name of the varied quantity, and points a list of its "
            f"values; leave both out if there is none{hint}"
        )


_CHECKS: dict[str, Callable[[Mapping[str, object], str, str], None]] = {
    "method": _check_method,
    "metric": _check_metric,
    "figure": _check_figure,
    "study": _check_study,
}


def _strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
