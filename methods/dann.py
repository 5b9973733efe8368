r"""DANN for domain generalisation: features from which the training batch cannot be read.

A domain classifier D learns the experimental batch of a row, over the G training batches. Its input
are the features f, the input of the last linear layer. Its gradient goes into the features with its
sign reversed:

.. math:: \min_D L_{domain}, \quad \min_{rest} \; L_{class} - \lambda(p) L_{domain},

.. math:: \lambda(p) = w \left( \frac{2}{1 + \exp(-10 p)} - 1 \right)

where :math:`L_{domain}` is the mean cross-entropy of D(f) against the batch. :math:`L_{class}` is
that of the class over labelled rows, w is ``weight``, and p the share of the training that is done.
Both minimisations are one step, by a gradient reversal layer.

Ganin et al. 2016, Domain-adversarial training of neural networks, JMLR 17:59: gradient reversal,
and its ramp; there with one source and one target. As in WILDS (Koh et al. 2021, arXiv 2012.07421),
training batches are the domains, drawn equally often. The classifier has two hidden layers with
BatchNorm. The factor of WILDS is constant. What differs: all parts share the recipe's optimiser and
learning rate. Rows without a class have a batch and take part. Nothing of the test batch is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._adversary import AdversaryParams, domain_classifier
from ._groups import GroupParams, GroupwiseMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "dann",
    "class": "DANN",
    "level": "network",
    "version": 1,
    "summary": "Reversed gradient from a classifier of the training batch.",
    "reference": "Ganin et al. 2016, JMLR 17:59",
    "url": "https://jmlr.org/papers/v17/15-239.html",
    "access": ["train-batch"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params(AdversaryParams, GroupParams):
    """The adversary, and how training batches are made."""


class DANN(GroupwiseMethod):
    """An adversary that distinguishes training batches."""

    Params = Params

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
        """Return the domain classifier."""
        return domain_classifier(n_features, n_batches, self.params.hidden)

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the domain term, whose gradient is reversed."""
        from torch.nn import functional as F

        from bench.training import classification_loss, reverse_gradient

        assert batch.features is not None
        told = model.extra(reverse_gradient(batch.features, self.params.factor(batch.progress)))
        return {
            "class": classification_loss(batch),
            "domain": F.cross_entropy(told, batch.group),
        }
