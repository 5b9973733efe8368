"""Views, projector, loss and samplers of the self-supervised methods.

Rows of a training batch that carry the same key are *views* of one thing and positives of each
other; all others are negatives. Let z be the normalised output of the projector, s_ij = z_i . z_j /
temperature, and P(i) the other views of i's thing. The loss is the mean over rows of

    l_i = - 1/|P(i)| sum_(p in P(i)) log( exp s_ip / sum_(a != i) exp s_ia ),

For two views it is NT-Xent (Chen et al. 2020, arXiv 2002.05709, equation 1). For more it is the
multi-view form of Khosla et al. 2020 (arXiv 2004.11362, equation 2).

A training batch of K rows has K // views things. As many rows go through the network as with any
other method. Labels are not used, and rows without a class take part.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, NotApplicable, Samples, generator, param
from bench.network import BatchwiseParams, NetworkMethod

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from bench.api import Ints
    from bench.network import Batch, Model, Sampler


def _temperature() -> Any:
    return param(
        0.05,
        "divides the cosine similarities; small values press on the hardest negatives",
        low=0.001,
        high=100.0,
        search=(0.02, 0.5),
        log=True,
    )


def _dimensions() -> Any:
    return param(128, "outputs of the projector", unit="dimensions", low=2, high=65536)


def _views(doc: str) -> Any:
    return param(2, doc, unit="views", low=2, high=64, search=(2, 5))


def _crop(default: float) -> Any:
    return param(
        default,
        "least share of an image's area that a view shows; 1 shows all. Images only",
        low=0.01,
        high=1.0,
        search=(0.08, 1.0),
    )


def _blur(default: float) -> Any:
    return param(
        default,
        "largest standard deviation of the Gaussian blur of a view; 0 is none. Images only",
        unit="pixels",
        low=0.0,
        high=50.0,
        search=(0.0, 2.0),
    )


def _corruption(default: float) -> Any:
    return param(
        default,
        "share of a profile's features that a view takes from other rows of the training batch. "
        "Tables only",
        low=0.0,
        high=1.0,
        search=(0.1, 0.6),
    )


@dataclass(frozen=True)
class AugmentedParams:
    """Parameters of methods with augmented copies of one row as views."""

    temperature: float = _temperature()
    dimensions: int = _dimensions()
    views: int = _views("changed copies of one row")
    crop: float = _crop(0.08)
    blur: float = _blur(0.5)
    corruption: float = _corruption(0.3)


@dataclass(frozen=True)
class WellParams:
    """Parameters of methods with different rows of one well as views."""

    temperature: float = _temperature()
    dimensions: int = _dimensions()
    views: int = _views("different rows of one well; wells with fewer take no part in training")
    crop: float = _crop(1.0)
    blur: float = _blur(0.0)
    corruption: float = _corruption(0.0)


@dataclass(frozen=True)
class _OwnStatisticsParams(BatchwiseParams):
    inference: str = param(
        "whole",
        "rows that give statistics at a time: the whole test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )


@dataclass(frozen=True)
class AugmentedOwnParams(AugmentedParams, _OwnStatisticsParams):
    """As :class:`AugmentedParams`, with batch-wise training."""


@dataclass(frozen=True)
class WellOwnParams(WellParams, _OwnStatisticsParams):
    """As :class:`WellParams`, with batch-wise training; there ``min_rows`` counts wells."""


def nt_xent(z: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return the loss of this module's docstring.

    Parameters
    ----------
    z
        ``(n, d)`` outputs of the projector, not yet normalised.
    key
        ``(n,)`` integers; rows with the same key are views of one thing. A row without another
        view is a negative of all others and has no term of its own.
    temperature
        Divides the cosine similarities.
    """
    import torch
    from torch.nn import functional as F

    z = F.normalize(z, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scores = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_p = scores - torch.logsumexp(scores, 1, keepdim=True)
    positive = (key[:, None] == key[None, :]) & ~itself
    count = positive.sum(1)
    has = count > 0
    if not bool(has.any()):
        return z.sum() * 0.0
    each = -log_p.masked_fill(~positive, 0.0).sum(1) / count.clamp(min=1)
    return each[has].mean()


def cropped(x: Tensor, least: float, rng: torch.Generator) -> Tensor:
    """Return a random part of each image ``(n, C, H, W)`` at its full size (bilinear).

    The part's share of the area is uniform in [least, 1], the logarithm of its aspect ratio
    uniform between those of 3/4 and 4/3 (sides are cut to the image), its place uniform.
    """
    import torch
    from torch.nn import functional as F

    n = len(x)
    draw = torch.rand(4, n, generator=rng)
    area = least + (1 - least) * draw[0]
    aspect = torch.exp((2 * draw[1] - 1) * float(np.log(4 / 3)))
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2] = (2 * draw[2] - 1) * (1 - width)
    theta[:, 1, 2] = (2 * draw[3] - 1) * (1 - height)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False).to(x.device)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def blurred(x: Tensor, largest: float, rng: torch.Generator) -> Tensor:
    """Return each image under a Gaussian blur whose deviation is uniform in [0, largest] pixels."""
    import torch
    from torch.nn import functional as F

    n, channels, height, width = x.shape
    sigma = (largest * torch.rand(n, generator=rng)).clamp(min=1e-3)
    radius = min(max(int(np.ceil(3 * largest)), 1), height - 1, width - 1)
    if radius < 1:
        return x
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(x.device)
    kernel = kernel.repeat_interleave(channels, 0)
    flat = x.contiguous().reshape(1, n * channels, height, width)
    flat = F.pad(flat, (radius, radius, radius, radius), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * channels)
    return flat.reshape(x.shape)


