"""Digests of a record's own files, which reveal a later change of any of them.

``run.json`` has a key ``digests``: file name -> SHA-256 (hex). The entry ``run.json`` is the digest
of the contents without that key, as canonical JSON, so that it is also valid in a packed file. The
entries of tables are the digests of their bytes. Records of earlier versions have no digests.

Digests reveal damage and edits by hand. They are no signature: anyone who edits a record can
compute them again. ``verify`` therefore also recomputes metrics from the predictions.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

from bench.core.once import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGESTS = "digests"
FILES = ("run.json", "metrics.parquet", "predictions.parquet", "curves.parquet")
"""Files of a record."""


def _contents_digest(record: Mapping[str, object]) -> str:
    contents = {key: value for key, value in record.items() if key != DIGESTS}
    # The form of `canonical_json`, without its conversion of types that JSON does not have.
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_digests(
    contents: Mapping[str, object], files: Mapping[str, str], name: str = FILES[0]
) -> dict[str, object]:
    """Return the contents of a JSON file with its own digest and those of further files.

    Parameters
    ----------
    contents
        Contents of the JSON file, of JSON types.
    files
        File name -> SHA-256 of each further file.
    name
        Name of the JSON file.
    """
    return {**contents, DIGESTS: {name: _contents_digest(contents), **files}}


def digests_of(contents: Mapping[str, object], name: str = FILES[0]) -> dict[str, str] | None:
    """Return the digests in a JSON file; None if it was written without digests.

    Raises
    ------
    ValueError
        If the contents were changed.
    """
    digests = contents.get(DIGESTS)
    if digests is None:
        return None
    if not isinstance(digests, dict) or name not in digests:
        raise ValueError("its digests are incomplete")
    if digests[name] != _contents_digest(contents):
        raise ValueError(f"{name} does not match its digest: it was edited")
    return cast("dict[str, str]", digests)


def check_tables(record: Mapping[str, object], folder: Path) -> None:
    """Compare the tables of a record with its digests, if it has any.

    Raises
    ------
    ValueError
        If a table was changed, added or removed.
    OSError
        If a file cannot be read.
    """
    digests = record.get(DIGESTS)
    if not isinstance(digests, dict):
        return
    for name in FILES[1:]:
        path = folder / name
        if name not in digests:
            if path.exists():
                raise ValueError(f"{name} was added")
        elif not path.is_file():
            raise ValueError(f"{name} is missing")
        elif file_sha256(path) != digests[name]:
            raise ValueError(f"{name} does not match its digest: it was edited or replaced")
