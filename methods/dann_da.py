r"""DANN for adaptation: features from which training and evaluation rows cannot be distinguished.

A domain classifier D on the features f learns which rows are training rows and which unlabelled
evaluation rows; its gradient goes into the features with its sign reversed:

.. math:: L_{domain} = \frac{1}{2}
          \left( \mathrm{mean}_{train} \left[ -\log D(f) \right]
          + \mathrm{mean}_{test} \left[ -\log(1 - D(f)) \right] \right),

.. math:: \min_D L_{domain}, \quad \min_{rest} \; L_{class} - \lambda(p) L_{domain},

.. math:: \lambda(p) = w \left( \frac{2}{1 + \exp(-10 p)} - 1 \right)

over training rows and unlabelled evaluation rows. w is ``weight``, and p the share of the training
that is done.

Ganin et al. 2016, Domain-adversarial training of neural networks, JMLR 17:59: gradient reversal,
and its ramp. There a step has one source and one target with equally many rows, in one pass through
the network. What differs: the classifier has BatchNorm, and all parts share the recipe's optimiser
and learning rate. No batch level is used: all training rows are one domain. Evaluation rows without
a class, such as controls, take part like any other row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._adaptation import AdaptingMethod
from ._adversary import AdversaryParams, domain_classifier, source_or_target
from ._groups import joined

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "dann-da",
    "class": "DANNDA",
    "level": "network",
    "version": 1,
    "summary": "Reversed gradient from a classifier of training against evaluation rows.",
    "reference": "Ganin et al. 2016, JMLR 17:59",
    "url": "https://jmlr.org/papers/v17/15-239.html",
    "access": ["adapt"],
    "helps": ["location"],
}


@dataclass(frozen=True)
class Params(AdversaryParams):
    """The adversary."""


class DANNDA(AdaptingMethod):
    """An adversary that tells training rows from evaluation rows."""

    Params = Params

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
        """Return the domain classifier of two domains."""
        return domain_classifier(n_features, 2, self.params.hidden)

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the domain term, whose gradient is reversed."""
        from bench.training import classification_loss, reverse_gradient

        assert batch.adapt is not None
        features = joined(batch.features, batch.adapt.features)
        told = model.extra(reverse_gradient(features, self.params.factor(batch.progress)))
        return {
            "class": classification_loss(batch),
            "domain": source_or_target(told, len(batch.y)),
        }
