"""labshift: which batch-effect correction still works when the laboratory is new.

The package is the harness. Corrections live in ``bench.methods`` and data in ``bench.datasets``;
in a checkout these are the folders ``methods/`` and ``datasets/`` beside this one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from bench.corrector import Corrector

__all__ = ["Corrector", "__version__"]

__version__ = "0.1.0"


class _CheckoutFinder:
    """Finds ``bench.methods`` and ``bench.datasets`` in a checkout that is not installed.

    The two folders have no ``__init__.py``: with one, running from the root of the checkout would
    shadow another package named ``datasets``. The finder stands last, so an installation wins.
    """

    _folders = ("bench.methods", "bench.datasets")
    _root = Path(__file__).resolve().parent.parent

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in cls._folders:
            return None
        name = fullname.rpartition(".")[2]
        folder = cls._root / name
        if not folder.is_dir():
            return None
        spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


if not any(finder is _CheckoutFinder for finder in sys.meta_path):
    sys.meta_path.append(_CheckoutFinder)


def __getattr__(name: str) -> Any:
    """Import the scikit-learn transformer when it is asked for: ``import bench`` stays light."""
    if name == "Corrector":
        return getattr(importlib.import_module("bench.corrector"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
