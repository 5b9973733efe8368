"""The contract of a correction method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from bench.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from bench.core.access import Access
    from bench.core.samples import Output, Samples
    from bench.core.types import Array, Arrays, Recipe


__all__ = ["Context", "Method"]


@dataclass(frozen=True, eq=False)
class Context:
    """What the harness hands to ``fit``.

    Attributes
    ----------
    seed
        The run's seed, already mixed with the address of this fit.
    recipe
        The resolved recipe: steps, batch_size, lr, network, standardise, ... (see
        ``bench.training.recipes``). Equal for all methods that are compared.
    device
        ``cpu`` or ``cuda``.
    scratch
        A folder for checkpoints, gone when the record is committed.
    log
        ``log(step, **scalars)`` adds a point to the record's curves.
    progress
        ``progress(done, total)`` moves the bar.
    """

    seed: int
    recipe: Recipe
    device: str = "cpu"
    scratch: Path | None = None
    log: Callable[..., None] = lambda step, **scalars: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def generator(self, *address: str | int) -> np.random.Generator:
        """Return a generator for one purpose, such as ``ctx.generator("sampler")``."""
        return generator("context", self.seed, *address)


@runtime_checkable
class Method(Protocol):
    """A correction: one file, one class named in the ``class`` entry of the file's ``META``.

    The runner calls ``fit`` once for each training set and ``apply`` for the training rows and the
    evaluation rows; both are timed. A method gets labels in ``fit`` alone.

    ``apply`` is deterministic and leaves the method unchanged. If the method declares
    ``TEST_BATCH`` or ``TEST_CONTROLS``, each call holds all rows of exactly one batch; otherwise
    it holds a seeded random mixture of rows, and what it returns for a row must not depend on the
    other rows of the call.
    """

    Params: ClassVar[type]
    """A frozen dataclass of :func:`param` fields."""

    def __init__(self, params: object) -> None: ...

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return what the method needs to see with these parameters."""
        ...

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn from the training view; ``adapt`` is the evaluation view if ADAPT is declared."""
        ...

    def apply(self, samples: Samples) -> Output:
        """Return profiles, and logits if there is a head, for the rows of the view."""
        ...

    def state(self) -> Arrays:
        """Return all that was learned, as arrays."""
        ...

    @classmethod
    def from_state(cls, params: object, state: Mapping[str, Array]) -> Method:
        """Rebuild a fitted method."""
        ...
