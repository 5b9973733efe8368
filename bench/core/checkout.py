"""Serve ``bench.methods`` and ``bench.datasets`` in a checkout that is not installed."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


ROOT = Path(__file__).resolve().parents[2]
"""The folder that contains the package ``bench``: a checkout, or ``site-packages``."""


class _CheckoutFinder:
    """Finds ``bench.methods`` and ``bench.datasets`` in a checkout that is not installed.

    The two folders have no ``__init__.py``, because a folder ``datasets`` with one would shadow
    another package when Python runs in the checkout. An installed package takes precedence.
    """

    _folders = ("bench.methods", "bench.datasets")

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG003 - signature of the import system
        target: ModuleType | None = None,  # noqa: ARG003 - signature of the import system
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in cls._folders:
            return None
        folder = ROOT / fullname.rpartition(".")[2]
        if not folder.is_dir():
            return None
        spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def install() -> None:
    """Register the finder, once."""
    if not any(finder is _CheckoutFinder for finder in sys.meta_path):
        sys.meta_path.append(_CheckoutFinder)
