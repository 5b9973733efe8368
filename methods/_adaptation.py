"""Methods that see the unlabelled evaluation rows while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.api import Access
from bench.network import NetworkMethod

if TYPE_CHECKING:
    from bench.network import Batch, Model


class AdaptingMethod(NetworkMethod):
    """Training rows and unlabelled evaluation rows go through the network in one pass.

    BatchNorm normalises both by the statistics of their mixture, which its running averages
    estimate for the test. In separate passes each side would be centred by its own statistics: the
    two would be aligned during training, but not at test.
    """

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the unlabelled evaluation set."""
        return Access.ADAPT

    def forward(self, model: Model, batch: Batch) -> None:
        """Fill features and logits of both sides."""
        import torch

        adapt = batch.adapt
        assert adapt is not None
        sizes = [len(batch.x), len(adapt.x)]
        features, logits = model(torch.cat([batch.x, adapt.x]))
        batch.features, adapt.features = features.split(sizes)
        batch.logits, adapt.logits = logits.split(sizes)
