"""Domain classifiers behind a reversed gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import param

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class AdversaryParams:
    """Parameters of the domain classifier and of its reversed gradient."""

    weight: float = param(
        1.0,
        "largest factor of the reversed gradient",
        low=0.0,
        high=1e4,
        search=(0.01, 10.0),
        log=True,
    )
    ramp: str = param(
        "sigmoid",
        "how the factor grows over the training: 2 / (1 + exp(-10 p)) - 1 at share p, or not",
        choices=("sigmoid", "constant"),
        search=("sigmoid", "constant"),
    )
    hidden: int = param(
        256,
        "width of the two hidden layers of the domain classifier",
        unit="units",
        low=1,
        high=65536,
        search=(64, 1024),
        log=True,
    )

    def factor(self, progress: float) -> float:
        """Return the factor of the reversed gradient at a share ``progress`` of the training.

        The ramp of Ganin et al. 2016, JMLR 17:59, times ``weight``.
        """
        if self.ramp == "constant":
            return self.weight
        return self.weight * (2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0)


def domain_classifier(n_inputs: int, n_domains: int, hidden: int) -> nn.Module:
    """Return two hidden layers with BatchNorm and ReLU, and a linear one: ``(k, n_domains)``.

    BatchNorm prevents features from evading the classifier by a change of scale.
    """
    from bench.network import mlp

    return mlp(n_inputs, n_domains, hidden, 3)


def source_or_target(told: Tensor, n_source: int, weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of ``(k, 2)`` logits, both domains with weight 1/2.

    The first ``n_source`` rows are of domain 0, the others of domain 1; ``weight`` ``(k,)`` is the
    weight of a row within its domain.
    """
    import torch

    each = -told.log_softmax(1)
    if weight is None:
        weight = torch.ones_like(each[:, 0])
    sides = ((each[:n_source, 0], weight[:n_source]), (each[n_source:, 1], weight[n_source:]))
    source, target = ((loss * share).sum() / share.sum() for loss, share in sides)
    return (source + target) / 2
