r"""SimCLR with BEN: a training batch comes from one plate; each test plate is normalised by itself.

Views, projector and loss are those of ``simclr``, sampling and normalisation those of ``ben``. Each
training batch is drawn from one experimental batch (a plate). All negatives come from the same
plate, and properties of a plate do not distinguish them. BatchNorm uses the statistics of that
training batch, all copies of its rows together. At test it uses those of the test plate,

.. math:: y = \gamma \frac{x - \mu_S}{\sqrt{\sigma_S^2 + \epsilon}} + \beta.

Lin and Lu 2022, PMLR 200:74-93, section 4.2 and appendix C. Training batches of one plate there
have about 300 cells, one for each image. Here they have as many rows as the recipe says. Further
differences are stated in ``simclr`` and ``ben``.
"""

from __future__ import annotations

from ._contrastive import AugmentedOwnParams, ChangedCopies
from ._own_statistics import OwnStatistics

META = {
    "kind": "method",
    "name": "simclr-ben",
    "class": "SimCLRBEN",
    "level": "network",
    "version": 1,
    "summary": "SimCLR on training batches from one plate; each test plate normalised by itself.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93, section 4.2",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-batch", "test-batch"],
    "helps": ["location", "hierarchical"],
    "hurts": ["label-shift"],
    "against": "simclr",
}


class SimCLRBEN(ChangedCopies, OwnStatistics):
    """Contrast of changed copies within a plate; statistics of the test plate."""

    Params = AugmentedOwnParams
