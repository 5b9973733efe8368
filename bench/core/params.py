"""Parameters of a method: declaration, conversion and checks."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.types import Facts, JsonObject


def param(
    default: object,
    doc: str,
    *,
    unit: str = "",
    choices: tuple[Any, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    pattern: str | None = None,
    search: tuple[Any, ...] | None = None,
    log: bool = False,
    phase: str = "fit",
    acts_if: dict[str, tuple[Any, ...]] | None = None,
) -> Any:  # noqa: ANN401 - a dataclass field, typed as its value
    """Return a dataclass field of a method's ``Params``.

    Parameters
    ----------
    default
        The default; its type (bool, int, float or str) is the parameter's type.
    doc
        One sentence for ``show method``.
    unit
        Physical unit or kind of count, such as ``images``.
    choices
        All values allowed, for a string.
    low, high
        Inclusive range, for a number.
    pattern
        Regular expression that a string must match in full.
    search
        Search space of ``tune``: ``(low, high)`` for a number, the values for a string or bool.
        If None, the parameter is not tuned.
    log
        Whether ``tune`` samples the logarithm.
    phase
        ``fit`` if a change requires a new fit, ``apply`` otherwise.
    acts_if
        Values of other parameters without which this one has no effect, such as
        ``{"rows": ("controls",)}``; ``tune`` then varies it for these values only.
    """
    if phase not in ("fit", "apply"):
        raise ValueError(f"phase is 'fit' or 'apply', not {phase!r}")
    meta = {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "low": low,
        "high": high,
        "pattern": pattern,
        "search": search,
        "log": log,
        "phase": phase,
        "acts_if": acts_if or {},
    }
    return field(default=default, metadata=meta)


def _convert(owner: str, name: str, text: Any, default: Any) -> Any:  # noqa: ANN401 - a value of any parameter
    kind = type(default)
    try:
        if kind is bool:
            truths = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return truths[str(text).lower()]
        if kind is int and isinstance(text, float) and not text.is_integer():
            raise ValueError
        return kind(text)
    except (ValueError, KeyError, TypeError, OverflowError):
        noun = {bool: "true or false", int: "an integer", float: "a number"}[kind]
        raise BenchError(f"{owner}.{name} takes {noun}, not '{text}'") from None


def make_params(owner: str, params_class: type, values: Facts) -> Any:  # noqa: ANN401 - an instance of the method's Params
    """Build a ``Params`` from strings or typed values; check names, types and ranges.

    Parameters
    ----------
    owner
        Name of the method, for messages.
    params_class
        A frozen dataclass whose fields come from :func:`param`.
    values
        Values by field name; strings are converted to the field's type.

    Raises
    ------
    BenchError
        For an unknown key, a value of the wrong type, or a value out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(params_class)}
    converted: JsonObject = {}
    for key, text in values.items():
        if key not in fields:
            if not fields:
                raise BenchError(f"{owner} has no parameters, so '{key}' cannot be set")
            raise BenchError(did_you_mean(key, list(fields), f"parameter of {owner}"))
        meta, default = fields[key].metadata, fields[key].default
        value = _convert(owner, key, text, default)
        choices, low, high = meta["choices"], meta["low"], meta["high"]
        if choices is not None and value not in choices:
            options = " | ".join(map(str, choices))
            raise BenchError(f"{owner}.{key} must be one of {options}, not '{value}'")
        if meta["pattern"] is not None and not re.fullmatch(meta["pattern"], value):
            raise BenchError(f"{owner}.{key} must look like {meta['pattern']}, not '{value}'")
        if isinstance(value, float) and not np.isfinite(value):
            raise BenchError(f"{owner}.{key} must be finite, not '{text}'")
        if (low is not None and value < low) or (high is not None and value > high):
            span = f"{'' if low is None else low} .. {'' if high is None else high}"
            raise BenchError(f"{owner}.{key} must be in {span}, not {value}")
        converted[key] = value
    return params_class(**converted)
