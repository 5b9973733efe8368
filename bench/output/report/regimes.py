"""Which corrections help under which conditions: boards grouped by the conditions of their splits.

``conditions.csv`` has the measured conditions of each published split
(``python results/regimes.py --measure``). The rules that turn them into regimes are those of
``check-data``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bench.output.report.summary import is_main
from bench.output.report.text import verdict_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.boards.board import Board, Row


FILE = Path(__file__).with_name("conditions.csv")
CONFOUNDED, SIMILAR = 0.5, 0.1
"""Composition distances: from the first, classes and batches are confounded; up to the second,
batches have similar mixtures of classes."""
SMALL = 32
"""Batches with a smaller median number of rows are small: the standard error of a mean is above
0.18 SD."""
MIXTURES = {
    "similar": "similar class mixtures",
    "different": "different class mixtures",
    "confounded": "confounded classes",
}
LAYOUT = 0.25
"""Margin over chance from which the position predicts the class."""


@dataclass(frozen=True)
class Conditions:
    """Measured conditions of a split, at the default batch level.

    Attributes
    ----------
    composition
        Distance between the class mixtures of batches, 0 (equal) to 1 (no class shared).
    controls_min
        Minimum number of negative controls per batch.
    position_margin
        How well the position alone predicts the class in a new batch: 0 is chance, 1 no error.
    """

    split: str
    edition: str
    level: str
    batches: int
    rows_median: float
    composition: float
    controls_min: int
    position_margin: float

    @property
    def mixture(self) -> str:
        """``similar``, ``different`` or ``confounded``."""
        if self.composition >= CONFOUNDED:
            return "confounded"
        return "different" if self.composition > SIMILAR else "similar"

    @property
    def regime(self) -> tuple[str, bool, bool]:
        """Mixture of classes, whether batches are small, and whether all have controls."""
        return self.mixture, self.rows_median < SMALL, self.controls_min > 0


@dataclass(frozen=True)
class Regime:
    """Splits with the same conditions, and the evidence on them.

    Attributes
    ----------
    edition
        ``real`` or ``simulated``; never mixed.
    layout
        Splits where the position on the plate predicts the class.
    n_tested
        Number of splits with enough batches for a test.
    better, worse
        Method -> on how many splits it is significantly better, or worse, than its baseline.
    same
        Method -> differences, lowest first, for methods without a detectable difference on any
        split.
    untested
        Method -> differences on splits with too few batches for a test, lowest first.
    """

    edition: str
    mixture: str
    is_small: bool
    has_controls: bool
    splits: tuple[str, ...]
    layout: tuple[str, ...]
    n_tested: int
    better: dict[str, int]
    worse: dict[str, int]
    same: dict[str, tuple[float, ...]]
    untested: dict[str, tuple[float, ...]]

    @property
    def text(self) -> str:
        """The conditions: ``similar class mixtures, large batches, controls``."""
        size = "small batches" if self.is_small else "large batches"
        return f"{MIXTURES[self.mixture]}, {size}, {'' if self.has_controls else 'no '}controls"


def conditions() -> dict[str, Conditions]:
    """Return the measured conditions by split."""
    with FILE.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    kinds = {"int": int, "float": float, "str": str}
    types = {field.name: kinds[str(field.type)] for field in fields(Conditions)}
    measured = [Conditions(**{name: types[name](row[name]) for name in types}) for row in rows]
    return {row.split: row for row in measured}


def regimes(boards: Iterable[Board], measured: dict[str, Conditions]) -> list[Regime]:
    """Group the boards of default runs by the conditions of their splits, real data first.

    Parameters
    ----------
    boards
        All boards; those with settings, overrides, another recipe than the default, or a split
        without measured conditions are skipped.
    """
    groups: dict[tuple[str, tuple[str, bool, bool]], list[Board]] = {}
    for board in boards:
        where = measured.get(board.split)
        if where is None or not is_main(board) or board.recipe != "default":
            continue
        if where.edition == board.edition:
            groups.setdefault((board.edition, where.regime), []).append(board)
    order = ("similar", "different", "confounded")
    keys = sorted(groups, key=lambda key: (key[0], order.index(key[1][0]), key[1][1:]))
    return [_regime(edition, regime, groups[edition, regime], measured) for edition, regime in keys]


def _regime(
    edition: str,
    regime: tuple[str, bool, bool],
    boards: Sequence[Board],
    measured: dict[str, Conditions],
) -> Regime:
    verdicts: dict[str, list[str]] = {}
    gaps: dict[str, list[float]] = {}
    for board in boards:
        for row in board.rows:
            if not _is_compared(row):
                continue
            name = row.method.removeprefix("identity+")
            gaps.setdefault(name, []).append(row.difference or 0.0)
            if row.verdict:
                verdicts.setdefault(name, []).append(verdict_kind(row))
    counts = {
        kind: {name: kinds.count(kind) for name, kinds in verdicts.items() if kind in kinds}
        for kind in ("better", "worse")
    }
    ordered = sorted(gaps.items(), key=lambda item: -sum(item[1]) / len(item[1]))
    ranges = {name: tuple(sorted(values)) for name, values in ordered}
    names = sorted({board.split for board in boards})
    return Regime(
        edition=edition,
        mixture=regime[0],
        is_small=regime[1],
        has_controls=regime[2],
        splits=tuple(names),
        layout=tuple(name for name in names if measured[name].position_margin >= LAYOUT),
        n_tested=sum(any(row.verdict for row in board.rows) for board in boards),
        better=counts["better"],
        worse=counts["worse"],
        same={name: gap for name, gap in ranges.items() if set(verdicts.get(name, [])) == {"same"}},
        untested={name: gap for name, gap in ranges.items() if name not in verdicts},
    )


def _is_compared(row: Row) -> bool:
    """Whether a row is a ranked method at its defaults with a difference to its baseline."""
    return not row.params and row.rank is not None and row.difference is not None
