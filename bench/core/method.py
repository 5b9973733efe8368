"""Interface of correction methods."""

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


@dataclass(frozen=True, eq=False)
class Context:
    """Arguments that the benchmark passes to ``fit``.

    Attributes
    ----------
    seed
        Seed of this fit, derived from the run's seed and the address of the fit.
    recipe
        The resolved recipe: steps, batch_size, lr, network, standardise, ... (see
        ``bench.training.recipes``). The same for all compared methods.
    device
        ``cpu`` or ``cuda``.
    scratch
        Folder for checkpoints, deleted when the record is committed.
    log
        ``log(step, **scalars)`` adds a point to the record's curves.
    progress
        ``progress(done, total)`` updates the progress bar.
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
    """A correction: one file, with its class named in the ``class`` entry of the file's ``META``.

    The runner calls ``fit`` once per training set, and ``apply`` for the training rows and the
    evaluation rows. Both are timed. Labels are available in ``fit`` only.

    ``apply`` is deterministic and does not modify the method. If the method declares
    ``TEST_BATCH`` or ``TEST_CONTROLS``, each call has all rows of exactly one batch. Otherwise
    each call has a seeded random mixture of rows, and the output of a row must not depend on the
    other rows.
    """

    Params: ClassVar[type]
    """A frozen dataclass of :func:`param` fields."""

    def __init__(self, params: object) -> None: ...

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the access required with these parameters."""
        ...

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Fit on the training view; ``adapt`` is the evaluation view if ADAPT is declared."""
        ...

    def apply(self, samples: Samples) -> Output:
        """Return profiles, and logits if the method has a head, for the rows of the view."""
        ...

    def state(self) -> Arrays:
        """Return the fitted state as arrays."""
        ...

    @classmethod
    def from_state(cls, params: object, state: Mapping[str, Array]) -> Method:
        """Rebuild a fitted method."""
        ...
