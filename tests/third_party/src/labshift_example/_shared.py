"""What the two corrections share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import Access, BenchError, Context, Output, Samples, param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Params:
    """Parameters of both."""

    level: str = param("", "batch level; empty is the data set's default")


class PerBatch:
    """A correction of each batch by its own rows; a subclass says which."""

    Params: ClassVar[type] = Params

    def __init__(self, params: Params) -> None:
        self.params = params

    @classmethod
    def access(cls, params: Params) -> Access:
        """Return what it must see: all unlabelled rows of the test batch."""
        return Access.TEST_BATCH

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn nothing."""

    def corrected(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corrected rows of one batch, ``(n, d)``."""
        raise TypeError("a subclass says what is corrected")

    def apply(self, samples: Samples) -> Output:
        """Correct one batch, ``(n, d)`` profiles."""
        if samples.X is None or not np.isfinite(samples.X).all():
            raise BenchError("profiles of finite values are required: drop or fill the others")
        return Output(self.corrected(samples.X.astype(np.float64)).astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what was learned."""
        return {}

    @classmethod
    def from_state(cls, params: Params, state: Mapping[str, NDArray[Any]]) -> PerBatch:
        """Rebuild from :meth:`state`."""
        return cls(params)
