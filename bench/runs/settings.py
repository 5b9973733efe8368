"""Settings of an experiment, grouped by what they apply to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.params import make_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.core.registry import Registry


@dataclass(frozen=True)
class Settings:
    """Settings, grouped by what they apply to.

    Attributes
    ----------
    methods
        Method parameters by method name.
    data
        Settings of the data set. Settings of a source data set begin with ``source.``.
    """

    methods: dict[str, dict[str, object]] = field(default_factory=dict)
    recipe: dict[str, object] = field(default_factory=dict)
    data: dict[str, object] = field(default_factory=dict)

    @classmethod
    def read(
        cls, settings: Mapping[str, object] | Iterable[str], methods: Sequence[str], names: Registry
    ) -> Settings:
        """Group settings by their prefix and check method parameters.

        Parameters
        ----------
        settings
            Keys ``METHOD.PARAMETER``, ``recipe.KEY``, ``data.KEY`` or ``data.source.KEY`` with
            their values, or strings ``KEY=VALUE``. A bare ``PARAMETER`` applies to all methods.

        Raises
        ------
        BenchError
            If a string has no ``=``, a parameter is unknown, or a value is wrong.
        """
        result = cls()
        for key, value in _pairs(settings):
            owner, _, name = key.rpartition(".")
            if owner == "recipe":
                result.recipe[name] = value
            elif owner in ("data", "data.source"):
                result.data[key.removeprefix("data.")] = value
            elif owner:
                result.methods.setdefault(owner, {})[name] = value
            else:
                result._spread(name, value, methods, names)
        for name, values in result.methods.items():
            make_params(name, names.entry("method", name).load().Params, values)
        return result

    def _spread(self, key: str, value: object, methods: Sequence[str], registry: Registry) -> None:
        """Set a parameter of all methods; each must define it."""
        for method in methods:
            name = method.split("+")[-1].strip()
            entry = registry.entry("method", name)
            fields = [f.name for f in dataclasses.fields(entry.load().Params)]
            if key not in fields:
                known = f"; its parameters are {', '.join(fields)}" if fields else ""
                raise BenchError(
                    f"--set {key}: {name} has no parameter of that name{known}; "
                    f"write METHOD.{key}=VALUE for one method alone"
                )
            self.methods.setdefault(name, {}).setdefault(key, value)


def _pairs(settings: Mapping[str, object] | Iterable[str]) -> list[tuple[str, object]]:
    if isinstance(settings, Mapping):
        return list(settings.items())
    pairs: list[tuple[str, object]] = []
    for text in [settings] if isinstance(settings, str) else settings:
        key, sign, value = str(text).partition("=")
        if not sign or not key:
            raise BenchError(f"--set takes [NAME.]KEY=VALUE, not '{text}'")
        pairs.append((key, value))
    return pairs
