"""``bundle``: runs in one zip file that others can verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import arguments
from bench.cli.options import PATH, SPLIT_FILTER, Common, common_options
from bench.cli.output import note, print_json, print_line
from bench.cli.progress import waiting
from bench.core.errors import BenchError
from bench.core.words import count, file_size, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.bundle import Manifest
    from bench.records.record import Record


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@SPLIT_FILTER
@click.option("--method", "-m", "method", metavar="M", help="Runs of one method or chain only.")
@click.option("--output", required=True, metavar="FILE", type=PATH, help="A .zip file.")
@common_options
def command(
    runs: tuple[str, ...], split: str | None, method: str | None, output: str, common: Common
) -> None:
    r"""Pack runs into one zip file: records, predictions, commands, versions of all packages.

    RUN is the start of a run id; by default all runs of the results folder that have scores. The
    unpacked file is a results folder. `verify` checks it, repeats runs and compares.

    \b
    python -m bench bundle --split screen.toml --output runs.zip
    python -m bench verify runs.zip --sample 0
    """
    records = chosen(runs, split, method, common)
    path = Path(output)
    if path.suffix.lower() != ".zip":
        raise BenchError(f"--output {output}: the name must end in .zip")
    manifest = write(records, path)
    changed = _changed(records)
    if common.as_json:
        facts = {key: manifest[key] for key in ("format", "releases", "runs")}
        print_json({"file": str(path), "bytes": path.stat().st_size, **facts, "changed": changed})
        return
    if changed:
        note(f"note: environment.txt is of this machine; since the runs changed: {changed}")
    releases = listed(manifest["releases"]) or "none"
    print_line(
        f"{path}  {file_size(path.stat().st_size)}: {count(len(records), 'run')}, "
        f"benchmark release: {releases}"
    )
    print_line(f"next: python -m bench verify {path}")


def write(records: Sequence[Record], path: Path) -> Manifest:
    """Write a bundle of records with the environment of this process."""
    from bench.boards.release import release_of
    from bench.records.bundle import installed_packages, write_bundle

    with waiting(f"writing {path}"):
        releases = {record.run_id: release_of(record, record.primary) for record in records}
        return write_bundle(records, path, releases=releases, environment=installed_packages())


def chosen(
    runs: Sequence[str], split: str | None, method: str | None, common: Common
) -> list[Record]:
    """Return the named runs, or all runs with scores of a split and method.

    Raises
    ------
    BenchError
        If there is no such run.
    """
    from bench.data.catalog import canonical_name

    store = common.store()
    if runs and (split or method):
        raise BenchError("name runs, or select them with --split and --method, not both")
    if runs:
        records = {r.run_id: r for r in (arguments.find_run(run, store) for run in runs)}
        return list(records.values())
    name = canonical_name(split, common.registry())
    records_of = [
        record
        for record in store.load_all()
        if record.ok
        and (name is None or name in (record.split_id, record.split))
        and (method is None or method in (record.method, record.method_id))
    ]
    if not records_of:
        where = f" of {name}" if name else ""
        raise BenchError(f"{store.root} has no run{where} with scores: `list runs` lists them")
    return records_of


def _changed(records: Sequence[Record]) -> str:
    """Return packages with another version than when the runs were made; empty without any."""
    from bench.runs.provenance import environment

    now = environment(device="cpu", threads=1, precision="float32")["packages"]
    names = {
        f"{name} {version}"
        for record in records
        for name, version in record.provenance.get("packages", {}).items()
        if now.get(name) != version
    }
    return listed(sorted(names), 5)
