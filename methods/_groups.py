"""Training batches with rows of several experimental batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import Access, BenchError, NotApplicable, Samples, param
from bench.network import NetworkMethod, batchwise, usable_groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bench.api import Ints
    from bench.network import Sampler


@dataclass(frozen=True)
class GroupParams:
    """How a training batch is made of experimental batches."""

    level: str = param(
        "", "batch level whose values are told apart; empty is the data set's default"
    )
    per_batch: int = param(
        4,
        "experimental batches in a training batch, equally many rows of each; fewer where the "
        "training set or batch_size has no room for them",
        unit="batches",
        low=2,
        high=64,
        search=(2, 8),
    )


class GroupwiseMethod(NetworkMethod):
    """Training on several experimental batches at a time, drawn uniformly."""

    Params: ClassVar[type] = GroupParams
    least: ClassVar[int] = 1
    """Rows of a batch that its statistics need; batches with fewer are left out of training."""

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return the batch of each training row."""
        return Access.TRAIN_BATCH

    def sampler(self, train: Samples, group: Ints, recipe: Mapping[str, Any], seed: int) -> Sampler:
        """Return training batches of at least two experimental batches."""
        size = recipe["batch_size"]
        return groupwise(group, size, seed, self.params.per_batch, self.least, fewest=2)


def groupwise(
    group: Ints, k: int, seed: int, per_batch: int, least: int, *, fewest: int
) -> Sampler:
    """Return batches of ``k`` rows from up to ``per_batch`` experimental batches.

    Parameters
    ----------
    group
        ``(n,)`` batch codes.
    k
        Rows in a training batch, shared equally.
    seed
        Seed of the stream.
    per_batch
        Experimental batches in a training batch, where there are as many.
    least
        Minimum number of rows of an experimental batch, in the data and in each training batch.
    fewest
        Minimum number of experimental batches.

    Raises
    ------
    NotApplicable
        If fewer than ``fewest`` experimental batches have ``least`` rows.
    BenchError
        If ``k`` is too small for ``fewest`` of them.
    """
    usable = len(usable_groups(group, "all", None, least))
    if usable < fewest:
        raise NotApplicable(
            f"at least {fewest} batches with {least} or more rows are needed, and {usable} have "
            "them: choose another level"
        )
    if k < fewest * least:
        raise BenchError(
            f"batch_size {k} has no room for {least} rows of each of {fewest} batches: raise it to "
            f"{fewest * least} or more"
        )
    return batchwise(group, k, seed, per_batch=min(per_batch, usable, k // least), least=least)


def parts_of(values: Tensor, group: Tensor) -> list[Tensor]:
    """Return the rows of ``values`` ``(k, ...)`` of each code in ``group`` ``(k,)``, by code."""
    return [values[group == code] for code in sorted(set(group.tolist()))]


def joined(batch_values: Tensor | None, adapt_values: Tensor | None) -> Tensor:
    """Return training rows followed by unlabelled ones; both are required."""
    import torch

    assert batch_values is not None
    assert adapt_values is not None
    return torch.cat([batch_values, adapt_values])
