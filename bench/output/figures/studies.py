"""Figures created by studies, copied from the results folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.core.disk import write_files
from bench.core.errors import BenchError
from bench.output.figures._shared import nothing

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: list[Meta] = [
    {
        "kind": "figure",
        "name": "ablation",
        "title": "Ablation: sampling of batches and BatchNorm statistics",
        "summary": "Sampling crossed with BatchNorm statistics, from the study ablation.",
        "needs": ["studies"],
    },
    {
        "kind": "figure",
        "name": "batch-size",
        "title": "Score against the size of the inference batch",
        "summary": "Accuracy against the rows of an inference batch, from the study batch-size.",
        "needs": ["studies"],
    },
    {
        "kind": "figure",
        "name": "label-shift",
        "title": "Score against the label shift of the test batch",
        "summary": "Accuracy against the label shift of the test batch, from the study "
        "label-shift.",
        "needs": ["studies"],
    },
    {
        "kind": "figure",
        "name": "mechanism",
        "title": "Class and batch in the BatchNorm statistics of each layer",
        "summary": "What explains the BatchNorm statistics of batches, from the study mechanism.",
        "needs": ["studies"],
    },
]


def draw(inputs: FigureInput) -> list[Path]:
    """Copy the figures of the study with this name, unchanged.

    A study writes ``studies/NAME/SPLIT/`` with ``study.json`` (title, edition, digest of its
    runs) and ``NAME.pdf``, ``NAME.png`` and ``NAME.csv``, in the style of all figures. Fixtures
    are skipped.
    """
    name = inputs.meta["name"]
    folder = None if inputs.results is None else inputs.results / "studies" / name
    files: list[Path] = []
    for path in sorted(folder.glob("*/study.json")) if folder is not None else []:
        study = path.parent
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            content = {end: (study / f"{name}.{end}").read_bytes() for end in ("pdf", "png", "csv")}
            edition = facts["edition"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(
                f"the study in {study} is damaged ({error}): delete that folder and run it again"
            ) from error
        if edition == "fixture":
            continue
        stem = f"{name}_{study.name}"
        files += write_files(inputs.out, {f"{stem}.{end}": data for end, data in content.items()})
    if files:
        return files
    text = (
        f"No study {name} is kept here. Make one with: "
        f"python -m bench study {name} --split ottawa --seeds 3"
    )
    return nothing(inputs, text)
