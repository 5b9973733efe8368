"""Records on disk: canonical form, atomic writes."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.core.canonical import canonical_json, digest
from bench.core.errors import BenchError
from bench.records import writing
from bench.records.folder import located
from bench.records.store import Store
from bench.records.summary import summarise
from bench.records.tables import predictions_digest
from bench.runs import provenance
from tests.helpers.errors import raises
from tests.helpers.factories import make_record

ROOT = Path(__file__).resolve().parents[2]
METRICS = pd.DataFrame({"metric": ["accuracy"], "subset": ["all"], "value": [0.5], "n": [4]})
CURVES = pd.DataFrame(
    {"fold": ["all"], "stage": ["erm"], "step": [1], "name": ["loss"], "value": [2.0]}
)


def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "batch": ["p", "p", "q", "q"],
            "fold": ["all"] * 4,
            "y_true": [0, 1, 0, 1],
            "y_pred": [0, 1, 1, 1],
            "scores": list(rng.random((4, 3), dtype=np.float32)),
        }
    )


def commit(where: Store, **changes: object) -> str:
    record = make_record(**changes)  # type: ignore[arg-type]
    where.commit(record, METRICS, predictions(), CURVES)
    return str(record["run_id"])


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_canonical_json_has_one_spelling() -> None:
    record = {"b": (1, 2), "a": np.float64(0.1), "c": {"y": None, "x": True}}
    two = {"c": {"x": np.bool_(True), "y": None}, "a": 0.1, "b": np.array([1, 2])}
    assert canonical_json(record) == '{"a":0.1,"b":[1,2],"c":{"x":true,"y":null}}'
    assert canonical_json(record) == canonical_json(two)
    assert json.loads(canonical_json({"x": 1 / 3}))["x"] == 1 / 3
    assert canonical_json({"é": "\ud800"}).isascii()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_canonical_json_refuses_what_is_not_finite(value: float) -> None:
    with raises(BenchError, "record.metrics.accuracy", "1"):
        canonical_json({"metrics": {"accuracy": [0.5, value]}})


def test_canonical_json_refuses_other_types() -> None:
    with raises(BenchError, "1"):
        canonical_json({1: 2})
    with raises(BenchError, "record.a", fix=False):
        canonical_json({"a": {1}})


def test_digest_is_the_start_of_sha256() -> None:
    # echo -n '{"a":1}' | sha256sum
    assert (
        digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"[:24]
    )
    assert len(digest({}, 32)) == 32


def test_predictions_digest_is_of_content() -> None:
    table = predictions()
    value = predictions_digest(table)
    shuffled = table.iloc[::-1][list(table.columns[::-1])].reset_index(drop=True)
    assert predictions_digest(shuffled) == value
    narrow = table.assign(y_true=table["y_true"].astype(np.int8))
    assert predictions_digest(narrow) == value
    lists = table.assign(scores=[row.tolist() for row in table["scores"]])
    assert predictions_digest(lists) == value
    one_bit = [row.copy() for row in table["scores"]]
    one_bit[2][1] = np.nextafter(one_bit[2][1], np.float32(2))
    assert predictions_digest(table.assign(scores=one_bit)) != value
    assert predictions_digest(table.assign(y_pred=[0, 1, 1, 0])) != value


def test_what_is_committed_is_found_again(tmp_path: Path) -> None:
    where = Store(tmp_path / "results")
    record = make_record("ben", seed=3, value=1 / 3, clusters=[0.1, 0.2])
    assert where.find(record["run_id"]) is None
    path = where.commit(record, METRICS, predictions(), CURVES)
    assert path == tmp_path / "results" / "runs" / record["run_id"][:2] / record["run_id"]
    assert names(path) == ["curves.parquet", "metrics.parquet", "predictions.parquet", "run.json"]
    stored = where.find(record["run_id"])
    assert stored is not None
    assert set(stored["digests"]) == set(names(path))
    assert {k: v for k, v in stored.items() if k != "digests"} == json.loads(canonical_json(record))
    assert stored["metrics"]["balanced_accuracy"]["all"] == 1 / 3
    table = stored.predictions()
    assert table is not None
    assert predictions_digest(table) == predictions_digest(predictions())
    assert table["scores"][0].dtype == np.float32
    pd.testing.assert_frame_equal(stored.metrics_table(), METRICS)
    pd.testing.assert_frame_equal(stored.curves(), CURVES)
    assert not list((tmp_path / "results" / "tmp").iterdir())


def test_equal_records_are_equal_files(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "one"), Store(tmp_path / "two")
    run = commit(first)
    commit(second)
    for name in names(first.path_of(run)):
        assert (first.path_of(run) / name).read_bytes() == (second.path_of(run) / name).read_bytes()


def test_a_missing_table_is_none(tmp_path: Path) -> None:
    where = Store(tmp_path)
    record = make_record()
    where.commit(record, METRICS)
    stored = where.find(record["run_id"])
    assert stored is not None
    assert stored.predictions() is None
    assert stored.curves() is None


def test_the_first_writer_wins_unless_asked(tmp_path: Path) -> None:
    where = Store(tmp_path)
    first = make_record(notes=["first"])
    second = {**first, "notes": ["second"]}
    where.commit(first, METRICS)
    where.commit(second, METRICS)
    assert where.find(first["run_id"])["notes"] == ["first"]
    where.commit(second, METRICS, replace=True)
    assert where.find(first["run_id"])["notes"] == ["second"]
    assert [record["notes"] for record in where.load_all()] == [["second"]]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_without_run_json_does_not_block(tmp_path: Path) -> None:
    where = Store(tmp_path)
    run = commit(where)
    (where.path_of(run) / "run.json").unlink()
    assert where.find(run) is None
    assert where.load_all() == []
    commit(where)
    assert where.find(run) is not None


def test_an_id_is_no_path(tmp_path: Path) -> None:
    with raises(BenchError, "../../etc/passwd"):
        Store(tmp_path).find("../../etc/passwd")


def _race(root: str, barrier: object, number: int) -> None:
    where = Store(Path(root))
    record = make_record(notes=[f"writer {number}"])
    barrier.wait()  # type: ignore[attr-defined]
    where.commit(record, METRICS, predictions())


def test_two_processes_commit_the_same_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_race, args=(str(tmp_path), barrier, k)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    (record,) = Store(tmp_path).load_all()
    assert record["notes"] in (["writer 0"], ["writer 1"])
    assert record.predictions() is not None
    assert not list((tmp_path / "tmp").iterdir())


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from bench.records import writing
from bench.records.folder import located
from bench.records.store import Store
from tests.helpers.factories import make_record
from tests.records.test_store import METRICS, predictions
real, left = writing.write_synced, [{after}]
def write(path, data):
    if not left[0]:
        path.write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    real(path, data)
writing.write_synced = write
Store({where!r}).commit(make_record(), METRICS, predictions())
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_writer_leaves_nothing_to_see(tmp_path: Path, after: int) -> None:
    code = KILLED.format(root=str(ROOT), where=str(tmp_path), after=after)
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    where = Store(tmp_path)
    assert where.load_all() == []
    assert where.find(make_record()["run_id"]) is None
    (leftover,) = (tmp_path / "tmp").iterdir()
    where.prepare()
    assert leftover.exists(), "another writer's fresh folder is not ours to delete"
    old = time.time() - 2 * 86_400
    os.utime(leftover, (old, old))
    where.prepare()
    assert not leftover.exists()
    commit(where)
    assert len(where.load_all()) == 1


def _failing(code: int, after: int = 1) -> object:
    real, remaining = writing.write_synced, [after]

    def write(path: Path, data: bytes) -> None:
        if remaining[0] == 0:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(code, os.strerror(code), str(path))
        remaining[0] -= 1
        real(path, data)

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(writing, "write_synced", _failing(code))
    with raises(BenchError, tmp_path, "--results"):
        commit(Store(tmp_path))
    assert names(tmp_path) == []
    monkeypatch.undo()
    commit(Store(tmp_path))


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "write_synced", interrupt)
    with pytest.raises(KeyboardInterrupt):
        commit(Store(tmp_path))
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    root = tmp_path / "results"
    commit(Store(root))
    if os.geteuid() != 0:
        for folder in (root, root / "tmp"):
            folder.chmod(0o555)
        with raises(BenchError, root):
            Store(root).prepare()
        for folder in (root, root / "tmp"):
            folder.chmod(0o755)
        return
    # Root can write anywhere, so a child process drops its privileges.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.setuid(65534)
        try:
            Store(root).prepare()
            message = b"wrote"
        except BenchError as exc:
            message = str(exc).encode()
        os.write(send, message)
        os._exit(0)
    os.waitpid(child, 0)
    message = os.read(receive, 10_000).decode()
    os.close(receive)
    os.close(send)
    assert "no permission" in message
    assert "--results" in message


@pytest.mark.parametrize("place", ["results", "results/runs", "results/tmp"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("not a folder")
    where = Store(tmp_path / "results")
    with raises(BenchError, "--results"):
        commit(where)
    if place != "results/runs":
        with raises(BenchError, "--results"):
            where.prepare()
    assert file.read_text() == "not a folder"


def test_nan_in_a_record_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with raises(BenchError, "nan", "record.metrics.balanced_accuracy.all"):
        commit(Store(tmp_path), value=float("nan"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", '{"run_id": "x"}', "[1]", '{"a": NaN}', "\xff"])
def test_a_damaged_record_names_its_folder(tmp_path: Path, text: str) -> None:
    where = Store(tmp_path)
    run = commit(where)
    (where.path_of(run) / "run.json").write_text(text, encoding="latin-1")
    with raises(BenchError, where.path_of(run)):
        where.read(run)
    assert where.find(run) is None


@pytest.mark.parametrize("reference", [False, True])
def test_a_damaged_record_is_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: bool
) -> None:
    where = Store(tmp_path)
    runs = [commit(where, seed=seed) for seed in range(3)]
    load = where.load_all
    if reference:  # a folder per run, as in earlier versions
        where.runs.rename(where.reference)
        load = where.load_reference
    folder = where.reference if reference else where.runs
    damaged = [folder / run[:2] / run / "run.json" for run in runs[:2]]
    damaged[0].write_text("{", encoding="utf-8")
    data = json.loads(damaged[1].read_text(encoding="utf-8"))
    del data["digests"]
    damaged[1].write_text(json.dumps({**data, "primary": 5}), encoding="utf-8")
    assert [record.run_id for record in load()] == [runs[2]]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for file in damaged:
        assert sum(str(file.parent) in line for line in lines) == 1
    assert any("'primary'" in line for line in lines), "the key that does not fit is named"
    assert [record.run_id for record in load()] == [runs[2]]
    assert capsys.readouterr().err == "", "a record is reported once"


def test_a_record_of_a_later_schema_is_not_misread(tmp_path: Path) -> None:
    where = Store(tmp_path)
    run = commit(where, schema=99)
    with raises(BenchError, "99"):
        where.read(run)


def test_a_moved_record_is_noticed(tmp_path: Path) -> None:
    where = Store(tmp_path)
    run = commit(where)
    other = "ab" * 12
    where.path_of(other).parent.mkdir(parents=True)
    where.path_of(run).rename(where.path_of(other))
    with raises(BenchError, run):
        where.read(other)


def test_a_damaged_table_names_its_folder(tmp_path: Path) -> None:
    where = Store(tmp_path)
    run = commit(where)
    (stored := where.find(run)).path.joinpath("predictions.parquet").write_bytes(b"PAR1 no more")
    with raises(BenchError, "predictions.parquet"):
        stored.predictions()
    with raises(BenchError, "predictions.parquet", run):
        where.read(run)


def ids(where: Store) -> list[str]:
    return [record.run_id for record in where.load_all()]


def test_the_index_follows_commits_deletions_and_replacement(tmp_path: Path) -> None:
    where = Store(tmp_path)
    assert where.load_all() == []
    runs = sorted(commit(where, seed=seed) for seed in range(5))
    assert ids(where) == runs
    assert where.index.is_file()
    stamp = where.index.stat().st_mtime_ns
    assert ids(where) == runs
    assert where.index.stat().st_mtime_ns == stamp, "an index that agrees is not written again"
    where.remove(runs[2])
    assert ids(where) == runs[:2] + runs[3:]
    added = commit(where, seed=99)
    assert added in ids(where)
    changed = make_record(seed=99, value=0.75)
    where.commit(changed, METRICS, replace=True)
    (record,) = [record for record in where.load_all() if record.run_id == added]
    assert record.summary["metrics"] == {"probe.balanced_accuracy": 0.75}
    table = pd.read_parquet(where.index)
    assert sorted(table["run_id"]) == sorted(ids(where))
    assert table.set_index("run_id")["value"][added] == 0.75


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_index_is_rebuilt(tmp_path: Path, damage: bytes | None) -> None:
    where = Store(tmp_path)
    run = commit(where)
    assert ids(where) == [run]
    if damage is None:
        pd.DataFrame({"run_id": ["x"]}).to_parquet(where.index)
    else:
        where.index.write_bytes(damage)
    assert ids(where) == [run]
    assert pd.read_parquet(where.index)["run_id"].tolist() == [run]


def test_an_index_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Store(tmp_path)
    run = commit(where)
    monkeypatch.setattr("bench.records.store.write_synced", _failing(errno.ENOSPC, after=0))
    assert ids(where) == [run]
    assert not where.index.exists()


def test_records_of_the_index_equal_those_of_the_folders(tmp_path: Path) -> None:
    where = Store(tmp_path)
    run = commit(where, method="ben", clusters=[0.2, 0.4], subsets={"fold=a": 0.1})
    where.load_all()
    (record,) = where.load_all()
    direct = where.find(run)
    assert direct is not None
    assert dict(record) == dict(direct)
    assert record.summary == direct.summary == json.loads(canonical_json(summarise(direct)))
    assert record["metrics"]["balanced_accuracy"]["fold=a"] == 0.1


def test_a_failure_is_kept_and_never_blocks(tmp_path: Path) -> None:
    where = Store(tmp_path)
    record = make_record()
    environment = provenance.environment("cpu", 1, "float32")
    about = {"method": "erm", "split": "ottawa", "seed": 0}
    for text in ("Traceback\nValueError: one\n", "Traceback\n  line 1\nValueError: two\n"):
        folder = where.fail(record["run_id"], text, environment, about)
    assert (folder / "traceback.txt").read_text().endswith("two\n")
    assert where.find(record["run_id"]) is None
    assert where.load_all() == []
    (failure,) = where.failures()
    assert failure["error"] == "ValueError: two"
    assert failure["about"] == about
    where.commit(record, METRICS)
    assert where.failures() == []


def test_every_damaged_record_is_kept(tmp_path: Path) -> None:
    where = Store(tmp_path, warn=lambda line: None)
    for _ in range(2):
        run = commit(where)
        (where.path_of(run) / "run.json").write_text("{", encoding="utf-8")
    run = commit(where)
    assert ids(where) == [run]
    kept = [path for path in (tmp_path / "damaged").iterdir() if path.name.startswith(run)]
    assert [(path / "run.json").read_text(encoding="utf-8") for path in kept] == ["{", "{"]


def test_a_failure_without_environment_or_traceback(tmp_path: Path) -> None:
    where = Store(tmp_path)
    environment = provenance.environment("cpu", 1, "float32")
    first, second = (where.fail(f"{k}" * 12, "Traceback\nx\n", environment) for k in (1, 2))
    (first / "environment.json").unlink()
    (second / "traceback.txt").unlink()
    [failure] = where.failures()
    assert (failure["run_id"], failure["error"]) == ("2" * 12, "")
    where.drop_failure("2" * 12)
    assert where.failures() == []


def test_records_are_located_by_run_file_and_folder(tmp_path: Path) -> None:
    where = Store(tmp_path / "results")
    entries = [make_record(seed=seed) for seed in range(3)]
    for entry in entries:
        rows = [
            (metric, subset, value)
            for metric, values in entry["metrics"].items()
            for subset, value in values.items()
        ]
        table = pd.DataFrame(rows, columns=["metric", "subset", "value"])
        where.commit(entry, table.assign(n=4, readout="probe"))
    runs = sorted(entry["run_id"] for entry in entries)
    folder = where.path_of(runs[1])
    for path in (folder, folder / "run.json"):
        [found] = located(path)
        assert found.place == str(folder)
        assert found.read().run_id == runs[1]
    for path in (where.root, where.runs):
        assert [found.read().run_id for found in located(path)] == runs
    where.publish(runs[:2])
    everything = located(where.root)
    assert [found.read().run_id for found in everything[:3]] == runs
    packed = everything[3:]
    assert sorted(found.read().run_id for found in packed) == runs[:2]
    file = Path(packed[0].place.rpartition(":")[0])
    assert [found.place for found in located(file)] == [f"{file}:1", f"{file}:2"]
    assert {record.run_id for record in where.load_all()} == set(runs)
    where.remove(runs[0])
    assert ids(where) == runs[1:]
    assert [record.run_id for record in where.load_all(reference=True)] == runs
    (tmp_path / "empty").mkdir()
    with raises(BenchError, "empty"):
        located(tmp_path / "empty")
    (folder / "run.json").unlink()
    assert [found.read().run_id for found in located(where.runs)] == runs[2:]


def test_artifacts_round_trip(tmp_path: Path) -> None:
    where = Store(tmp_path)
    weights = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(3)}
    assert where.read_artifact("fit", "ab" * 8) is None
    where.write_artifact("fit", "ab" * 8, weights, {"fit_s": 1.5})
    stored = where.read_artifact("fit", "ab" * 8)
    assert stored is not None
    assert stored.meta == {"fit_s": 1.5}
    assert set(stored.arrays) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(stored.arrays[name], array)
        assert stored.arrays[name].dtype == array.dtype
    outputs = {"embeddings": np.eye(2, dtype=np.float32), "ids": np.array(["a", "b"])}
    path = where.write_artifact("apply", "cd" * 8, outputs)
    assert names(path) == ["embeddings.npy", "ids.npy", "meta.json"]
    back = where.read_artifact("apply", "cd" * 8)
    assert back is not None
    np.testing.assert_array_equal(back.arrays["ids"], outputs["ids"])


def test_objects_are_never_stored_or_read(tmp_path: Path) -> None:
    where = Store(tmp_path)
    bad = {"embeddings": np.array([{}], dtype=object)}
    with raises(BenchError, "embeddings"):
        where.write_artifact("apply", "ab" * 8, bad)
    path = where.write_artifact("apply", "ab" * 8, {"embeddings": np.zeros((1, 1))})
    np.save(path / "embeddings.npy", bad["embeddings"], allow_pickle=True)
    with raises(BenchError, "ab" * 8):
        where.read_artifact("apply", "ab" * 8)


def test_a_damaged_artifact_names_its_folder(tmp_path: Path) -> None:
    where = Store(tmp_path)
    path = where.write_artifact("fit", "ab" * 8, {"w": np.zeros(4)})
    (path / "weights.safetensors").write_bytes(b"\x00")
    with raises(BenchError, "ab" * 8):
        where.read_artifact("fit", "ab" * 8)


def test_scratch(tmp_path: Path) -> None:
    where = Store(tmp_path)
    folder = where.scratch("ab" * 8)
    (folder / "step").write_text("1")
    assert where.scratch("ab" * 8) == folder
    where.drop_scratch("ab" * 8)
    where.drop_scratch("ab" * 8)
    assert not folder.exists()


def test_a_hit_imports_nothing_heavy(tmp_path: Path) -> None:
    run = commit(Store(tmp_path))
    code = (
        "import sys; from bench.records.store import Store; from pathlib import Path\n"
        f"assert Store(Path({str(tmp_path)!r})).find({run!r})['run_id']\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'torch', 'matplotlib', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_environment_names_versions_without_importing() -> None:
    code = (
        "import json, sys; from bench.runs.provenance import environment\n"
        "e = environment('cpu', 2, 'float32')\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "print(json.dumps(e))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout)
    assert facts["packages"]["numpy"] == np.__version__
    assert (facts["device"], facts["threads"], facts["precision"]) == ("cpu", 2, "float32")
    assert canonical_json(facts)


def test_command_line_can_be_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["run", "--split", f"{tmp_path}/my data.toml:weeks"]
    assert provenance.command_line(command) == "python -m bench run --split 'my data.toml:weeks'"


def test_source_digests_have_portable_names(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"
    for file, text in ((first, "1"), (second, "2")):
        file.parent.mkdir()
        file.write_text(text)
    digests = provenance.source_digests([ROOT / "bench" / "records" / "record.py", first, second])
    assert "bench/records/record.py" in digests
    assert len(digests) == 3
    assert all(not Path(name).is_absolute() for name in digests)
    assert sum(name.startswith("plugin/mine.py") for name in digests) == 2
    again = provenance.source_digests([second, first, ROOT / "bench" / "records" / "record.py"])
    assert again == digests


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the mark is Linux's")
def test_peak_memory_is_in_bytes_and_can_be_reset() -> None:
    block = np.ones(200 * 2**20, dtype=np.uint8)
    high = provenance.peak_bytes()
    assert high > block.nbytes
    del block
    assert provenance.reset_peak()
    assert provenance.peak_bytes() < high - 100 * 2**20
