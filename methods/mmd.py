r"""MMD: training batches whose features no Gaussian kernel can distinguish.

The loss is ``class + weight * mean over pairs i < j of MMD^2(i, j)``, class being the mean
cross-entropy over labelled rows and, for the features x_i of experimental batch i,

.. math:: MMD^2(i, j) = \mathrm{mean}\, k(x_i, x_i') + \mathrm{mean}\, k(x_j, x_j')
          - 2\, \mathrm{mean}\, k(x_i, x_j)

with :math:`k(x, y) = \sum_g \exp(-g |x - y|^2)` for g in 0.001, 0.01, 0.1, 1, 10, 100 and 1000.

Li, Pan, Wang and Kot 2018, Domain generalization with adversarial feature learning, CVPR. This is
the MMD term of their MMD-AAE, without autoencoder and prior, as in DomainBed (Gulrajani and
Lopez-Paz 2021, arXiv 2007.01434). Kernels and default weight are those of DomainBed, too. What
differs: rows without a class count in the penalty, and two choices. With ``widths = relative``
squared distances are first divided by their mean in the training batch. The kernels then do not
depend on the scale of the features. With ``estimate = unbiased`` pairs of a row with itself are
excluded. The published estimate includes them. With n rows of each batch the penalty of equal
distributions is then not 0 but of size 1/n. Features that shrink to a point lower it, and with few
rows that can be all that is learned. Nothing of the test batch is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import param

from ._alignment import mmd
from ._groups import GroupParams, GroupwiseMethod

if TYPE_CHECKING:
    from torch import Tensor

    from bench.network import Batch, Model

META = {
    "kind": "method",
    "name": "mmd",
    "class": "MMD",
    "level": "network",
    "version": 1,
    "summary": "Penalty on the maximum mean discrepancy of features between training batches.",
    "reference": "Li et al. 2018, CVPR; Gulrajani and Lopez-Paz 2021, arXiv 2007.01434",
    "url": "https://openaccess.thecvf.com/content_cvpr_2018/html/Li_Domain_Generalization_With_CVPR_2018_paper.html",
    "access": ["train-batch"],
}


@dataclass(frozen=True)
class Params(GroupParams):
    """The penalty, and how training batches are made."""

    weight: float = param(
        1.0, "weight of the penalty", low=0.0, high=1e6, search=(0.1, 10.0), log=True
    )
    widths: str = param(
        "fixed",
        "widths of the kernels: as published, or relative to the mean squared distance of rows",
        choices=("fixed", "relative"),
        search=("fixed", "relative"),
    )
    estimate: str = param(
        "biased",
        "whether means within a batch count a row with itself (biased, as published) or not",
        choices=("biased", "unbiased"),
        search=("biased", "unbiased"),
    )


class MMD(GroupwiseMethod):
    """Feature distributions matched over pairs of training batches."""

    Params = Params
    least = 2

    def loss(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Return the class term and the weighted penalty."""
        from bench.training import classification_loss

        assert batch.features is not None
        gap = mmd(
            batch.features,
            batch.group,
            relative=self.params.widths == "relative",
            unbiased=self.params.estimate == "unbiased",
        )
        return {"class": classification_loss(batch), "penalty": self.params.weight * gap}
