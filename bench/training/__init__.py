"""Training and inference of networks: a shared loop, with hooks for methods.

``classification_loss`` and ``reverse_gradient`` are public and imported on first use, so that
importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.training.losses import classification_loss, reverse_gradient

__all__ = ["classification_loss", "reverse_gradient"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("bench.training.losses"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
