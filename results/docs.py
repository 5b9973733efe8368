"""Write ``methods/README.md``, ``datasets/README.md`` and tables of ``docs/``, from the registry.

Run as ``python results/docs.py`` from the root of a checkout. ``--check`` compares instead of
writing and fails where something is stale; so does ``make docs``, for every generated document.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from bench.api import Access, track_of
from bench.boards.render.claims import claims_markdown
from bench.cli.group import COMMANDS
from bench.core.control_names import is_control_row
from bench.core.registry import Registry
from bench.core.words import as_sentences
from bench.data.catalog import known_splits
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.core.entry import Entry

GROUPS = {
    "reference": "Control rows: never ranked",
    "network": "Networks, on images and tables",
    "classifier": "First stages that train no network: classical classifiers, pretrained encoders",
    "profile": "Corrections of profiles, after any first stage (`ben+tvn`) or on a table",
}
CLAIMS = (
    "ben-2022-table1/ben/test-top1",
    "ben-2022-table1/vanilla/test-top1",
    "wilds-2021/erm/test-top1",
    "wilds-2021/erm/mixed-to-test-top1",
    "ridg/ttbna/test-top1",
    "ben-2022-table4/by-plate-75/test-top1",
    "ben-2022-table6/minclr-ben-tvn/bbbc021-nscb",
    "ben-2022-table6/minclr-ben-controls-tvn/bbbc021-nscb",
    "ben-2022-table5/caicedo-2018-classical-features/bbbc021-nscb",
    "cs-arm-bn-2026/cs-arm-bn/new-batches-accuracy",
)
"""Published numbers in ``docs/results.md``; `list claims` prints all."""


STUDIES = (
    ("batch-size", 1),
    ("composition", 1),
    ("confounding", 0),
    ("confounding", 1),
    ("label-shift", 0),
    ("mechanism", 0),
    ("mechanism", 1),
    ("ablation", 1),
)
"""Study and index of its sentence in ``docs/results.md``."""
STUDIED = "jump-source3-statistics-batches"


def main() -> None:
    """Write every document, or with ``--check`` compare."""
    registry = Registry()
    documents = {
        ROOT / "methods" / "README.md": methods(registry),
        ROOT / "datasets" / "README.md": datasets(registry),
        **pages(),
    }
    stale = [
        str(path.relative_to(ROOT))
        for path, text in documents.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        if stale:
            sys.exit(f"error: {', '.join(stale)} is stale: run python results/docs.py")
        return
    for path, text in documents.items():
        path.write_text(text, encoding="utf-8")


def own(registry: Registry, kind: str) -> list[Entry]:
    """Return the entries of labshift itself by name, without plugins."""
    return [entry for entry in registry.entries(kind) if entry.provider == "labshift"]


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return the lines of a Markdown table; a bar in a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


def methods(registry: Registry) -> str:
    """Return ``methods/README.md``: every method with its track and its claims."""
    lines = [
        "# Methods",
        "",
        "One file per method. `python -m bench show method NAME` prints equations, sources and "
        "parameters; [CONTRIBUTING.md](../CONTRIBUTING.md) explains how to add one. *Track* is the "
        "information that a method uses beyond labelled training data, with default parameters. "
        "*Helps* and *hurts* are claims on planted shifts. The claims are tested; failed claims "
        "are in `tests/methods/behaviour_failures.csv`.",
        "",
    ]
    for level, title in GROUPS.items():
        rows = [
            [
                f"`{entry.name}`",
                track(entry.meta),
                ", ".join(entry.meta["helps"]),
                ", ".join(entry.meta["hurts"]),
                entry.meta["summary"],
                entry.meta["reference"],
            ]
            for entry in own(registry, "method")
            if entry.meta["level"] == level
        ]
        lines += [f"## {title}", ""]
        lines += table(["method", "track", "helps", "hurts", "summary", "source"], rows)
    return "\n".join(lines)


def track(meta: dict[str, Any]) -> str:
    """Return the track of a method from its META."""
    if is_control_row(meta["level"]):
        return "reference"
    return track_of(Access.parse(meta["access"]))


def datasets(registry: Registry) -> str:
    """Return ``datasets/README.md``: every data set with its editions, and every split."""
    lines = [
        "# Data sets and splits",
        "",
        "One file per data set. Splits are in `splits/`. The edition *real* reads the published "
        "files. The edition *simulated* is a physical simulation in the published format. The edition "
        "*fixture* is synthetic files in the published layout for tests. `python -m bench data fetch NAME` downloads the real "
        "files, `data where NAME` prints their folder.",
        "",
        "The archives of RxRx1-WILDS and Camelyon17-WILDS have one documented host, which has failed "
        "for months at a time. Neither the package wilds nor the publishers of the images document a "
        "second host for these archives. `data fetch NAME --from FILE` takes a copy that you have, "
        "and checks its size and its tree.",
        "",
    ]
    splits = known_splits(registry).values()
    for entry in own(registry, "dataset"):
        meta = entry.meta
        lines += [
            f"## {entry.name}",
            "",
            f"{meta['summary']} Editions: {', '.join(meta['editions'])}. Batch levels, smallest "
            f"first: {', '.join(meta['levels'])}. Licence: {meta['licence']}. {meta['reference']}.",
            "",
        ]
        rows = [
            [
                f"`{s.name}`" + (f" (`{s.alias}`)" if s.alias else ""),
                s.metric,
                as_sentences(s.shift),
            ]
            for s in splits
            if s.dataset == entry.name
        ]
        lines += table(["split", "primary metric", "shift between training and test"], rows)
    return "\n".join(lines)


def studies() -> list[str]:
    """Return the lines about studies: generated sentences of their readings."""
    lines = []
    for name, which in STUDIES:
        file = HERE / "reference" / "studies" / name / STUDIED / "study.json"
        study = json.loads(file.read_text(encoding="utf-8"))
        lines.append(f"- *{study['question']}* {study['reading'][which]} (`study {name}`)")
    return [*lines, ""]


def pages() -> dict[Path, str]:
    """Return the pages of ``docs/`` with their generated blocks renewed."""
    records = Store(HERE).load_reference()
    rows = [[f"`{name}`", summary] for name, (_, summary) in COMMANDS.items()]
    blocks = {
        "commands.md": {"commands": table(["command", "purpose"], rows)},
        "results.md": {
            "studies": studies(),
            "claims": claims_markdown(records, CLAIMS).splitlines(),
        },
    }
    return {ROOT / "docs" / name: renewed(name, parts) for name, parts in blocks.items()}


def renewed(name: str, blocks: dict[str, list[str]]) -> str:
    """Return a page of ``docs/`` with new lines in its blocks."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for block, lines in blocks.items():
        begin, end = f"<!-- {block} -->", f"<!-- /{block} -->"
        head, marker, rest = text.partition(begin)
        if not marker or end not in rest:
            sys.exit(f"error: docs/{name} has no block {begin} … {end}: restore it")
        text = "".join([head, begin, "\n", "\n".join(lines), "\n", end, rest.partition(end)[2]])
    return text


if __name__ == "__main__":
    main()
