r"""MinCLR: an encoder that recognises different images, or cells, of one well, without labels.

A training batch of K rows has K // views wells, drawn like rows of ``erm``, and ``views`` different
rows of each. With z the normalised output of a two-layer projector on the encoder's features,
:math:`s_{ij} = z_i \cdot z_j / \tau` (``temperature``) and P(i) the other rows of i's well,

.. math:: L = - \frac{1}{K} \sum_i \frac{1}{|P(i)|} \sum_{p \in P(i)} \log \frac{\exp
          s_{ip}}{\sum_{a \neq i} \exp s_{ia}}

Features retain what rows of a well have in common. That is its treatment, and everything else that
is specific to the well and its plate. The probe is fitted on the encoder's features; there is no
head. At test BatchNorm uses its running averages.

Lin and Lu 2022, PMLR 200:74-93, section 4.2 and appendix C, where the views are cells of one image;
here they are rows of one well, which for one image a well is the same. From there come temperature
0.05 and the 128 outputs of the projector. What differs: optimisation and number of rows are the
recipe's; views are changed no further than the recipe's own augmentation does, unless ``crop``,
``blur`` or, on a table, ``corruption`` are set. It requires which training rows share a well
(access train-well), and nothing else about wells. Wells with fewer rows than views are not used in
training; the record states their number.
"""

from __future__ import annotations

from ._contrastive import WellMates, WellParams

META = {
    "kind": "method",
    "name": "minclr",
    "class": "MinCLR",
    "level": "network",
    "version": 1,
    "summary": "Self-supervised: recognises different images of one well; no labels in training.",
    "reference": "Lin and Lu 2022, PMLR 200:74-93, section 4.2",
    "url": "https://proceedings.mlr.press/v200/lin22a.html",
    "access": ["train-well"],
}


class MinCLR(WellMates):
    """Contrast of rows of one well on mixed batches."""

    Params = WellParams
