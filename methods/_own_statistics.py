"""Base of methods that train on single batches and use the statistics of each test batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.api import Access, Samples, param
from bench.network import (
    ApplyStatistics,
    BatchwiseMethod,
    BatchwiseParams,
    inference_rows,
    rows_that_give,
)


@dataclass(frozen=True)
class OwnParams(BatchwiseParams):
    """How training batches are made, and whose statistics are used at test."""

    inference: str = param(
        "whole",
        "rows that give statistics at a time: the whole test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )


@dataclass(frozen=True)
class SeveralParams(BatchwiseParams):
    """Several batches in one training batch."""

    per_batch: int = param(
        4,
        "batches in one training batch, each normalised by its own statistics",
        unit="batches",
        low=2,
        high=64,
        search=(2, 8),
    )


class OwnStatistics(BatchwiseMethod):
    """Batch-wise training, and statistics of the test batch."""

    Params: ClassVar[type] = OwnParams

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the training batches and the one test batch, or only its controls."""
        at_test = Access.TEST_CONTROLS if params.rows == "controls" else Access.TEST_BATCH
        return super().access(params) | at_test

    def rows_at_a_time(self) -> int:
        """Return how many rows give statistics at a time; 0 is all of the test batch."""
        return inference_rows(self.params.inference)

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return the rows of the test batch."""
        gives = rows_that_give(samples, self.params.rows)
        return ApplyStatistics(gives, self.rows_at_a_time(), self.params.min_rows)
