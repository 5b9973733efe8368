r"""Conditional DANN for adaptation: training and evaluation rows alike among rows predicted alike.

As ``dann-da``, but the domain classifier D sees the features f and the probabilities p that the
network predicts. This applies to both sides, since evaluation rows have no class:

.. math:: T(f, p) = (f_a p_k)_{a, k} \quad \mathrm{or} \quad T(f, p) = (A f) \odot (B p) /
          \sqrt{1024}.

The first has all d K products; the second is used if there are more than 4096. A and B are fixed
standard normal matrices with 1024 rows. Then

.. math:: L_{domain} = \frac{1}{2}
          \left( \mathrm{mean}_{train} \left[ -\log D(T) \right]
          + \mathrm{mean}_{test} \left[ -\log(1 - D(T)) \right] \right),

.. math:: \min_D L_{domain}, \quad \min_{rest} \; L_{class} - \lambda(p) L_{domain}

over training rows and evaluation rows, with the factor :math:`\lambda` of ``dann``. With
``entropy`` a row counts by 1 + exp(-H(p)), H being the entropy of its probabilities, so that
uncertain rows count less.

Long, Cao, Wang and Jordan 2018, Conditional adversarial domain adaptation, NeurIPS, arXiv
1705.10667: CDAN, and CDAN+E with ``entropy``. No gradient flows through p, as in the authors' code.
It differs from ``cdann`` in the map. The true class of one side against a prediction of the other
would distinguish the domains by itself. The classifier has BatchNorm, and all parts share the
recipe's optimiser and learning rate. No batch level is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import param

from ._adaptation import AdaptingMethod
from ._adversary import AdversaryParams, domain_classifier, source_or_target
from ._groups import joined

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "cdann-da",
    "class": "CDANNDA",
    "level": "network",
    "version": 1,
    "summary": "Reversed gradient from a classifier of the side that knows the predicted class.",
    "reference": "Long et al. 2018, NeurIPS, arXiv 1705.10667",
    "url": "https://arxiv.org/abs/1705.10667",
    "access": ["adapt"],
    "helps": ["location"],
}

LARGEST = 4096
"""Products of features and classes up to which all of them are used."""

RANDOM = 1024
"""Dimensions of the random map otherwise."""


@dataclass(frozen=True)
class Params(AdversaryParams):
    """The adversary."""

    entropy: bool = param(
        False, "whether rows count less where the prediction is uncertain", search=(False, True)
    )


class CDANNDA(AdaptingMethod):
    """An adversary that tells training from evaluation rows among rows predicted alike."""

    Params = Params

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
        """Return the domain classifier and, where the map is random, its two matrices."""
        import torch
        from torch import nn

        size = n_features * n_classes
        extra = nn.Module()
        if size > LARGEST:
            size = RANDOM
            extra.register_buffer("of_features", torch.randn(n_features, RANDOM))
            extra.register_buffer("of_classes", torch.randn(n_classes, RANDOM))
        extra.domains = domain_classifier(size, 2, self.params.hidden)
        return extra

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the domain term, whose gradient is reversed."""
        from bench.training import classification_loss, reverse_gradient

        assert batch.adapt is not None
        features = joined(batch.features, batch.adapt.features)
        log_p = joined(batch.logits, batch.adapt.logits).detach().log_softmax(1)
        reversed_ = reverse_gradient(features, self.params.factor(batch.progress))
        extra: Any = model.extra
        told = extra.domains(conditioned(extra, reversed_, log_p.exp()))
        weight = None
        if self.params.entropy:
            weight = 1 + (log_p.exp() * log_p).sum(1).exp()
        return {
            "class": classification_loss(batch),
            "domain": source_or_target(told, len(batch.y), weight),
        }


def conditioned(extra: Any, features: Tensor, p: Tensor) -> Tensor:
    """Return T of ``(k, d)`` features and ``(k, K)`` probabilities, ``(k, d K or 1024)``."""
    if not hasattr(extra, "of_features"):
        return (features[:, :, None] * p[:, None, :]).flatten(1)
    drawn: Tensor = (features @ extra.of_features) * (p @ extra.of_classes)
    return drawn / math.sqrt(RANDOM)
