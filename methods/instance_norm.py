r"""Instance normalisation: every image is normalised by its own statistics, in every layer.

Each BatchNorm layer is replaced by

.. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta,

where :math:`\mu` and :math:`\sigma^2` (biased) are the mean and variance over the pixels of one
image and channel, and :math:`\gamma` and :math:`\beta` are trained. Scaling and shifts of a channel
of an image (staining, lamp, gain) are removed by the first layer. No row depends on another, and
nothing about the test batch is needed. Information on the class in an image's own mean and contrast
is removed as well.

Ulyanov, Vedaldi and Lempitsky 2016, Instance normalization: the missing ingredient for fast
stylization, arXiv 1607.08022; as a remedy for shifts in appearance Pan et al. 2018, ECCV (there as
a part of the layers, see ``ibn``). What differs: none of the paper's stylisation, and a pretrained
layer keeps its gamma and beta. On tables it is not applicable: a profile has one value for each
feature and nothing to average over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.network import NetworkMethod

from ._instance_norm import instance_norm, refuse_profiles

if TYPE_CHECKING:
    from torch import nn

META = {
    "kind": "method",
    "name": "instance-norm",
    "class": "InstanceNorm",
    "level": "network",
    "version": 1,
    "summary": "ERM with instance instead of batch normalisation; images only.",
    "reference": "Ulyanov et al. 2016, arXiv 1607.08022",
    "url": "https://arxiv.org/abs/1607.08022",
    "access": [],
}


class InstanceNorm(NetworkMethod):
    """ERM in a network whose BatchNorm layers became instance normalisation."""

    @classmethod
    def needs(cls, params: Any) -> frozenset[str]:
        """Return that rows must be images."""
        return frozenset({"images"})

    def modify(self, network: nn.Module) -> nn.Module:
        """Return the network with every BatchNorm layer replaced.

        Raises
        ------
        NotApplicable
            If rows are profiles.
        BenchError
            If there is no BatchNorm layer to replace.
        """
        from torch.nn.modules.batchnorm import _BatchNorm

        from bench.network import refuse_without_batch_norm

        refuse_profiles(network, "instance-norm")
        refuse_without_batch_norm(network, type(network).__name__, "instance-norm")
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, _BatchNorm):
                    setattr(parent, name, instance_norm(child, child.num_features))
        return network
