r"""Group DRO: training batches that are learned worst get the largest weight.

Each experimental batch g has a weight q_g, at first 1 / G. At each step, with l_g the mean
cross-entropy over the labelled rows of g in the training batch,

.. math:: q_g \leftarrow q_g \exp(\eta \, l_g), \quad q \leftarrow q / \sum_h q_h

for the P batches of the step (:math:`\eta` is ``step_size``), and the loss is

.. math:: L = \frac{G}{P} \sum_g q_g l_g.

Sagawa, Koh, Hashimoto and Liang 2020, Distributionally robust neural networks for group shifts,
arXiv 1911.08731, algorithm 1, which draws one group a step; G / P makes the loss an unbiased
estimate of sum_g q_g l_g whatever P. The default step is that of WILDS (Koh et al. 2021, arXiv
2012.07421). What differs: no group adjustments, and the regularisation is
the recipe's, equal for all methods (the paper raises it). Groups are batches, not batch and class.
Weights are part of the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import param

from ._groups import GroupParams, GroupwiseMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "group-dro",
    "class": "GroupDRO",
    "level": "network",
    "version": 1,
    "summary": "Training batches weighted by how badly they are learned.",
    "reference": "Sagawa et al. 2020, arXiv 1911.08731",
    "url": "https://arxiv.org/abs/1911.08731",
    "access": ["train-batch"],
}


@dataclass(frozen=True)
class Params(GroupParams):
    """Step size of the weights, and how training batches are made."""

    step_size: float = param(
        0.01,
        "how fast weights of batches move",
        unit="1 / nats",
        low=0.0,
        high=100.0,
        search=(0.001, 0.1),
        log=True,
    )


class GroupDRO(GroupwiseMethod):
    """Batch weights by exponentiated gradient ascent on the losses."""

    Params = Params

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
        """Return the weights ``q``, ``(n_batches,)``: a buffer, in checkpoints too."""
        import torch
        from torch import nn

        weights = nn.Module()
        weights.register_buffer("q", torch.full((n_batches,), 1.0 / n_batches))
        return weights

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Return the weighted loss; the updated weights are in ``batch.extra`` until the step."""
        import torch
        from torch.nn import functional as F

        assert batch.logits is not None
        q: Any = model.extra.q
        labelled = batch.y >= 0
        each = F.cross_entropy(batch.logits[labelled], batch.y[labelled], reduction="none")
        member = F.one_hot(batch.group[labelled], len(q)).to(each.dtype)
        count = member.sum(0)
        loss = (each @ member) / count.clamp(min=1)
        moved = q * torch.exp(self.params.step_size * loss.detach())
        moved = moved / moved.sum()
        batch.extra["q"] = moved
        drawn = len(set(batch.group.tolist()))
        total: Tensor = (moved * loss).sum() * (len(q) / drawn)
        return total

    def after_step(self, model: Model, batch: Batch) -> None:
        """Store the updated weights."""
        q: Any = model.extra.q
        q.copy_(batch.extra["q"])
