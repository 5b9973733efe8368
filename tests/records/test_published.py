"""Published records: packed by split, with the contents of the runs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from bench.boards.select import boards, plain_boards
from bench.boards.values import best_possible
from bench.core.canonical import pretty_json
from bench.core.errors import BenchError
from bench.records import published
from bench.records.published import pack, packed_file, packed_files, unpacked_folders
from bench.records.store import Store
from tests.helpers.errors import raises
from tests.helpers.factories import make_record

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
OLD = Path(__file__).parent / "old_records"


def table_of(record: dict[str, Any]) -> pd.DataFrame:
    """The metrics table of a record in the order of its keys, with distinct numbers of units."""
    rows = [(m, s, v) for m, values in record["metrics"].items() for s, v in values.items()]
    table = pd.DataFrame(rows, columns=["metric", "subset", "value"])
    return table.assign(n=range(10, 10 + len(table)))


def commit(store: Store, **changes: Any) -> str:
    clusters = [0.25, 0.5, 0.75]
    subsets = {"fold=b": 0.25, "fold=a": 0.1 + 0.2, "pooled": 0.4}
    record = make_record(clusters=clusters, readout="head", subsets=subsets, **changes)
    store.commit(record, table_of(record), pd.DataFrame({"id": ["a"]}))
    return str(record["run_id"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    for split in ("coos7/test4", "coos7/test1"):
        for seed in range(2):
            commit(store, seed=seed, split=split)
    return store


def test_a_packed_record_has_the_contents_of_the_run(store: Store, tmp_path: Path) -> None:
    own = {record.run_id: record for record in store.load_all()}
    files = store.publish(own)
    folder = store.reference / "records" / "coos7"
    assert files == [folder / "test1.jsonl", folder / "test4.jsonl"]
    packed = store.load_reference()
    assert [record.run_id for record in packed] == sorted(own)
    for record in packed:
        run = own[record.run_id]
        assert record.path is None
        assert record.brief == run.brief
        assert pretty_json(record.data) == (run.path / "run.json").read_bytes()
        expected = run.metrics_table().sort_values(["metric", "subset"], ignore_index=True)
        pd.testing.assert_frame_equal(record.metrics_table(), expected)
        assert record.predictions() is None
    runs = [json.loads(line)["run"] for line in files[0].read_text().splitlines()]
    assert [run["run_id"] for run in runs] == sorted(run["run_id"] for run in runs)
    assert {run["spec"]["split_id"] for run in runs} == {"coos7/test1"}
    assert boards(packed) == boards(list(own.values()))


def test_the_bytes_do_not_depend_on_the_order_of_publishing(store: Store, tmp_path: Path) -> None:
    runs = [record.run_id for record in store.load_all()]
    [first, _] = store.publish(runs)
    content = first.read_bytes()
    other = Store(tmp_path / "other")
    shutil.copytree(store.runs, other.runs)
    for run in reversed(runs):
        other.publish([run])
    assert packed_files(other.reference)[0].read_bytes() == content
    store.publish(runs)
    assert first.read_bytes() == content


def test_published_records_are_read_only_on_request(store: Store, tmp_path: Path) -> None:
    runs = [record.run_id for record in store.load_all()]
    with raises(BenchError, "results/reference"):
        store.load_all(reference=True)
    store.publish(runs[:3])
    clone = Store(tmp_path / "fresh clone")
    clone.root.mkdir()
    shutil.copytree(store.reference, clone.reference)
    assert clone.load_all() == []
    assert [record.run_id for record in clone.load_all(reference=True)] == runs[:3]
    both = store.load_all(reference=True)
    assert [record.run_id for record in both] == runs
    assert all(record.path == store.path_of(record.run_id) for record in both)
    store.remove(runs[0])
    with raises(BenchError, runs[0]):
        store.publish([runs[0]])


def test_replace_removes_other_runs_of_the_same_splits_only(store: Store) -> None:
    store.publish(record.run_id for record in store.load_all())
    newer = commit(store, method="ben", split="coos7/test4")
    store.publish([newer], replace=True)
    splits: dict[str, list[str]] = {}
    for record in store.load_reference():
        splits.setdefault(record.split_id, []).append(record.method_id)
    assert splits == {"coos7/test4": ["ben"], "coos7/test1": ["erm", "erm"]}


def test_folders_of_earlier_versions_are_read_and_packed(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    shutil.copytree(OLD / "reference", reference)
    store = Store(tmp_path)
    before = {record.run_id: (record.brief, dict(record)) for record in store.load_reference()}
    raw = {
        folder.name: (folder / "run.json").read_bytes() for folder in unpacked_folders(reference)
    }
    assert len(raw) == len(before) == 4
    pack(reference, unpacked_folders(reference)[:2])
    assert {r.run_id: (r.brief, dict(r)) for r in store.load_reference()} == before
    pack(reference, unpacked_folders(reference))
    assert unpacked_folders(reference) == []
    assert {r.run_id: (r.brief, dict(r)) for r in store.load_reference()} == before
    lines = [line for file in packed_files(reference) for line in file.read_text().splitlines()]
    packed = {
        run["run_id"]: pretty_json(run) for run in (json.loads(line)["run"] for line in lines)
    }
    assert packed == raw, "keys that were added since are not written"
    assert {path.name for path in reference.iterdir()} == {"records"}


def test_values_that_are_added_when_read_have_the_units_of_their_metric(tmp_path: Path) -> None:
    record = make_record(subsets={"fold=z": 0.25, "fold=a": 0.75}, value=0.4)
    del record["metrics"]["probe.balanced_accuracy"]
    units = {"all": 30, "fold=a": 10, "fold=z": 20}
    table = table_of(record)
    table["n"] = table["subset"].map(units)
    store = Store(tmp_path)
    store.commit(record, table)
    store.publish([record["run_id"]])
    [packed] = store.load_reference()
    assert packed.value() == 0.5, "the mean over folds"
    metrics = packed.metrics_table().set_index("subset")
    assert metrics["n"].to_dict() == {**units, "pooled": 30}
    assert metrics["value"].to_dict() == {
        "all": 0.5, "fold=a": 0.75, "fold=z": 0.25, "pooled": 0.4
    }  # fmt: skip
    [file] = packed_files(store.reference)
    written = json.loads(file.read_text())["run"]
    del written["digests"]
    assert written == json.loads(json.dumps(record))


def test_a_damaged_line_is_skipped_with_a_warning(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [record.run_id for record in store.load_all()]
    [file, _] = store.publish(runs)
    first, second = file.read_text().splitlines(keepends=True)
    entry = json.loads(first)
    for damaged in (
        first[:100] + "\n",
        "[]\n",
        json.dumps({**entry, "run": {**entry["run"], "primary": 5}}) + "\n",
        json.dumps({**entry, "n": entry["n"][1:]}) + "\n",
        json.dumps({**entry, "run": {**entry["run"], "schema": 99}}) + "\n",
    ):
        file.write_text(damaged + second)
        records = Store(store.root).load_reference()
        assert len(records) == 3
        assert json.loads(second)["run"]["run_id"] in {record.run_id for record in records}
        assert all(record.data["schema"] == 1 for record in records)
        [line] = capsys.readouterr().err.splitlines()
        assert str(file) in line


def test_a_metrics_table_that_disagrees_is_not_published(store: Store) -> None:
    record = make_record(value=0.5, seed=7)
    store.commit(record, table_of(record).assign(value=0.75))
    with raises(BenchError, record["run_id"], "metrics.parquet"):
        store.publish([record["run_id"]])
    assert packed_files(store.reference) == []


@pytest.mark.parametrize("name", ["..", "a/../b", "", "a//b", "/etc"])
def test_a_split_is_never_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError):
        packed_file(tmp_path, name)


def test_names_of_splits_are_safe_file_names(tmp_path: Path) -> None:
    assert packed_file(tmp_path, "my screen/a:b").name == "a%3Ab.jsonl"
    assert packed_file(tmp_path, "a/b.c").relative_to(tmp_path).as_posix() == "records/a/b.c.jsonl"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("publish", ROOT / "results" / "publish.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def publish(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, reference: Path, *arguments: object
) -> int:
    call = ["publish.py", *map(str, arguments), "--reference", str(reference)]
    monkeypatch.setattr(sys, "argv", call)
    try:
        script.main()
    except SystemExit as error:
        return int(str(error.code))
    return 0


def test_the_script_publishes_runs_of_all_kinds_but_tests(
    store: Store, tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Store(tmp_path / "checkout")
    runs = [record.run_id for record in store.load_all()]
    smoke = commit(store, recipe="smoke")
    commit(store, edition="fixture")
    commit(store, split="coos7/test4~ood-val.1of2")
    skipped = commit(store, method="adabn", status="not-applicable", reason="no batches")
    assert publish(script, monkeypatch, target.reference, store.root, runs[0][:12]) == 0
    assert [record.run_id for record in target.load_reference()] == [runs[0]]
    assert publish(script, monkeypatch, target.reference, store.root, smoke) == 2
    assert publish(script, monkeypatch, target.reference, store.root, "0000") == 2
    assert publish(script, monkeypatch, target.reference, tmp_path / "nowhere") == 2
    assert publish(script, monkeypatch, target.reference, store.root) == 0
    assert [record.run_id for record in target.load_reference()] == sorted([*runs, skipped])


def test_the_published_records_of_the_project_are_packed() -> None:
    reference = ROOT / "results" / "reference"
    assert unpacked_folders(reference) == []
    warnings: list[str] = []
    records = Store(reference.parent, warnings.append).load_reference()
    assert records
    assert warnings == []
    for file in packed_files(reference):
        first = json.loads(file.read_text().splitlines()[0])
        assert file == packed_file(reference, first["run"]["spec"]["split_id"])


def test_the_index_gives_the_same_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [record.run_id for record in store.load_all()]
    store.publish(runs[:2])
    first = [(record.brief, dict(record)) for record in store.load_reference()]
    content = store.reference_index.read_bytes()
    with monkeypatch.context() as patch:  # nothing is parsed again
        patch.setattr(published, "parse_line", None)
        assert [record.brief for record in store.load_reference()] == [b for b, _ in first]
    assert [(record.brief, dict(record)) for record in store.load_reference()] == first
    assert store.reference_index.read_bytes() == content
    store.publish(runs)
    assert [record.run_id for record in store.load_reference()] == runs
    packed_files(store.reference)[0].unlink()
    rest = store.load_reference()
    assert {record.split_id for record in rest} == {"coos7/test4"}
    assert [record.run_id for record in store.load_reference()] == [r.run_id for r in rest]
    store.reference_index.write_bytes(b"damaged")
    assert [record.run_id for record in store.load_reference()] == [r.run_id for r in rest]


def test_a_file_that_is_replaced_while_it_is_read_raises(store: Store) -> None:
    runs = [record.run_id for record in store.load_all()]
    [file, _] = store.publish(runs)
    records = [record for record in store.load_reference() if record.split_id == "coos7/test1"]
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(reversed(lines)))
    with raises(BenchError, file.name):
        _ = records[0].data, records[1].data


def test_a_folder_that_is_read_only_has_no_index(store: Store) -> None:
    store.publish(record.run_id for record in store.load_all())
    store.reference_index.mkdir()
    assert len(store.load_reference()) == 4


def test_label_oracle_reaches_the_truth_on_every_plain_board() -> None:
    records = Store(ROOT / "results").load_reference()
    every = plain_boards(boards(records))
    checked = {board.split for board in every if best_possible(board.metric) is not None}
    assert len(checked) > 20
    for board in every:
        best = best_possible(board.metric)
        oracle = [row.mean for row in board.rows if row.method == "label-oracle"]
        if best is not None:
            assert oracle == [pytest.approx(best, abs=5e-4)], board.title
