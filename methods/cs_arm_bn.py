r"""CS-ARM-BN: statistics of treated rows and of many controls of the same plate, in a fixed ratio.

A training batch has T treated rows and C negative controls of one experimental batch (a plate).
BatchNorm uses the statistics of all T + C rows,

.. math:: y = \gamma \frac{x - \mu_{T+C}}{\sqrt{\sigma_{T+C}^2 + \epsilon}} + \beta,

the loss those of the treated rows. At test (``inference=support``) the treated rows of a test plate
are taken T at a time. Each time C of its controls are added, in the same ratio. Controls are the
same on every plate, so they keep the statistics in place when plates have different treatments;
treated rows, where many, add precision.

Sanchez-Fernandez et al. 2026, arXiv 2604.20824. The paper uses T = 64 and C = 128 in one forward
pass; here T + C is the recipe's ``batch_size`` (so that all methods see equally many rows) with
``control_share`` = 2/3 of them controls; ``batch_size=192`` gives 64 and 128. Differences at test:
rows are assigned to pieces by their content, not at random; the last piece is filled up with
treated rows that are scored in another piece; the controls of a plate with fewer than C are
repeated in turn, so that the ratio is kept. Test plates with fewer than ``min_rows`` controls use
the running averages and are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Access, Samples, param
from bench.network import ApplyStatistics, BatchwiseMethod, BatchwiseParams, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.network import Batch

META = {
    "kind": "method",
    "name": "cs-arm-bn",
    "class": "CSARMBN",
    "level": "network",
    "version": 1,
    "summary": "Statistics of treated rows and controls of one plate, in the same ratio always.",
    "reference": "Sanchez-Fernandez et al. 2026, arXiv 2604.20824",
    "url": "https://arxiv.org/abs/2604.20824",
    "access": ["train-batch", "controls", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
}

Piece = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.bool_]"]


@dataclass(frozen=True)
class Params(BatchwiseParams):
    """How training batches are made, and how many rows give statistics at test."""

    rows: str = param(
        "controls", "controls are added to the treated rows of each batch", choices=("controls",)
    )
    control_share: float = param(
        2 / 3,
        "share of controls in a training batch, and among the rows that give statistics at test",
        low=0.05,
        high=0.95,
        search=(0.25, 0.75),
    )
    inference: str = param(
        "support",
        "rows that give statistics at a time, treated and controls in the ratio of training: "
        "support is as many as one plate had in a training batch, a number is that many, whole is "
        "all treated rows and all controls in whatever ratio the test batch has them",
        unit="rows",
        pattern=r"support|whole|[1-9][0-9]*",
        phase="apply",
    )


class CSARMBN(BatchwiseMethod):
    """Treated rows and controls together, in training and at test."""

    Params = Params

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the training batches, which rows are controls, and the one test batch."""
        return super().access(params) | Access.TEST_BATCH

    def train_statistics(self, batch: Batch) -> Statistics:
        """Return statistics of all rows of the batch, per experimental batch."""
        return Statistics("rows", group=batch.group if self.params.per_batch > 1 else None)

    def apply_statistics(self, samples: Samples) -> ApplyStatistics:
        """Return pieces of the test batch that have treated rows and controls in one ratio."""
        controls = samples.controls()
        # Too few controls: no row gives statistics, which is the fallback to running averages.
        enough = np.count_nonzero(controls) >= self.params.min_rows
        gives = np.full(len(samples), enough)
        if self.params.inference == "whole" or controls.all():
            return ApplyStatistics(gives, min_rows=1)
        if self.params.inference == "support":
            size = int(self.fitted.config["recipe"]["batch_size"]) // self.params.per_batch
        else:
            size = int(self.params.inference)
        added = min(max(round(size * self.params.control_share), 1), max(size - 1, 1))
        return ApplyStatistics(
            gives,
            min_rows=1,
            pieces=lambda keys: _pieces(controls, keys, max(size - added, 1), added),
        )


def _pieces(
    controls: NDArray[np.bool_], keys: NDArray[np.uint64], n_treated: int, n_controls: int
) -> list[Piece]:
    """Split a test batch into pieces of ``n_treated`` treated rows and ``n_controls`` controls.

    Both in the order of their keys; controls are reused in turn. A control that is in no piece is
    normalised by the piece that its key selects, without contributing to its statistics. A test
    batch with fewer treated rows gets controls in the same ratio, at least one.
    """
    order = np.argsort(keys, kind="stable").astype(np.int64)
    treated, control = order[~controls[order]], order[controls[order]]
    size = min(n_treated, len(treated))
    if size < n_treated:
        n_controls = max(round(n_controls * size / n_treated), 1)
    starts = list(range(0, len(treated), size))
    used = np.arange(len(starts) * n_controls) % len(control)
    # Where each control occurs first: (piece, place).
    first = {int(place): k for k, place in reversed(list(enumerate(used.tolist())))}
    homeless = np.array([k for k in range(len(control)) if k not in first], np.int64)
    home = (keys[control[homeless]] % np.uint64(len(starts))).astype(np.int64)
    pieces: list[Piece] = []
    for number, start in enumerate(starts):
        begin = min(start, len(treated) - size)
        here = range(number * n_controls, (number + 1) * n_controls)
        added, guests = control[used[here]], control[homeless[home == number]]
        idx = np.concatenate([treated[begin : begin + size], added, guests])
        mine = [size + k - here.start for k in here if first[int(used[k])] == k]
        kept = np.concatenate(
            [np.arange(start - begin, size), mine, np.arange(size + n_controls, len(idx))]
        )
        gives = np.arange(len(idx)) < size + n_controls
        pieces.append((idx, kept.astype(np.int64), gives))
    return pieces
