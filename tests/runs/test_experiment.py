"""``bench.run`` and ``bench.load_records``: from names to records in one call."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import bench
from bench.api import BenchError
from bench.core.canonical import digest
from bench.core.registry import Registry
from bench.records.store import Store
from bench.runs.experiment import Experiment, prepare
from bench.runs.job import Options
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.record import Record

pytestmark = pytest.mark.usefixtures("few_penalties")


class Shown:
    """Counts what a run reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.finished: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def update(self, label: str, done: int, total: int) -> None:
        pass

    def done(self, record: Record) -> None:
        self.finished.append(record["run_id"])


def test_one_call_makes_records_that_are_found_again(tmp_path: Path) -> None:
    split = f"{tiny.write_table(tmp_path / 'data')}:plates"
    results = tmp_path / "results"
    shown = Shown()
    records = bench.run(
        ["identity", "shuffle"], split, seeds=2, recipe="smoke", results=results, progress=shown
    )
    assert [(r.method, r.seed, r.deterministic) for r in records] == [
        ("identity", 0, True),
        ("shuffle", 0, False),
        ("shuffle", 1, False),
    ]
    assert {r["status"] for r in records} == {"ok"}
    assert shown.finished == [r.run_id for r in records]
    loaded = bench.load_records(results)
    assert {r.run_id for r in loaded} == {r.run_id for r in records}
    times = {r.run_id: r.path.stat().st_mtime_ns for r in records if r.path}
    again = bench.run("identity, shuffle", split, seeds=2, recipe="smoke", results=results)
    assert [r.run_id for r in again] == [r.run_id for r in records]
    assert {r.run_id: r.path.stat().st_mtime_ns for r in again if r.path} == times


def test_settings_are_a_mapping_or_texts(tmp_path: Path) -> None:
    split = f"{tiny.write_table(tmp_path / 'data')}:plates"
    passed = {"zscore.rows": "all", "recipe.steps": 6}
    first = prepare("zscore,erm", split, settings=passed, results=tmp_path)
    texts = [f"{key}={value}" for key, value in passed.items()]
    second = prepare("zscore,erm", split, settings=texts, results=tmp_path)
    ids = [[digest(job.spec()) for job in item.jobs()] for item in (first, second)]
    assert ids[0] == ids[1]
    spread = prepare("zscore", split, settings={"rows": "all", "recipe.steps": 6}, results=tmp_path)
    assert [digest(job.spec()) for job in spread.jobs()] == ids[0][:1]


def test_control_rows_are_added_once_and_not_returned(tmp_path: Path) -> None:
    split = f"{tiny.write_table(tmp_path / 'data')}:plates"
    results = tmp_path / "results"
    call = {"results": results, "progress": Shown()}
    [record] = bench.run("center", split, controls=False, **call)
    assert {r.run_id for r in bench.load_records(results)} == {record.run_id}
    again = bench.run("center", split, **call)
    assert [r.run_id for r in again] == [record.run_id]
    added = [r for r in bench.load_records(results) if r.run_id != record.run_id]
    assert {r.method for r in added} >= {"identity", "shuffle", "batch-mean", "label-oracle"}
    assert {r.track for r in added} == {"reference"}
    # Deterministic rows have one seed, the others those of the split.
    seeds = {method: sorted(r.seed for r in added if r.method == method) for method in
             ("identity", "shuffle")}  # fmt: skip
    assert seeds == {"identity": [0], "shuffle": [0, 1, 2]}
    bench.run("center", split, **call)
    assert len(bench.load_records(results)) == 1 + len(added)


@pytest.mark.parametrize(("images", "seeds"), [(False, [0, 1, 2]), (True, [0])])
def test_three_seeds_on_tables_and_one_on_images(
    tmp_path: Path, images: bool, seeds: list[int]
) -> None:
    tasks = [tiny.task(tiny.opened(images=images))]
    registry = Registry()
    experiment = Experiment(
        ["erm", "identity"], tasks, None, Options("smoke"), registry, Store(tmp_path)
    )
    by_method: dict[str, list[int]] = {}
    for job in experiment.jobs():
        by_method.setdefault(job.chain.typed, []).append(job.seed)
    assert by_method == {"erm": seeds, "identity": [0]}
    requested = dataclasses.replace(experiment, seeds=[4, 5])
    assert [job.seed for job in requested.jobs()] == [4, 5, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": "nosuch"},
        {"methods": ""},
        {"seeds": 0},
        {"recipe": "nosuch"},
        {"edition": "nosuch"},
        {"device": "nosuch"},
        {"if_exists": "nosuch"},
        {"metrics": "nosuch"},
        {"settings": {"zscore.nosuch": 1}},
        {"settings": {"nosuch": 1}},
        {"settings": "rows"},
        {"settings": {"erm.head": 1}},
    ],
)
def test_wrong_input_is_an_exception(tmp_path: Path, wrong: dict[str, object]) -> None:
    split = f"{tiny.write_table(tmp_path / 'data')}:plates"
    call: dict[str, object] = {"methods": "zscore", "splits": split, "results": tmp_path / "r"}
    with pytest.raises(BenchError):
        bench.run(**{**call, **wrong})  # type: ignore[arg-type]
    assert not (tmp_path / "r").exists()


def test_plugins_of_a_call_are_not_left_in_the_environment(tmp_path: Path) -> None:
    plugin = tiny.write_method(tmp_path, "mine", "class M(Profile):\n    FACTOR = 1\n")
    table = tiny.write_table(tmp_path / "table")
    options = {"seeds": 1, "results": tmp_path / "r", "controls": False, "progress": Shown()}
    [record] = bench.run("mine", f"{table}:plates", plugins=[plugin], **options)
    assert record.status == "ok"
    assert "BENCH_PLUGINS" not in os.environ
    with pytest.raises(BenchError):
        bench.run("mine", f"{table}:plates", **options)


def test_importing_the_package_stays_light() -> None:
    code = (
        "import sys, bench, bench.runs.experiment as e; bench.load_records; "
        "print([m for m in ('torch', 'pandas', 'sklearn', 'scanpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
