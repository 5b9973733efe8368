"""``export``: the corrected embeddings of a run, for scanpy and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from bench.records.record import Record

SIDES = ("auto", "test", "train", "both")


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--format",
    "form",
    default="h5ad",
    show_default=True,
    shell_complete=completion.one_of("h5ad", "parquet", "npy"),
    help="h5ad, parquet or npy.",
)
@click.option("--output", metavar="FILE", help="Else in exports/ of the results folder.")
@click.option("--side", default="auto", show_default=True, help="auto, test, train or both.")
@click.option("--split", metavar="SPLIT", help="Where the data are now, FILE.toml:NAME.")
@common
def command(
    run: str,
    form: str,
    output: str | None,
    side: str,
    split: str | None,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    r"""Export the corrected embeddings of a run; RUN is the beginning of its run_id.

    Rows carry id, fold, split (train or test), every column of the data's index, label and
    prediction. With several folds only test rows are exported, unless --side says otherwise.

    \b
    python -m bench export 3fa9 --format h5ad
    python -c "import scanpy; print(scanpy.read_h5ad('results/exports/....h5ad'))"
    """
    from bench.cli.commands.show import find_run
    from bench.records import export

    for option, value, allowed in (("format", form, export.FORMATS), ("side", side, SIDES)):
        if value not in allowed:
            raise BenchError(f"--{option}: {did_you_mean(value, list(allowed), option)}")
    registry = registry_for(plugin)
    store = store_for(results)
    record = find_run(run, store)
    if not record.ok:
        raise BenchError(f"run {record.run_id} is {record.status}: {record.reason}")
    sides = export.chosen_sides(store, record, side)
    # What is not kept is said before any data are opened.
    X, obs = export.table(store, record, sides)
    index, why = _index(record, registry, split)
    if index is not None:
        X, obs = export.table(store, record, sides, index)
    else:
        click.echo(f"note: without labels of rows that were not scored: {why}", err=True)
    name = f"{record.method_id}_{record.split_id.replace('/', '-')}"
    file = f"{name}_{record.run_id[:8]}.{form}"
    path = Path(output) if output else store.root / "exports" / file
    files = export.write(X, obs, export.provenance(record), form, path)
    if as_json:
        facts = {"files": [str(file) for file in files], "rows": len(X), "columns": X.shape[1]}
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"{len(X)} rows, {X.shape[1]} columns")
    for path in files:
        click.echo(str(path))


def _index(record: Record, registry: Any, split: str | None) -> tuple[pd.DataFrame | None, str]:
    """Return the index of the data that a run was made of, or None and why there is none."""
    from bench.data.opening import open_splits

    own = ".toml" in (split or record.split)
    edition = "auto" if own else record.edition
    settings = {} if own else record.dataset_settings
    typed = split or record.split
    try:
        [target] = open_splits([typed], registry, edition, settings, lambda line: None)
    except BenchError as error:
        if split:
            raise
        return None, str(error)
    opened = target.opened
    if opened.digest != record.data_digest:
        if split:
            raise BenchError(f"{split} holds other data than run {record.run_id} was made of")
        return None, f"{typed} holds other data than the run was made of"
    return opened.index, ""
