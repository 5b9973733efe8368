"""The command line: bad input, a light start, exit codes, JSON, answers from disk, resume."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from bench.cli.group import COMMANDS
from bench.cli.main import main
from bench.records import writing as store
from bench.records.results import results_store
from tests.helpers.caller import Caller, Said
from tests.helpers.errors import mentions
from tests.helpers.processes import PATIENCE, killed_at, wait_for

ROOT = Path(__file__).resolve().parents[2]
TOML = """
name = "mine"
table = "wells.csv"
features = "^f"
id = ["plate", "well"]
label = "kind"
batches = ["plate", "week"]
control = "control"

[splits.weeks]
hold_out = "week"

[splits.plates]
hold_out = "plate"
"""
HEAVY = ("torch", "scanpy", "sklearn", "matplotlib")
QUICK = ("--recipe", "smoke", "--set", "recipe.steps=5")


def wells(weeks: int = 3, plates: int = 2, n: int = 16) -> pd.DataFrame:
    """Return a synthetic table: two classes that differ in ``f0``, controls, a shift per plate."""
    rng = np.random.default_rng(1)
    rows = []
    for week in range(weeks):
        for plate in range(plates):
            for k in range(n):
                kind = ("left", "right", "DMSO", "left")[k % 4]
                values = rng.normal(size=4) + 0.5 * plate
                values[0] += 3.0 * (kind == "right")
                rows.append(
                    {
                        "plate": f"w{week}p{plate}",
                        "week": f"w{week}",
                        "well": f"A{k:02d}",
                        "kind": kind,
                        "control": kind == "DMSO",
                        **{f"f{j}": value for j, value in enumerate(values)},
                    }
                )
    return pd.DataFrame(rows)


def dataset(folder: Path, toml: str = TOML, table: pd.DataFrame | None = None) -> Path:
    """Write a table and its description; return the description's path."""
    folder.mkdir(exist_ok=True)
    (wells() if table is None else table).to_csv(folder / "wells.csv", index=False)
    (folder / "mine.toml").write_text(toml)
    return folder / "mine.toml"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    return Caller(capsys, tmp_path / "results")


def process(*arguments: object, before: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    code = f"{before}\nfrom bench.cli.main import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(*arguments: object, **options: Any) -> Said:
    started = process(*arguments, **options)
    out, err = started.communicate(timeout=PATIENCE)
    return Said(started.returncode, out, err)


def refused(said: Said, *words: str) -> None:
    """Check that a command ended with one line that says what is wrong, and nothing else."""
    lines = said.err.splitlines()
    assert (said.code, len(lines)) == (2, 1), said.err
    assert lines[0].startswith("error: ")
    assert said.out == ""
    for word in words:
        assert word in lines[0]


def nothing_written(results: Path) -> None:
    """Check that there is no record, and nothing half-written."""
    left = [path for path in results.rglob("*") if path.is_file()] if results.is_dir() else []
    assert left == []
    folders = [path.name for path in results.rglob("*")] if results.is_dir() else []
    assert not [name for name in folders if name.startswith((".", "tmp"))], folders


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "run --help",
        "list methods",
        "list splits --json",
        "list datasets",
        "list metrics",
        "list claims",
        "show split ottawa",
        "leaderboard --format json",
    ],
)
def test_light_start(arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", *arguments.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-300:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "bench.cli.main" in imported
    assert imported.isdisjoint(HEAVY)
    if arguments.endswith("--help"):
        assert imported.isdisjoint({"numpy", "pandas", "pydantic"})


def test_help_names_every_command(call: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], []):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
        text, nothing = capsys.readouterr()
        assert text.startswith("Usage: python -m bench ")
        assert nothing == ""
    for name in COMMANDS:
        assert f"  {name} " in text
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        item = capsys.readouterr().out
        for option in ("--results", "--plugin", "--json", "--debug"):
            assert option in item, (name, option)
        assert "\\b" not in item, name


