"""Canonical JSON and digests."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

from bench.core.errors import BenchError

__all__ = ["canonical_json", "digest"]


def _plain(value: object, where: str) -> object:
    """Convert ``value`` to JSON types; raise if it has no unique representation."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BenchError(
                f"a record cannot contain {value} at '{where}': omit the entry, or use null"
            )
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise BenchError(f"keys of a record must be strings, not {key!r}, at '{where}'")
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _plain(value.tolist(), where)
    raise BenchError(f"a record cannot contain a {type(value).__name__} at '{where}'")


def canonical_json(obj: object) -> str:
    """Return canonical JSON: sorted keys, no spaces, ASCII, shortest exact floats.

    Parameters
    ----------
    obj
        None, bool, int, finite float, str, and lists, tuples and mappings of these with string
        keys. NumPy scalars and arrays are converted to Python values.

    Raises
    ------
    BenchError
        For NaN, infinity, a key that is not a string, or another type. The message gives the path.
    """
    return json.dumps(_plain(obj, "record"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(obj: object, length: int = 24) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of the canonical JSON of ``obj``."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:length]


def no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def pretty_json(obj: Mapping[str, object]) -> bytes:
    text = json.dumps(_plain(obj, "record"), sort_keys=True, indent=1, allow_nan=False)
    return (text + "\n").encode()
