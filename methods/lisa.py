r"""LISA: mixing rows of one class from different batches, or of different classes from one batch.

For each training batch a strategy is drawn: with probability ``p_sel`` *intra-label*, pairs (i, j)
with y_i = y_j and different experimental batches; otherwise *intra-domain*, pairs of one batch with
y_i != y_j. With :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` for each pair, both mixtures are
trained on,

.. math:: \lambda x_i + (1 - \lambda) x_j \quad \mathrm{with\ label} \quad \lambda e_{y_i} + (1 -
          \lambda) e_{y_j}

and the same with i and j exchanged. Intra-label pairs keep their label while differences between
batches are averaged. At test nothing is mixed, and BatchNorm uses its running averages.

Yao et al. 2022, Improving out-of-distribution robustness via selective augmentation, ICML, PMLR
162:25407-25437, arXiv 2201.00299. Default p_sel = 1 and alpha = 2, as published for domain shifts
(RxRx1-WILDS, Camelyon17). Row i is drawn uniformly among the rows that have a partner, and j
uniformly among i's partners. As in the published code a training batch of K rows has K/2 pairs.
Differences: the published code for RxRx1 takes any other row of the label as a partner. Here it
comes from another batch, as in the paper. With ``mix=cutmix``, which that code uses for images,
lambda is the share of pixels, one for a training batch. A rectangle of side sqrt(1 - lambda) comes
from j (Yun et al. 2019, arXiv 1905.04899). On a table the rectangle becomes a random set of
features. Rows without a class (negative controls) take no part, nor do rows without a partner.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Access, BenchError, NotApplicable, Samples, generator, param
from bench.network import NetworkMethod

from ._mixing import beta, interpolated, mixed_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.api import Ints
    from bench.network import Batch, Model, Sampler

META = {
    "kind": "method",
    "name": "lisa",
    "class": "LISA",
    "level": "network",
    "version": 1,
    "summary": "Mixes rows of one class across batches, or of one batch across classes.",
    "reference": "Yao et al. 2022, PMLR 162:25407-25437",
    "url": "https://arxiv.org/abs/2201.00299",
    "access": ["train-batch"],
}


@dataclass(frozen=True)
class Params:
    """Which pairs are mixed, and how."""

    level: str = param("", "batch level that pairs differ in; empty is the data set's default")
    p_sel: float = param(
        1.0,
        "probability of intra-label mixing (one class, two batches); else one batch, two classes",
        low=0.0,
        high=1.0,
        search=(0.0, 1.0),
    )
    alpha: float = param(
        2.0,
        "both parameters of the Beta distribution of the mixing weight",
        low=1e-3,
        high=100.0,
        search=(0.2, 5.0),
        log=True,
    )
    mix: str = param(
        "mixup",
        "mixup interpolates rows; cutmix takes a rectangle (of a table some features) from one",
        choices=("mixup", "cutmix"),
        search=("mixup", "cutmix"),
    )


class LISA(NetworkMethod):
    """ERM on mixtures of chosen pairs."""

    Params = Params

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the batch of each training row."""
        return Access.TRAIN_BATCH

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return pairs: the second half of the rows are the partners of the first half.

        Raises
        ------
        NotApplicable
            If a strategy that can be drawn finds no pair.
        BenchError
            If a training batch has no pair.
        """
        half = int(recipe["batch_size"]) // 2
        if half < 1:
            raise BenchError(f"lisa needs a batch_size of at least 2, not {recipe['batch_size']}")
        p_sel, tables = self.params.p_sel, {}
        for name, share in (("label", p_sel), ("domain", 1 - p_sel)):
            if share > 0:
                tables[name] = Partners(train.y, group, name)
                if not len(tables[name].rows):
                    raise NotApplicable(_no_pairs(name))

        def sample(step: int) -> tuple[Ints, Ints]:
            rng = generator("lisa", seed, step)
            pairs = tables["label" if rng.random() < p_sel else "domain"]
            first = rng.choice(pairs.rows, size=half, replace=half > len(pairs.rows))
            idx = np.concatenate([first, pairs.draw(rng, first)]).astype(np.int64)
            return idx, group[idx]

        return sample

    def remarks(self, train: Samples) -> list[str]:
        """Return how many rows had no partner."""
        group = np.unique(train.batch, return_inverse=True)[1].reshape(len(train)).astype(np.int64)
        labelled = int(np.count_nonzero(train.y >= 0))
        sentences = []
        for name, share in (("label", self.params.p_sel), ("domain", 1 - self.params.p_sel)):
            lone = labelled - len(Partners(train.y, group, name).rows) if share > 0 else 0
            if lone:
                where = "in another batch" if name == "label" else "of another class in its batch"
                sentences.append(
                    f"{lone} of {labelled} training rows had no partner {where} and took no "
                    "part in such mixing"
                )
        return sentences

    def inputs(self, batch: Batch) -> Batch:
        """Mix each row with its partner, in both directions."""
        import torch

        n = len(batch.y)
        partner = torch.arange(n, device=batch.y.device).roll(n // 2)
        other = batch.x[partner]
        if self.params.mix == "mixup":
            # Each direction of a pair draws a weight of its own, as in the published code.
            weight = beta(self.params.alpha, n, batch.generator)
            x = interpolated(batch.x, other, weight)
        else:
            share = float(beta(self.params.alpha, 1, batch.generator)[0])
            taken = cut(tuple(batch.x.shape[1:]), 1 - share, batch.generator).to(batch.x.device)
            x = torch.where(taken, other, batch.x)
            weight = (1 - taken.float().mean()).cpu().expand(n)
        extra = {**batch.extra, "other": batch.y[partner], "weight": weight}
        return dataclasses.replace(batch, x=x, extra=extra)

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Return the cross-entropy with the mixed labels."""
        assert batch.logits is not None
        return mixed_loss(batch.logits, batch.y, batch.extra["other"], batch.extra["weight"])


