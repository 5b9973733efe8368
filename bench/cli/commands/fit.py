"""``fit``: fit a correction on a table and save it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.options import ISOLATE, PATH, Common, common_options
from bench.cli.output import print_json, print_line
from bench.cli.progress import waiting
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.runs.corrector import Corrector


@click.command()
@click.argument("method", shell_complete=completion.methods)
@click.option(
    "--data",
    required=True,
    metavar="FILE",
    shell_complete=completion.splits,
    help="dataset.toml, or a registered split; all rows are used.",
)
@click.option("--output", required=True, metavar="FILE", type=PATH, help="File of the correction.")
@click.option("--level", metavar="NAME", help="Batch level [default: that of the data].")
@click.option("--seed", metavar="N", help="Seed of the method [default: 0].")
@click.option("--edition", metavar="NAME", default="auto", help="Of a registered data set.")
@click.option(
    "--set", "settings", multiple=True, metavar="[NAME.]KEY=VALUE", help="Set METHOD.KEY."
)
@ISOLATE
@common_options
def command(
    method: str,
    data: str,
    output: str,
    level: str | None,
    seed: str | None,
    edition: str,
    settings: tuple[str, ...],
    isolate: str,
    common: Common,
) -> None:
    r"""Fit a correction on all rows of a table and save it for new plates.

    The file has no code: arrays and a JSON header in the safetensors format.

    \b
    python -m bench fit tvn --data screen.toml --output tvn.safetensors
    python -m bench apply tvn.safetensors new_plate.parquet --output corrected.parquet
    """
    from bench.data.opening import open_all
    from bench.runs.corrector import Corrector
    from bench.runs.isolation import BADGES
    from bench.runs.saved import refuse_bound, write_corrector
    from bench.runs.settings import Settings

    registry = common.registry(isolate)
    grouped = Settings.read(settings, [method], registry)
    if grouped.data:
        raise BenchError(f"--set data.{next(iter(grouped.data))}: `fit` takes no data settings")
    seeds = arguments.seeds(seed, None, 1)
    assert seeds is not None
    params = {f"{name}.{key}": v for name, own in grouped.methods.items() for key, v in own.items()}
    recipe = grouped.recipe or None
    corrector = Corrector(method, params=params, recipe=recipe, seed=seeds[0], isolate=isolate)
    with waiting(f"reading {data}"):
        opened, _, _ = open_all(data, registry, edition)
    batch = level or opened.level
    if batch not in opened.levels:
        raise BenchError(f"--level: {did_you_mean(batch, list(opened.levels), 'batch level')}")
    with waiting(f"fitting {method}"):
        _fit(corrector, opened, batch)
    refuse_bound(corrector.chain_)
    write_corrector(corrector, output, dataset=opened.name, batch=batch, control=_control(data))
    facts = {
        "file": output,
        "method": method,
        "dataset": opened.name,
        "rows": len(opened.index),
        "batch": batch,
        "batches": len(corrector.batches_),
        "features": int(corrector.n_features_in_),
        "columns": int(corrector.n_features_out_),
        "fallbacks": int(corrector.fallbacks_),
        "isolated": corrector.isolated_,
    }
    if common.as_json:
        print_json(facts)
        return
    print_line(
        f"{method} fitted on {facts['rows']} rows of {opened.name}, {facts['batches']} batches "
        f"({batch}), {facts['features']} features"
    )
    if corrector.fallbacks_:
        print_line(f"{corrector.fallbacks_} batches were too small and took the fallback")
    if corrector.isolated_ is not None:
        print_line(f"code of others: {BADGES[corrector.isolated_]}")
    print_line(output)


def _fit(corrector: Corrector, opened: Opened, batch: str) -> None:
    import numpy as np
    import pandas as pd

    if opened.is_images:
        raise BenchError(f"{opened.name} has images, and `fit` corrects tables: use `run`")
    X = opened.source.read(np.arange(len(opened.index)))
    frame = pd.DataFrame(X, columns=list(opened.features) or None, copy=False)
    control = opened.index["control"].to_numpy(bool)
    labels = opened.index["label"].to_numpy(str)
    kept = slice(None)
    y = None
    if corrector.__sklearn_tags__().target_tags.required:
        kept = labels != ""  # rows without a class cannot be learned from
        y = labels[kept]
    try:
        corrector.fit(
            frame[kept],
            y,
            batch=opened.index[batch].to_numpy(str)[kept],
            controls=control[kept],
        )
    except ValueError as error:
        raise BenchError(str(error)) from None


def _control(data: str) -> str:
    """Return the control column of a dataset.toml; empty for a registered data set."""
    from bench.data.catalog import parse_split_argument
    from bench.data.own.spec import parse

    file = parse_split_argument(data)
    return "" if file is None else parse(file[0]).control_column or ""
