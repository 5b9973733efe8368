r"""Features of a pretrained encoder: a network trained elsewhere.

``encoder:NAME`` is a first stage, as in ``encoder:efficientnet-lite0+tvn``. NAME is

``efficientnet-lite0``
    trained on ImageNet (Tan and Le 2019); its weights are in the extra ``labshift[pretrained]``;
a network of torchvision or timm
    such as ``resnet50``; the weights are downloaded by these libraries on first use;
``module:factory`` or ``file.py:factory``
    ``factory()`` returns an ``nn.Module`` with its weights, from images ``(n, 3, side, side)``,
    scaled to the mean and standard deviation of ImageNet, to features ``(n, d)``.

Nothing is learned from the training rows, and no batch is used. Features contain the batch effects
of the pixels, as far as the network responds to them. Each image is scaled from its 0.1 to its 99.9
percentile to [0, 1]. The version of the library and the SHA-256 of the weights are part of the
identity of a run. The features are stored with its other artifacts. The network runs on the
processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, Output, param
from bench.network import encode, pinned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.api import Context, Samples

META = {
    "kind": "method",
    "name": "encoder",
    "class": "Encoder",
    "level": "classifier",
    "version": 1,
    "summary": "Features of a pretrained network, such as encoder:efficientnet-lite0.",
    "reference": "Tan and Le 2019, ICML, arXiv:1905.11946 (EfficientNet)",
    "url": "https://arxiv.org/abs/1905.11946",
    "access": [],
    "deterministic": True,
    "argument": "efficientnet-lite0",
}

CHUNK = 256
"""Images in memory at a time."""


@dataclass(frozen=True)
class EncoderParams:
    """Parameters of a pretrained encoder."""

    name: str = param(
        "efficientnet-lite0",
        "the network, usually written after the colon: encoder:resnet50",
        pattern=".+",
    )
    side: int = param(128, "images are resampled to this width", unit="pixels", low=32, high=1024)
    channels: str = param(
        "each",
        "each: every channel on its own, as a grey image, features concatenated; rgb: the three "
        "channels are the colours of one image",
        choices=("each", "rgb"),
    )


class Encoder:
    """A frozen network as a first stage."""

    Params: ClassVar[type] = EncoderParams
    name: ClassVar[str] = "encoder"
    has_head: ClassVar[bool] = False

    def __init__(self, params: EncoderParams) -> None:
        self.params = params

    @classmethod
    def access(cls, params: EncoderParams) -> Access:
        """Return no access: each image is encoded on its own."""
        return Access.NONE

    @classmethod
    def needs(cls, params: EncoderParams) -> frozenset[str]:
        """Return that the data must be images."""
        return frozenset({"images"})

    @classmethod
    def pinned(cls, params: EncoderParams) -> dict[str, str]:
        """Return the revision and the SHA-256 of the weights, part of the identity of a run.

        Raises
        ------
        BenchError
            If the encoder is unknown, or its weights are not available.
        """
        return pinned(params.name)

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn nothing."""

    def apply(self, samples: Samples) -> Output:
        """Return features ``(n, d)`` of images.

        Raises
        ------
        BenchError
            If the network fails on these images.
        """
        params = self.params
        blocks = [
            encode(
                samples.images(np.arange(start, min(start + CHUNK, len(samples)))),
                params.name,
                params.side,
                params.channels,
            )
            for start in range(0, len(samples), CHUNK)
        ]
        return Output(np.concatenate(blocks))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return no arrays: the weights are identified by :meth:`pinned`."""
        return {}

    @classmethod
    def from_state(cls, params: EncoderParams, state: Mapping[str, NDArray[Any]]) -> Encoder:
        """Rebuild from :meth:`state`."""
        return cls(params)
