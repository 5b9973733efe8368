"""``verify``: check records against their own files, and repeat runs of bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.options import Common, check, common_options, output_option
from bench.cli.output import print_json, print_line
from bench.core.errors import BenchError
from bench.core.folders import expanded
from bench.core.progress import report

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.records.folder import Located
    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.verify import Verification

    Row = tuple[Located, Record | None, Verification]


@click.command()
@click.argument("targets", nargs=-1, metavar="[RUN|FILE|FOLDER]...")
@click.option("--exact", is_flag=True, help="Exit with 1 unless all values are identical.")
@click.option(
    "--sample", metavar="N|all", help="Bundle: number of runs to repeat [default: 1]; 0 for none."
)
@click.option("--seed", metavar="N", help="Bundle: seed of the sample [default: 0].")
@click.option("--device", metavar="NAME", help="Bundle: auto, cpu or cuda [default: auto].")
@output_option(help="Bundle: write the result as JSON, verification.json for boards.")
@common_options
def command(
    targets: tuple[str, ...],
    exact: bool,
    sample: str | None,
    seed: str | None,
    device: str | None,
    output: str | None,
    common: Common,
) -> int:
    r"""Check records: digests, and metrics recomputed from predictions.

    A target is the start of a run id, a run.json, a packed .jsonl file or a folder; by default the
    results folder. The answer is identical, equal (within a tolerance) or different. Exit code 1
    if a record is different or damaged. `run --if-exists verify` repeats runs and compares them.

    Of a bundle, a sample of the runs is also repeated and compared. Exit code 1 if a run of the
    sample differs or cannot be repeated here.

    \b
    python -m bench verify
    python -m bench verify 3fa9
    python -m bench verify results/reference/records/coos7/test4.jsonl
    python -m bench verify runs.zip --sample 2 --output verification.json
    """
    from bench.records.folder import located

    if any(target.lower().endswith(".zip") for target in targets):
        return _bundle(targets, sample or "1", seed, device or "auto", output, common)
    if any(value is not None for value in (sample, seed, device, output)):
        raise BenchError(
            "--sample, --seed, --device and --output are for a bundle: name a .zip file"
        )
    store, registry = common.store(), common.registry()
    store.refresh()
    items: list[Located] = []
    for target in targets or (str(store.root),):
        path = expanded(target)
        items += located(path) if path.exists() else _with_prefix(target, store)
    rows: list[Row] = []
    for k, item in enumerate(items):
        rows.append((item, *_check(item, store, registry)))
        report("verifying records", k + 1, len(items))
    passing = ("identical",) if exact else ("identical", "equal")
    if common.as_json:
        print_json({"records": [_facts(*row) for row in rows]})
    else:
        _print(rows, passing)
    return int(any(result.answer not in passing for *_, result in rows))


def _bundle(
    targets: tuple[str, ...],
    sample: str,
    seed: str | None,
    device: str,
    output: str | None,
    common: Common,
) -> int:
    from bench.cli import arguments
    from bench.cli.bundle_check import n_sampled, verify_bundle
    from bench.runs.experiment import DEVICES

    if len(targets) > 1:
        raise BenchError("a bundle is verified alone: name one .zip file")
    check("device", device, DEVICES)
    seeds = arguments.seeds(seed, None, 1)
    assert seeds is not None
    return verify_bundle(
        expanded(targets[0]),
        common,
        n=n_sampled(sample),
        seed=seeds[0],
        device=device,
        output=output,
    )


def _with_prefix(prefix: str, store: Store) -> list[Located]:
    """Return the run with an id that starts with ``prefix``, damaged or published ones included."""
    from bench.cli.arguments import find_run
    from bench.records.folder import Located, located

    folders = [path for path in store.runs.glob("*/*/") if path.name.startswith(prefix)]
    if len(folders) == 1:
        return located(folders[0])
    record = find_run(prefix, store)
    return [Located(record.run_id, lambda: record)]


def _check(item: Located, store: Store, registry: Registry) -> tuple[Record | None, Verification]:
    from bench.runs.verify import Verification
    from bench.runs.verify import check as checked

    try:
        record = item.read()
    except BenchError as error:
        result = Verification()
        result.differs(str(error))
        return None, result
    result = checked(record, registry)
    if record.path is not None and record.path.is_relative_to(store.root):
        for problem in store.damaged_artifacts(record):
            result.differs(problem)
    return record, result


def _facts(item: Located, record: Record | None, result: Verification) -> dict[str, object]:
    """Return the JSON document of one record."""
    return {
        "path": item.place,
        "run_id": record and record.run_id,
        "method": record and record.method,
        "split": record and record.split_id,
        "seed": record and record.seed,
        "answer": result.answer,
        "n_compared": result.n_compared,
        "largest_difference": result.largest,
        "differences": result.differences,
        "not_compared": result.not_compared,
        "remarks": result.remarks,
        "changed": result.changed,
    }


def _print(rows: list[Row], passing: tuple[str, ...]) -> None:
    """Print the records that do not pass, or a single record, and the counts."""
    from bench.core.words import count, listed

    for item, record, result in rows:
        if result.answer in passing and len(rows) > 1:
            continue
        name = item.place
        if record is not None:
            name = f"{record.method} on {record.split_id}, seed {record.seed} ({item.place})"
        print_line(f"{name}: {result.text}")
        if len(rows) == 1 and result.not_compared:
            print_line(f"not recomputed, needs the data: {listed(result.not_compared, 8)}")
        if len(rows) == 1 and result.changed and result.answer == "identical":
            print_line(f"changed since the run: {listed(result.changed, 8)}")
    if len(rows) == 1:
        return
    answers = [result.answer for *_, result in rows]
    counts = (f"{answers.count(answer)} {answer}" for answer in dict.fromkeys(sorted(answers)))
    print_line(f"{count(len(rows), 'record')}: {', '.join(counts)}")
    remarks = [remark for *_, result in rows for remark in result.remarks]
    for remark in dict.fromkeys(remarks):
        print_line(f"{remarks.count(remark)} of {len(rows)}: {remark}")
