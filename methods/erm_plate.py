"""Plate-wise training without plate-wise inference: BEN's network, running averages at test.

Training is BEN's: each training batch comes from one experimental batch (a plate) and BatchNorm
uses its statistics. At test ``y = gamma (x - m) / sqrt(v + eps) + beta`` with the running averages
m and v over training plates, as PyTorch keeps them. With ``erm``, ``adabn`` and ``ben`` this makes
the 2 x 2 of training {mixed, plate-wise} and statistics {running, test batch}.

Lin and Lu 2022, PMLR 200:74-93, table 3, row "batch-wise / vanilla". The running variance is the
mean variance within plates: differences between plates are not in it.
"""

from __future__ import annotations

from bench.network import BatchwiseMethod

META = {
    "kind": "method",
    "name": "erm-plate",
    "class": "ERMPlate",
    "level": "network",
    "version": 1,
    "summary": "Training batches from one plate, as BEN; running averages at test.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93, table 3",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch"],
    "fit": "ben",
    "hurts": ["confounded", "label-shift"],
}


class ERMPlate(BatchwiseMethod):
    """Batch-wise training; nothing of the test batch is used."""
