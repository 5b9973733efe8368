"""A change of code is reported and never answered silently; a change of words changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.core import version
from bench.core.canonical import digest
from bench.core.checkout import ROOT
from bench.core.code_digest import path_digests
from bench.records.summary import summarise
from bench.runs.code import NO_NUMBERS, Codes
from tests.helpers import tiny
from tests.helpers.caller import Caller, Said

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.job import Job

LOOP = ROOT / "bench" / "training" / "loop.py"


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the training loop that the harness takes for its own."""
    copy = tmp_path / "bench" / "training" / "loop.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(LOOP.read_text())

    def digests(paths: Any) -> dict[Path, str]:
        values = path_digests({copy if path == LOOP else path for path in paths})
        return {LOOP if path == copy else path: value for path, value in values.items()}

    monkeypatch.setattr("bench.runs.code.path_digests", digests)
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "old, new",
    [
        ("lr = learning_rate(step, total, recipe)", "lr = learning_rate(step, total, recipe) / 2"),
        ("loss.backward()", "(loss * 0.0).backward()"),
    ],
)
def test_a_changed_training_loop_is_reported(
    tmp_path: Path, loop: Path, old: str, new: str
) -> None:
    where = tiny.task()
    bench = tiny.Bench(tmp_path / "r")
    [first] = bench.run("erm", where)
    assert "bench/training/loop.py" in first["code"]["files"]
    bench.run("erm", where)
    edit(loop, '"""', '""" Other words. ')
    bench.run("erm", where)
    assert bench.said == []
    edit(loop, old, new)
    [served] = bench.run("erm", where)
    assert served["predictions_sha256"] == first["predictions_sha256"]
    [line] = bench.said
    assert "bench/training/loop.py" in line
    # Another method that shares the training: the fit is repeated, not taken.
    bench.said.clear()
    assert bench.run("adabn", where)[0]["status"] == "ok"
    [line] = bench.said
    assert "bench/training/loop.py" in line
    # A profile method on the table does not depend on the loop.
    bench.said.clear()
    bench.run("zscore", where)
    edit(loop, new, old)
    bench.run("zscore", where)
    assert bench.said == []


def test_refresh_repeats_only_what_differs(tmp_path: Path, loop: Path) -> None:
    where = tiny.task()
    bench = tiny.Bench(tmp_path / "r")
    network, profile = (bench.run(name, where)[0] for name in ("erm", "zscore"))
    stamps = [bench.store.path_of(r["run_id"]).stat().st_mtime_ns for r in (network, profile)]
    edit(loop, "loss.backward()", "(loss * 2.0).backward()")
    again = [bench.run(name, where, if_exists="refresh")[0] for name in ("erm", "zscore")]
    assert [r["run_id"] for r in again] == [network["run_id"], profile["run_id"]]
    assert again[0]["code"]["digest"] != network["code"]["digest"]
    assert again[1]["code"] == profile["code"]
    now = [bench.store.path_of(r["run_id"]).stat().st_mtime_ns for r in again]
    assert (now[0] != stamps[0], now[1] != stamps[1]) == (True, False)
    bench.said.clear()
    bench.run("erm,zscore", where)
    assert bench.said == []


def test_a_record_without_a_digest_is_served_and_refreshed(tmp_path: Path) -> None:
    where = tiny.task()
    bench = tiny.Bench(tmp_path / "r")
    [record] = bench.run("zscore", where)
    old = {key: value for key, value in record.items() if key not in ("code", "path")}
    result = bench.store.find(record["run_id"])
    assert result is not None
    metrics = result.metrics_table()
    assert metrics is not None
    bench.store.commit(old, metrics, replace=True)
    [served] = bench.run("zscore", where)
    assert "code" not in served
    assert bench.said == []
    assert summarise(served)["code"] == {"digest": "", "folders": {}}
    [fresh] = bench.run("zscore", where, if_exists="refresh")
    assert fresh["code"] == record["code"]


def test_checkpoints_of_other_code_are_not_continued(tmp_path: Path, loop: Path) -> None:
    bench = tiny.Bench(tmp_path / "r")
    [job] = bench.jobs("erm", tiny.task())
    from bench.runs.cache import Cache

    cache = Cache(bench.store, "keep", set(), bench.said.append)
    fit_id = job.ids(job.task.folds[0])[0].fit
    first = cache.scratch(fit_id, Codes().of_fit(job, 0))
    assert cache.scratch(fit_id, Codes().of_fit(job, 0)) == first
    edit(loop, "loss.backward()", "(loss * 2.0).backward()")
    assert cache.scratch(fit_id, Codes().of_fit(job, 0)) != first


def test_every_module_that_moves_numbers_is_covered(tmp_path: Path) -> None:
    [job] = tiny.Bench(tmp_path).jobs("erm+tvn", tiny.task())
    files = set(Codes().of_run(job)["files"])
    for room in ("training", "scoring"):
        paths = (ROOT / "bench" / room).glob("[!_]*.py")
        names = {f"{room}/{path.name}" for path in paths} - set(NO_NUMBERS)
        assert {f"bench/{name}" for name in names} <= files
    for name in (
        "bench/core/seeds.py",
        "bench/data/views.py",
        "bench/data/partitions.py",
        "bench/metrics/_core.py",
        "bench/metrics/balanced_accuracy.py",
        "bench/runs/apply.py",
        "bench/runs/fold.py",
        "methods/erm.py",
        "methods/tvn.py",
        "methods/_whitening.py",
    ):
        assert name in files, name


def test_numerics_is_named_in_identities_where_it_is_not_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identities(job: Job) -> tuple[str, str, str]:
        [stage] = job.ids(job.task.folds[0])
        return digest(job.spec()), stage.fit, stage.apply_test

    [job] = tiny.Bench(tmp_path).jobs("erm", tiny.task())
    assert job.spec()["numerics"] == version.NUMERICS == 2
    monkeypatch.setattr("bench.runs.identity.NUMERICS", 1)
    assert "numerics" not in job.spec()
    before = identities(job)
    monkeypatch.setattr("bench.runs.identity.NUMERICS", 2)
    assert job.spec()["numerics"] == 2
    assert not set(before) & set(identities(job))


def test_provenance_names_version_and_commit(tmp_path: Path) -> None:
    [record] = tiny.Bench(tmp_path / "r").run("zscore", tiny.task())
    assert record["provenance"]["labshift"] == version.__version__
    if (ROOT / ".git").exists():
        assert len(record["provenance"]["commit"]) == 40


@pytest.mark.slow
def test_the_command_line_reports_other_code_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = tiny.write_table(tmp_path / "data")
    plugin = tiny.write_method(tmp_path, "mine", "class M(Profile):\n    FACTOR = 1\n")
    call = Caller(capsys, tmp_path / "r")

    def run() -> Said:
        result = call(
            *("run", "-m", "mine", "-s", f"{toml}:plates", "--seed", 0),
            *("--plugin", plugin, "--json"),
        )
        assert result.code == 0, result.err
        return result

    first = run()
    assert "mine.py" not in run().err
    edit(plugin, "FACTOR = 1", "FACTOR = 2")
    said = run()
    assert json.loads(said.out) == json.loads(first.out)
    [line] = [line for line in said.err.splitlines() if "mine.py" in line]
    assert "--if-exists refresh" in line
