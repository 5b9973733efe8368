"""Digest of a user's data: the bytes of the table, the keys that read it, and the pixels."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bench.data.own.columns import RESERVED
from bench.data.own.reading import damaged

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.types import JsonObject
    from bench.data.own.spec import Spec

_READING = {*RESERVED, "features", "batches", "level", "nscb_batch"}
"""Keys that determine how a table is read."""


def content_of(path: Path) -> str:
    """Return the sha256 (hex) of the bytes of a file."""
    content = hashlib.sha256()
    with damaged(path, "a file"), path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def digest_of(spec: Spec, content: str, exclusions: JsonObject, pixels: str | None = None) -> str:
    """Return the sha256 (hex) of the bytes of the table and the keys that define how to read it.

    For images, the digest of their pixels replaces their location.
    """
    # only keys that are set were added later, so that other digests do not change
    keys = _READING | {key for key in ("layer", "obsm") if getattr(spec, key)}
    facts = {"table": content, "keys": spec.model_dump(mode="json", include=keys)}
    if exclusions:
        facts["excluded"] = exclusions
    if pixels is not None:
        facts["pixels"] = pixels
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
