"""Parameters of a method as rows, for ``show``, the report and the documentation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bench.core.words import setting


@dataclass(frozen=True)
class Parameter:
    """A field of a method's ``Params``; see :func:`bench.api.param`.

    Attributes
    ----------
    choices
        All values allowed; empty if not restricted.
    low, high
        Inclusive range, or None.
    pattern
        Regular expression that a string must match, or an empty string.
    search
        Search space of ``tune``; empty if the parameter is not tuned.
    """

    name: str
    value: object
    doc: str = ""
    unit: str = ""
    phase: str = "fit"
    choices: tuple[object, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = ""
    search: tuple[object, ...] = ()

    @property
    def default(self) -> str:
        """The default, as typed after ``--set``."""
        return setting(self.value)

    @property
    def allowed(self) -> str:
        """Choices, range or pattern; empty if not restricted."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        if self.low is not None and self.high is not None:
            return f"{self.low} to {self.high}"
        if self.low is not None:
            return f"at least {self.low}"
        return f"at most {self.high}" if self.high is not None else self.pattern


def parameters(params_class: type) -> list[Parameter]:
    """Return the parameters of a method, inherited ones first."""
    return [
        Parameter(
            field.name,
            field.default,
            doc=field.metadata.get("doc", ""),
            unit=field.metadata.get("unit", ""),
            phase=field.metadata.get("phase", "fit"),
            choices=tuple(field.metadata.get("choices") or ()),
            low=field.metadata.get("low"),
            high=field.metadata.get("high"),
            pattern=field.metadata.get("pattern") or "",
            search=tuple(field.metadata.get("search") or ()),
        )
        for field in dataclasses.fields(params_class)
    ]
