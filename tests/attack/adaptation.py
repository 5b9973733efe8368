"""Find the smallest undeclared adaptation that is noticed.

Run from the root: ``python -m tests.attack.adaptation``. A method without test-batch access
subtracts a fraction of the mean of the rows of a call; one that may use its batch, a fraction of
the mean of all rows since its first call; and one that may use the controls of its batch, a
fraction of the mean of all rows of the batch. Prints the smallest noticed fraction of a grid, and
the change of a profile that it makes: the largest difference of the subtracted values of two calls,
in standard deviations of the feature.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Access, Output, Samples
from bench.data.views import make_partition
from bench.runs.apply import apply_all, grouping_of, undeclared_adaptation
from tests.helpers import tiny

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRACTIONS = 10.0 ** np.arange(-7, 0.01, 0.25)
KINDS = {
    "rows": Access.NONE,
    "carried": Access.TEST_BATCH,
    "treated": Access.CONTROLS | Access.TEST_CONTROLS,
}


class Adapting:
    """A method that subtracts a fraction of a mean that it must not use."""

    def __init__(self, fraction: float, *, carry: bool) -> None:
        self.fraction, self.carry = fraction, carry
        self.rows: list[NDArray[np.float32]] = []
        self.means: list[NDArray[np.float64]] = []

    def apply(self, samples: Samples) -> Output:
        """Return the rows without a part of the mean."""
        assert samples.X is not None
        self.rows = [*(self.rows if self.carry else []), samples.X]
        mean = np.concatenate(self.rows).mean(axis=0, dtype=np.float64)
        self.means.append(mean)
        return Output((samples.X - self.fraction * mean).astype(np.float32))


def smallest(kind: str, per_class: int) -> tuple[float, float]:
    """Return the smallest fraction that is noticed, and the change that it makes.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    per_class
        Rows of each of six classes in each of four batches.
    """
    access = KINDS[kind]
    data = tiny.opened(per_class=per_class, batches=4, controls=2 * per_class)
    rows = np.arange(len(data.index), dtype=np.int64)
    partition = make_partition(data, rows, (), "plate", "test", 0, labels=False)
    per_batch = access is not Access.NONE
    view = partition.view(access, batches=per_batch)
    assert view.X is not None
    grouping = grouping_of(view.batch, per_batch)
    for fraction in FRACTIONS.tolist():
        method = Adapting(fraction, carry=kind == "carried")
        first = apply_all(method, view, grouping, 0)  # type: ignore[arg-type]

        def rebuild(fraction: float = fraction) -> Adapting:
            return Adapting(fraction, carry=kind == "carried")

        if undeclared_adaptation(method, access, view, grouping, first, 0, rebuild):  # type: ignore[arg-type]
            between = max(np.abs(b - a).max() for a, b in pairwise(method.means))
            return fraction, float(fraction * between / view.X.std(axis=0).mean())
    return float("nan"), float("nan")


def main() -> None:
    """Print a table."""
    sys.stdout.write("kind      rows  fraction  change in SD\n")
    for kind in KINDS:
        for per_class in (10, 40, 200):
            fraction, change = smallest(kind, per_class)
            sys.stdout.write(f"{kind:8}  {32 * per_class:4}  {fraction:.1e}   {change:.1e}\n")


if __name__ == "__main__":
    main()
