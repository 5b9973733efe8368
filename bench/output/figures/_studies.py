"""Figures that a study drew, found in the results folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.core.disk import write_files
from bench.core.errors import BenchError
from bench.output.figures._shared import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.output.figures import Given

__all__ = ["from_study"]


def from_study(given: Given, meta: Mapping[str, Any]) -> list[Path]:
    """Put the figures of the study of this name beside the others, unchanged.

    A study leaves ``studies/NAME/SPLIT/`` with ``study.json`` (title, edition, digest of its
    runs) and ``NAME.pdf``, ``NAME.png`` and ``NAME.csv``, drawn on the same canvas as all figures.

    Raises
    ------
    BenchError
        If a study's files are damaged; says which folder to delete.
    """
    name = str(meta["name"])
    folder = None if given.results is None else given.results / "studies" / name
    files: list[Path] = []
    for said in sorted(folder.glob("*/study.json")) if folder is not None else []:
        where = said.parent
        try:
            facts = json.loads(said.read_text(encoding="utf-8"))
            kept = {end: (where / f"{name}.{end}").read_bytes() for end in ("pdf", "png", "csv")}
            edition = facts["edition"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(
                f"the study in {where} is damaged ({error}): delete that folder and run it again"
            ) from error
        if edition == "fixture":
            continue
        stem = f"{name}_{where.name}"
        files += write_files(given.out, {f"{stem}.{end}": data for end, data in kept.items()})
    if files:
        return files
    text = (
        f"No study {name} is kept here. Make one with: "
        f"python -m bench study {name} --split ottawa --seeds 3"
    )
    return nothing(given, meta, text)
