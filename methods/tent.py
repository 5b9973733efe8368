r"""Tent: the network of ERM, its BatchNorm scales and shifts fitted to each test batch by entropy.

For a test batch (a plate) all weights of a copy are frozen. Exceptions are gamma and beta of its
BatchNorm layers. These layers normalise with the statistics of the rows of the call. Over the rows
in pieces of ``step_rows`` the mean entropy of the predicted classes,

.. math:: H = - \frac{1}{n} \sum_i \sum_k p_{ik} \log p_{ik}, \quad p_i = \mathrm{softmax}(z_i)

is lowered by one Adam step a piece. All rows are then predicted with the adapted gamma and beta,
and with the statistics of the test batch. The copy is discarded: the next test batch starts from
ERM's weights. With ``passes`` = 0 this is ``adabn``.

Wang et al. 2021, Tent: fully test-time adaptation by entropy minimization, ICLR, arXiv 2006.10726.
Differences: the paper goes through one stream of a target domain. It predicts each piece before its
step, with the statistics of the piece. Here a domain is a test batch, and all its rows are
predicted after the last step. Rows are processed in an order that depends on their content, so the
order of the view has no effect. Adam at 1e-3 is the paper's for CIFAR. Controls are rows like any
other: the method does not know that they have no class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Access, BenchError, Samples, param
from bench.network import ApplyStatistics, NetworkMethod, Statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.network import Model, TestBatch

META = {
    "kind": "method",
    "name": "tent",
    "class": "Tent",
    "level": "network",
    "version": 1,
    "summary": "ERM's network; BatchNorm scale and shift fitted to each test batch by entropy.",
    "reference": "Wang et al. 2021, ICLR, arXiv 2006.10726",
    "url": "https://arxiv.org/abs/2006.10726",
    "access": ["test-batch"],
    "fit": "erm",
    "helps": ["location", "scale", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params:
    """Parameters of the apply phase: changing them requires no new training."""

    level: str = param("", "batch level that is adapted to; empty is the default", phase="apply")
    lr: float = param(
        1e-3,
        "step size of Adam on scale and shift",
        low=0.0,
        high=1.0,
        search=(1e-4, 1e-2),
        log=True,
        phase="apply",
    )
    passes: int = param(
        1,
        "times that the test batch is gone through; 0 adapts statistics alone",
        unit="passes",
        low=0,
        high=1000,
        search=(1, 10),
        phase="apply",
    )
    step_rows: int = param(
        64,
        "rows of a gradient step; a shorter last piece joins the one before it",
        unit="rows",
        low=2,
        high=1_000_000,
        phase="apply",
    )
    min_rows: int = param(
        2,
        "a test batch with fewer rows takes ERM's running averages, unadapted, and is counted",
        unit="rows",
        low=2,
        high=1_000_000,
        phase="apply",
    )


class Tent(NetworkMethod):
    """ERM while training; entropy minimisation on a copy for each test batch."""

    Params = Params
    needs_batch_norm = True

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the one test batch."""
        return Access.TEST_BATCH

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return all rows of the test batch."""
        return ApplyStatistics(np.ones(len(samples), bool), min_rows=self.params.min_rows)

    def adapt_model(self, model: Model, rows: TestBatch) -> Model:
        """Return a copy with adapted scales and shifts; ``model`` is not changed.

        Raises
        ------
        BenchError
            If no BatchNorm layer has a scale or shift.
        """
        import copy

        import torch

        n, params = len(rows), self.params
        if n < params.min_rows or params.passes == 0:
            return model
        twin = copy.deepcopy(model)
        affine = affine_parameters(twin.network)
        if not affine:
            raise BenchError(
                "tent moves the scale and shift of BatchNorm layers, and those of this network "
                "have none: take a network with affine BatchNorm"
            )
        twin.requires_grad_(False)
        for parameter in affine:
            parameter.requires_grad_(True)
        optimiser = torch.optim.Adam(affine, lr=params.lr)
        order = np.argsort(rows.keys(), kind="stable").astype(np.int64)
        pieces = np.split(order, np.arange(params.step_rows, n, params.step_rows))
        if len(pieces) > 1 and len(pieces[-1]) < params.step_rows:
            pieces[-2:] = [np.concatenate(pieces[-2:])]
        with torch.enable_grad():
            for piece in pieces * params.passes:
                with twin.using(Statistics("rows")):
                    logits = twin(rows.x(piece))[1]
                optimiser.zero_grad(set_to_none=True)
                mean_entropy(logits).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        twin.requires_grad_(False)
        return twin


def affine_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the scales and shifts of the BatchNorm layers of a network, each once."""
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    return [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean over rows of the entropy of softmax, in nats, of ``(n, K)`` logits."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()
