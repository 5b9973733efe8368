"""labshift: benchmark batch-effect corrections on out-of-distribution splits.

Corrections are in ``bench.methods`` and data sets in ``bench.datasets``; in a checkout these are
the top-level folders ``methods/`` and ``datasets/``.
"""

from __future__ import annotations

from bench.core import interrupt

interrupt.catch()

# ruff: noqa: E402 - Ctrl-C during these imports must not print a traceback
import importlib
from typing import TYPE_CHECKING

from bench.core import checkout
from bench.core.version import __version__

if TYPE_CHECKING:
    from bench.advice.python import check, recommend
    from bench.runs.corrector import Corrector
    from bench.runs.experiment import run
    from bench.runs.results import leaderboard, load_records

__all__ = [
    "Corrector",
    "__version__",
    "check",
    "leaderboard",
    "load_records",
    "recommend",
    "run",
]

_LAZY = {
    "Corrector": "bench.runs.corrector",
    "check": "bench.advice.python",
    "recommend": "bench.advice.python",
    "leaderboard": "bench.runs.results",
    "load_records": "bench.runs.results",
    "run": "bench.runs.experiment",
}

checkout.install()


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that ``import bench`` stays light."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
