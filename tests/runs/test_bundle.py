"""Bundles: their bytes, what they refuse, repeated samples, marks on boards, submissions."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import bench
from bench.boards import release
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.folders import file_sums
from bench.records.bundle import (
    NOT_VERIFIED,
    bundles_in,
    confirmed_runs,
    marked,
    read_bundle,
    write_bundle,
)
from bench.records.record import as_record
from bench.records.schema import NOT_RUN_HERE
from bench.records.store import Store
from bench.runs.repeat import repeat, sample, settings_of, why_not_repeatable
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.factories import edit_signed, make_record, release_with

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two methods and a control row on a table, and their bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    table = str(tiny.write_table(folder / "table", controls=4))
    bench.run(
        "center,zscore,shuffle",
        table,
        seeds=2,
        results=folder / "results",
        controls=False,
        settings={"zscore.rows": "all"},
    )
    bundled(folder)
    return folder


def bundled(folder: Path) -> Path:
    path = folder / "runs.zip"
    records = Store(folder / "results").load_all()
    write_bundle(records, path, releases={r.run_id: "" for r in records}, environment="a==1\n")
    return path


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """Return a copy without the table, which stays where the records say that it is."""
    shutil.copytree(made / "results", tmp_path / "results")
    shutil.copy(made / "runs.zip", tmp_path / "runs.zip")
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    code = stop.value.code
    assert isinstance(code, int)
    return code, said.out, said.err


def rewritten(path: Path, change: dict[str, bytes | None]) -> Path:
    """Replace, add or remove (None) files of a bundle; bundle.json is left as it is."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()} | change
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def test_equal_runs_give_equal_bytes_and_an_unpacked_bundle_is_a_results_folder(
    copied: Path,
) -> None:
    first = file_sums(copied / "runs.zip")
    assert file_sums(bundled(copied)) == first
    bundle = read_bundle(copied / "runs.zip")
    records = bundle.unpack(copied / "unpacked")
    stored = {r.run_id: r.data for r in Store(copied / "results").load_all()}
    assert {r.run_id: r.data for r in records} == stored
    assert {r.run_id: r.data for r in Store(copied / "unpacked").load_all()} == stored
    assert all(r.predictions() is not None for r in records)
    commands = bundle.files["commands.txt"].decode().splitlines()
    assert len(commands) == 4  # shuffle is seeded, the others are not
    assert all(c.startswith("python -m bench run --method ") for c in commands)
    assert any("zscore.rows=all" in command for command in commands)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"commands.txt": b"rm -r /\n"}, ["commands.txt", "digest"]),
        ({"commands.txt": None}, ["commands.txt"]),
        ({"../../etc/passwd": b""}, ["../../etc/passwd"]),
        ({"runs/aa/aaaaaaaaaaaaaaaa/weights.pkl": b""}, ["weights.pkl"]),
        ({"environment.txt": b"a==2\n"}, ["environment.txt"]),
        ({"bundle.json": None}, ["bundle.json"]),
        ({"bundle.json": b"[]"}, ["bundle.json"]),
        ({"bundle.json": b'{"format": 1, "runs": [], "files": {}, "labshift": ""}'}, ["lacks"]),
        ({"bundle.json": b'{"format": 2, "runs": [], "files": {}, "labshift": "9"}'}, ["9"]),
    ],
)
def test_a_changed_bundle_is_refused(
    copied: Path, change: dict[str, bytes | None], names: list[str]
) -> None:
    path = rewritten(copied / "runs.zip", change)
    if names == ["lacks"]:
        names = ["bundle.json"]
        path = rewritten(path, dict.fromkeys(read_names(path) - {"bundle.json"}))
    with raises(BenchError, "runs.zip", *names):
        read_bundle(path)


