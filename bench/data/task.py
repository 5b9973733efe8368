"""A prediction task: a split, its data and its folds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.audit import audit, split_digest
from bench.data.folds import SourceDomain, folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.core.types import Ints
    from bench.data.partitions import Fold


@dataclass(frozen=True, eq=False)
class StageRows:
    """Rows used to fit a stage of a chain.

    Attributes
    ----------
    rows
        ``(n,)`` int64 rows of the data set.
    classes
        Label map; empty if the stage is fitted without labels.
    """

    opened: Opened
    rows: Ints
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """An opened split: the data set and its folds."""

    typed: str
    split: Split
    opened: Opened
    folds: list[Fold]
    digest: str
    warnings: tuple[str, ...] = ()
    source_domain: SourceDomain | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Label map of the split."""
        return self.folds[0].classes

    @property
    def supervised(self) -> bool:
        """Whether classes of this data set are learned and predicted."""
        return self.split.protocol == "supervised"

    def training_rows(self, fold: Fold) -> Ints:
        """Return the rows of a fold that read-out heads and unlabelled stages are fitted on.

        With the protocol ``transfer`` these are the scored rows.
        """
        return fold.train if self.source_domain is None else fold.test

    def stage_rows(self, stage: int, fold: Fold) -> StageRows:
        """Return the rows a stage of a chain is fitted on: those of the source data set, if any."""
        if self.source_domain is not None and stage == 0:
            return StageRows(
                self.source_domain.opened, self.source_domain.train, self.source_domain.classes
            )
        classes = self.classes if self.supervised else ()
        return StageRows(self.opened, self.training_rows(fold), classes)


def open_task(
    typed: str,
    split: Split,
    opened: Opened,
    *,
    published: bool = False,
    source_domain: SourceDomain | None = None,
) -> Task:
    """Compute the folds of a split and audit them.

    Parameters
    ----------
    published
        Whether the partitions were published by others. Undeclared overlap is then a note in every
        record instead of an error, because it cannot be fixed here.
    source_domain
        Training data of the encoder, with the protocol ``transfer``.

    Raises
    ------
    BenchError
        If a row, plate or well is in both training and test, and the split does not declare it.
    """
    result = folds(split, opened)
    shared = audit(split, opened, result)
    if shared and not published:
        raise BenchError(
            f"split '{split.name}': {'; '.join(text.rstrip('.') for text in shared)}; declare it "
            "with shares = [...] if it is intended, or change the split"
        )
    digest = split_digest(opened, result)
    return Task(typed, split, opened, result, digest, tuple(shared), source_domain)


def with_metrics(task: Task, names: Sequence[str], registry: Registry) -> Task:
    """Return a task with additional metrics.

    The metrics are part of a run's id. They change neither its training nor its other values.
    """
    for name in names:
        registry.entry("metric", name)
    wanted = tuple(dict.fromkeys((*task.split.metrics, *names)))
    return dataclasses.replace(task, split=dataclasses.replace(task.split, metrics=wanted))
