"""A sweep of workers that share nothing but a bucket of S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.core.objects import ObjectStore
from bench.records.remote import unpacked
from tests.helpers import tiny
from tests.helpers.dask_cluster import DaskCluster
from tests.helpers.s3 import s3_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SPLIT = '\n[splits.p3]\ntrain = { plate = ["p0", "p1"] }\ntest = { plate = ["p3"] }\n'
SPLIT += 'shares = ["week"]\n\n[splits.p2]\ntrain = { plate = ["p0", "p1"] }\n'
SPLIT += 'test = { plate = ["p2"] }\n'
SUITE = """
[[block]]
methods = ["erm", "adabn", "erm+zscore", "identity"]
splits = ["{table}:p2", "{table}:p3"]
seeds = 2
recipe = "smoke"
settings = {{ "recipe.steps" = 6, "recipe.batch_size" = 16, "recipe.width" = 8 }}
"""


@pytest.fixture
def bucket() -> Iterator[str]:
    pytest.importorskip("distributed")
    with s3_bucket() as url:
        yield url


def answer(folder: Path, *command: str) -> dict[str, Any]:
    """Run a command on a machine of its own: another cache and another working folder."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *command, "--json"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "BENCH_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def numbers(record: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in record.items() if k not in ("provenance", "cost", "digests")}


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.timeout(3600)  # six processes start, which takes minutes on a busy machine
def test_workers_that_share_only_a_bucket(bucket: str, tmp_path: Path) -> None:
    table = tiny.write_table(tmp_path / "data", SPLIT)
    store = ObjectStore(bucket.replace("results", "data"))
    for file in table.parent.iterdir():
        store.write(f"screen/{file.name}", file.read_bytes())
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(table=f"{store.url}/screen/{table.name}"))
    with DaskCluster(tmp_path / "dask", 2) as dask:
        sweep = ("sweep", str(suite), "--results", bucket)
        end = answer(tmp_path, *sweep, "--scheduler", dask.address)
        assert [run["status"] for run in end["runs"]] == ["ok"] * 14
    assert all(list(dask.cache(k).glob("results/*/artifacts/*")) for k in range(2))
    answer(tmp_path, "sweep", str(suite), "--results", str(tmp_path / "serial"))
    serial = {
        file.parent.name: json.loads(file.read_text())
        for file in (tmp_path / "serial" / "runs").glob("*/*/run.json")
    }
    shared = ObjectStore(bucket)
    stored = shared.read([f"runs/{run_id}.zip" for run_id in serial])
    assert len(stored) == len(shared.stamps("runs")) == len(serial) == 14
    for run_id, record in serial.items():
        data = unpacked(stored[f"runs/{run_id}.zip"], run_id)
        assert numbers(json.loads(data["run.json"])) == numbers(record)
        for name in ("metrics.parquet", "predictions.parquet"):
            assert (
                data[name]
                == (tmp_path / "serial" / "runs" / run_id[:2] / run_id / name).read_bytes()
            )
    other = tmp_path / "other"
    other.mkdir()
    assert answer(other, "sweep", str(suite), "--results", bucket, "--dry-run")["tasks"] == {}
