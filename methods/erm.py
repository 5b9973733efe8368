"""Empirical risk minimisation: ordinary training, the baseline of all comparisons.

Each training batch is a mixture of rows of all batches (plates); BatchNorm uses the mixture's
statistics while training and their running averages afterwards. With logits z and class y the loss
is the mean over labelled rows of ``-z_y + log(sum_k exp z_k)``.

Vapnik 1992, Principles of risk minimization for learning theory, NeurIPS 4. In Lin and Lu 2022 this
is "vanilla": mixed training, frozen BatchNorm.
"""

from __future__ import annotations

from bench.network import NetworkMethod

META = {
    "kind": "method",
    "name": "erm",
    "class": "ERM",
    "level": "network",
    "version": 1,
    "summary": "Ordinary training on mixed batches; running averages at test.",
    "reference": "Vapnik 1992, NeurIPS 4",
    "url": "https://proceedings.neurips.cc/paper/1991/hash/ff4d5fbbafdf976cfdc032e3bde78de5-Abstract.html",
    "access": [],
}


class ERM(NetworkMethod):
    """The training loop with no hook overridden."""
