"""Results in an object store: two machines that share nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.objects import ObjectStore, local_copy
from bench.data.catalog import resolve
from bench.records.remote import RemoteStore, packed, unpacked
from bench.records.results import results_store
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.factories import make_record
from tests.helpers.s3 import s3_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = {"python": "3"}


def metrics(value: float = 0.5) -> pd.DataFrame:
    return pd.DataFrame({"metric": ["accuracy"], "subset": ["all"], "value": [value], "n": [4]})


@pytest.fixture(scope="module", params=["memory", pytest.param("s3", marks=pytest.mark.services)])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "s3":
        with s3_bucket() as url:
            yield url
    else:
        yield "memory://bucket/results"


@pytest.fixture
def url(place: str, request: pytest.FixtureRequest) -> str:
    return f"{place}/{request.node.name.replace('[', '-').rstrip(']')}"


def machine(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, warn: list[str] | None = None
) -> Store:
    """Return the store as a machine with a cache of its own sees it."""
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    store = RemoteStore(url, (lambda line: None) if warn is None else warn.append)
    monkeypatch.setattr("bench.records.remote.FRESH_S", -1.0)  # other tests wait for nothing
    return store


@pytest.fixture
def two(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store]:
    a, b = (machine(url, tmp_path / name, monkeypatch) for name in "ab")
    assert a.root != b.root
    return a, b


def files(store: Store, run_id: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.path_of(run_id).iterdir()}


def commit(store: Store, value: float = 0.5, *, replace: bool = False, **changes: object) -> str:
    record = make_record(**changes)  # type: ignore[arg-type]
    store.commit(record, metrics(value), replace=replace)
    return str(record["run_id"])


def test_a_run_of_one_machine_is_found_by_the_other(two: tuple[Store, Store]) -> None:
    a, b = two
    a.prepare()
    run_id = commit(a)
    assert b.find(run_id) is not None
    assert files(a, run_id) == files(b, run_id)
    other = commit(b, seed=1)
    assert [record.run_id for record in a.load_all()] == sorted([run_id, other])
    assert b.find("0" * 24) is None


def test_of_two_writers_one_wins_everywhere(two: tuple[Store, Store]) -> None:
    a, b = two
    run_id = commit(a, 0.5)
    before = files(a, run_id)
    assert commit(b, 0.75) == run_id  # as if both had started at the same time
    assert files(a, run_id) == files(b, run_id) == before
    commit(b, 0.75, replace=True)
    assert a.find(run_id) is not None
    assert files(a, run_id) == files(b, run_id) != before


def test_a_run_that_was_deleted_is_deleted_everywhere(two: tuple[Store, Store]) -> None:
    a, b = two
    run_id = commit(a)
    assert b.find(run_id) is not None
    b.remove(run_id)
    assert a.find(run_id) is None
    assert a.load_all() == []


def test_an_interrupted_upload_continues(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two

    def refused(*_: object, **__: object) -> bool:
        raise BenchError("the store is away: wait")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "write", refused)
        with raises(BenchError, "away"):
            commit(a)
    assert b.load_all() == []
    [record] = a.load_all()
    assert [r.run_id for r in b.load_all()] == [record.run_id]


def test_artifacts_and_failures_are_shared(two: tuple[Store, Store]) -> None:
    a, b = two
    weights = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    a.write_artifact("fit", "ab" * 8, weights, {"code": {"digest": "x"}})
    assert b.artifact_meta("ab" * 8)["code"] == {"digest": "x"}
    artifact = b.read_artifact("fit", "ab" * 8)
    assert artifact is not None
    assert np.array_equal(artifact.arrays["layer.weight"], weights["layer.weight"])
    assert b.read_artifact("fit", "cd" * 8) is None
    b.drop_artifacts(["ab" * 8])
    assert not machine_of(a).has_artifact("ab" * 8)
    a.fail("ef" * 8, "Traceback\nValueError: no", ENVIRONMENT, {"method": "erm"})
    [failure] = b.failures()
    assert failure["error"] == "ValueError: no"
    b.drop_failure("ef" * 8)
    assert a.failures() == []


def machine_of(store: Store) -> Store:
    """Return the same store in a new process without local artifacts."""
    Store(store.root).drop_artifacts(["ab" * 8])
    return RemoteStore(store.location)


def test_data_sets_by_url(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    table = tiny.write_table(tmp_path / "data")
    store = ObjectStore(f"{place}/data")
    for file in table.parent.iterdir():
        store.write(f"screen/{file.name}", file.read_bytes())
    local = resolve(str(table))
    remote = resolve(f"{place}/data/screen/{table.name}:plates")
    assert local.own is not None
    assert remote.own is not None
    assert remote.own.open().digest == local.own.open().digest
    store.write(f"screen/{table.name}", b"title = 3", replace=True)
    folder = local_copy(f"{place}/data", "screen")
    assert (folder / "screen" / table.name).read_bytes() == b"title = 3"
    monkeypatch.setenv("BENCH_DATA", f"{place}/data")
    from bench.core.folders import data_folder

    assert (data_folder("screen") / table.name).read_bytes() == b"title = 3"
    assert not data_folder("other").exists()


# ------------------------------------------------------------------ archives


def test_equal_files_give_equal_archives(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        for file in ("b.txt", "a.txt")[:: 1 if name == "x" else -1]:
            (tmp_path / name / file).write_text(file)
    data = packed(tmp_path / "x")
    assert data == packed(tmp_path / "y")
    assert unpacked(data, "z") == {"a.txt": b"a.txt", "b.txt": b"b.txt"}


def archive(name: str, method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr(name, b"0" * 1000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"PK",
        archive("../x", zipfile.ZIP_STORED),
        archive("/x", zipfile.ZIP_STORED),
        archive("x", zipfile.ZIP_DEFLATED),
        archive("x", zipfile.ZIP_STORED).replace(b"000", b"001", 1),
    ],
)
def test_archives_of_others_are_refused(data: bytes) -> None:
    with raises(BenchError, "memory://x"):
        unpacked(data, "memory://x")


def test_a_damaged_run_is_one_line(two: tuple[Store, Store]) -> None:
    a, _ = two
    ObjectStore(a.location).write(f"runs/{'ab' * 12}.zip", b"no archive")
    with raises(BenchError, "ab" * 12):
        a.load_all()


# ------------------------------------------------------------------ names


def test_file_urls_are_folders(tmp_path: Path) -> None:
    store = results_store(f"file://{tmp_path}/a%20b")
    assert type(store) is Store
    assert store.root == tmp_path / "a b"


def test_a_store_that_cannot_be_used_is_one_line(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://no-such-bucket/x" if place.startswith("s3") else "nonsense://bucket/x"
    store = machine(url, tmp_path, monkeypatch)
    with raises(BenchError, url):
        store.prepare()


def test_records_are_plain_json_inside(two: tuple[Store, Store]) -> None:
    a, _ = two
    run_id = commit(a)
    key = f"runs/{run_id}.zip"
    data = ObjectStore(a.location).read([key])[key]
    assert json.loads(unpacked(data, key)["run.json"])["run_id"] == run_id


def test_the_command_line_takes_urls(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    table = tiny.write_table(tmp_path / "data")
    where = f"{place}/cli"
    run = ["run", "-m", "identity", "-s", f"{table}:plates", "--no-controls", "--json"]

    def call(code: int, *argv: str) -> str:
        with pytest.raises(SystemExit, match=str(code)):
            main([*argv, *([] if "--results" in argv else ["--results", where])])
        return capsys.readouterr().out if not code else capsys.readouterr().err

    [first] = json.loads(call(0, *run))["runs"]
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "another"))
    [again] = json.loads(call(0, *run))["runs"]
    assert (first["run_id"], first["cost"]) == (again["run_id"], again["cost"])  # not made again
    assert str(tmp_path / "another") in again["path"]
    [line] = call(2, "results", "prune").splitlines()
    assert line.startswith("error:")
    *_, line = call(2, *run, "--results", "nonsense://bucket/x").splitlines()
    assert line.startswith("error:")
