"""Write the tables of README, ``methods/README.md`` and ``datasets/README.md``, from what they list.

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
from bench.data.catalog import known_splits
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.core.entry import Entry

GROUPS = {
    "reference": "Reference rows: lines to compare with, never ranked",
    "network": "Ways of training and of running a network, on images and on tables",
    "profile": "Corrections of profiles, after any first stage (`ben+tvn`) or on a table itself",
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
"""What README shows of the published numbers; `list claims` has them all."""


STUDIES = (
    ("batch-size", 1),
    ("composition", 1),
    ("label-shift", 0),
    ("mechanism", 0),
    ("mechanism", 1),
    ("ablation", 1),
)
"""Which sentence of which reading stands in README, all of one table."""
STUDIED = "jump-source3-statistics-batches"


def main() -> None:
    """Write every document, or with ``--check`` compare."""
    registry = Registry()
    made = {
        ROOT / "methods" / "README.md": methods(registry),
        ROOT / "datasets" / "README.md": datasets(registry),
        ROOT / "README.md": readme(registry),
    }
    stale = [
        str(path.relative_to(ROOT))
        for path, text in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        if stale:
            sys.exit(f"error: {', '.join(stale)} is stale: run python results/docs.py")
        return
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


def own(registry: Registry, kind: str) -> list[Entry]:
    """Return what comes with the harness, by name: plugins of this machine are not documented."""
    return [entry for entry in registry.entries(kind) if entry.provider == "labshift"]


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return the lines of a Markdown table; a bar in a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


def methods(registry: Registry) -> str:
    """Return ``methods/README.md``: every method with what it must be told and what it claims."""
    lines = [
        "# Methods",
        "",
        "One file a method. `python -m bench show method NAME` prints equations, sources and "
        "parameters; how to add one is in [CONTRIBUTING.md](../CONTRIBUTING.md). *Told* is what a "
        "method sees beyond labelled training data, at its defaults. *Helps* and *hurts* are what "
        "it claims on planted shifts; the claims are tested, and those that failed are in "
        "`tests/methods/behaviour_failures.csv`.",
        "",
    ]
    for level, title in GROUPS.items():
        rows = [
            [
                f"`{entry.name}`",
                told(entry.meta),
                ", ".join(entry.meta.get("helps", [])),
                ", ".join(entry.meta.get("hurts", [])),
                entry.meta["summary"],
                entry.meta.get("reference", ""),
            ]
            for entry in own(registry, "method")
            if entry.meta["level"] == level
        ]
        lines += [f"## {title}", ""]
        lines += table(["method", "told", "helps", "hurts", "what it does", "source"], rows)
    return "\n".join(lines)


def told(meta: dict[str, Any]) -> str:
    """Return the track of a method's literal."""
    if is_control_row(meta["level"]):
        return "reference"
    return track_of(Access.parse(meta.get("access", [])))


def datasets(registry: Registry) -> str:
    """Return ``datasets/README.md``: every data set with its editions, and every split."""
    lines = [
        "# Data sets and splits",
        "",
        "One file a data set; splits are in `splits/`. *real* reads the files as published, "
        "*simulated* is a physical simulation in the published format, *fixture* is made-up files "
        "in the published layout that test the pipeline and support no claim. `python -m bench "
        "data fetch NAME` gets the real files, `data where NAME` says where they go.",
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
            [f"`{s.name}`" + (f" (`{s.alias}`)" if s.alias else ""), s.metric, s.shift]
            for s in splits
            if s.dataset == entry.name
        ]
        lines += table(["split", "primary metric", "what differs between training and test"], rows)
    return "\n".join(lines)


def studies() -> list[str]:
    """Return README's lines about studies: sentences of their readings, as they were generated."""
    lines = []
    for name, which in STUDIES:
        file = HERE / "reference" / "studies" / name / STUDIED / "study.json"
        found = json.loads(file.read_text(encoding="utf-8"))
        lines.append(f"- *{found['question']}* {found['reading'][which]} (`study {name}`)")
    return [*lines, ""]


def readme(registry: Registry) -> str:
    """Return README with its generated blocks renewed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    records = Store(HERE).load_reference()
    named = [entry.name for entry in own(registry, "method")]
    blocks = {
        "commands": table(
            ["command", "what it does"], [[f"`{n}`", words] for n, (_, words) in COMMANDS.items()]
        ),
        "methods": [
            f"There are {len(named)}, each one file: "
            + ", ".join(f"`{name}`" for name in named)
            + ". [methods/README.md](methods/README.md) says what each must be told and what it "
            "claims.",
            "",
        ],
        "studies": studies(),
        "claims": claims_markdown(records, CLAIMS).splitlines(),
    }
    for name, lines in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, found, rest = text.partition(begin)
        if not found or end not in rest:
            sys.exit(f"error: README.md has no block {begin} … {end}: put it back")
        text = "".join([head, begin, "\n", "\n".join(lines), "\n", end, rest.partition(end)[2]])
    return text


if __name__ == "__main__":
    main()
