"""Check what the class of a plugin declares, so that a broken one is an error that names it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from bench.core.access import Access
from bench.core.canonical import canonical_json
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.entry import Entry

METHODS = ("access", "fit", "apply", "state", "from_state")


def check_class(entry: Entry, cls: Any) -> None:  # noqa: ANN401 - an object of a plugin
    """Raise BenchError if a method's class lacks a part of the interface."""
    if not isinstance(cls, type):
        raise _broken(entry, f"{entry.meta.get('class')} is not a class")
    for name in METHODS:
        if not callable(getattr(cls, name, None)):
            raise _broken(entry, f"it has no method {name}")
    params = getattr(cls, "Params", None)
    if not isinstance(params, type) or not dataclasses.is_dataclass(params):
        raise _broken(entry, "Params is not a dataclass")


def checked_params(entry: Entry, make: Callable[[], object]) -> object:
    """Return the parameters of a method; raise BenchError if they cannot be recorded."""
    params = _call(entry, "Params", make)
    try:
        canonical_json({f.name: getattr(params, f.name) for f in dataclasses.fields(params)})
    except BenchError as error:
        raise _broken(entry, f"Params: {error}") from error
    return params


def check_declarations(entry: Entry, cls: Any, params: object) -> Access:  # noqa: ANN401
    """Return the declared access; raise BenchError if a declaration has a wrong type."""
    access = _call(entry, "access", lambda: cls.access(params))
    if not isinstance(access, Access):
        raise _broken(entry, f"access returns {type(access).__name__}, not Access")
    declared_needs(entry, cls, params)
    pinned = _call(entry, "pinned", lambda: dict(getattr(cls, "pinned", lambda _: {})(params)))
    if not all(isinstance(text, str) for pair in pinned.items() for text in pair):
        raise _broken(entry, "pinned does not return texts")
    return access


def declared_needs(entry: Entry, cls: Any, params: object) -> list[str]:  # noqa: ANN401
    """Return the columns that a method needs; raise BenchError if they are no names."""
    needs: list[str] = _call(
        entry, "needs", lambda: list(getattr(cls, "needs", lambda _: ())(params))
    )
    if not all(isinstance(name, str) for name in needs):
        raise _broken(entry, "needs does not return names")
    return needs


def _call(entry: Entry, name: str, function: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return function()
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{name} raises {type(error).__name__}: {error}"
        raise _broken(entry, reason) from error


def _broken(entry: Entry, reason: str) -> BenchError:
    return BenchError(
        f"method '{entry.name}' of {entry.origin}: {reason}; `python -m bench check {entry.name}` "
        "tests the interface"
    )
