"""Small training views in memory: rows with classes, a shift per batch, and controls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Context, Samples, make_params
from bench.core import samples as api
from bench.training.recipes import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROFILES = {"steps": 12, "batch_size": 24, "width": 8, "lr": 0.01}
IMAGES = {"steps": 4, "batch_size": 16, "width": 4}


class Rows:
    """Images in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self.pixels[rows]


def profiles(
    n: int = 160, d: int = 6, seed: int = 0, batches: int = 4, first: int = 0, shift: float = 1.0
) -> Samples:
    """Return three classes; batches ``p<first>`` ... shift all features; 1 in 6 is a control.

    What a batch does depends on its name alone, so views with other rows share batches.
    """
    rng = np.random.default_rng(seed)
    y, batch = rng.integers(3, size=n), first + rng.integers(batches, size=n)
    y[rng.random(n) < 1 / 6] = -1
    offset = shift * np.random.default_rng(99).normal(size=(50, d))
    X = rng.normal(size=(n, d)) + 2 * np.eye(d)[y % d] * (y >= 0)[:, None] + offset[batch]
    return Samples(
        ids=np.array([f"r{first}-{i}" for i in range(n)]),
        y=y.astype(np.int64),
        batch=np.array([f"p{b:02d}" for b in batch]),
        n_classes=3,
        shape=(d,),
        X=X.astype(np.float32),
    )


def images(n: int = 60, seed: int = 0, batches: int = 3) -> Samples:
    """Return three classes of brightness in one of two channels, 8 x 8 pixels."""
    rng = np.random.default_rng(seed)
    y, batch = rng.integers(3, size=n), rng.integers(batches, size=n)
    pixels = rng.integers(0, 100, (n, 2, 8, 8)) + (40 * y + 10 * batch)[:, None, None, None]
    pixels = pixels.astype(np.uint8)
    return Samples(
        ids=np.array([f"i{k}" for k in range(n)]),
        y=y.astype(np.int64),
        batch=np.array([f"p{b}" for b in batch]),
        n_classes=3,
        shape=pixels.shape[1:],
        _handle=api.new_handle(Rows(pixels), np.arange(n)),
    )


def unlabelled(samples: Samples, y: NDArray[np.int64] | None = None) -> Samples:
    """Return the rows without their classes, or with wrong ones that must not be read."""
    return replace(samples, y=np.full(len(samples), -1, np.int64) if y is None else y)


def context(kind: str = "profiles", seed: int = 3, **changes: Any) -> Context:
    """Return a short recipe; ``log``, ``progress`` and ``scratch`` go to the context."""
    own = {k: changes.pop(k) for k in ("log", "progress", "scratch") if k in changes}
    base = PROFILES if kind == "profiles" else IMAGES
    return Context(seed=seed, recipe=resolve("default", kind, {**base, **changes}), **own)


def trained(
    cls: Any, samples: Samples, ctx: Context, adapt: Samples | None = None, **params: Any
) -> Any:
    """Return a fitted method."""
    method = cls(make_params(cls.__name__, cls.Params, params))
    method.fit(samples, adapt, ctx)
    return method


def same_state(a: Any, b: Any) -> bool:
    """Return whether the states of two methods are equal bit by bit."""
    first, second = a.state(), b.state()
    return list(first) == list(second) and all(
        np.array_equal(first[key], second[key]) for key in first
    )
