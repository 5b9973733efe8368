"""Check records against their schema, complete older ones, and export the schema."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Literal,
    NotRequired,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from bench.core.errors import BenchError
from bench.core.split import current_name
from bench.records.averages import averaged
from bench.records.schema import RunRecord

if TYPE_CHECKING:
    from bench.records.schema import Json


def migrated(data: dict[str, Json]) -> dict[str, Json]:
    """Return a record with keys added that earlier versions did not write.

    A split that was renamed has its present name. Pooled scores become means over held-out batches
    where the record has a value per fold; see :mod:`bench.records.averages`.

    Parameters
    ----------
    data
        The contents of ``run.json``; not modified.
    """
    spec = data.get("spec")
    identity: Mapping[str, Json] = spec if isinstance(spec, dict) else {}
    defaults: dict[str, Json] = {
        "method_id": identity.get("method_id"),
        "level": "",
        "badges": [],
        "metrics_rest_on": {},
        "lower_is_better": [],
        "excluded_classes": [],
        "batches": {},
        "undeclared_adaptation": None,
        "notes": [],
        "cautions": [],
        "upstream": [],
        "exposed": [],
        "shift": "",
        "sources": {},
    }
    result = {**defaults, **data}
    if isinstance(spec, dict) and isinstance(name := spec.get("split_id"), str):
        result["spec"] = {**spec, "split_id": current_name(name)}
    if isinstance(name := result.get("split"), str):
        result["split"] = current_name(name)
    clusters = result.get("clusters")
    if isinstance(clusters, dict):
        empty: dict[str, Json] = {"values": {}, "parts": {}, "weights": {}}
        result["clusters"] = {**empty, **clusters}
    cost = result.get("cost")
    if isinstance(cost, dict):
        result["cost"] = {"steps": 0, "images_seen": 0, **cost}
    return averaged(result)


_Check = Callable[[object, str], None]
_NAMES: dict[object, str] = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def check(data: object) -> RunRecord:
    """Return ``data`` as a record if it has all keys with the right types.

    Raises
    ------
    BenchError
        If a key is missing or a value has another type. The message names the key.
    """
    _checker(RunRecord)(data, "")
    return cast("RunRecord", data)


def _refuse(where: str, expected: str, value: object) -> BenchError:
    shown = repr(value)
    if len(shown) > 40:
        shown = f"{shown[:37]}..."
    return BenchError(f"'{where}' must be {expected}, not {shown}")


def _fields(hint: type) -> dict[str, tuple[object, bool]]:
    """Return the type of each key of a TypedDict, and whether the key is required."""
    total = bool(hint.__dict__.get("__total__", True))
    fields: dict[str, tuple[object, bool]] = {}
    for key, annotation in get_type_hints(hint, include_extras=True).items():
        optional = get_origin(annotation) is NotRequired
        fields[key] = (get_args(annotation)[0] if optional else annotation, total and not optional)
    return fields


def _bare(hint: object) -> object:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@cache
def _checker(hint: object) -> _Check:
    """Return a function that raises if a value at a place does not have the type."""
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if hint is object:
        return lambda value, where: None
    if is_typeddict(hint):
        return _mapping_checker(cast("type", hint))
    if origin is list:
        return _list_checker(args[0])
    if origin is dict:
        return _dict_checker(args[1])
    if origin is Literal:
        expected, allowed = " or ".join(map(repr, args)), frozenset(args)
    else:
        kinds = cast("tuple[type, ...]", args if origin in (Union, types.UnionType) else (hint,))
        expected = " or ".join(_NAMES[kind] for kind in kinds)
        accepted = frozenset({*kinds, int} if float in kinds else kinds)

        def check_type(value: object, where: str) -> None:
            if type(value) is int and int in accepted and not -(2**63) <= value < 2**63:
                raise _refuse(where, "an integer of 64 bits", value)
            if type(value) in accepted:
                return
            # Subclasses such as numpy.float64 are accepted, but bool is not an integer.
            if isinstance(value, bool) or not isinstance(value, tuple(accepted)):
                raise _refuse(where, expected, value)

        return check_type

    def check_literal(value: object, where: str) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise _refuse(where, expected, value)

    return check_literal


def _mapping_checker(hint: type) -> _Check:
    fields = [(key, _checker(kind), need) for key, (kind, need) in _fields(hint).items()]

    def check_mapping(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(where or "the record", "an object", value)
        prefix = f"{where}." if where else ""
        for key, check_value, required in fields:
            if key in value:
                check_value(value[key], prefix + key)
            elif required:
                raise BenchError(f"'{prefix}{key}' is missing")

    return check_mapping


def _list_checker(item: object) -> _Check:
    check_item = _checker(item)

    def check_list(value: object, where: str) -> None:
        if not isinstance(value, list):
            raise _refuse(where, "a list", value)
        for entry in value:
            check_item(entry, where)

    return check_list


def _dict_checker(item: object) -> _Check:
    check_item = _checker(item)

    def check_dict(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        for key, entry in value.items():
            check_item(entry, f"{where}.{key}")

    return check_dict


def json_schema() -> dict[str, Json]:
    """Return the schema of ``run.json`` as JSON Schema (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labshift run record",
        **_schema_of(RunRecord),
    }


_JSON_TYPES: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _schema_of(hint: object) -> dict[str, Json]:
    described: dict[str, Json] = {}
    if get_origin(hint) is Annotated:
        described = {"description": str(get_args(hint)[1])}
        hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if hint is object:
        return described
    if is_typeddict(hint):
        fields = _fields(cast("type", hint))
        properties: dict[str, Json] = {key: _schema_of(kind) for key, (kind, _) in fields.items()}
        required: list[Json] = [key for key, (_, need) in fields.items() if need]
        described.setdefault("description", str(hint.__doc__).splitlines()[0])
        return {**described, "type": "object", "properties": properties, "required": required}
    if origin is list:
        return {**described, "type": "array", "items": _schema_of(args[0])}
    if origin is dict:
        return {**described, "type": "object", "additionalProperties": _schema_of(args[1])}
    if origin is Literal:
        return {**described, "enum": list(args)}
    if origin in (Union, types.UnionType):
        return {**described, "type": [_JSON_TYPES[kind] for kind in args]}
    return {**described, "type": _JSON_TYPES[hint]}
