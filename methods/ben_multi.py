r"""BEN with several plates in each training batch, every plate normalised by itself.

A training batch has K rows of k experimental batches (plates), K/k rows of each, the plates
drawn uniformly and all different. For each layer and channel a row of plate p becomes

.. math:: y = \gamma \frac{x - \mu_p}{\sqrt{\sigma_p^2 + \epsilon}} + \beta,

where :math:`\mu_p` and :math:`\sigma_p^2` (biased) are the mean and variance over the rows of p in
the training batch and their pixels. All plates share :math:`\gamma` and :math:`\beta`. One gradient
step thus averages over k plates, at the price of statistics from k times fewer rows. At test the
statistics are those of the test plate, as in BEN.

Lin and Lu 2022, PMLR 200:74-93, name training on several plates at once as an open question; this
is ``ben`` with ``per_batch`` = k, under a name of its own so that it is in every comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.api import param

from ._own_statistics import OwnStatistics, SeveralParams

META = {
    "kind": "method",
    "name": "ben-multi",
    "class": "BENMulti",
    "level": "network",
    "version": 1,
    "summary": "BEN with several plates in each training batch, each normalised by itself.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93 (open question of the discussion)",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["confounded", "label-shift"],
}


@dataclass(frozen=True)
class Params(SeveralParams):
    """As BEN's, with several plates in a training batch."""

    inference: str = param(
        "whole",
        "rows that give statistics at a time: the whole test batch, or this many",
        unit="rows",
        pattern=r"whole|[1-9][0-9]*",
        phase="apply",
    )


class BENMulti(OwnStatistics):
    """Training on several plates at a time; statistics of the test plate."""

    Params = Params
