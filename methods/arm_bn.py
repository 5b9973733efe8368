r"""ARM-BN, adaptive risk minimisation by batch statistics: train and test on small support sets.

A training batch (the paper's meta-batch) has ``per_batch`` experimental batches with a support
set of s rows each, drawn without replacement. The network f is applied to each support set S by
itself, its BatchNorm layers using the statistics of S:

.. math:: y = \gamma \frac{x - \mu_S}{\sqrt{\sigma_S^2 + \epsilon}} + \beta,

and the loss is the mean cross-entropy over all support sets. At test the rows of a test batch are
divided into support sets of s rows. Each set is normalised by its own statistics.

Zhang et al. 2021, Adaptive risk minimization: learning to adapt to domain shift, NeurIPS 34, arXiv
2007.02931, section 4.1. Differences from ``ben``: a training batch has several plates instead of
one. At test statistics come from s rows at a time instead of the plate. ``inference=support`` uses
as many as a plate had in a training batch. Its training is that of ``ben-multi`` and the fit is
shared. No running average is used. Differences from the paper: rows of the test batch are assigned
to support sets by their content. Row order has no effect. The last set is filled with rows that are
scored in another set. All statistics therefore come from s rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import param

from ._own_statistics import OwnStatistics, SeveralParams

META = {
    "kind": "method",
    "name": "arm-bn",
    "class": "ARMBN",
    "level": "network",
    "version": 1,
    "summary": "Several plates in a training batch; small support sets of the test plate at test.",
    "reference": "Zhang et al. 2021, NeurIPS 34, arXiv 2007.02931",
    "url": "https://arxiv.org/abs/2007.02931",
    "access": ["train-batch", "test-batch"],
    "fit": "ben-multi",
    "helps": ["location", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params(SeveralParams):
    """As those of ben-multi, with support sets at test."""

    inference: str = param(
        "support",
        "rows that give statistics at a time: support is as many as a plate had in a training "
        "batch (batch_size / per_batch), whole the test batch, or this many",
        unit="rows",
        pattern=r"support|whole|[1-9][0-9]*",
        phase="apply",
    )


class ARMBN(OwnStatistics):
    """Support sets of several plates while training, of the test plate afterwards."""

    Params = Params

    def rows_at_a_time(self) -> int:
        """Return the size of a support set; 0 is the test batch."""
        if self.params.inference != "support":
            return super().rows_at_a_time()
        size = int(self.fitted.config["recipe"]["batch_size"]) // int(self.params.per_batch)
        if self.params.rows == "controls":  # only a share of a training batch gave statistics
            size = min(max(round(size * self.params.control_share), 1), size - 1)
        return max(size, 1)
