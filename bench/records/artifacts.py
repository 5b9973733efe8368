"""Fitted weights and computed profiles, kept to avoid refitting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Artifact"]


@dataclass(frozen=True, eq=False)
class Artifact:
    """What can be made again but is worth keeping: a fit's weights or an apply's outputs.

    Attributes
    ----------
    arrays
        Arrays by name; of an apply at least ``embeddings`` ``(n, d)``, and ``ids`` and ``batch``
        ``(n,)`` bytes in UTF-8 where the harness wrote it.
    meta
        Small facts beside them, such as ``fit_s`` and ``steps``.
    """

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)