def _no_pairs(name: str) -> str:
    if name == "label":
        return (
            "lisa mixes rows of one class from different batches, and no class occurs in two "
            "training batches: set p_sel=0, or choose another level"
        )
    return (
        "lisa with p_sel below 1 mixes rows of different classes from one batch, and every "
        "training batch holds one class: set p_sel=1, or choose another level"
    )


class Partners:
    """Which rows may be mixed with which.

    Parameters
    ----------
    y
        ``(n,)`` classes, -1 for rows that take no part.
    group
        ``(n,)`` codes of the experimental batches.
    strategy
        ``label``: one class, two batches. ``domain``: one batch, two classes.

    Attributes
    ----------
    rows
        ``(m,)`` positions of the rows that have a partner.
    """

    def __init__(self, y: NDArray[np.int64], group: NDArray[np.int64], strategy: str) -> None:
        same, apart = (y, group) if strategy == "label" else (group, y)
        labelled = np.flatnonzero(y >= 0)
        # Sorted by what pairs share and then by what they differ in: the partners of a row are
        # the block of the one without the run of the other.
        order = labelled[np.lexsort((labelled, apart[labelled], same[labelled]))]
        self._order = order
        s, a = same[order], apart[order]
        new_block = np.ones(len(order), bool)
        new_block[1:] = s[1:] != s[:-1]
        new_run = new_block.copy()
        new_run[1:] |= a[1:] != a[:-1]
        n = len(y)
        self._block, self._run = np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int64)
        for bounds, new in ((self._block, new_block), (self._run, new_run)):
            starts = np.flatnonzero(new)
            stops = np.append(starts[1:], len(order))
            which = np.cumsum(new) - 1
            bounds[order] = np.stack([starts, stops], 1)[which] if len(order) else bounds[order]
        self._count = np.diff(self._block, axis=1)[:, 0] - np.diff(self._run, axis=1)[:, 0]
        self.rows = np.flatnonzero(self._count > 0).astype(np.int64)

    def draw(self, rng: np.random.Generator, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a partner of each row, drawn uniformly among all that it has."""
        place = self._block[rows, 0] + rng.integers(self._count[rows])
        # Places from the row's own run on are moved behind it.
        behind = place >= self._run[rows, 0]
        width = self._run[rows, 1] - self._run[rows, 0]
        found: NDArray[np.int64] = self._order[place + np.where(behind, width, 0)]
        return found


def cut(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Return bool, true where a value comes from the partner.

    Parameters
    ----------
    shape
        ``(C, H, W)``: a rectangle of sides ``sqrt(share)`` H and W around a uniform centre, cut off
        at the rim, the same in all channels, ``(1, H, W)``. ``(d,)``: ``round(share d)`` features.
    share
        Requested share of values, in [0, 1].
    generator
        Generator of the centre or of the features.
    """
    import torch

    if len(shape) == 1:
        taken = torch.zeros(shape[0], dtype=torch.bool)
        taken[torch.randperm(shape[0], generator=generator)[: round(share * shape[0])]] = True
        return taken
    sides = []
    for size in shape[1:]:
        length = int(size * share**0.5)
        centre = int(torch.randint(size, (1,), generator=generator))
        start, stop = max(centre - length // 2, 0), min(centre + length - length // 2, size)
        along = torch.arange(size)
        sides.append((along >= start) & (along < stop))
    return (sides[0][:, None] & sides[1][None, :])[None]
