r"""AdaBN: the network of ERM, normalised at test by the statistics of each test batch.

For each BatchNorm layer and channel

.. math:: y = \gamma \frac{x - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} + \beta,

where :math:`\mu_B` and :math:`\sigma_B^2` (biased) are the mean and variance over all rows and
pixels of the test batch B. A batch is a plate, for example. :math:`\gamma`, :math:`\beta` and all
other weights are ERM's.

Li et al. 2016, Revisiting batch normalization for practical domain adaptation, arXiv 1603.04779.
The paper estimates the statistics of a target domain online; here the domain is the batch
at ``level`` and its statistics are exact. In the comparison of Lin and Lu 2022 this is the
condition with mixed training and batch-wise inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.api import Access, Samples, param
from bench.network import ApplyStatistics, NetworkMethod, inference_rows, rows_that_give

META = {
    "kind": "method",
    "name": "adabn",
    "class": "AdaBN",
    "level": "network",
    "version": 1,
    "summary": "ERM's network with the BatchNorm statistics of each test batch.",
    "reference": "Li et al. 2016, arXiv 1603.04779",
    "url": "https://arxiv.org/abs/1603.04779",
    "access": ["test-batch"],
    "fit": "erm",
    "helps": ["location", "scale", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params:
    """Parameters of the apply phase: changing them requires no new training."""

    level: str = param(
        "", "batch level whose statistics are used; empty is the default", phase="apply"
    )
    inference: str = param(
        "whole",
        "rows that give statistics at a time: the whole test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )
    rows: str = param(
        "all",
        "rows that give the statistics",
        choices=("all", "treated", "controls"),
        search=("all", "treated", "controls"),
        phase="apply",
    )
    min_rows: int = param(
        2,
        "with fewer rows that give statistics, the running averages are used and counted",
        unit="rows",
        low=1,
        high=1_000_000,
        phase="apply",
    )


class AdaBN(NetworkMethod):
    """ERM while training; statistics of the test batch afterwards."""

    Params = Params
    needs_batch_norm = True

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the one test batch, or only its controls."""
        if params.rows == "all":
            return Access.TEST_BATCH
        if params.rows == "treated":
            return Access.CONTROLS | Access.TEST_BATCH
        return Access.CONTROLS | Access.TEST_CONTROLS

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return the rows of the test batch."""
        gives = rows_that_give(samples, self.params.rows)
        return ApplyStatistics(gives, inference_rows(self.params.inference), self.params.min_rows)
