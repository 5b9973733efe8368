r"""CDANN: features from which the training batch cannot be read among rows of one class.

As ``dann``, but the domain classifier D also learns the class, and classes count equally however
many rows they have. With features f_i, class y_i, batch e_i, and a trained vector v_k for class k,

.. math:: L_{domain} = \mathrm{mean}_k \; \mathrm{mean}_{i: y_i = k} \; CE(D(f_i + v_k), e_i),

.. math:: \min_{D, v} L_{domain}, \quad \min_{rest} \; L_{class} - \lambda(p) L_{domain},

.. math:: \lambda(p) = w \left( \frac{2}{1 + \exp(-10 p)} - 1 \right)

over the classes k of the training batch. w is ``weight``, and p the share of the training that is
done.

A batch with other classes therefore does not change the features, whereas ``dann`` removes the
difference.

Li et al. 2018, Deep domain generalization via conditional invariant adversarial networks, ECCV, has
one classifier for each class; the vectors and the balance are those of DomainBed (Gulrajani and
Lopez-Paz 2021, arXiv 2007.01434). Differences: one step by gradient reversal with Ganin's ramp, as
in the paper, replaces alternating steps. The classifier has BatchNorm, and there is one optimiser.
Rows without a class have no part in the domain term. Nothing of the test batch is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._adversary import AdversaryParams, domain_classifier
from ._groups import GroupParams, GroupwiseMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "cdann",
    "class": "CDANN",
    "level": "network",
    "version": 1,
    "summary": "Reversed gradient from a classifier of the training batch that knows the class.",
    "reference": "Li et al. 2018, ECCV; Gulrajani and Lopez-Paz 2021, arXiv 2007.01434",
    "url": "https://openaccess.thecvf.com/content_ECCV_2018/html/Ya_Li_Deep_Domain_Generalization_ECCV_2018_paper.html",
    "access": ["train-batch"],
    "hurts": ["label-shift"],
}


@dataclass(frozen=True)
class Params(AdversaryParams, GroupParams):
    """The adversary, and how training batches are made."""


class CDANN(GroupwiseMethod):
    """An adversary that distinguishes training batches within classes."""

    Params = Params

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
        """Return the vector of each class, and the domain classifier."""
        from torch import nn

        vectors = nn.Linear(n_classes, n_features, bias=False)
        nn.init.normal_(vectors.weight)
        domains = domain_classifier(n_features, n_batches, self.params.hidden)
        return nn.ModuleDict({"vectors": vectors, "domains": domains})

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the domain term, whose gradient is reversed."""
        from torch.nn import functional as F

        from bench.training import classification_loss, reverse_gradient

        assert batch.features is not None
        terms = {"class": classification_loss(batch), "domain": batch.features.sum() * 0.0}
        labelled = batch.y >= 0
        if not bool(labelled.any()):
            return terms
        extra: Any = model.extra
        onehot = F.one_hot(batch.y[labelled], batch.n_classes).float()
        features = reverse_gradient(batch.features[labelled], self.params.factor(batch.progress))
        told = extra["domains"](features + extra["vectors"](onehot))
        each = F.cross_entropy(told, batch.group[labelled], reduction="none")
        count = onehot.sum(0)
        present = count > 0
        terms["domain"] = ((each @ onehot)[present] / count[present]).mean()
        return terms