def read_names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"no zip")
    for name in ("text.zip", "absent.zip"):
        with raises(BenchError, name):
            read_bundle(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with raises(BenchError, "empty"):
        bundles_in(tmp_path / "empty")


def test_a_sample_is_repeated_and_equals_the_records(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = copied / "verification.json"
    code, out, _ = called(
        capsys, "verify", copied / "runs.zip", "--sample", 3, "--output", report, "--json"
    )
    facts = json.loads(out)
    repeated = [run["repeated"] for run in facts["runs"].values()]
    assert (code, sorted(repeated)) == (0, ["identical"] * 3 + ["not repeated"])
    assert {run["files"] for run in facts["runs"].values()} == {"identical"}
    assert json.loads(report.read_text())["runs"] == facts["runs"]


def test_a_sample_takes_methods_before_seeds_and_control_rows_last(made: Path) -> None:
    records = Store(made / "results").load_all()
    for seed in range(5):
        methods = [record.method for record in sample(records, 3, seed)]
        assert sorted(methods) == ["center", "shuffle", "zscore"]
        assert methods[2] == "shuffle"
    assert len(sample(records, None, 0)) == 4
    assert sample(records, 0, 0) == []


def test_what_cannot_be_repeated_says_why(made: Path, tmp_path: Path) -> None:
    cases = [
        make_record(status="not-applicable", reason="x"),
        make_record(badges=[NOT_RUN_HERE]),
        make_record(selection="ood-val"),
        make_record(grouping={"plates": 2}),
    ]
    reasons = {why_not_repeatable(as_record(case)) for case in cases}
    assert len(reasons) == 4
    assert "" not in reasons
    for case in cases:
        assert repeat(as_record(case), tmp_path / "r").result is None
    [unknown] = [as_record(make_record(method="nobody"))]
    assert "nobody" in repeat(unknown, tmp_path / "r").reason
    [record] = [r for r in Store(made / "results").load_all() if r.method == "zscore"]
    assert settings_of(record) == {"zscore.rows": "all"}


def test_other_data_are_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tiny.write_table(tmp_path / "table", controls=4)
    bench.run("center", str(table), results=tmp_path / "results", controls=False)
    path = bundled(tmp_path)
    tiny.write_table(tmp_path / "table", controls=4, seed=1)
    code, out, _ = called(capsys, "verify", path, "--json")
    [run] = json.loads(out)["runs"].values()
    assert (code, run["files"], run["repeated"]) == (1, "identical", "not repeated")
    assert "data_digest" in run["reason"]
    assert called(capsys, "verify", path, "--sample", "0")[0] == 0


def test_a_forged_value_is_found(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [folder] = [
        f.parent for f in (copied / "results").rglob("run.json") if '"zscore"' in f.read_text()
    ]

    def better(data: dict[str, Any]) -> None:
        data["cost"]["fit_s"] = 0.0
        data["n_classes"] += 1
        data["chance"] = 0.25

    edit_signed(folder / "run.json", better)
    code, out, _ = called(capsys, "verify", bundled(copied), "--sample", "all", "--json")
    runs = json.loads(out)["runs"]
    assert code == 1
    assert [k for k, run in runs.items() if run["repeated"] == "different"] == [folder.name]


def test_rows_are_marked_until_a_run_is_repeated(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = read_bundle(copied / "runs.zip")
    records = bundle.unpack(copied / "unpacked")
    assert confirmed_runs(bundle) == frozenset()
    first = next(r for r in records if r.method == "shuffle")
    badges = {r.run_id: r.badges for r in marked(records, {first.run_id})}
    # The other seed of the row is not marked.
    assert all((badges[r.run_id] == []) == (r.method == "shuffle") for r in records)
    assert all(r.badges == [] for r in records)

    def rows() -> dict[str, list[str]]:
        options = ["--results", copied / "none", "--bundle", copied, "--json"]
        code, out, _ = called(capsys, "leaderboard", *options)
        assert code == 0
        [board] = json.loads(out)["boards"]
        assert board["release"] == ""
        return {row["method_id"]: row["badges"] for row in board["rows"]}

    assert set(map(tuple, rows().values())) == {(NOT_VERIFIED,)}
    zipped, report = copied / "runs.zip", copied / "verification.json"
    called(capsys, "verify", zipped, "--sample", "1", "--seed", "0", "--output", report)
    assert sorted(map(len, rows().values())) == [0, 1, 1]
    # A report on another bundle proves nothing.
    rewritten(zipped, {})
    assert set(map(tuple, rows().values())) == {(NOT_VERIFIED,)}
    report.write_text("{}")
    assert called(capsys, "leaderboard", "--bundle", zipped)[0] == 2


def test_a_submission_has_its_scores_commands_and_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tiny.write_method(tmp_path, "mine", "class M(Profile):\n    pass\n")
    table, results = str(tiny.write_table(tmp_path / "table", controls=4)), tmp_path / "results"
    record, *_ = bench.run(
        "mine,center", table, results=results, plugins=[plugin], controls=False, seeds=1
    )
    call = ["submit", "--name", "mine-1", "--authors", "A. One; B. Two", "--plugin", plugin]
    call += ["--results", results, "--output", tmp_path / "out", "-m", "mine"]
    code, _, err = called(capsys, *call)
    assert (code, (tmp_path / "out").exists()) == (2, False)
    assert record.run_id[:8] in err
    monkeypatch.setattr(release, "releases", lambda: (release_with([record]),))
    code, out, _ = called(capsys, *call, "--json")
    facts = json.loads(out)
    folder = tmp_path / "out" / "mine-1"
    assert (code, facts["releases"], facts["authors"]) == (0, ["2030.1"], ["A. One", "B. Two"])
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "bundle.zip",
        "mine.py",
        "submission.json",
    }
    readme = (folder / "README.md").read_text()
    assert f"{record.value():.3f}" in readme
    assert "run --method mine" in readme
    assert read_bundle(folder / "bundle.zip").manifest["releases"] == ["2030.1"]
    assert called(capsys, *call)[0] == 2  # the folder exists


@pytest.mark.parametrize(
    "words",
    [
        ("bundle", "--output", "x.tar"),
        ("bundle", "zzzz", "--output", "x.zip"),
        ("bundle", "aa", "--split", "ottawa", "--output", "x.zip"),
        ("bundle", "--method", "nobody", "--output", "x.zip"),
        ("verify", "x.zip"),
        ("verify", "x.zip", "y.zip"),
        ("verify", "x.zip", "--sample", "-1"),
        ("verify", "x.zip", "--device", "abacus"),
        ("verify", "--sample", "2"),
        ("submit", "--name", "A B", "--authors", "x", "--output", "o"),
        ("submit", "--name", "a", "--authors", " ; ", "--output", "o"),
    ],
)
def test_bad_input_gives_one_line(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = called(capsys, *words, "--results", made / "results")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
