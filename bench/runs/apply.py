"""Apply a method as it declared, and detect undeclared adaptation.

A method that declares test-batch access gets one call per test batch. Every other method gets
seeded random mixtures of rows. Both are then called again with different chunks of rows, because
the output of a row may depend on the declared rows only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.samples import Output, Samples
from bench.data.views import batches_of, chunks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bench.core.method import Method
    from bench.core.types import Ints


from typing import TYPE_CHECKING

from bench.core.arrays import empty
from bench.core.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

CHUNK = 1024
"""Rows per call for methods without test-batch access."""
CHECKED = 256
"""Rows that are applied again to compare two chunkings."""
SPREAD_ROWS = 4096
"""Approximate number of rows used to estimate the spread of a feature."""
TOLERANCE = 1e-3
"""Maximum deviation between outputs of two calls of different sizes, relative to the spread of a
feature over all rows."""
ROUNDING = 1e-5
"""Tolerance for float32 summation order: relative to the largest value of the feature, plus
relative to the spread of the median feature (the rounding errors of a nearly dead network unit are
as large as those of its neighbours)."""


def apply_all(method: Method, view: Samples, grouping: list[Ints] | None, seed: int) -> Output:
    """Apply a method to all rows of a view.

    Parameters
    ----------
    view
        The rows, with the declared access of the method.
    grouping
        Positions of each batch for methods with test-batch access; None for others.
    """
    calls = grouping if grouping is not None else list(chunks_of(len(view), CHUNK, "apply", seed))
    # One at a time: avoid holding all outputs in memory.
    return assemble(len(view), ((idx, method.apply(view.take(idx))) for idx in calls))


def undeclared_adaptation(
    method: Method,
    access: Access,
    view: Samples,
    grouping: list[Ints] | None,
    first: Output,
    seed: int,
    rebuild: Callable[[], Method] | None = None,
) -> str | None:
    """Apply a method again with different chunks; return a message if the output changed, or None.

    Without test-batch access, a random subset is applied in one call, and again by a method rebuilt
    from its state, with other rows in the place of half of the subset. With test-batch access, the
    first batch is applied again after all others, to detect state left by later batches. The last
    batch is applied by a method rebuilt from its state that has seen no other batch. If the method
    declares access to the controls of the batch only, half of the treated rows are removed from
    one batch with controls and one without, and then replaced by other treated rows; the output of
    the remaining rows must not change.

    Two calls of different sizes differ by rounding, and may differ by :data:`TOLERANCE`. Calls of
    equal size with a row at the same position may differ by :data:`ROUNDING` only, if the method
    repeats its output bit for bit.

    Parameters
    ----------
    method, view, grouping, seed
        As for :func:`apply_all`.
    first
        Output of :func:`apply_all`.
    rebuild
        Returns the method in its state before any call of ``apply``. If None, ``method`` is used.
    """
    again = _Again(method, view, first, rebuild or (lambda: method))
    if grouping is None:
        if again.rows_matter(seed):
            return (
                "undeclared adaptation: what it returns for a row depends on the other rows of "
                "the call, but test-batch access was not declared"
            )
        return None
    if again.carries_over(grouping):
        return (
            "undeclared adaptation: a test batch gets another output after other test batches "
            "were seen"
        )
    if (
        Access.TEST_BATCH not in access
        and Access.CONTROLS in access
        and again.treated_rows_matter(grouping)
    ):
        return (
            "undeclared adaptation: what it returns depends on treated rows of the "
            "test batch, but only its controls were declared"
        )
    return None


class _Again:
    """Further calls of a fitted method, compared with its first output.

    Parameters
    ----------
    method, view, first, rebuild
        As for :func:`undeclared_adaptation`.
    """

    def __init__(
        self, method: Method, view: Samples, first: Output, rebuild: Callable[[], Method]
    ) -> None:
        self.method, self.view, self.first, self.rebuild = method, view, first, rebuild

    def rows_matter(self, seed: int) -> bool:
        """Return whether the output of a row depends on the other rows of the call."""
        n = len(self.view)
        chunks = chunks_of(n, min(CHECKED, max(1, n // 2)), "check", seed)
        idx = next(chunks)
        kept = len(idx) - len(idx) // 2
        mixed = np.concatenate([idx[:kept], next(chunks, idx)[kept:]])
        one = self.method.apply(self.view.take(idx))
        other = self.rebuild().apply(self.view.take(mixed))
        if differs(self.first, one, idx) or differs(self.first, other, mixed):
            return True
        same = slice(kept)
        return self._differ(one, other, same) and self._repeats(idx, other, same)

    def carries_over(self, grouping: list[Ints]) -> bool:
        """Return whether the output of a batch depends on the batches before it."""
        for method, idx in ((self.method, grouping[0]), (self.rebuild(), grouping[-1])):
            output = method.apply(self.view.take(idx))
            if differs(self.first, output, idx):
                return True
            before, every = _rows(self.first, idx), slice(None)
            if self._differ(before, output, every) and self._repeats(idx):
                return True
        return False

    def treated_rows_matter(self, grouping: list[Ints]) -> bool:
        """Return whether the output depends on treated rows, with and without controls."""
        controls = self.view.controls()
        asked: set[bool] = set()
        for batch in grouping:
            treated = np.flatnonzero(~controls[batch])
            with_controls = bool(controls[batch].any())
            if len(treated) <= 3 or with_controls in asked:
                continue
            asked.add(with_controls)
            kept = np.sort(np.concatenate([batch[controls[batch]], batch[treated[::2]]]))
            if differs(self.first, self.method.apply(self.view.take(kept)), kept):
                return True
            replaced = treated[1::2]
            others = batch.copy()
            others[replaced] = batch[treated[::2][: len(replaced)]]
            output = self.method.apply(self.view.take(others))
            same = np.setdiff1d(np.arange(len(batch)), replaced)
            before = _rows(self.first, batch)
            if self._differ(before, output, same) and self._repeats(batch):
                return True
        return False

    def _differ(self, one: Output, other: Output, rows: slice | Ints) -> bool:
        """Return whether rows of two calls differ by more than rounding."""
        for name in ("X", "logits"):
            first = getattr(self.first, name)
            if first is not None:
                _, rounding = _scale(first)
                a, b = getattr(one, name), getattr(other, name)
                if a is None or b is None or a.shape != b.shape:
                    return True
                if not (np.abs(a[rows].astype(np.float64) - b[rows]) <= rounding).all():
                    return True
        return False

    def _repeats(
        self, idx: Ints, other: Output | None = None, rows: slice | Ints = slice(None)
    ) -> bool:
        """Return whether two rebuilt methods agree bit for bit, and differ from ``other``."""
        one, two = (self.rebuild().apply(self.view.take(idx)) for _ in range(2))
        pairs = ((one.X, two.X), (one.logits, two.logits))
        if not all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None):
            return False
        return other is None or self._differ(one, other, rows)


def _rows(output: Output, idx: Ints) -> Output:
    return Output(output.X[idx], None if output.logits is None else output.logits[idx])


def _scale(array: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spread of each feature, and how far rounding may change it."""
    some = array[:: max(1, len(array) // SPREAD_ROWS)].astype(np.float64)
    spread, largest = some.std(axis=0), np.abs(some).max(axis=0)
    return spread, ROUNDING * (largest + np.median(spread))


def differs(first: Output, again: Output, idx: Ints) -> bool:
    """Return whether ``again`` differs from rows ``idx`` of ``first`` by more than tolerated."""
    pairs = [(first.X, again.X)]
    if (first.logits is None) != (again.logits is None):
        return True
    if first.logits is not None and again.logits is not None:
        pairs.append((first.logits, again.logits))
    for a, b in pairs:
        if (len(idx), *a.shape[1:]) != b.shape:
            return True
        # Compare per feature: in raw measurements, features with large values would otherwise
        # hide changes in all others.
        spread, rounding = _scale(a)
        allowed = TOLERANCE * spread + rounding
        # Negated so that NaN counts as a difference.
        if not (np.abs(a[idx].astype(np.float64) - b) <= allowed).all():
            return True
    return False


def grouping_of(batch: NDArray[np.str_], per_batch: bool) -> list[Ints] | None:
    """Return the positions of each batch, or None for a method that gets mixtures of rows."""
    return list(batches_of(batch)) if per_batch else None


def check_part(output: Output, n: int) -> None:
    """Raise :class:`RunFailed` if the output of ``apply`` is not valid for ``n`` rows.

    Otherwise numpy would silently broadcast one row over many, or cast float64 to float32.
    """
    if not isinstance(output, Output):
        raise RunFailed(f"apply returned a {type(output).__name__}: the contract says Output")
    for name, array in (("X", output.X), ("logits", output.logits)):
        if array is None and name == "logits":
            continue
        if not isinstance(array, np.ndarray):
            raise RunFailed(f"apply returned {name} as {type(array).__name__}, not a numpy array")
        if array.ndim != 2 or len(array) != n:
            raise RunFailed(
                f"apply returned {name} of shape {array.shape} for {n} rows: one row each is due"
            )
        if array.dtype != np.float32:
            raise RunFailed(f"apply returned {array.dtype} {name}: the contract says float32")


def assemble(n: int, parts: Iterable[tuple[Ints, Output]]) -> Output:
    """Put the outputs of several calls back into view order.

    Raises
    ------
    RunFailed
        If a call did not return one row of the same width for each of its input rows.
    """
    X: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None
    width: tuple[int, int | None] | None = None
    notes: dict[str, None] = {}
    fallbacks = 0
    for idx, part in parts:
        check_part(part, len(idx))
        found = (part.X.shape[1], None if part.logits is None else part.logits.shape[1])
        if width is None or X is None:
            width, X = found, empty((n, found[0]))
            logits = None if found[1] is None else np.empty((n, found[1]), np.float32)
        if found != width:
            raise RunFailed("apply returned outputs of different widths for different calls")
        X[idx] = part.X
        if logits is not None and part.logits is not None:
            logits[idx] = part.logits
        fallbacks += part.fallbacks
        notes.update(dict.fromkeys(part.notes))
    if X is None:
        raise RunFailed("apply was called for no rows")
    return Output(X, logits, fallbacks=fallbacks, notes=tuple(notes))
