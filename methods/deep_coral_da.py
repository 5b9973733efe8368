r"""Deep CORAL for adaptation: features of training and of unlabelled evaluation batches alike.

With m and C the mean and covariance of the features (d of them) of one experimental batch, the
loss is

.. math:: L = L_{class} + w \; \mathrm{mean}_{i, j} \left( \frac{|m_i - m_j|^2}{d} + \frac{|C_i -
          C_j|_F^2}{d^2} \right)

where i are experimental batches of the training rows and j those of the unlabelled evaluation rows
of a step (``pairs = across``). With ``pairs = all``, i < j are pairs of both kinds together.

Sun and Saenko 2016, Deep CORAL, arXiv 1607.01719, had one source, one target, covariances only, and
a quarter of the second term. ``all``, the mean term, and batches as groups are those of WILDS with
unlabelled data (Sagawa et al. 2022, arXiv 2112.05090). Both sides go through the network in one
pass, as there. BatchNorm normalises them by the statistics of the mixture. Evaluation rows without
a class, such as controls, take part like any other row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from bench.api import Access, Samples, param

from ._adaptation import AdaptingMethod
from ._alignment import coral
from ._groups import GroupParams, GroupwiseMethod, groupwise, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bench.api import Ints
    from bench.network import Batch, Model, Sampler

META = {
    "kind": "method",
    "name": "deep-coral-da",
    "class": "DeepCORALDA",
    "level": "network",
    "version": 1,
    "summary": "Penalty on differences of feature moments between training and evaluation batches.",
    "reference": "Sun and Saenko 2016, arXiv 1607.01719; Sagawa et al. 2022, arXiv 2112.05090",
    "url": "https://arxiv.org/abs/1607.01719",
    "access": ["train-batch", "adapt"],
    "helps": ["location", "hierarchical"],
}


@dataclass(frozen=True)
class Params(GroupParams):
    """The penalty, and how training batches are made; ``per_batch`` applies to each side."""

    weight: float = param(
        0.1, "weight of the penalty", low=0.0, high=1e6, search=(0.01, 10.0), log=True
    )
    pairs: str = param(
        "across",
        "which batches are compared: each training batch with each evaluation batch, or all",
        choices=("across", "all"),
        search=("across", "all"),
    )


class DeepCORALDA(AdaptingMethod, GroupwiseMethod):
    """Moments of features matched between training and evaluation batches."""

    Params = Params
    least = 2

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the batches of training rows, and the unlabelled evaluation set."""
        return Access.TRAIN_BATCH | Access.ADAPT

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return training batches of one or more experimental batches."""
        size = recipe["batch_size"]
        return groupwise(group, size, seed, self.params.per_batch, self.least, fewest=1)

    def adapt_sampler(
        self, adapt: Samples, group: Ints, recipe: Mapping[str, Any], seed: int
    ) -> Sampler:
        """Return unlabelled rows in the same way."""
        return self.sampler(adapt, group, recipe, seed)

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the weighted penalty."""
        from bench.training import classification_loss

        assert batch.features is not None
        assert batch.adapt is not None
        assert batch.adapt.features is not None
        source = parts_of(batch.features, batch.group)
        target = parts_of(batch.adapt.features, batch.adapt.group)
        both = range(len(source) + len(target))
        across = product(both[: len(source)], both[len(source) :])
        gap = coral(source + target, across if self.params.pairs == "across" else None)
        return {"class": classification_loss(batch), "penalty": self.params.weight * gap}
