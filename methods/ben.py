r"""BEN, batch effects normalisation: train on one batch at a time, normalise each test batch alone.

Training: each training batch is drawn from a single experimental batch (a plate), drawn uniformly,
and BatchNorm uses its statistics. Inference: a test plate is processed at once, and BatchNorm uses
the statistics of that plate. For each layer and channel, in both phases,

.. math:: y = \gamma \frac{x - \mu_S}{\sqrt{\sigma_S^2 + \epsilon}} + \beta,

where :math:`\mu_S` and :math:`\sigma_S^2` (biased) are the mean and variance over the rows S of
that plate and their pixels. All plates share :math:`\gamma` and :math:`\beta`. No running average
is used.

Lin and Lu 2022, Incorporating knowledge of plates in batch normalization improves generalization of
deep learning for microscopy images, PMLR 200:74-93, algorithm 2. Differences: plates that have
exactly one training batch are drawn without replacement. Parameters for ablations are ``level``,
``inference`` (statistics of k rows), ``rows`` (all, treated, controls) and ``sampler`` (a covering
one). ``per_batch`` is the number of plates in a training batch, each with its own statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.api import Access, Samples, param
from bench.network import (
    ApplyStatistics,
    BatchwiseMethod,
    BatchwiseParams,
    inference_rows,
    rows_that_give,
)

META = {
    "kind": "method",
    "name": "ben",
    "class": "BEN",
    "level": "network",
    "version": 1,
    "summary": "Training batches from one plate; each test plate normalised by itself.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params(BatchwiseParams):
    """How training batches are made, and whose statistics are used at test."""

    inference: str = param(
        "whole",
        "rows that give statistics at a time: the whole test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )


class BEN(BatchwiseMethod):
    """Batch-wise training, and statistics of the test batch."""

    Params = Params

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the training batches and the one test batch, or only its controls."""
        at_test = Access.TEST_CONTROLS if params.rows == "controls" else Access.TEST_BATCH
        return super().access(params) | at_test

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return the rows of the test batch."""
        gives = rows_that_give(samples, self.params.rows)
        return ApplyStatistics(gives, inference_rows(self.params.inference), self.params.min_rows)
