"""Learning-rate schedule and number of steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.core.types import Recipe


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: linear warm-up from 0, then half-cosine decay to 0.

    With w warm-up steps of T, ``lr s / w`` for s < w, then
    ``lr (1 + cos(pi (s - w) / (T - w))) / 2``. With ``constant`` it remains lr. This is the
    published schedule of BEN; its first warm-up step has rate 0.
    """
    lr = float(recipe["lr"])
    warm = round(float(recipe["warmup"]) * total)
    if step < warm:
        return lr * step / warm
    if recipe["schedule"] == "constant":
        return lr
    share = (step - warm) / max(total - warm, 1)
    return lr * 0.5 * (1.0 + math.cos(math.pi * share))


def total_steps(recipe: Recipe, n: int) -> int:
    """Return the number of steps; an epoch has ``n // batch_size`` steps, at least one."""
    if recipe["steps"]:
        return int(recipe["steps"])
    return int(recipe["epochs"]) * max(n // int(recipe["batch_size"]), 1)
