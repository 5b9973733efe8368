"""Publish runs: copy their records to ``results/reference/``, one file per split.

    python results/publish.py RESULTS [RUN ...]    all runs of a results folder, or some
    python results/publish.py RESULTS --replace    instead of the published runs of the same splits

RUN is the start of a run id. Runs of the recipe ``smoke``, of fixtures, of validation splits and
failed runs are not published. Records are written without predictions and curves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.core.errors import BenchError
from bench.core.words import count
from bench.records.published import pack, unpacked_folders
from bench.records.store import Store
from bench.records.summary import is_derived

if TYPE_CHECKING:
    from bench.records.record import Record


def publish(results: Path, prefixes: list[str], *, replace: bool, reference: Path) -> list[Path]:
    """Publish runs of a results folder and return the files.

    Raises
    ------
    BenchError
        If there is no such run, or a run cannot be published.
    """
    store = Store(results)
    if not store.runs.is_dir():
        raise BenchError(f"{results} has no runs: specify the results folder of `bench run`")
    records = store.load_all()
    for prefix in prefixes:
        if not any(record.run_id.startswith(prefix) for record in records):
            raise BenchError(f"no run id in {results} starts with '{prefix}'")
    if prefixes:
        records = [record for record in records if record.run_id.startswith(tuple(prefixes))]
        for record in records:
            if reason := _why_not(record):
                raise BenchError(f"run {record.run_id} is not published: {reason}")
    records = [record for record in records if not _why_not(record)]
    # Published records of earlier versions have a folder each.
    pack(reference, unpacked_folders(reference))
    return pack(reference, [store.path_of(r.run_id) for r in records], replace=replace)


def _why_not(record: Record) -> str:
    """Return why a run is not published, or an empty string."""
    if record.status == "failed":
        return "it failed"
    if record.recipe == "smoke":
        return "the recipe is smoke"
    if record.edition == "fixture":
        return "the data are a fixture"
    return "it is a validation run" if is_derived(record.split_id) else ""


def main() -> None:
    """Publish what the command line names."""
    parser = argparse.ArgumentParser(description="Publish runs to results/reference/.")
    parser.add_argument("results", type=Path, help="results folder with the runs")
    parser.add_argument("run", nargs="*", help="start of a run id (default: all runs)")
    parser.add_argument(
        "--replace", action="store_true", help="remove other published runs of the same splits"
    )
    parser.add_argument("--reference", type=Path, default=HERE / "reference", help="target folder")
    options = parser.parse_args()
    try:
        files = publish(
            options.results, options.run, replace=options.replace, reference=options.reference
        )
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    for file in files:
        runs = count(len(file.read_bytes().splitlines()), "run")
        sys.stdout.write(f"{file}: {runs}\n")


if __name__ == "__main__":
    main()
