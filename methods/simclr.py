r"""SimCLR: an encoder that recognises two changed copies of an image, without labels.

A training batch of K rows has K // views images in ``views`` copies each. A copy of an image is a
symmetry of the square, a random part at full size, and a blur. Where the recipe standardises
images, the result is standardised. With z the normalised output of a two-layer projector on the
encoder's features, :math:`s_{ij} = z_i \cdot z_j / \tau` (``temperature``) and P(i) the other
copies,

.. math:: L = - \frac{1}{K} \sum_i \frac{1}{|P(i)|} \sum_{p \in P(i)} \log \frac{\exp
          s_{ip}}{\sum_{a \neq i} \exp s_{ia}}

The probe is fitted on the encoder's features; there is no head. At test BatchNorm uses its running
averages.

Chen, Kornblith, Norouzi and Hinton 2020, A simple framework for contrastive learning of visual
representations, ICML, arXiv 2002.05709. More than two views are as in Lin and Lu 2022, PMLR
200:74-93, section 4.2 and appendix C. From there come temperature 0.05, the 128 outputs of the
projector and the copies (crop, flips, rotations, blur; no change of colours). What differs:
optimisation and number of rows are the recipe's, so that its cost equals that of other methods; the
blur's deviation is uniform from 0 on. On a table a copy takes a share ``corruption`` of its
features from other rows of the training batch. Each is drawn for itself. It is a substitute,
because it is not known which changes of a profile preserve its meaning. SCARF (Bahri et al. 2022,
arXiv 2106.15147) corrupts one of two copies by 0.6; here all by 0.3.
"""

from __future__ import annotations

from ._contrastive import AugmentedParams, ChangedCopies

META = {
    "kind": "method",
    "name": "simclr",
    "class": "SimCLR",
    "level": "network",
    "version": 1,
    "summary": "Self-supervised: recognises changed copies of an image; no labels in training.",
    "reference": "Chen et al. 2020, ICML, arXiv 2002.05709",
    "url": "https://arxiv.org/abs/2002.05709",
    "access": [],
}


class SimCLR(ChangedCopies):
    """Contrast of changed copies on mixed batches."""

    Params = AugmentedParams
