"""``export``: the corrected embeddings of a run, for scanpy and others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.options import Common, check, choice_option, common_options, output_option
from bench.cli.output import note, print_json, print_line
from bench.core.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.registry import Registry
    from bench.records.record import Record

SIDES = ("auto", "test", "train", "both")


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--format",
    "form",
    metavar="NAME",
    default="h5ad",
    show_default=True,
    shell_complete=completion.one_of("h5ad", "parquet", "npy"),
    help="h5ad, parquet or npy.",
)
@output_option(help="Output file [default: in RESULTS/exports/].")
@choice_option("--side", "auto", "auto, test, train or both.", completion.one_of(*SIDES))
@click.option("--split", metavar="SPLIT", help="Where the data are now, FILE.toml:NAME.")
@common_options
def command(
    run: str, form: str, output: str | None, side: str, split: str | None, common: Common
) -> None:
    r"""Export the corrected embeddings of a run; RUN is the start of its run_id.

    Rows have id, fold, split (train or test), all columns of the data's index, label and
    prediction. With several folds only test rows are exported by default.

    \b
    python -m bench export 3fa9 --format h5ad
    python -c "import scanpy; print(scanpy.read_h5ad('results/exports/....h5ad'))"
    """
    from bench.records import export
    from bench.records.embeddings import embeddings
    from bench.records.reproduce import command_of

    check("format", form, export.FORMATS)
    check("side", side, SIDES)
    registry = common.registry()
    store = common.store()
    record = arguments.find_run(run, store)
    if not record.ok:
        raise BenchError(f"run {record.run_id} is {record.status}: {record.reason}")
    sides = export.chosen_sides(store, record, side)
    # Missing artifacts are reported before any data are opened.
    outputs = embeddings(store, record, sides)
    for remark in sorted({output.remark for output in outputs if output.changed}):
        note(f"note: {remark} Repeat the run: `{command_of([record])} --if-exists rerun`")
    index, problem = _index(record, registry, split)
    X, obs = export.table(outputs, record, index)
    if index is None:
        note(f"note: rows that were not scored have no labels: {problem}")
    name = f"{record.method_id}_{record.split_id.replace('/', '-')}"
    file = f"{name}_{record.run_id[:8]}.{form}"
    path = Path(output) if output else store.outputs / "exports" / file
    files = export.write(X, obs, export.provenance(record), form, path)
    if common.as_json:
        print_json({"files": [str(f) for f in files], "rows": len(X), "columns": X.shape[1]})
        return
    print_line(f"{len(X)} rows, {X.shape[1]} columns")
    for path in files:
        print_line(str(path))


def _index(
    record: Record, registry: Registry, split: str | None
) -> tuple[pd.DataFrame | None, str]:
    """Return the index of the data of a run; or None, and the reason."""
    from bench.data.opening import open_splits

    own = ".toml" in (split or record.split)
    edition = "auto" if own else record.edition
    settings = {} if own else record.dataset_settings
    name = split or record.split
    try:
        [task] = open_splits([name], registry, edition, settings, lambda line: None)
    except BenchError as error:
        if split:
            raise
        return None, str(error)
    opened = task.opened
    if opened.digest != record.data_digest:
        problem = f"the data of {name} differ from those of run {record.run_id}"
        if split:
            raise BenchError(problem)
        return None, problem
    return opened.index, ""
