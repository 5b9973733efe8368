"""Version of labshift, and of its numerics."""

from __future__ import annotations

__version__ = "0.1.0"

NUMERICS = 2
"""Version of the benchmark's numerics; part of every identity unless it is 1.

Increase it when golden numbers of the training loop, samplers, inference or probe change. Earlier
runs then have other ids. If only a method's results change, increase its ``version`` instead.
"""