def test_help_gives_each_example_a_line(call: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "  python -m bench check ben" in lines
    assert "  python -m bench check my_method.py" in lines


ERM = ("--method", "erm")
OTTAWA = ("--split", "ottawa")
FEW = (*OTTAWA, "--set", "data.scale=0.02")
"""For commands that read images before they fail."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--method", "bne", *OTTAWA), ("'bne'", " ben "), id="method"),
        pytest.param((*ERM, "--split", "otawa"), ("otawa", "Did you mean ottawa?"), id="split"),
        pytest.param((*ERM, "--split", "coos7/tset4"), ("coos7/test4",), id="canonical"),
        pytest.param((*ERM, *OTTAWA, "--seed", "x"), ("--seed", "'x'"), id="seed"),
        pytest.param((*ERM, *OTTAWA, "--seed", "-1"), ("--seed", "'-1'"), id="negative-seed"),
        pytest.param((*ERM, *OTTAWA, "--seed", "²"), ("--seed",), id="superscript-seed"),
        pytest.param((*ERM, *OTTAWA, "--seed", "1" * 30), ("--seed",), id="long-seed"),
        pytest.param((*ERM, *OTTAWA, "--seeds", "0"), ("--seeds",), id="no-seeds"),
        pytest.param((*ERM, *OTTAWA, "--seeds", "123456789"), ("1000",), id="many-seeds"),
        pytest.param((*ERM, *OTTAWA, "--seeds", "three"), ("--seeds", "'three'"), id="seeds"),
        pytest.param(
            (*ERM, *OTTAWA, "--seed", "1", "--seeds", "2"), ("--seed", "--seeds"), id="both"
        ),
        pytest.param((*ERM, *OTTAWA, "--set", "nonsense=3"), ("nonsense",), id="key"),
        pytest.param((*ERM, *OTTAWA, "--set", "nonsense"), ("KEY=VALUE",), id="no-value"),
        pytest.param((*ERM, *OTTAWA, "--set", "=3"), ("KEY=VALUE",), id="no-key"),
        pytest.param(
            ("--method", "ben", *FEW, "--set", "ben.rows=sideways"),
            ("ben.rows", "all", "treated", "controls"),
            id="value",
        ),
        pytest.param((*ERM, *FEW, "--set", "bne.rows=all"), ("bne",), id="no-method"),
        pytest.param((*ERM, *FEW, "--set", "recipe.lr=-1"), ("lr",), id="range"),
        pytest.param((*ERM, *FEW, "--set", "recipe.lr=nan"), ("lr",), id="nan"),
        pytest.param((*ERM, *FEW, "--set", "recipe.stesp=5"), ("steps",), id="recipe-key"),
        pytest.param((*ERM, *OTTAWA, "--set", "data.strenght=1"), ("strength",), id="data-key"),
        pytest.param((*ERM, *OTTAWA, "--recipe", "huge"), ("huge",), id="recipe"),
        pytest.param((*ERM, *OTTAWA, "--edition", "reel"), ("real",), id="edition"),
        pytest.param((*ERM, *OTTAWA, "--edition", "real"), ("edition",), id="not-here"),
        pytest.param((*ERM, *OTTAWA, "--device", "gpu"), ("--device",), id="device"),
        pytest.param((*ERM, *OTTAWA, "--if-exists", "maybe"), ("if-exists",), id="if-exists"),
        pytest.param((*ERM, *FEW, "--network", "resnet19"), ("resnet18",), id="network"),
        pytest.param((*ERM, *FEW, "--network", "nowhere:made"), ("nowhere",), id="module"),
        pytest.param((*ERM, *FEW, "--standardise", "week"), ("standardise",), id="standardise"),
        pytest.param(("--method", "zscore+erm+ben", *FEW), ("zscore+erm+ben",), id="chain"),
        pytest.param(("--method", "ben+", *OTTAWA), ("''",), id="half-chain"),
        pytest.param(("--method", ",", *OTTAWA), ("--method",), id="empty"),
        pytest.param((), ("--method",), id="nothing"),
        pytest.param((*ERM, "--splits", "ottawa"), ("--split",), id="option"),
        pytest.param((*ERM, *OTTAWA, "more"), ("more",), id="argument"),
    ],
)
def test_wrong_words(call: Caller, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(call("run", *arguments), *words)
    nothing_written(call.results)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        pytest.param("name = \n", ("mine.toml",), id="no-toml"),
        pytest.param("", ("mine.toml",), id="empty"),
        pytest.param(TOML.replace("wells.csv", "gone.csv"), ("gone.csv",), id="no-table"),
        pytest.param(TOML.replace('"kind"', '"kidn"'), ("kidn", "kind"), id="column"),
        pytest.param(TOML.replace('"^f"', '"^Mito_"'), ("Mito_",), id="features"),
        pytest.param(TOML.replace('"^f"', '"^(("'), ("features",), id="regex"),
        pytest.param(TOML.replace("label =", "lable ="), ("lable", "label"), id="key"),
        pytest.param(TOML.replace('= "control"', '= "kind"'), ("kind",), id="control"),
        pytest.param(TOML.replace('"week"]', '"weak"]'), ("weak", "week"), id="level"),
        pytest.param(TOML.replace('hold_out = "week"', 'hold_out = "weak"'), ("weak",), id="fold"),
    ],
)
def test_wrong_description(call: Caller, tmp_path: Path, toml: str, words: tuple[str, ...]) -> None:
    path = dataset(tmp_path / "data", toml)
    refused(call("run", *ERM, "--split", f"{path}:weeks"), *words)
    nothing_written(call.results)


def not_finite(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[3, "f1"] = np.nan
    return table


def twice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[:1]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda t: t.iloc[:0], (), id="no-rows"),
        pytest.param(not_finite, ("f1",), id="nan"),
        pytest.param(twice, ("A00",), id="duplicate"),
        pytest.param(lambda t: t[t["week"] == "w0"], ("week",), id="one-fold"),
        pytest.param(lambda t: t[t["kind"] != "right"], ("classes",), id="one-class"),
        pytest.param(lambda t: t.assign(control="perhaps"), ("control",), id="not-boolean"),
        pytest.param(lambda t: t.assign(f2="high"), ("f2",), id="text"),
    ],
)
def test_wrong_table(call: Caller, tmp_path: Path, change: Any, words: tuple[str, ...]) -> None:
    path = dataset(tmp_path / "data", table=change(wells()))
    refused(call("run", *ERM, "--split", f"{path}:weeks"), *words)
    nothing_written(call.results)


@pytest.mark.parametrize("suffix", ["parquet", "h5ad", "csv.gz"])
@pytest.mark.parametrize("content", ["truncated", "text", "nothing", "folder"])
def test_damaged_table(call: Caller, tmp_path: Path, suffix: str, content: str) -> None:
    folder = tmp_path / "data"
    path = dataset(folder, TOML.replace("wells.csv", f"wells.{suffix}"))
    table = folder / f"wells.{suffix}"
    if content == "folder":
        table.mkdir()
    elif content == "truncated":
        if suffix == "h5ad":
            with h5py.File(table, "w") as handle:
                handle["X"] = np.zeros((500, 4))
        else:
            wells().to_parquet(table) if suffix == "parquet" else wells().to_csv(table)
        table.write_bytes(table.read_bytes()[:-900])
    else:
        table.write_text("not a table\n" if content == "text" else "")
    refused(call("run", *ERM, "--split", f"{path}:weeks"), table.name)
    nothing_written(call.results)


def test_a_split_that_the_file_does_not_have(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    refused(call("run", *ERM, "--split", f"{path}:week"), "week", "weeks")
    refused(call("run", *ERM, "--split", f"{path}"), "weeks", "plates")
    refused(call("run", *ERM, "--split", f"{tmp_path}/none.toml:weeks"), "none.toml")


def test_one_training_batch_for_a_batchwise_method(call: Caller, tmp_path: Path) -> None:
    """Two weeks of one plate each: holding one out leaves nothing to draw plates from."""
    path = dataset(tmp_path / "data", table=wells(weeks=2, plates=1))
    said = call("run", "--method", "ben,erm", "--split", f"{path}:weeks", *QUICK, "--json")
    assert said.code == 0, said.err
    status = {run["method"]: (run["status"], bool(run["reason"])) for run in said.json["runs"]}
    assert status == {"ben": ("not-applicable", True), "erm": ("ok", False)}


def test_repeated_options_add_up(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data", TOML + 'shares = ["week"]\n')
    options = ("-m", "identity", "--method", "center,zscore", "--metrics", "accuracy")
    said = call(
        "run", *options, "--metrics", "worst_batch_accuracy", "-s", f"{path}:weeks", "-s",
        f"{path}:plates", *QUICK, "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    runs = [(run["method"], run["split_id"]) for run in said.json["runs"]]
    methods = ("identity", "center", "zscore")
    assert runs == [(m, s) for s in ("mine/weeks", "mine/plates") for m in methods]
    assert {"accuracy", "worst_batch_accuracy"} <= set(said.json["runs"][0]["metrics"])
    refused(call("leaderboard", "-s", "mine/weeks", "-s", "mine/plates"), "--split")


def test_home_and_variables_are_replaced_in_paths(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MINE", "data")
    dataset(tmp_path / "data")
    said = call(
        "run", "-m", "identity", "-s", "$HOME/$MINE/mine.toml:weeks", *QUICK, results=Path("~/r")
    )
    assert said.code == 0, said.err
    assert list((tmp_path / "r" / "runs").rglob("run.json"))
    monkeypatch.setenv("BENCH_RESULTS", "~/$MINE/results")
    assert results_store().root == tmp_path / "data" / "results"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_output_in_any_encoding(encoding: str) -> None:
    code = "from bench.cli.main import _accept_all_characters as f; f(); print('n – 3 × α')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    expected = {"ascii": "n - 3 x ?", "cp1252": "n – 3 × ?", "latin-1": "n - 3 × ?"}[encoding]
    assert done.stdout.decode(encoding).strip() == expected


def test_a_table_of_ones_own_has_no_other_edition(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    refused(call(*run_erm(path, "--edition", "simulated")), "--edition", "simulated")
    nothing_written(call.results)


def test_a_missing_table_is_not_answered_with_its_own_description(
    call: Caller, tmp_path: Path
) -> None:
    path = dataset(tmp_path / "data")
    (path.parent / "wells.csv").unlink()
    said = call(*run_erm(path.rename(path.with_name("wells.toml"))))
    refused(said, "wells.csv", "TOML")


def test_a_parameter_of_a_method_that_does_not_run(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    said = call("run", *ERM, "--split", f"{path}:weeks", "--set", "ben.rows=all")
    refused(said, "--set", "ben", "erm")


def test_a_level_that_the_data_do_not_have(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    said = call("run", "-m", "ben", "-s", f"{path}:weeks", "--set", "ben.level=laboratory")
    refused(said, "laboratory")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, ("plugin.py",), id="missing"),
        pytest.param("def (:\n", ("plugin.py", "line 1"), id="syntax"),
        pytest.param("x = 1\n", ("plugin.py", "META"), id="no-literal"),
        pytest.param("META = {'kind': 'method', 'name': f()}\n", ("literal",), id="no-constant"),
        pytest.param("META = {'kind': 'hat', 'name': 'a'}\n", ("kind",), id="kind"),
        pytest.param(
            "META = {'kind': 'method', 'name': 'erm', 'class': 'A', 'level': 'network', "
            "'version': 1, 'access': []}\n",
            ("erm", "plugin.py"),
            id="taken",
        ),
        pytest.param(
            "META = {'kind': 'method', 'name': 'mine', 'class': 'A', 'level': 'network', "
            "'version': 1, 'access': []}\nimport nothing_of_this_name\n",
            ("nothing_of_this_name", "mine"),
            id="import",
        ),
        pytest.param(
            "META = {'kind': 'method', 'name': 'mine', 'class': 'A', 'level': 'network', "
            "'version': 1, 'access': []}\n",
            ("'A'",),
            id="no-class",
        ),
    ],
)
def test_broken_plugin(
    call: Caller, tmp_path: Path, text: str | None, words: tuple[str, ...]
) -> None:
    path = dataset(tmp_path / "data")
    plugin = tmp_path / "plugin.py"
    if text is not None:
        plugin.write_text(text)
    name = "mine" if text and "'mine'" in text else "erm"
    said = call("run", "--method", name, "--split", f"{path}:weeks", "--plugin", plugin)
    refused(said, *words)
    nothing_written(call.results)


@pytest.mark.parametrize(
    "arguments",
    [
        ("rnu",),
        ("list", "method"),
        ("list",),
        ("show", "method", "bne"),
        ("show", "thing", "erm"),
        ("show", "run", "abc"),
        ("show", "split", "otawa"),
        ("show", "dataset", "cos7"),
        ("show", "method", "erm", "--figure", "x.png"),
        ("leaderboard", "--format", "pdf"),
        ("leaderboard", "--readout", "tail"),
        ("figures", "degradatoin"),
        ("new", "method", "erm"),
        ("new", "method", "Bad Name"),
        ("new", "hat", "mine"),
        ("check", "bne"),
    ],
    ids=" ".join,
)
def test_wrong_words_elsewhere(
    call: Caller, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(call(*arguments))
    assert [path.name for path in tmp_path.iterdir()] == []


def published(folder: Path, **changes: Any) -> Path:
    """Write five small files in the published layout; keys of ``changes`` replace arrays."""
    (folder / "coos7").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k, part in enumerate(("training", "test1", "test2", "test3", "test4")):
        n = 56
        content: dict[str, Any] = {
            "data": rng.integers(90, 4000, (n, 2, 64, 64)).astype(np.uint16),
            "labels": np.arange(n) % 7,
            "dateIDs": np.full(n, 20170101 + k),
            "microscopeIDs": np.full(n, part == "test4", dtype=int),
            "plateIDs": 10 * k + np.arange(n) // 28,
            "wellIDs": np.array([f"B{1 + i // 3:02d}" for i in range(n)], "S3"),
        }
        with h5py.File(folder / "coos7" / f"COOS7_v1.1_{part}.hdf5", "w") as handle:
            for key, value in {**content, **changes}.items():
                if value is not None:
                    handle[key] = value
    return folder / "coos7"


def test_a_method_is_shown_with_what_it_claims_and_must_be_told(call: Caller) -> None:
    facts = call("show", "method", "simclr-ben", "--json").json
    assert (facts["helps"], facts["hurts"]) == (["location", "hierarchical"], ["label-shift"])
    assert facts["measured against"] == "simclr"
    assert facts["must be told"] == [
        "the batch of each training row",
        "all unlabelled rows of a test batch at once",
    ]
    mixup = call("show", "method", "mixup", "--json").json
    assert (mixup["helps"], mixup["hurts"], mixup["measured against"]) == ([], [], "erm")
    assert len(mixup["must be told"]) == 1
    assert len(call("show", "method", "sphering", "--json").json["must be told"]) == 2
    assert call("show", "method", "mixup").code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"data": np.zeros((56, 64, 64), "u2")}, ("data",), id="three-axes"),
        pytest.param({"data": np.zeros((0, 2, 64, 64), "u2")}, (), id="no-images"),
        pytest.param({"labels": np.zeros(55, int)}, ("labels",), id="one-label-short"),
        pytest.param({"labels": np.full(56, 9)}, ("labels", "9"), id="class"),
        pytest.param({"plateIDs": None}, ("plateIDs",), id="no-plates"),
    ],
)
def test_published_files_of_wrong_shape(
    call: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    published(tmp_path / "data", **changes)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    refused(call("run", *ERM, *OTTAWA, *QUICK), "COOS7_v1.1_", *words)
    nothing_written(call.results)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_truncated_published_file(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: float
) -> None:
    file = published(tmp_path / "data") / "COOS7_v1.1_test4.hdf5"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content) if keep < 1 else keep)])
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    refused(call("run", *ERM, *OTTAWA, *QUICK), file.name)
    nothing_written(call.results)


def test_published_files_are_run_as_real(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files undamaged: what was refused above was refused for its damage."""
    published(tmp_path / "data")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    said = call("run", "-m", "erm", *OTTAWA, *QUICK, "--json")
    assert said.code == 0, said.err
    [run] = said.json["runs"]
    assert (run["edition"], run["status"], run["split_id"]) == ("real", "ok", "coos7/test4")
    assert run["n_eval"] == 56
    plain = call("run", "-m", "erm", *OTTAWA, *QUICK, results=tmp_path / "plain")
    assert plain.code == 0, plain.err
    assert "0." in plain.out
    assert len(digests(call.results)) == 2, "the score on the training plates is on record as well"
    assert digests(call.results) == digests(tmp_path / "plain"), "whether printed as JSON or not"


def run_erm(path: Path, *more: object) -> tuple[object, ...]:
    return ("run", "--method", "erm", "--split", f"{path}:weeks", "--seed", 0, *QUICK, *more)


def test_no_permission(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    if os.geteuid() == 0:
        if not Path("/sys/kernel").is_dir():
            pytest.skip("the administrator may write everywhere here")
        locked = Path("/sys/labshift")  # where no folder can be created
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o555)
        locked = locked / "results"
    refused(call(*run_erm(path), results=locked), str(locked), "--results")
    assert not locked.exists()


def test_a_file_where_the_results_should_be(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    (tmp_path / "results").write_text("a diary")
    for results in (tmp_path / "results", tmp_path / "results" / "deeper"):
        refused(call(*run_erm(path), results=results), "file", "--results")
    assert (tmp_path / "results").read_text() == "a diary"


@pytest.mark.parametrize("name", ["run.json", "metrics.parquet", "predictions.parquet"])
def test_full_disk_at_commit(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = dataset(tmp_path / "data")
    real = store.write_synced

    def full(file: Path, data: bytes) -> None:
        if file.name == name:
            file.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        real(file, data)

    monkeypatch.setattr(store, "write_synced", full)
    refused(call(*run_erm(path)), "full", "--results")
    assert not list(call.results.rglob("run.json"))
    assert not list((call.results / "runs").rglob("*.parquet"))
    monkeypatch.setattr(store, "write_synced", real)
    assert call(*run_erm(path)).code == 0


def test_an_error_of_the_disk_stands_alone(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that names the edition waits for a run that has something to say."""
    published(tmp_path / "data")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "results").write_text("a diary")
    refused(call("run", *ERM, *OTTAWA, *QUICK))
    (tmp_path / "results").unlink()
    said = call("run", *ERM, *OTTAWA, *QUICK)
    assert said.code == 0
    assert said.err.splitlines()[0] == "coos7: real data"


@pytest.mark.attack
@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_files_that_cannot_grow(call: Caller, tmp_path: Path) -> None:
    """No file may exceed 600 bytes: each refused write ends in an error of one line."""
    path = dataset(tmp_path / "data")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))"
    said = finished(*run_erm(path), "--results", call.results, before=limit)
    refused(said, "--results")
    assert not list(call.results.rglob("run.json"))
    assert call(*run_erm(path)).code == 0


RAISES = """
from bench.network import NetworkMethod
META = {"kind": "method", "name": "raises", "class": "Raises", "level": "network", "version": 1,
        "access": [], "summary": "Raises.", "reference": "none"}
class Raises(NetworkMethod):
    def fit(self, train, adapt, ctx):
        raise ZeroDivisionError("nothing\\nto divide by")
"""


def test_a_method_that_raises_is_a_failed_run(call: Caller, tmp_path: Path) -> None:
    path, plugin = dataset(tmp_path / "data"), tmp_path / "raises.py"
    plugin.write_text(RAISES)
    words = (
        "--method",
        "raises,erm",
        "--split",
        f"{path}:weeks",
        "--seed",
        0,
        *QUICK,
        "--plugin",
        plugin,
    )
    said = call("run", *words, "--json")
    assert said.code == 1
    failed, fine = said.json["runs"]
    assert failed["status"] == "failed"
    assert failed["reason"] == "ZeroDivisionError: nothing to divide by"
    assert fine["status"] == "ok"
    [traceback] = (call.results / "failed").rglob("traceback.txt")
    assert "ZeroDivisionError" in traceback.read_text()
    assert len(list(call.results.rglob("run.json"))) == 1
    assert "error:" not in said.err


def next_of(said: Said) -> list[str]:
    [line] = [line for line in said.out.splitlines() if line.startswith("next: ")]
    return shlex.split(line.removeprefix("next: python -m bench "))


@pytest.mark.usefixtures("few_penalties")
def test_the_next_command_means_the_same_and_can_be_typed(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    plugin = tmp_path / "mine.py"
    assert call("new", "method", "mine", "--output", plugin).code == 0
    settings = ("--plugin", plugin, "--set", "ben.rows=treated", *QUICK)
    said = call("run", "--method", "mine,ben,ibn", "--split", f"{path}:weeks", *settings)
    assert said.code == 0, said.err
    assert "not-applicable" in said.out  # in full, as is the name of the split
    assert "mine/weeks" in said.out
    words = next_of(said)
    assert words[1:3] == ["--method", "erm,mine,ben,adabn"]
    again = call(*words)
    assert again.code == 0, again.err
    assert {json.loads(p.read_text())["spec"]["seed"] for p in call.results.rglob("run.json")} == {
        0, 1, 2
    }  # fmt: skip
    board = call(*next_of(again))
    assert board.code == 0
    assert "ben(rows=treated)" in board.out


ERRORS = """
from bench.metrics import Value

META = {"kind": "metric", "name": "error_rate", "function": "error_rate", "version": VERSION,
        "summary": "Share of wrong rows.", "range": [0, 1], "higher_is_better": False,
        "needs": "predictions", "reference": ""}


def error_rate(y_true, y_pred):
    return Value(float((y_true != y_pred).mean()), len(y_true), "")
"""


def test_a_metric_of_a_plugin_keeps_its_direction_and_its_version(
    call: Caller, tmp_path: Path
) -> None:
    plugin = tmp_path / "error_rate.py"
    plugin.write_text(ERRORS.replace("VERSION", "1"))
    weeks = 'hold_out = "week"'
    path = dataset(tmp_path / "data", TOML.replace(weeks, weeks + '\nmetric = "error_rate"'))
    words = ("run", "-m", "erm,label-oracle", "-s", f"{path}:weeks", "--seed", 0, *QUICK)
    said = call(*words, "--plugin", plugin, "--json")
    assert said.code == 0, said.err
    [board] = call("leaderboard", "--json").json["boards"]
    assert board["higher_is_better"] is False
    ids = {run["run_id"] for run in said.json["runs"]}
    plugin.write_text(ERRORS.replace("VERSION", "2"))
    later = call(*words, "--plugin", plugin, "--dry-run", "--json").json["runs"]
    assert ids.isdisjoint(run["run_id"] for run in later)


def test_the_folder_for_real_files_is_named(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert str(tmp_path / "coos7") in call("show", "dataset", "coos7").out


def test_the_precision_on_record_is_that_of_the_recipe(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    said = call(*run_erm(path, "--set", "recipe.precision=bfloat16"))
    assert said.code == 0, said.err
    [record] = call.results.rglob("run.json")
    assert json.loads(record.read_text())["provenance"]["precision"] == "bfloat16"


def test_json_and_nothing_but_json(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    words = ("run", "--method", "erm,identity", "--split", f"{path}:weeks", "--seeds", 2, *QUICK)
    planned = call(*words, "--dry-run", "--json").json["runs"]
    said = call(*words, "--json")
    assert said.code == 0, said.err
    runs = said.json["runs"]
    assert [(r["method"], r["seed"]) for r in runs] == [
        ("erm", 0), ("erm", 1), ("identity", 0)
    ]  # fmt: skip
    assert [r["run_id"] for r in runs] == [r["run_id"] for r in planned]
    wanted = set(
        "run_id method method_id split split_id dataset edition recipe seed track readout status "
        "reason metrics n_eval n_excluded cost path".split()
    )
    for run in runs:
        assert wanted <= set(run)
        assert set(run["cost"]) == {"fit_s", "apply_s", "peak_bytes"}
        assert run["split"] == f"{path}:weeks"
        assert run["split_id"] == "mine/weeks"
        assert 0 <= run["metrics"]["balanced_accuracy"]["all"] <= 1
        assert json.loads((Path(run["path"]) / "run.json").read_text())["run_id"] == run["run_id"]
    shown = call("show", "run", runs[0]["run_id"], "--json").json
    text = call("show", "run", runs[0]["run_id"]).out
    assert f"{runs[0]['metrics']['balanced_accuracy']['all']:.4f}".rstrip("0") in text
    assert max(map(len, text.splitlines())) < 200
    assert shown["spec"]["seed"] == 0
    boards = call("leaderboard", "--json").json["boards"]
    assert {row["method"] for board in boards for row in board["rows"]} >= {"erm"}
    for what in ("methods", "splits", "datasets", "metrics", "figures", "plugins"):
        assert call("list", what, "--json").json[what] is not None


def test_what_a_plugin_prints_is_not_in_the_json(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    plugin = tmp_path / "my_loud.py"
    assert call("new", "method", "my-loud", "--output", str(plugin)).code == 0
    source = plugin.read_text(encoding="utf-8")
    plugin.write_text(source + "\n\nprint('loud at import')\n", encoding="utf-8")
    said = call(
        "run", "-m", "my-loud", "-s", f"{path}:weeks", *QUICK, "--plugin", plugin, "--json",
        "--isolate", "none",
    )  # fmt: skip
    assert {run["method"] for run in said.json["runs"]} == {"my-loud"}
    assert "loud at import" in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupted_while_a_command_is_imported() -> None:
    started = process("list", "methods", before=(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'bench.cli.commands.listing':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupt())"
    ))  # fmt: skip
    out, err = started.communicate(timeout=PATIENCE)
    assert (started.returncode, out) == (130, "")
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(("program", "code", "lines"), [("-m", 130, 1), ("script.py", 1, None)])
def test_interrupted_while_the_package_is_imported(
    program: str, code: int, lines: int | None
) -> None:
    """Only the command line exits; in other programs Ctrl-C raises as usual."""
    planted = (
        "import os, signal, sys\n"
        f"sys.argv = [{program!r}]\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'bench.core.checkout':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "try:\n"
        "    import bench\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", planted], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert lines is None or len(done.stderr.splitlines()) == lines


@pytest.mark.attack
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupted(tmp_path: Path) -> None:
    path, results = dataset(tmp_path / "data"), tmp_path / "results"
    started = process(
        *run_erm(path, "--set", "recipe.steps=1000000"), "--results", results,
        before="from bench.training import checkpoint; checkpoint.CHECKPOINT_SECONDS = 0.1",
        # What a shell starts in the background ignores interrupts, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for(lambda: list(results.rglob("training.pt")), started)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=PATIENCE)
    assert started.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in err
    assert not list(results.rglob("run.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_terminated() -> None:
    started = process("list", "methods", before=(
        "import os, signal, sys\n"
        "class Terminate:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'bench.cli.commands.listing':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Terminate())"
    ))  # fmt: skip
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out) == (143, "")
    assert err.strip().startswith("terminated")


def test_a_call_restores_the_handler_of_sigterm(call: Caller) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert call("list", "datasets").code == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_output_that_cannot_be_written() -> None:
    for words in ("list methods", "show method ben --json"):
        command = f"{sys.executable} -m bench {words} > /dev/full"
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
        refused(Said(done.returncode, done.stdout, done.stderr), "space")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    command = f"{sys.executable} -m bench list methods --json | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "{\n"


def test_the_same_run_again_answers_from_disk(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    first = call(*run_erm(path, "--json"))
    assert first.code == 0, first.err
    [record] = call.results.rglob("run.json")
    written = record.read_bytes(), record.stat().st_mtime_ns
    look = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(sorted(set(sys.modules) & set({HEAVY!r})), "
        "file=sys.stderr))"
    )
    again = finished(*run_erm(path, "--json"), "--results", call.results, before=look)
    assert again.code == 0, again.err
    assert again.json == first.json
    assert again.err.splitlines()[-1] == "[]"
    assert (record.read_bytes(), record.stat().st_mtime_ns) == written


def test_verify_compares_and_rerun_replaces(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    assert call(*run_erm(path)).code == 0
    [record] = call.results.rglob("run.json")
    content = record.read_text()
    said = call(*run_erm(path, "--if-exists", "verify"))
    assert said.code == 0, said.err
    assert "verified" in said.out
    assert record.read_text() == content

    honest = json.loads(content)["predictions_sha256"]
    edited = content.replace(honest, "0" * 64)
    record.write_text(edited)
    said = call(*run_erm(path, "--if-exists", "verify", "--json"))
    assert said.code == 1
    [run] = said.json["runs"]
    assert run["status"] == "failed"
    assert str(record.parent) in run["reason"]
    assert record.read_text() == edited, "verifying writes nothing"

    assert call(*run_erm(path, "--if-exists", "rerun")).code == 0
    assert json.loads(record.read_text())["predictions_sha256"] == honest


def test_results_folder_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset(tmp_path / "data")
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "kept"))
    with pytest.raises(SystemExit):
        main([*map(str, run_erm(path))])
    assert len(list((tmp_path / "kept").rglob("run.json"))) == 1


def digests(results: Path) -> dict[str, str]:
    result = [json.loads(path.read_text()) for path in results.rglob("run.json")]
    return {record["run_id"]: record["predictions_sha256"] for record in result}


@pytest.mark.slow
def test_two_processes_give_equal_bits(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    result = []
    words = ("run", "--method", "erm,ben,zscore", "--split", f"{path}:weeks", "--seed", 7, *QUICK)
    for name in ("one", "other"):
        results = tmp_path / name
        if name == "one":
            said = call(*words, results=results)
        else:
            environ = {**os.environ, "PYTHONHASHSEED": "1"}
            said = finished(*words, "--results", results, env=environ)
        assert said.code == 0, said.err
        result.append(digests(results))
    assert len(result[0]) == 3
    assert result[0] == result[1]
    files = [sorted((tmp_path / n).rglob("predictions.parquet")) for n in ("one", "other")]
    for item, other in zip(*files, strict=True):
        assert item.read_bytes() == other.read_bytes()


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["table", "images"])
def test_killed_and_run_again(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Killed without warning after its third checkpoint, and a table again after a later one."""
    import torch

    if kind == "table":
        split, steps = f"{dataset(tmp_path / 'data')}:weeks", 60
    else:
        published(tmp_path / "data")
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
        split, steps = "ottawa", 12
    words = ("run", "--method", "ben", "--split", split, "--recipe", "smoke", "--seed", 3)
    words += ("--set", f"recipe.steps={steps}")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    said = call(*words, results=undisturbed)
    assert said.code == 0, said.err

    # A checkpoint at each step, whatever the clock says.
    each = "import bench.training.checkpoint as c; c.Checkpoint.due = lambda self: True\n"
    kill = each + killed_at("bench.training.checkpoint", "Checkpoint.save", 3)
    seen: list[int] = []
    for _ in range(2 if kind == "table" else 1):
        said = finished(*words, "--results", disturbed, before=kill)
        assert said.code == -signal.SIGKILL, said.err
        assert digests(disturbed) == {}
        [checkpoint] = disturbed.rglob("training.pt")
        seen.append(torch.load(checkpoint, weights_only=True)["step"])
    assert 0 < seen[0] <= seen[-1] < steps
    assert len(set(seen)) == len(seen)
    said = call(*words, results=disturbed)
    assert said.code == 0, said.err
    assert digests(disturbed) == digests(undisturbed)
    assert not list(disturbed.rglob("training.pt"))
    left = [p.name for p in disturbed.rglob(".*")]
    assert left == []


def test_the_report_is_one_file_and_says_what_is_on_it(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    words = ("run", "-m", "identity,zscore", "-s", f"{path}:weeks", "--no-controls")
    assert call(*words).code == 0
    said = call("report", "--no-figures", "--json")
    assert said.code == 0
    file = Path(said.json["file"])
    assert file == call.results / "report.html"
    page = file.read_text(encoding="utf-8")
    assert said.json == {
        "file": str(file),
        "bytes": len(page.encode()),
        "runs": 2,
        "boards": 1,
        "figures": 0,
    }
    mentions(page, "mine/weeks", "real data", "recipe default")
    assert "method/zscore" in page
    elsewhere = tmp_path / "page.html"
    assert call("report", "--no-figures", "--split", "mine/weeks", "--output", elsewhere).code == 0
    assert "mine/weeks" in elsewhere.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "nowhere/at/all.html"), ("--output",)),
        (("--split", "mine/week"), ("mine/weeks",)),
    ],
)
def test_a_report_that_cannot_be_made_is_one_line(
    call: Caller, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    path = dataset(tmp_path / "data")
    call("run", "-m", "identity", "-s", f"{path}:weeks")
    said = call("report", "--no-figures", *arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    mentions(said.err, *words)
    assert not (call.results / "report.html").exists()


def test_the_command_of_a_row_makes_its_runs(call: Caller, tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    passed = ("--seeds", 2, "--set", "zscore.rows=all", "--set", "zscore.level=week")
    result = call("run", "-m", "zscore", "-s", f"{path}:weeks", "--json", *QUICK, *passed)
    assert result.code == 0, result.err
    (board,) = call("leaderboard", "--json").json["boards"]
    (row,) = board["rows"]
    words = shlex.split(row["command"])
    assert words[:4] == ["python", "-m", "bench", "run"]
    again = call(*words[3:], "--json", results=tmp_path / "elsewhere")
    assert again.code == 0, again.err
    assert [r["run_id"] for r in again.json["runs"]] == [r["run_id"] for r in result.json["runs"]]
