r"""Mixup: training on convex combinations of pairs of rows and of their labels.

For rows i and j of a training batch, j the image of i under a random permutation, and
:math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`,

.. math:: \tilde x = \lambda x_i + (1 - \lambda) x_j, \quad \tilde y = \lambda e_{y_i} + (1 -
          \lambda) e_{y_j}

and the loss is the cross-entropy with :math:`\tilde y`, which is
:math:`\lambda CE(z, y_i) + (1 - \lambda) CE(z, y_j)`.
Pairs are drawn regardless of batches; a comparison with ``lisa`` shows the effect of selecting
them. At test nothing is mixed, and BatchNorm uses its running averages.

Zhang, Cisse, Dauphin and Lopez-Paz 2018, mixup: beyond empirical risk minimization, ICLR,
arXiv 1710.09412. The published code draws one lambda for a training batch (``draw=batch``), the
paper's text one for a pair (``draw=pair``). What differs: rows without a class (negative controls)
are neither mixed nor scored; they stay in the batch unchanged. Rows are standardised before they
are mixed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import param
from bench.network import NetworkMethod

from ._mixing import beta, interpolated, mixed_loss

if TYPE_CHECKING:
    from torch import Tensor

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "mixup",
    "class": "Mixup",
    "level": "network",
    "version": 1,
    "summary": "Trains on convex combinations of random pairs of rows and of their labels.",
    "reference": "Zhang et al. 2018, ICLR, arXiv 1710.09412",
    "url": "https://arxiv.org/abs/1710.09412",
    "access": [],
}


@dataclass(frozen=True)
class Params:
    """How strongly pairs are mixed."""

    alpha: float = param(
        0.2,
        "both parameters of the Beta distribution of the mixing weight; towards 0 nothing is mixed",
        low=1e-3,
        high=100.0,
        search=(0.1, 1.0),
        log=True,
    )
    draw: str = param(
        "batch",
        "whether a training batch shares one mixing weight, or each pair has its own",
        choices=("batch", "pair"),
    )


class Mixup(NetworkMethod):
    """ERM on mixtures of rows."""

    Params = Params

    def inputs(self, batch: Batch) -> Batch:
        """Mix each row that has a class with another row that has a class."""
        import torch

        rows = torch.nonzero(batch.y >= 0).flatten()
        order = torch.randperm(len(rows), generator=batch.generator)
        partner = torch.arange(len(batch.y), device=batch.y.device)
        partner[rows] = rows[order.to(rows.device)]
        count = len(batch.y) if self.params.draw == "pair" else 1
        weight = beta(self.params.alpha, count, batch.generator).expand(len(batch.y))
        x = interpolated(batch.x, batch.x[partner], weight)
        extra = {**batch.extra, "other": batch.y[partner], "weight": weight}
        return dataclasses.replace(batch, x=x, extra=extra)

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Return the cross-entropy with the mixed labels."""
        assert batch.logits is not None
        return mixed_loss(batch.logits, batch.y, batch.extra["other"], batch.extra["weight"])
