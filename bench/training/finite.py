"""Stop training if the loss is not finite, without synchronising with the device at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.errors import RunFailed

if TYPE_CHECKING:
    from bench.training.statistics import Batch


CHECK_EVERY = 50
"""Steps between checks on an accelerator. A check waits for all queued kernels."""


@dataclass(frozen=True)
class _Step:
    number: int
    total: int
    lr: float
    names: tuple[str, ...]
    values: Tensor
    """Terms of the loss, ``(len(names),)``, on the device."""
    finite_rows: Tensor
    """Whether all inputs are finite, on the device."""


class FiniteCheck:
    """Check the loss of each step: immediately on the CPU, every ``CHECK_EVERY`` steps elsewhere.

    The values of unchecked steps remain on the device, so a late check still reports the first step
    with a non-finite loss.
    """

    def __init__(self, method: str, device: str) -> None:
        self._method = method
        self._at_once = device == "cpu"
        self._steps: list[_Step] = []

    def loss(self, terms: dict[str, Tensor], batch: Batch, lr: float) -> Tensor:
        """Return the sum of the terms of the loss.

        Raises
        ------
        RunFailed
            If the loss is not finite in this step, or in an earlier unchecked step.
        """
        values = torch.stack([term.reshape(()) for term in terms.values()])
        loss = values.sum()
        if self._at_once and math.isfinite(float(loss.detach())):
            return loss
        finite_rows = torch.isfinite(batch.x).all()
        self._steps.append(
            _Step(batch.step, batch.total, lr, tuple(terms), values.detach(), finite_rows)
        )
        if self._at_once or len(self._steps) >= CHECK_EVERY:
            self.check()
        return loss

    def check(self) -> None:
        """Check all steps since the last check.

        Raises
        ------
        RunFailed
            If a loss is not finite. The message names the first such step and suggests fixes.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return
        sums = torch.stack([step.values.sum() for step in steps]).tolist()
        for step, total in zip(steps, sums, strict=True):
            if math.isfinite(total):
                continue
            values = zip(step.names, step.values.tolist(), strict=True)
            terms = ", ".join(f"{name} = {value:g}" for name, value in values)
            hint = f"lower lr (now {step.lr:g}), lengthen warmup, or use precision=float32"
            if not bool(step.finite_rows):
                hint = "the input rows contain values that are not finite: check the data"
            raise RunFailed(
                f"{self._method}: the loss is not finite at step {step.number} of {step.total} "
                f"({terms}); {hint}"
            )
