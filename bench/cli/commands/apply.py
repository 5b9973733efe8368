"""``apply``: correct a new table by a saved correction."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bench.cli.options import ISOLATE, PATH, Common, common_options
from bench.cli.output import note, print_json, print_line
from bench.cli.progress import waiting
from bench.core.errors import BenchError

ENDINGS = {".parquet": "parquet", ".h5ad": "h5ad", ".npy": "npy"}


@click.command()
@click.argument("correction", metavar="CORRECTION", type=PATH)
@click.argument("table", metavar="TABLE", type=PATH)
@click.option(
    "--output", required=True, metavar="FILE", type=PATH, help="A .parquet, .h5ad or .npy file."
)
@click.option("--batch", metavar="COLUMN", help="Batch of each row [default: as in the fit].")
@click.option("--control", metavar="COLUMN", help="Negative controls [default: as in the fit].")
@ISOLATE
@common_options
def command(
    correction: str,
    table: str,
    output: str,
    batch: str | None,
    control: str | None,
    isolate: str,
    common: Common,
) -> None:
    r"""Correct a new table by a correction that `fit` saved; nothing is fitted again.

    The output has all other columns of the table and the corrected columns e0000, e0001, ...
    Batches that are unlike those of the fit are reported.

    \b
    python -m bench apply tvn.safetensors new_plate.parquet --output corrected.parquet
    """
    import pandas as pd

    from bench.records.export import write
    from bench.runs.saved import read_corrector, read_new, warnings_of

    form = ENDINGS.get(Path(output).suffix.lower())
    if form is None:
        raise BenchError(f"--output {output}: the name must end in {', '.join(ENDINGS)}")
    common.registry(isolate)  # methods of plugins
    corrector, header = read_corrector(correction, isolate)
    with waiting(f"correcting {table}"):
        new = read_new(Path(table), header, batch=batch, control=control)
        frame = pd.DataFrame(new.X, columns=header.features, copy=False)
        try:
            X = corrector.transform(frame, batch=new.batch, controls=new.controls)
            similar = corrector.compare(frame, batch=new.batch, controls=new.controls)
        except ValueError as error:
            raise BenchError(str(error)) from None
        warnings = warnings_of(corrector, new, similar)
        facts = {"correction": header.method, "dataset": header.dataset}
        facts |= {"labshift": header.labshift, "warnings": "; ".join(warnings)}
        files = write(X, new.rows, facts, form, Path(output))
    if common.as_json:
        print_json(
            {
                "files": [str(file) for file in files],
                "rows": len(X),
                "columns": X.shape[1],
                "warnings": warnings,
                "batches": [{**asdict(s), "exceeded": list(s.exceeded)} for s in similar],
            }
        )
        return
    for line in warnings:
        note(f"warning: {line}")
    print_line(f"{len(X)} rows, {X.shape[1]} columns, {header.method}")
    for file in files:
        print_line(str(file))
