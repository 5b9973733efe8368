r"""A random forest on fixed features.

Trees grown to their full depth on bootstrap samples, sqrt(d) features tried at each node (Breiman
2001); the probability of a class is its mean share in the leaves that a row falls into. One of the
families that COOS-7 was published with (Lu et al. 2019); the features and the number of trees are
not theirs. What they report, the class-balanced error, is 1 - ``balanced_accuracy``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import param

from ._fixed import Doubles, FixedFeatures, FixedParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.api import Context, Ints

META = {
    "kind": "method",
    "name": "fixed-forest",
    "class": "FixedForest",
    "level": "classifier",
    "version": 2,
    "summary": "A random forest on fixed features of the images.",
    "reference": "Breiman 2001, Machine Learning 45:5-32; Lu et al. 2019 (family)",
    "url": "https://doi.org/10.1023/A:1010933404324",
    "access": [],
}


@dataclass(frozen=True)
class ForestParams(FixedParams):
    """Parameters."""

    trees: int = param(200, "number of trees", unit="trees", low=1, high=10_000, search=(50, 500))
    min_leaf: int = param(
        1,
        "smallest number of training rows in a leaf",
        unit="rows",
        low=1,
        high=1000,
        search=(1, 20),
    )


class FixedForest(FixedFeatures):
    """Random forest."""

    Params = ForestParams
    name = "fixed-forest"

    def learn(self, X: Doubles, y: Ints, ctx: Context) -> dict[str, NDArray[Any]]:
        """Return the trees' nodes one after another, so that no pickle is needed.

        ``feature`` and ``threshold`` of each node, its ``left`` and ``right`` child (itself for a
        leaf), ``value`` ``(nodes, k)`` shares of the classes, and the ``roots``.
        """
        from sklearn.ensemble import RandomForestClassifier

        seed = int(ctx.generator("forest").integers(2**31))
        forest = RandomForestClassifier(
            self.params.trees, min_samples_leaf=self.params.min_leaf, random_state=seed
        ).fit(X, y)
        trees = [one.tree_ for one in forest.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        children = {}
        for side in ("left", "right"):
            links = [getattr(tree, f"children_{side}") for tree in trees]
            children[side] = np.concatenate(
                [
                    np.where(link < 0, np.arange(len(link)), link) + root
                    for link, root in zip(links, roots, strict=True)
                ]
            )
        value = np.concatenate([tree.value[:, 0] for tree in trees])
        return {
            "feature": np.maximum(np.concatenate([tree.feature for tree in trees]), 0),
            "threshold": np.concatenate([tree.threshold for tree in trees]),
            **children,
            "value": value / value.sum(axis=1, keepdims=True),
            "roots": roots,
        }

    def probabilities(self, X: Doubles) -> Doubles:
        """Return the mean share of each class in the leaves reached, ``(n, k)``."""
        state = self._state
        rows = np.arange(len(X))
        narrow = X.astype(np.float32)  # as scikit-learn compares
        total = np.zeros((len(X), state["value"].shape[1]))
        for root in state["roots"]:
            at = np.full(len(X), root)
            while True:
                goes_left = narrow[rows, state["feature"][at]] <= state["threshold"][at]
                below = np.where(goes_left, state["left"][at], state["right"][at])
                if np.array_equal(below, at):
                    break
                at = below
            total += state["value"][at]
        shares: Doubles = total / len(state["roots"])
        return shares
