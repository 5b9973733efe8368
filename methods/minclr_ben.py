r"""MinCLR with BEN: a training batch comes from one plate; each test plate is normalised by itself.

Views, projector and loss are those of ``minclr``, sampling and normalisation those of ``ben``. Each
training batch is drawn from the wells of one experimental batch (a plate). All negatives come from
the same plate, so what marks a plate does not help to distinguish wells. BatchNorm uses the
statistics of that training batch, and at test those of the test plate,

.. math:: y = \gamma \frac{x - \mu_S}{\sqrt{\sigma_S^2 + \epsilon}} + \beta.

Lin and Lu 2022, PMLR 200:74-93, section 4.2 and appendix C: the self-supervised method that gained
most from BEN there. Differences are described at ``minclr`` and ``ben``. In training, ``min_rows``
is the number of wells of a plate. Rows of wells with the same name on two plates are no positives.
"""

from __future__ import annotations

from ._contrastive import WellMates, WellOwnParams
from ._own_statistics import OwnStatistics

META = {
    "kind": "method",
    "name": "minclr-ben",
    "class": "MinCLRBEN",
    "level": "network",
    "version": 1,
    "summary": "MinCLR on training batches from one plate; each test plate normalised by itself.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93, section 4.2",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch", "train-well", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
    "against": "minclr",
}


class MinCLRBEN(WellMates, OwnStatistics):
    """Contrast of rows of one well within a plate; statistics of the test plate."""

    Params = WellOwnParams
