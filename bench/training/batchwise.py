"""Base class of methods that train on one experimental batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.core.access import Access
from bench.core.params import param
from bench.training.method import NetworkMethod
from bench.training.samplers import batchwise
from bench.training.statistics import (
    Batch,  # TC
    Statistics,
)

if TYPE_CHECKING:
    from bench.core.samples import Samples
    from bench.core.types import Recipe
    from bench.training.samplers import Bools, Ints, Rows, Sampler


@dataclass(frozen=True)
class BatchwiseParams:
    """How training batches are sampled from experimental batches, in the fit phase."""

    level: str = param(
        "", "batch level that a training batch comes from; empty is the data set's default"
    )
    rows: str = param(
        "all",
        "rows that give the normalisation statistics, in training and at test",
        choices=("all", "treated", "controls"),
        search=("all", "treated", "controls"),
    )
    sampler: str = param(
        "independent",
        "independent draws a batch uniformly at each step, as published; covering visits every "
        "row once an epoch",
        choices=("independent", "covering"),
        search=("independent", "covering"),
    )
    per_batch: int = param(
        1,
        "batches in one training batch, each normalised by its own statistics",
        unit="batches",
        low=1,
        high=64,
        search=(1, 4),
    )
    control_share: float = param(
        0.5,
        "share of controls in a training batch when rows = controls",
        low=0.05,
        high=0.95,
        search=(0.25, 0.75),
        acts_if={"rows": ("controls",)},
    )
    min_rows: int = param(
        2,
        "least number of rows that give statistics: training batches with fewer are left out, "
        "test batches with fewer take the running averages and are counted. 2 is the least "
        "that has a variance; BEN itself sets no minimum",
        unit="rows",
        low=1,
        high=1_000_000,
    )


class BatchwiseMethod(NetworkMethod):
    """Training batches from one experimental batch, normalised by their own statistics.

    For channel c of a BatchNorm layer and the set S of rows used for the statistics, x is replaced
    by gamma_c (x - mean_S) / sqrt(var_S + eps) + beta_c, where mean_S and var_S (biased) are over S
    and all pixels, and gamma and beta are shared by all batches. Running averages are updated as
    in PyTorch, although only some methods use them.
    """

    Params: ClassVar[type] = BatchwiseParams
    needs_batch_norm: ClassVar[bool] = True

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the access of training; subclasses add the access used at test."""
        return Access.TRAIN_BATCH | (Access.NONE if params.rows == "all" else Access.CONTROLS)

    def sampler(self, train: Samples, group: Ints, recipe: Recipe, seed: int) -> Sampler:
        """Return training batches of ``per_batch`` experimental batches each."""
        return batchwise(
            group,
            recipe["batch_size"],
            seed,
            how=self.params.sampler,
            per_batch=self.params.per_batch,
            rows=self.params.rows,
            controls=None if self.params.rows == "all" else train.controls(),
            control_share=self.params.control_share,
            least=self.params.min_rows,
        )

    def train_statistics(self, batch: Batch) -> Statistics:
        """Return statistics per experimental batch, from the rows selected by ``rows``."""
        return Statistics(
            "rows",
            mask=batch.controls if self.params.rows == "controls" else None,
            group=batch.group if self.params.per_batch > 1 else None,
        )


def rows_that_give(samples: Samples, rows: Rows) -> Bools:
    """Return which rows of a view are used for the statistics, ``(n,)`` bool."""
    if rows == "all":
        return np.ones(len(samples), bool)
    controls = samples.controls()
    return controls if rows == "controls" else ~controls


def inference_rows(text: str) -> int:
    """Return the number in a parameter ``inference``; 0 for ``whole``."""
    return 0 if text == "whole" else int(text)
