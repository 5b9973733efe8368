"""Descriptions of parameters for ``show``, the report and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Parameter"]


@dataclass(frozen=True)
class Parameter:
    """A field of a method's ``Params``.

    Attributes
    ----------
    name, doc, unit, phase
        As declared.
    default
        As it is typed after ``--set``.
    allowed
        Choices, range or pattern, in words; empty if anything goes.
    """

    name: str
    default: str
    doc: str = ""
    unit: str = ""
    phase: str = "fit"
    allowed: str = ""


def value_text(value: Any) -> str:
    return "" if value is None else str(value)


def allowed_values(known: Mapping[str, Any]) -> str:
    choices = known.get("choices")
    if isinstance(choices, (list, tuple)):
        return " | ".join(map(str, choices))
    low, high = known.get("low"), known.get("high")
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    if high is not None:
        return f"at most {high}"
    return value_text(known.get("pattern"))
