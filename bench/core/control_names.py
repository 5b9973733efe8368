"""The literals of the reference rows and leak baselines, read by ``list`` without any import."""

from __future__ import annotations

from typing import Any

_DESIGN = "the row is defined by its construction"
METAS: list[dict[str, Any]] = [
    {
        "kind": "method",
        "name": "identity",
        "summary": "No correction: the table itself; on images fixed untrained features.",
    },
    {
        "kind": "method",
        "name": "shuffle",
        "summary": "The features of another row: what chance looks like on every metric.",
    },
    {
        "kind": "method",
        "name": "batch-mean",
        "summary": "Each row is replaced by the mean of its batch: only the batch effect is left.",
    },
    {
        "kind": "method",
        "name": "label-oracle",
        "summary": "The true class, one-hot with a little noise: the ceiling of every metric.",
    },
    {
        "kind": "method",
        "name": "position-only",
        "summary": "The position on the plate alone: how much the layout gives away.",
    },
    {
        "kind": "method",
        "name": "batch-only",
        "summary": "The names of the row's batches alone: how much the batch tells of the class.",
    },
]
for _meta in METAS:
    _meta.update(level="reference", version=1, access=[], reference=_DESIGN)
NAMES = tuple(meta["name"] for meta in METAS)
