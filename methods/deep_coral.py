r"""Deep CORAL for domain generalisation: training batches with equal mean and covariance.

Let m_i and C_i be the mean and covariance of the features over the rows of experimental batch i in
a training batch. The d features are the input of the last linear layer. The loss is

.. math:: L = L_{class} + w \; \mathrm{mean}_{i < j} \left( \frac{|m_i - m_j|^2}{d} + \frac{|C_i -
          C_j|_F^2}{d^2} \right)

where :math:`L_{class}` is the mean cross-entropy over labelled rows and w is ``weight``.

Sun and Saenko 2016, Deep CORAL, arXiv 1607.01719. They aligned covariances only, of one source with
one target, by a quarter of the second term. The mean term, the pairs and the equal numbers of rows
are those of WILDS (Koh et al. 2021, arXiv 2012.07421). The default weight is theirs for RxRx1. What
differs: rows without a class count in the penalty and not in the class term. Nothing of the test
batch is used.

It removes any difference between batches, including one due to different classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import param

from ._alignment import coral
from ._groups import GroupParams, GroupwiseMethod, parts_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "deep-coral",
    "class": "DeepCORAL",
    "level": "network",
    "version": 1,
    "summary": "Penalty on differences of feature mean and covariance between training batches.",
    "reference": "Sun and Saenko 2016, arXiv 1607.01719; Koh et al. 2021, arXiv 2012.07421",
    "url": "https://arxiv.org/abs/1607.01719",
    "access": ["train-batch"],
}


@dataclass(frozen=True)
class Params(GroupParams):
    """The penalty, and how training batches are made."""

    weight: float = param(
        0.1, "weight of the penalty", low=0.0, high=1e6, search=(0.01, 10.0), log=True
    )


class DeepCORAL(GroupwiseMethod):
    """Moments of features matched over pairs of training batches."""

    Params = Params
    least = 2

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the weighted penalty."""
        from bench.training import classification_loss

        assert batch.features is not None
        gap = coral(parts_of(batch.features, batch.group))
        return {"class": classification_loss(batch), "penalty": self.params.weight * gap}
