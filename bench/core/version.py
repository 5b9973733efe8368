"""Version of labshift, and of the numbers that it computes."""

from __future__ import annotations

__all__ = ["NUMERICS", "__version__"]

__version__ = "0.1.0"

NUMERICS = 1
"""Version of the numbers that the harness computes; part of every identity where it is not 1.

Raise it when the golden numbers of the training loop, samplers, inference or probe move; runs made
before then count as other runs. A method whose own numbers move raises its ``version`` instead.
"""
