"""Model cards of saved corrections, in Markdown with a YAML header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.folders import file_sums
from bench.core.words import count, listed, setting
from bench.runs.saved import read_corrector
from bench.runs.similarity import DISTANCES

if TYPE_CHECKING:
    from bench.runs.corrector import Corrector
    from bench.runs.saved import Header

MEANING = {
    "location": "shift of the mean in the leading principal components, in standard deviations",
    "covariance": "root mean square log ratio of variances there",
    "residual": "absolute log ratio of the variance outside these components",
}


def model_card(path: Path | str) -> str:
    """Return the card of a file written by ``fit``.

    Everything in it is read from the file and from the literals of its methods.

    Raises
    ------
    BenchError
        As :func:`bench.runs.saved.read_corrector`.
    """
    corrector, header = read_corrector(path)
    name = Path(path).name
    lines = [
        "---",
        "library_name: labshift",
        "tags: [batch-effect-correction, microscopy]",
        "---",
        "",
        f"# {name}",
        "",
        f"`{header.method}`, fitted by labshift {header.labshift}. SHA-256 "
        f"`{file_sums(Path(path))[0]}`.",
        "",
        "## Method",
        "",
        *_methods(corrector, header),
        "",
        "## Training data",
        "",
        *_training(header),
        "",
        "## Use",
        "",
        "```",
        f"python -m bench apply {name} NEW_TABLE.parquet --output corrected.parquet",
        "```",
        "",
        f"The new table needs the same {count(header.n_features, 'feature')}; the output has "
        f"{count(header.n_out, 'column')}. Nothing is fitted again. Used of a new batch: "
        f"{_used(corrector)}.",
        "",
        "## Limits",
        "",
        *_limits(corrector),
        "",
    ]
    return "\n".join(lines)


def _methods(corrector: Corrector, header: Header) -> list[str]:
    lines = []
    for stage, (_, version) in zip(corrector.chain_.stages, header.versions, strict=True):
        if stage.name == "identity" and len(header.versions) > 1:
            continue
        meta = stage.entry.meta
        lines.append(f"- `{stage.name}` version {version}: {meta['summary']} {meta['reference']}.")
    changed = {**header.params, **{f"recipe.{k}": v for k, v in header.recipe.items()}}
    values = ", ".join(f"`{key} = {setting(value)}`" for key, value in sorted(changed.items()))
    lines.append(f"- Parameters: {values or 'defaults'}; seed {header.seed}.")
    return lines


def _training(header: Header) -> list[str]:
    controls = "with" if header.with_controls else "without"
    lines = [
        f"- Data set: {header.dataset or 'not recorded'}",
        f"- {count(len(header.batches), 'batch', 'batches')}"
        + (f" of `{header.batch}`" if header.batch else "")
        + f": {listed(header.batches, 5)}",
        f"- {controls} negative controls"
        + (f", column `{header.control}`" if header.control else ""),
    ]
    if header.features:
        lines.append(f"- Features: {listed(header.features, 3)}")
    return lines


def _used(corrector: Corrector) -> str:
    words = {"test-controls": "its negative controls", "test-batch": "all its rows"}
    return words.get(corrector.chain_.track, "nothing")


def _limits(corrector: Corrector) -> list[str]:
    lines = []
    for stage in corrector.chain_.stages:
        meta = stage.entry.meta
        for key, shifts in (("made for", meta["helps"]), ("hurt by", meta["hurts"])):
            if shifts:
                lines.append(f"- `{stage.name}` is {key} these shifts: {listed(shifts)}.")
    distances = corrector.reference_.arrays.get("distances", np.zeros((0, len(DISTANCES))))
    if len(distances):
        lines += [
            f"- `apply` warns if a new batch is unlike the {len(distances)} training batches, "
            f"which about 1 in {len(distances) + 1} ordinary batches is:",
            "",
            "| distance | largest of a training batch | meaning |",
            "|---|---|---|",
        ]
        largest = np.max(distances, axis=0)
        lines += [
            f"| {name} | {value:.2f} | {MEANING[name]} |"
            for name, value in zip(DISTANCES, largest, strict=True)
        ]
    else:
        lines.append("- Too few training batches to say when a new batch is unlike them.")
    return lines