def corrupted(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Return profiles ``(n, d)`` with a share of the values replaced by those of other rows.

    Each value is replaced with probability ``share``. The other row is drawn uniformly for each
    value, so that replacements follow the distribution of the feature in the training batch (Bahri
    et al. 2022, arXiv 2106.15147).
    """
    import torch

    n, d = x.shape
    taken = torch.rand(n, d, generator=rng) < share
    donor = torch.randint(n, (n, d), generator=rng)
    return torch.where(taken.to(x.device), x.gather(0, donor.to(x.device)), x)


class Contrastive(NetworkMethod):
    """An encoder trained by :func:`nt_xent` through a projector; returns its own features."""

    has_head: ClassVar[bool] = False

    def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module | None:
        """Return the projector: linear, ReLU, linear."""
        from torch import nn

        return nn.Sequential(
            nn.Linear(n_features, n_features),
            nn.ReLU(),
            nn.Linear(n_features, self.params.dimensions),
        )

    def things(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe with the number of things, not rows, in a training batch.

        Raises
        ------
        BenchError
            If there would be no negatives.
        """
        count = int(recipe["batch_size"]) // int(self.params.views)
        if count < 2:
            raise BenchError(
                f"batch_size {recipe['batch_size']} holds {count} times {self.params.views} views, "
                "and a contrast needs at least two: raise batch_size or lower views"
            )
        self._restandardise = recipe["standardise"] == "image"
        return {**recipe, "batch_size": count}

    def key(self, batch: Batch) -> Tensor:
        """Return ``(k,)`` int64 on the CPU: equal for views of one thing."""
        import torch

        return torch.from_numpy(batch.idx)

    def inputs(self, batch: Batch) -> Batch:
        """Augment each row independently, as the parameters define."""
        from bench.network import augmented

        x, rng = batch.x, batch.generator
        if x.dim() == 2:
            if self.params.corruption > 0:
                x = corrupted(x, self.params.corruption, rng)
            return dataclasses.replace(batch, x=x)
        if self.params.crop < 1:
            x = cropped(augmented(x, rng), self.params.crop, rng)
        if self.params.blur > 0:
            x = blurred(x, self.params.blur, rng)
        if self._restandardise and x is not batch.x:
            mean, sd = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
            x = (x - mean) / sd.where(sd > 0, sd.new_ones(()))
        return dataclasses.replace(batch, x=x.contiguous())

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Return the contrastive loss of the views."""
        assert batch.features is not None
        z = model.extra(batch.features)
        return nt_xent(z, self.key(batch).to(z.device), self.params.temperature)


class ChangedCopies(Contrastive):
    """Views are changed copies of one row."""

    Params: ClassVar[type] = AugmentedParams

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return the rows that the base class draws, each ``views`` times."""
        inner = super().sampler(train, group, self.things(recipe), seed)
        views = int(self.params.views)

        def sample(step: int) -> tuple[Ints, Ints]:
            idx, codes = inner(step)
            return np.repeat(idx, views), np.repeat(codes, views)

        return sample


class WellMates(Contrastive):
    """Views are different rows of one well."""

    Params: ClassVar[type] = WellParams

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the access of training, and which training rows share a well."""
        return super().access(params) | Access.TRAIN_WELL

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return wells as the base class draws rows, and ``views`` rows of each.

        Raises
        ------
        NotApplicable
            If fewer than two wells have as many rows as there are views.
        """
        views = int(self.params.views)
        wells = Wells(train, group, views)
        if len(wells.rows) < 2:
            raise NotApplicable(
                f"the views are {views} rows of one well, and {len(wells.rows)} of "
                f"{wells.count} training wells have so many: at least 2 wells are needed; "
                f"{'lower views, or ' if views > 2 else ''}take a method whose views are copies of "
                "one row, such as simclr"
            )
        first = np.array([rows[0] for rows in wells.rows])
        inner = super().sampler(train.take(first), group[first], self.things(recipe), seed)
        self._well = wells.code

        def sample(step: int) -> tuple[Ints, Ints]:
            chosen, _ = inner(step)
            rng = generator("well-views", seed, step)
            drawn = [rng.choice(wells.rows[w], size=views, replace=False) for w in chosen.tolist()]
            idx = np.concatenate(drawn).astype(np.int64)
            return idx, group[idx]

        return sample

    def remarks(self, train: Samples) -> list[str]:
        """Return how many wells had too few rows."""
        group = np.unique(train.batch, return_inverse=True)[1].reshape(len(train)).astype(np.int64)
        wells = Wells(train, group, int(self.params.views))
        left = wells.count - len(wells.rows)
        if not left:
            return []
        n = len(train) - sum(len(rows) for rows in wells.rows)
        return [
            f"{left} of {wells.count} training wells ({n} of {len(train)} rows) had fewer than "
            f"{self.params.views} rows and took no part in training"
        ]

    def key(self, batch: Batch) -> Tensor:
        """Return the well of each row."""
        import torch

        return torch.from_numpy(self._well[batch.idx])


class Wells:
    """The wells of a training view that have at least ``views`` rows.

    A well belongs to one experimental batch: a name that occurs in several batches, such as a
    position on the plate, is one well per batch, if batches are known.

    Attributes
    ----------
    code
        ``(n,)`` int64 well of each row.
    rows
        Positions of the rows of each well with enough of them.
    count
        Number of all wells.
    """

    def __init__(self, train: Samples, group: NDArray[np.int64], views: int) -> None:
        if train.well is None:
            raise NotApplicable("which training rows share a well is not known")
        _, name = np.unique(train.well, return_inverse=True)
        pair = np.stack([group, name.reshape(len(train)).astype(np.int64)], 1)
        _, code = np.unique(pair, axis=0, return_inverse=True)
        self.code: NDArray[np.int64] = code.reshape(len(train)).astype(np.int64)
        order = np.argsort(self.code, kind="stable").astype(np.int64)
        size = np.bincount(self.code)
        parts = np.split(order, np.cumsum(size)[:-1])
        self.count = len(size)
        self.rows = [rows for rows in parts if len(rows) >= views]
