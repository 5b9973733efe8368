"""What a results folder contains, its size, and which parts can be recreated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.disk import disk_errors
from bench.records.writing import discard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.records.store import Store


PRUNABLE = ("unused", "failed", "scratch", "embeddings", "weights")
"""Parts that ``results prune`` can delete, from the cheapest to the most expensive to recreate."""
_DESCRIPTIONS = {
    "runs": "records: the results, never deleted here",
    "unused": "artifacts of no record, such as those of deleted runs",
    "embeddings": "corrected profiles: recomputed from the weights",
    "weights": "fitted methods: recomputed by training again",
    "failed": "tracebacks of failed runs",
    "scratch": "checkpoints of interrupted trainings",
    "tuning": "journals of tune: needed to continue it",
    "other": "figures, reports, exports, studies and the index",
}


@dataclass(frozen=True)
class Usage:
    """One part of a results folder.

    Attributes
    ----------
    name
        ``runs``, one of :data:`PRUNABLE`, ``tuning`` or ``other``.
    description
        Contents, and how they are recreated.
    seconds
        Time that recreating them took when they were computed; None if they cannot be recreated
        or the time is unknown.
    """

    name: str
    description: str
    folders: tuple[Path, ...]
    n_bytes: int
    seconds: float | None = None


def disk_usage(store: Store) -> list[Usage]:
    """Return the parts of a results folder that are not empty."""
    root = store.root
    parts: dict[str, list[Path]] = {name: [] for name in _DESCRIPTIONS}
    seconds = dict.fromkeys(("unused", "embeddings", "weights"), 0.0)
    used = _used_artifacts(store)
    with disk_errors("read", root):
        for folder in _entries(root / "artifacts"):
            meta = _meta(folder)
            is_fit = (folder / "weights.safetensors").is_file()
            part = "weights" if is_fit else "embeddings"
            part = part if folder.name in used else "unused"
            parts[part].append(folder)
            cost = meta.get("fit_s" if is_fit else "apply_s")
            seconds[part] += cost if isinstance(cost, float) else 0.0
        for name in ("failed", "scratch"):
            parts[name] += _entries(root / name)
        for path in _entries(root):
            if path.name in ("runs", "tuning"):
                parts[path.name].append(path)
            elif path.name not in ("artifacts", "failed", "locks", "scratch", "reference"):
                parts["other"].append(path)
        return [
            Usage(name, _DESCRIPTIONS[name], tuple(paths), _size(paths), seconds.get(name))
            for name, paths in parts.items()
            if paths
        ]


def remove(store: Store, usages: Iterable[Usage]) -> None:
    """Delete the folders of some parts."""
    for usage in usages:
        for folder in usage.folders:
            discard(store.root, folder)


def _used_artifacts(store: Store) -> set[str]:
    """Return the ids of all artifacts that a record depends on."""
    used: set[str] = set()
    for record in store.load_all():
        for fold in record.folds:
            for stage in fold["stages"]:
                used.update(stage[key] for key in ("fit_id", "apply_id") if key in stage)
    # The profiles of the training rows are named by those of the evaluation rows.
    trains = (_meta(store.artifact_path(artifact)).get("train") for artifact in sorted(used))
    return used | {str(train) for train in trains if train}


def _meta(folder: Path) -> dict[str, object]:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths:
        files = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.stat().st_size for file in files if file.is_file())
    return total
