"""Write a benchmark release: the digests of everything that its scores depend on.

    python results/release.py 2026.1                 write bench/boards/releases/2026.1.toml
    python results/release.py 2026.1 --doi 10.5281/zenodo.N

All splits of the suite must be on this machine; those of optional blocks are left out if they are
not, and listed. A release that has been published is never written again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.boards.release import FOLDER
from bench.core.canonical import canonical_json, digest
from bench.core.disk import write_file
from bench.core.errors import BenchError
from bench.core.registry import open_registry
from bench.core.version import NUMERICS
from bench.data.opening import open_splits
from bench.runs.identity import recipe_identity
from bench.runs.sweeps.suite import read_suite
from bench.training.recipes import KINDS, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.data.task import Task


def opened(suite: str) -> Iterator[tuple[str, Task]]:
    """Yield each split of a suite once, opened, with the JSON of its data settings."""
    registry, seen = open_registry(), set()
    for block in read_suite(suite).blocks:
        for changed in block.settings:
            settings = {
                key.removeprefix("data."): value
                for key, value in changed.items()
                if key.startswith("data.")
            }
            for name in block.splits:
                if (key := (name, block.edition, canonical_json(settings))) in seen:
                    continue
                seen.add(key)
                try:
                    [task] = open_splits([name], registry, block.edition, settings, lambda _: None)
                except BenchError as error:
                    if not block.optional:
                        raise
                    sys.stderr.write(f"left out: {name} ({error})\n")
                    continue
                yield canonical_json(task.opened.settings), task


def text_of(name: str, suite: str, doi: str) -> str:
    """Return the TOML text of a release."""
    registry = open_registry()
    metrics = {m: registry.entry("metric", m).meta["version"] for m in registry.names("metric")}
    recipe = [digest(recipe_identity(resolve("default", kind, {}))) for kind in KINDS]
    lines = [
        f'title = "Release {name}: suite {suite}, default recipe"',
        f'doi = "{doi}"',
        f'suite = "{suite}"',
        f"numerics = {NUMERICS}",
        "",
        "[recipes]",
        f"default = {json.dumps(recipe)}",
        "",
        "[metrics]",
        *(f"{metric} = {metrics[metric]}" for metric in sorted(metrics)),
    ]
    for settings, task in sorted(
        opened(suite), key=lambda pair: (pair[1].split.name, pair[1].opened.edition, pair[0])
    ):
        pairs = ", ".join(f"{k} = {json.dumps(v)}" for k, v in json.loads(settings).items())
        lines += [
            "",
            "[[split]]",
            f'name = "{task.split.name}"',
            f'edition = "{task.opened.edition}"',
            *([f"settings = {{ {pairs} }}"] if pairs else []),
            f'rows = "{task.digest}"',
            f'data = "{task.opened.digest}"',
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write what the command line names."""
    parser = argparse.ArgumentParser(description="Write a benchmark release.")
    parser.add_argument("name", help="name, such as 2026.1")
    parser.add_argument("--suite", default="default", help="suite of its runs")
    parser.add_argument("--doi", default="", help="DOI of the deposited records")
    options = parser.parse_args()
    path = FOLDER / f"{options.name}.toml"
    write_file(path, text_of(options.name, options.suite, options.doi))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
