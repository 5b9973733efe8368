"""A prediction task: a split, its data and its folds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.audit import audit, split_digest
from bench.data.folds import Origin, folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import Ints
    from bench.data.sides import Fold


@dataclass(frozen=True, eq=False)
class Target:
    """A split that was opened: the data set and its folds."""

    typed: str
    split: Split
    opened: Opened
    folds: list[Fold]
    digest: str
    warnings: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The label map."""
        return self.folds[0].classes

    @property
    def supervised(self) -> bool:
        """Whether classes of this data set are learned and predicted."""
        return self.split.protocol == "supervised"

    def trained_on(self, stage: int, fold: Fold) -> tuple[Opened, Ints]:
        """Return the data set and the rows that a stage of a chain is fitted on."""
        if self.origin is None:
            return self.opened, fold.train
        if stage == 0:
            return self.origin.opened, self.origin.train
        return self.opened, fold.test


def open_target(
    typed: str,
    split: Split,
    opened: Opened,
    *,
    published: bool = False,
    origin: Origin | None = None,
) -> Target:
    """Make the folds of a split and audit them.

    Parameters
    ----------
    typed, split, opened
        What was asked for.
    published
        Whether the sides are somebody else's published ones: sharing that was not declared is then
        a note in every record, since it cannot be mended here.
    origin
        What the encoder is trained on, with the protocol ``transfer``.

    Raises
    ------
    BenchError
        If a row, plate or well is on both sides and the split does not declare it.
    """
    made = folds(split, opened)
    shared = audit(split, opened, made)
    if shared and not published:
        raise BenchError(
            f"split '{split.name}': {'; '.join(text.rstrip('.') for text in shared)}; declare it "
            "with shares = [...] if it is meant, or mend the split"
        )
    digest = split_digest(opened, made)
    return Target(typed, split, opened, made, digest, tuple(shared), origin)


def with_metrics(target: Target, names: Sequence[str], registry: Registry) -> Target:
    """Return a target that is scored by further metrics too.

    They are part of what identifies a run, and change neither its training nor its other values.

    Raises
    ------
    BenchError
        For an unknown metric.
    """
    for name in names:
        registry.entry("metric", name)
    wanted = tuple(dict.fromkeys((*target.split.metrics, *names)))
    return dataclasses.replace(target, split=dataclasses.replace(target.split, metrics=wanted))
