"""Training curves, logged without synchronising with an accelerator at each point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor


FETCH_EVERY = 50
"""Points kept on an accelerator before they are fetched. Fetching waits for all queued kernels."""


class Curve:
    """Points of a training curve.

    Parameters
    ----------
    log
        Called with the step and the values of each point.
    device
        ``cpu`` or ``cuda``. On the CPU each point is logged immediately.
    points
        Points of an interrupted training; they are logged again.
    """

    def __init__(
        self,
        log: Callable[..., None],
        device: str,
        points: Iterable[tuple[int, dict[str, float]]] = (),
    ) -> None:
        self._log = log
        self._at_once = device == "cpu"
        self._waiting: list[tuple[int, float, tuple[str, ...], Tensor]] = []
        self.points: list[tuple[int, dict[str, float]]] = list(points)
        for step, values in self.points:
            log(step, **values)

    def add(self, step: int, lr: float, terms: dict[str, Tensor]) -> None:
        """Add the named scalar terms of a step and its learning rate."""
        values = torch.stack([term.detach().reshape(()) for term in terms.values()])
        self._waiting.append((step, lr, tuple(terms), values))
        if self._at_once or len(self._waiting) >= FETCH_EVERY:
            self.fetch()

    def fetch(self) -> None:
        """Log the points that are still on the device."""
        waiting, self._waiting = self._waiting, []
        for step, lr, names, values in waiting:
            scalars = dict(zip(names, values.tolist(), strict=True))
            point = {"loss": scalars.pop("loss"), "lr": lr, **scalars}
            self.points.append((step, point))
            self._log(step, **point)
