"""A record or an artifact with changed files is not used, and is named."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.core.once import once
from bench.records.store import Store
from tests.helpers.errors import raises
from tests.helpers.factories import make_record

if TYPE_CHECKING:
    from pathlib import Path

METRICS = pd.DataFrame({"metric": ["accuracy"], "subset": ["all"], "value": [0.5], "n": [4]})
FILES = ("run.json", "metrics.parquet", "predictions.parquet")


def commit(store: Store, seed: int = 0, predicted: int = 0) -> Path:
    table = pd.DataFrame({"id": ["a"], "fold": ["all"], "y_true": [0], "y_pred": [predicted]})
    return store.commit(make_record(seed=seed, clusters=[0.5]), METRICS, table)


def test_digests_are_those_of_other_programs(tmp_path: Path) -> None:
    folder = commit(Store(tmp_path))
    text = (folder / "run.json").read_text()
    data = json.loads(text)
    digests = data.pop("digests")
    assert set(digests) == set(FILES)
    for name in FILES[1:]:
        assert digests[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert digests["run.json"] == hashlib.sha256(canonical.encode()).hexdigest()


def flipped(folder: Path, name: str) -> None:
    """Change one byte without changing size and time of modification."""
    file = folder / name
    stat, content = file.stat(), bytearray(file.read_bytes())
    at = content.index(b"0.5") if name == "run.json" else len(content) // 2
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("name", FILES)
def test_a_changed_record_is_left_out_and_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = commit(Store(tmp_path), 0), commit(Store(tmp_path), 1)
    assert len(Store(tmp_path).load_all()) == 2, "the index has both"
    flipped(bad, name)
    assert [record.run_id for record in Store(tmp_path).load_all()] == [good.name]
    [line] = capsys.readouterr().err.splitlines()
    assert str(bad) in line
    assert Store(tmp_path).find(bad.name) is None
    with raises(BenchError, bad):
        Store(tmp_path).read(bad.name)


def test_replaced_added_and_removed_tables_are_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = commit(store, 0, predicted=0), commit(store, 1, predicted=1)
    tables = [folder / "predictions.parquet" for folder in (first, second)]
    contents = [table.read_bytes() for table in tables]
    tables[0].write_bytes(contents[1])
    with raises(BenchError, "predictions.parquet"):
        store.read(first.name)
    tables[0].unlink()
    with raises(BenchError, "predictions.parquet"):
        store.read(first.name)
    tables[0].write_bytes(contents[0])
    assert store.read(first.name) is not None
    (first / "curves.parquet").write_bytes(contents[0])
    with raises(BenchError, "curves.parquet"):
        store.read(first.name)


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        commit(Store(tmp_path), seed)
    assert len(Store(tmp_path).load_all()) == 3

    def never(*args: object) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr("bench.records.digests.file_sha256", never)
    monkeypatch.setattr("bench.records.store.read_folder", never)
    assert len(Store(tmp_path).load_all()) == 3


def test_records_without_digests_are_read(tmp_path: Path) -> None:
    folder = commit(Store(tmp_path))
    data = json.loads((folder / "run.json").read_text())
    del data["digests"]
    (folder / "run.json").write_text(json.dumps(data))
    assert Store(tmp_path).find(folder.name) is not None
    assert len(Store(tmp_path).load_all()) == 1


def test_a_published_record_that_was_edited_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    record = make_record(clusters=[0.5])
    n = [(m, s, v) for m, values in record["metrics"].items() for s, v in values.items()]
    store.commit(record, pd.DataFrame(n, columns=["metric", "subset", "value"]).assign(n=4))
    [file] = store.publish([record["run_id"]])
    assert len(store.load_reference()) == 1
    file.write_text(file.read_text().replace('"track":"inductive"', '"track":"reference"'))
    assert store.load_reference() == []
    assert str(file) in capsys.readouterr().err


# ------------------------------------------------------------------ artifacts


@pytest.mark.parametrize("name", ["embeddings.npy", "meta.json", "extra"])
def test_changed_embeddings_are_not_used(tmp_path: Path, name: str) -> None:
    store, X = Store(tmp_path), np.arange(6, dtype=np.float32).reshape(3, 2)
    path = store.write_artifact("apply", "ab" * 8, {"embeddings": X}, {"adaptation": None})
    if name == "embeddings.npy":
        np.save(path / name, X[::-1])
    elif name == "meta.json":
        facts: dict[str, Any] = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**facts, "adaptation": "none"}))
    else:
        np.save(path / "logits.npy", X)
    with raises(BenchError, path):
        store.read_artifact("apply", "ab" * 8)


def test_changed_weights_are_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write_artifact("fit", "ab" * 8, {"w": np.zeros(3, np.float32)})
    file = path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with raises(BenchError, path):
        store.read_artifact("fit", "ab" * 8)


def test_arrays_of_any_kind_keep_their_digest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    arrays = {
        "embeddings": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["a", "bc"]),
        "bytes": np.array([b"x", b"yz"]),
        "flag": np.array(True),
        "none": np.empty((0, 4), np.float32),
    }
    store.write_artifact("apply", "ab" * 8, arrays)
    stored = store.read_artifact("apply", "ab" * 8)
    assert stored is not None
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored.arrays[name], array)


# ------------------------------------------------------------------ values of large files


def test_a_large_file_is_read_again_only_if_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file, calls = tmp_path / "x", []

    def value() -> str:
        calls.append(1)
        return file.read_text()

    file.write_text("ab")
    assert [once(file, value, small=1) for _ in range(3)] == ["ab"] * 3
    assert len(calls) == 1
    stat = file.stat()
    file.write_text("cd")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert once(file, value, small=1) == "cd", "equal size and time, other contents"
    assert [once(file, value) for _ in range(2)] == ["cd"] * 2
    assert len(calls) == 4, "small files are always read"
