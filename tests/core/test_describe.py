"""Parameters as rows."""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import param
from bench.core.describe import parameters


@dataclass(frozen=True)
class Base:
    way: str = param("a", "which", choices=("a", "b"))


@dataclass(frozen=True)
class Params(Base):
    share: float = param(1 / 2, "how much", low=0.0, high=1.0, search=(0.0, 1.0))
    batches: int = param(3, "how many", low=1, unit="batches", phase="apply")
    few: int = param(3, "at most", high=5)
    fast: bool = param(True, "whether")
    name: str = param("x", "name", pattern="[a-z]+")
    plain: int = 3


def test_rows_have_the_default_as_typed_and_what_is_allowed() -> None:
    rows = parameters(Params)
    assert [(row.name, row.default, row.allowed) for row in rows] == [
        ("way", "a", "a | b"),
        ("share", "0.5", "0.0 to 1.0"),
        ("batches", "3", "at least 1"),
        ("few", "3", "at most 5"),
        ("fast", "true", ""),
        ("name", "x", "[a-z]+"),
        ("plain", "3", ""),
    ]
    assert (rows[1].value, rows[1].search, rows[1].doc) == (0.5, (0.0, 1.0), "how much")
    assert (rows[2].unit, rows[2].phase) == ("batches", "apply")
    assert rows[-1].doc == ""
