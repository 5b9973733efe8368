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
"""Maximum deviation between two outputs of a feature, relative to its spread over all rows."""
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

    Without test-batch access, a random subset is applied in one call. With test-batch access, the
    first batch is applied again after all others, to detect state left by later batches. The last
    batch is applied by a method rebuilt from its state that has seen no other batch. If the method
    declares access to the controls of the batch only, half of the treated rows are removed from
    one batch with controls and one without; the output of the remaining rows must not change.

    Parameters
    ----------
    method, view, grouping, seed
        As for :func:`apply_all`.
    rebuild
        Returns the method in its state before any call of ``apply``. If None, this is skipped.
    """
    n = len(view)
    if grouping is None:
        idx = next(chunks_of(n, min(CHECKED, max(1, n // 2)), "check", seed))
        askable = [method] if rebuild is None else [method, rebuild()]
        if any(differs(first, one.apply(view.take(idx)), idx) for one in askable):
            return (
                "undeclared adaptation: what it returns for a row depends on the other rows of "
                "the call, but test-batch access was not declared"
            )
        return None
    again = grouping[0]
    carried = differs(first, method.apply(view.take(again)), again)
    if not carried and rebuild is not None:
        last = grouping[-1]
        carried = differs(first, rebuild().apply(view.take(last)), last)
    if carried:
        return (
            "undeclared adaptation: a test batch gets another output after other test batches "
            "were seen"
        )
    if Access.TEST_BATCH not in access and Access.CONTROLS in access:
        controls = view.controls()
        asked: set[bool] = set()
        for batch in grouping:
            treated = batch[~controls[batch]]
            with_controls = bool(controls[batch].any())
            if len(treated) > 3 and with_controls not in asked:
                asked.add(with_controls)
                kept = np.sort(np.concatenate([batch[controls[batch]], treated[::2]]))
                if differs(first, method.apply(view.take(kept)), kept):
                    return (
                        "undeclared adaptation: what it returns depends on treated rows of the "
                        "test batch, but only its controls were declared"
                    )
    return None


def differs(first: Output, again: Output, idx: Ints) -> bool:
    """Return whether ``again`` differs from rows ``idx`` of ``first`` by more than rounding."""
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
        some = a[:: max(1, len(a) // SPREAD_ROWS)].astype(np.float64)
        spread, largest = some.std(axis=0), np.abs(some).max(axis=0)
        allowed = TOLERANCE * spread + ROUNDING * (largest + np.median(spread))
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
