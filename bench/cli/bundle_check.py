"""Verify a bundle: check its files and records, repeat a sample of its runs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.output import print_json, print_line, write_output
from bench.cli.progress import Bar
from bench.core.errors import BenchError
from bench.core.words import count, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cli.options import Common
    from bench.core.registry import Registry
    from bench.records.bundle import Bundle, VerificationReport
    from bench.records.record import Record
    from bench.runs.repeat import Repetition
    from bench.runs.verify import Verification


@dataclass(frozen=True)
class Checked:
    """Results for one run of a bundle; ``repetition`` is None if it was not in the sample."""

    record: Record
    files: Verification
    repetition: Repetition | None

    @property
    def repeated(self) -> str:
        """``identical``, ``equal``, ``different`` or ``not repeated``."""
        result = self.repetition and self.repetition.result
        return result.answer if result else "not repeated"

    @property
    def reason(self) -> str:
        """Why it was not repeated, or how it differs."""
        from bench.runs.repeat import why_not_repeatable

        if self.repetition is None:
            return why_not_repeatable(self.record) or "not in the sample"
        result = self.repetition.result
        return self.repetition.reason if result is None else result.text


def n_sampled(text: str) -> int | None:
    """Return the number of ``--sample``; None for all."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise BenchError(f"--sample takes a number or all, not '{text}'")


def verify_bundle(
    path: Path, common: Common, *, n: int | None, seed: int, device: str, output: str | None
) -> int:
    """Verify a bundle and print the results.

    Returns
    -------
    int
        Exit code: 0 if all records pass and every run of the sample gave the same result.
    """
    from bench.records.bundle import read_bundle

    registry = common.registry()
    bundle = read_bundle(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = bundle.unpack(folder / "bundle")
        results = _checked(records, folder, registry, common, n, seed, device)
    report = _report(bundle, results)
    if output is not None:
        write_output(output, json.dumps(report, indent=1) + "\n")
    if common.as_json:
        print_json({"file": str(path), **report})
    else:
        _print(bundle, results, n)
    return int(not _passes(results, n))


def _passes(results: Sequence[Checked], n: int | None) -> bool:
    sampled = [r.repetition for r in results if r.repetition is not None]
    files = all(result.files.answer != "different" for result in results)
    return files and all(r.confirmed for r in sampled) and (n == 0 or bool(sampled))


def _checked(
    records: Sequence[Record],
    folder: Path,
    registry: Registry,
    common: Common,
    n: int | None,
    seed: int,
    device: str,
) -> list[Checked]:
    from bench.runs.repeat import repeat, sample
    from bench.runs.verify import check

    chosen = sample(records, n, seed)
    repetitions: dict[str, Repetition] = {}
    with Bar(len(chosen), []) as bar:
        for k, record in enumerate(chosen):
            place = folder / f"repetition{k}"
            repetitions[record.run_id] = repeat(
                record, place, plugins=common.plugins, device=device, progress=bar
            )
    return [Checked(r, check(r, registry), repetitions.get(r.run_id)) for r in records]


def _report(bundle: Bundle, results: Sequence[Checked]) -> VerificationReport:
    from bench.runs.provenance import environment

    now = environment(device="cpu", threads=1, precision="float32")
    return {
        "bundle": bundle.sha256,
        "labshift": now["labshift"],
        "platform": now["platform"],
        "created": now["created"],
        "runs": {
            result.record.run_id: {
                "files": result.files.answer,
                "repeated": result.repeated,
                "reason": result.reason,
            }
            for result in results
        },
    }


def _print(bundle: Bundle, results: Sequence[Checked], n: int | None) -> None:
    damaged = [result for result in results if result.files.answer == "different"]
    for result in damaged:
        print_line(f"{_name(result.record)}: {result.files.text}")
    sampled = [result for result in results if result.repetition is not None]
    for result in sampled:
        print_line(f"{_name(result.record)}: repeated: {result.repeated}; {result.reason}")
    same = sum(r.repetition.confirmed for r in sampled if r.repetition)
    print_line(
        f"{count(len(results), 'record')}, {len(results) - len(damaged)} agree with their "
        f"predictions, {len(sampled)} in the sample, {same} repeated with the same result"
    )
    reasons = dict.fromkeys(r.reason for r in results if r.repetition is None)
    if n != 0 and not sampled:
        print_line(f"nothing was repeated: {listed(list(reasons), 3)}")
    print_line(f"releases: {listed(bundle.manifest['releases']) or 'none'}")


def _name(record: Record) -> str:
    return f"{record.method} on {record.split_id}, seed {record.seed}"
