r"""BEN with the statistics of negative controls alone, in training and at test.

A training batch has treated rows and controls of one plate; for each BatchNorm layer and channel

.. math:: y = \gamma \frac{x - \mu_C}{\sqrt{\sigma_C^2 + \epsilon}} + \beta,

where :math:`\mu_C` and :math:`\sigma_C^2` (biased) are the mean and variance over the controls C of
that plate and their pixels. They normalise all its rows. At test C are all controls of the test
plate. The effects of compounds then do not change the statistics, which matters where plates have
different compounds.

Lin and Lu 2022, PMLR 200:74-93, section 4.3 and appendix D. What differs: published batches have
controls in their natural number; here ``control_share`` of each training batch, because most
layouts have few. Test plates with fewer than ``min_rows`` controls use the running averages.
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
    "name": "ben-controls",
    "class": "BENControls",
    "level": "network",
    "version": 1,
    "summary": "BEN whose statistics come from the negative controls of each plate alone.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93, appendix D",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch", "controls", "test-controls"],
    "helps": ["location", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params(BatchwiseParams):
    """As BEN's, with the rows fixed."""

    rows: str = param("controls", "rows that give the statistics", choices=("controls",))
    inference: str = param(
        "whole",
        "controls that give statistics at a time: all of the test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )


class BENControls(BatchwiseMethod):
    """Batch-wise training and inference with the statistics of controls."""

    Params = Params

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the training batches, which rows are controls, and those of the test batch."""
        return super().access(params) | Access.TEST_CONTROLS

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return the controls of the test batch."""
        gives = rows_that_give(samples, "controls")
        return ApplyStatistics(gives, inference_rows(self.params.inference), self.params.min_rows)
