"""Samplers of training batches: pure functions of seed and step, so that resuming needs no state.

Each function here returns a *sampler*, a callable ``step -> (idx, group)``: positions in the
training view, ``(k,)`` int64, and the batch code of each of them, ``(k,)`` int64. Equal arguments
give equal rows at a step, for any order of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Sampler = Callable[[int], tuple[Ints, Ints]]
Rows = Literal["all", "treated", "controls"]


def codes(batch: NDArray[np.str_]) -> tuple[Ints, NDArray[np.str_]]:
    """Return ``(n,)`` int64 codes of the batch names and the sorted ``(n_batches,)`` names."""
    names, inverse = np.unique(batch, return_inverse=True)
    return inverse.astype(np.int64).reshape(len(batch)), names


def _check_size(k: int) -> None:
    if k < 1:
        raise BenchError(f"a training batch has at least one row, not {k}")


def mixed(group: Ints, k: int, seed: int) -> Sampler:
    """Return batches drawn from all rows: a shuffle per epoch, without replacement.

    An epoch is ``n // k`` steps. The last ``n % k`` rows of each shuffle are dropped, so no row
    occurs twice in a batch. With fewer than ``k`` rows, every batch has all of them.

    Parameters
    ----------
    group
        ``(n,)`` batch codes, returned by the sampler.
    """
    _check_size(k)
    n = len(group)
    if n == 0:
        raise NotApplicable("there are no rows to train on")
    size = min(k, n)
    per_epoch = n // size

    @lru_cache(maxsize=2)
    def shuffled(epoch: int) -> Ints:
        return generator("mixed", seed, epoch).permutation(n).astype(np.int64)

    def sample(step: int) -> tuple[Ints, Ints]:
        epoch, number = divmod(step, per_epoch)
        idx = shuffled(epoch)[number * size : (number + 1) * size]
        return idx, group[idx]

    return sample


def usable_groups(group: Ints, rows: Rows, controls: Bools | None, least: int = 1) -> Ints:
    """Return the codes of batches that a batch-wise sampler can draw from.

    A batch is usable if it has at least one row for the loss (any row, or a treated row if
    ``rows`` is ``treated`` or ``controls``) and at least ``least`` rows for the statistics.
    """
    names = np.unique(group)
    if rows == "all":
        return names[[np.count_nonzero(group == g) >= least for g in names]]
    if controls is None:
        raise BenchError(f"rows={rows} needs to know which rows are controls")
    gives = controls if rows == "controls" else ~controls
    treated = np.bincount(group[~controls], minlength=names.max(initial=-1) + 1)
    giving = np.bincount(group[gives], minlength=names.max(initial=-1) + 1)
    return names[(treated[names] >= 1) & (giving[names] >= least)]


def _draw(rng: np.random.Generator, pool: Ints, k: int) -> Ints:
    return rng.choice(pool, size=k, replace=len(pool) < k)


def _shares(k: int, parts: int) -> list[int]:
    """Split ``k`` rows into ``parts`` sizes that differ by at most one."""
    return [k // parts + (i < k % parts) for i in range(parts)]


def batchwise(
    group: Ints,
    k: int,
    seed: int,
    *,
    how: Literal["independent", "covering"] = "independent",
    per_batch: int = 1,
    rows: Rows = "all",
    controls: Bools | None = None,
    control_share: float = 0.5,
    least: int = 1,
) -> Sampler:
    """Return training batches that each come from ``per_batch`` experimental batches.

    Parameters
    ----------
    group
        ``(n,)`` batch codes.
    k
        Training batch size, divided as equally as possible among the experimental batches.
    how
        ``independent``, as published for BEN: at each step, experimental batches are drawn
        uniformly, regardless of their size (distinct ones if ``per_batch`` > 1). Rows are then
        drawn within each, without replacement if it has enough rows, otherwise with replacement.
        ``covering``: an epoch visits every row once. Each experimental batch is split into the
        fewest pieces of nearly equal size that fit, in random order. Large batches are then
        visited more often, and a training batch may have fewer than ``k`` rows.
    per_batch
        Number of experimental batches per training batch.
    rows
        ``all``: rows in their natural mixture. ``treated``: no controls. ``controls``: treated
        rows for the loss, plus controls of the same experimental batch as a ``control_share`` of
        the training batch (at least one of each).
    controls
        ``(n,)`` bool; required unless ``rows`` is ``all``.
    control_share
        Fraction of controls in a training batch with ``rows="controls"``.
    least
        Minimum rows for the statistics; smaller experimental batches are skipped.

    Raises
    ------
    NotApplicable
        If fewer than ``per_batch`` experimental batches are usable.
    """
    _check_size(k)
    usable = usable_groups(group, rows, controls, least)
    if len(usable) < max(per_batch, 1):
        raise NotApplicable(_too_few(per_batch, rows, least, len(usable), len(np.unique(group))))
    if k < per_batch * (2 if rows == "controls" else 1):
        raise BenchError(f"batch_size {k} is too small for {per_batch} batches with rows={rows}")
    pools = _Pools(group, usable, rows, controls, control_share)
    if how == "independent":
        return _independent(pools, k, seed, per_batch)
    return _covering(pools, k, seed, per_batch)


def _too_few(per_batch: int, rows: Rows, least: int, n_usable: int, n_batches: int) -> str:
    needed = {
        "all": f"at least {least} rows",
        "treated": f"at least {max(least, 1)} treated rows",
        "controls": f"treated rows and at least {max(least, 1)} controls",
    }[rows]
    return (
        f"training on {per_batch} batch{'es' if per_batch > 1 else ''} at a time needs as many "
        f"training batches with {needed}, and {n_usable} of {n_batches} have "
        "them: choose another level, rows or per_batch"
    )


class _Pools:
    """Rows of each usable experimental batch: those for the loss, and controls added to them."""

    def __init__(
        self, group: Ints, usable: Ints, rows: Rows, controls: Bools | None, control_share: float
    ) -> None:
        self.group, self.usable = group, usable
        self._share = control_share
        loss_rows = np.ones(len(group), bool) if controls is None or rows == "all" else ~controls
        self.loss = self._rows(loss_rows)
        self.added: dict[int, Ints] = {}
        if rows == "controls":
            assert controls is not None  # checked by usable_groups
            self.added = self._rows(controls)

    def _rows(self, mask: Bools) -> dict[int, Ints]:
        group = self.group
        return {int(g): np.flatnonzero((group == g) & mask).astype(np.int64) for g in self.usable}

    def split(self, size: int) -> tuple[int, int]:
        """Return the number of rows with a loss and of added controls, of ``size`` rows."""
        if not self.added:
            return size, 0
        added = min(max(round(size * self._share), 1), size - 1)
        return size - added, added

    def finish(
        self, rng: np.random.Generator, pieces: list[tuple[int, Ints, int]]
    ) -> tuple[Ints, Ints]:
        """Join the pieces ``(batch, rows, number of controls to add)`` of a training batch."""
        chosen = []
        for g, idx, added in pieces:
            chosen.append(idx)
            if added:
                chosen.append(_draw(rng, self.added[g], added))
        idx = np.concatenate(chosen)
        return idx, self.group[idx]


def _independent(pools: _Pools, k: int, seed: int, per_batch: int) -> Sampler:
    def independent(step: int) -> tuple[Ints, Ints]:
        rng = generator("independent", seed, step)
        drawn = rng.choice(pools.usable, size=per_batch, replace=False)
        pieces = []
        for g, size in zip(drawn.tolist(), _shares(k, per_batch), strict=True):
            kept, added = pools.split(size)
            pieces.append((g, _draw(rng, pools.loss[g], kept), added))
        return pools.finish(rng, pieces)

    return independent


def _covering(pools: _Pools, k: int, seed: int, per_batch: int) -> Sampler:
    # Pieces must fit the smallest possible share.
    kept, added = pools.split(_shares(k, per_batch)[-1])
    pieces = {g: -(-len(pool) // kept) for g, pool in pools.loss.items()}
    per_epoch = max(-(-sum(pieces.values()) // per_batch), max(pieces.values()))  # noqa: PLW3301 - the nested form is not clearer

    @lru_cache(maxsize=2)
    def epoch_plan(epoch: int) -> list[list[tuple[int, Ints]]]:
        rng = generator("covering", seed, epoch)
        left = {
            g: np.array_split(rng.permutation(pool), pieces[g]) for g, pool in pools.loss.items()
        }
        plan = []
        for _ in range(per_epoch):
            # Use the experimental batches with most remaining pieces first. Only this order always
            # finishes in per_epoch steps with distinct batches in each.
            names = rng.permutation([g for g in left if left[g]]).tolist()
            names.sort(key=lambda g: -len(left[g]))
            plan.append([(g, left[g].pop()) for g in names[:per_batch]])
        order = rng.permutation(per_epoch)
        return [plan[i] for i in order]

    def covering(step: int) -> tuple[Ints, Ints]:
        epoch, number = divmod(step, per_epoch)
        rng = generator("covering", seed, epoch, number)
        return pools.finish(rng, [(g, idx, added) for g, idx in epoch_plan(epoch)[number]])

    return covering
