"""Fixed features of images and what classical classifiers on them share.

Features are scaled by the mean and standard deviation of the training rows; nothing else about them
is learned. Two kinds: ``fixed``, intensities, texture and spectrum as in the reference
row ``identity``; and ``imagenet``, an EfficientNet-Lite0 trained on ImageNet (Tan and Le 2019,
arXiv:1905.11946), each channel on its own. Profiles of a table are their own features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, Output, Samples, fixed_features, param
from bench.network import encode, pinned

from ._rows import profiles
from ._whitening import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.api import Access, Context, Floats, Ints

Doubles = NDArray[np.float64]

CHUNK = 256
FLOOR = 1e-6
"""Probability used for 0 in a logit."""
PACKAGED = "efficientnet-lite0"


@dataclass(frozen=True)
class FixedParams:
    """Parameters that all classifiers on fixed features have."""

    features: str = param(
        "fixed",
        "fixed: intensities, texture and spectrum; imagenet: an EfficientNet-Lite0 trained on "
        "ImageNet (needs the extra labshift[pretrained]); a table is taken as it is",
        pattern="fixed|imagenet",
    )
    side: int = param(
        128, "imagenet: images are resampled to this width", unit="pixels", low=32, high=512
    )


class FixedFeatures:
    """Base of classifiers on fixed features: a subclass learns from them and gives logits."""

    Params: ClassVar[type] = FixedParams
    name: ClassVar[str]

    def __init__(self, params: Any) -> None:
        self.params = params
        self._state: dict[str, NDArray[Any]] = {}

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return nothing: rows and labels of the training set are enough."""
        from bench.api import Access

        return Access.NONE

    @classmethod
    def pinned(cls, params: Any) -> dict[str, str]:
        """Return the revision and the SHA-256 of pretrained weights, if they are used."""
        return pinned(PACKAGED) if params.features == "imagenet" else {}

    def learn(self, X: Doubles, y: Ints, ctx: Context) -> dict[str, NDArray[Any]]:
        """Return the parameters learned from scaled features ``(n, d)`` and classes ``(n,)``."""
        raise TypeError("a classifier must implement learn")

    def probabilities(self, X: Doubles) -> Doubles:
        """Return the probabilities of the classes that were learned, ``(n, k)``."""
        raise TypeError("a classifier must implement probabilities")

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Scale the features of the labelled training rows and learn from them.

        Raises
        ------
        NotApplicable
            If no training row has a class.
        BenchError
            If the rows are profiles with values that are not finite.
        """
        labelled = train.take(np.flatnonzero(train.y >= 0))
        if not len(labelled):
            raise NotApplicable(f"{self.name} needs labels, and no training row has one")
        X = self._features(labelled).astype(np.float64)
        mean, sd = X.mean(axis=0), X.std(axis=0)
        sd = np.where(sd > CONSTANT * np.abs(mean), sd, 1.0)
        self._state = {
            "mean": mean,
            "sd": sd,
            "classes": np.unique(labelled.y),
            **self.learn((X - mean) / sd, labelled.y, ctx),
        }

    def apply(self, samples: Samples) -> Output:
        """Return scaled features ``(n, d)`` and the logarithms of the classes' probabilities."""
        state = self._state
        X = (self._features(samples) - state["mean"]) / state["sd"]
        logits = np.full((len(samples), samples.n_classes), np.log(FLOOR), np.float32)
        logits[:, state["classes"]] = np.log(np.maximum(self.probabilities(X), FLOOR))
        return Output(X.astype(np.float32), logits)

    def state(self) -> dict[str, NDArray[Any]]:
        """Scaling of the features, the classes seen, and what the classifier learned."""
        return self._state

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, NDArray[Any]]) -> FixedFeatures:
        """Rebuild from :meth:`state`."""
        method = cls(params)
        method._state = dict(state)
        return method

    def _features(self, samples: Samples) -> Floats:
        if samples.X is not None:
            return profiles(samples, self.name)
        parts: list[Floats] = []
        for start in range(0, len(samples), CHUNK):
            images = samples.images(np.arange(start, min(start + CHUNK, len(samples))))
            if self.params.features == "imagenet":
                parts.append(encode(images, PACKAGED, self.params.side))
            else:
                parts.append(fixed_features(images))
        return np.concatenate(parts)
