r"""IRM: features on which one classifier is optimal in every training batch.

With R_e(s) the mean cross-entropy over the labelled rows of experimental batch e when all logits
are multiplied by s, the loss is

.. math:: \frac{1}{\max(w, 1)} \; \frac{1}{G} \sum_e \left( R_e(1) + w R_e'(1)^2 \right)

over the G batches e, with w = 1 for the first ``anneal`` of the training and ``weight`` after. For
one row with logits z, probabilities p and class y the derivative is ``sum_k p_k z_k - z_y``, so no
second backward pass is needed. The square is estimated without bias as the product of the means
over two halves of the rows. It can be negative.

Arjovsky, Bottou, Gulrajani and Lopez-Paz 2019, Invariant risk minimization, arXiv 1907.02893: IRMv1
of section 3.1 and the estimate of appendix D. Annealing and division by w are those of their
experiments with coloured digits. The default weight is that of WILDS for RxRx1 (Koh et al. 2021,
arXiv 2012.07421), where IRM was the least accurate; with it annealing changes nothing. What
differs: DomainBed and WILDS begin with a fresh optimiser where w changes; here the division keeps
the size of gradients, as in the paper. Batches with fewer than two labelled rows in a step add no
penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import param

from ._groups import GroupParams, GroupwiseMethod, parts_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "irm",
    "class": "IRM",
    "level": "network",
    "version": 1,
    "summary": "Penalty where a training batch would prefer another scale of the logits.",
    "reference": "Arjovsky et al. 2019, arXiv 1907.02893",
    "url": "https://arxiv.org/abs/1907.02893",
    "access": ["train-batch"],
}


@dataclass(frozen=True)
class Params(GroupParams):
    """The penalty, and how training batches are made."""

    weight: float = param(
        1.0, "weight of the penalty", low=0.0, high=1e6, search=(0.1, 1e4), log=True
    )
    anneal: float = param(
        0.1,
        "share of the training in which the penalty has weight 1",
        unit="share of steps",
        low=0.0,
        high=1.0,
        search=(0.0, 0.5),
    )


class IRM(GroupwiseMethod):
    """Equal optimal classifiers over training batches, to first order."""

    Params = Params

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the weighted penalty, both over max(w, 1)."""
        import torch
        from torch.nn import functional as F

        assert batch.logits is not None
        labelled = batch.y >= 0
        logits, y, group = batch.logits[labelled], batch.y[labelled], batch.group[labelled]
        zero = batch.logits.sum() * 0.0
        if not len(y):
            return {"class": zero, "penalty": zero}
        risks = parts_of(F.cross_entropy(logits, y, reduction="none"), group)
        slope = (logits.softmax(1) * logits).sum(1) - logits.gather(1, y[:, None])[:, 0]
        slopes = [part for part in parts_of(slope, group) if len(part) > 1]
        squares = [part[::2].mean() * part[1::2].mean() for part in slopes]
        weight = self.params.weight if batch.progress >= self.params.anneal else 1.0
        scale = max(weight, 1.0)
        return {
            "class": torch.stack([risk.mean() for risk in risks]).mean() / scale,
            "penalty": torch.stack(squares).mean() * (weight / scale) if squares else zero,
        }
