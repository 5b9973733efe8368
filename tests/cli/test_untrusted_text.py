"""Names and values from others: no control characters, formulas, passwords or tracebacks."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.boards.render.dispatch import FORMATS, render
from bench.boards.select import boards
from bench.cli.group import group
from bench.cli.main import main
from bench.core.canonical import pretty_json
from bench.core.errors import BenchError
from bench.core.words import csv_cell, printable
from bench.data.own.spec import parse
from bench.records.store import Store
from bench.runs.provenance import command_line
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.factories import make_record

ROOT = Path(__file__).resolve().parents[2]
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e=cmd|' /C calc'!A1"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for method in ("erm", "ben"):
        record = make_record(
            method,
            clusters=[0.5, 0.6],
            split=f"=1+1/{EVIL}",
            shift=EVIL,
            upstream=[EVIL],
            notes=[EVIL],
            unranked_because=["=1+1"],
            ranked=False,
            provenance={**make_record()["provenance"], "command": f"=1+1 {EVIL}"},
        )
        folder = Store(root).path_of(record["run_id"])
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(pretty_json(record))
    return root


@pytest.mark.parametrize("form", FORMATS)
def test_boards_have_no_control_characters(results: Path, form: str) -> None:
    call = ["leaderboard", "--results", str(results), "--format", form]
    run = CliRunner().invoke(group, call, standalone_mode=False)
    assert run.exception is None
    assert "owned" in run.stdout or form == "latex"
    assert not CONTROL.search(run.stdout)
    file = results / f"board.{form}"
    CliRunner().invoke(group, [*call, "--output", str(file)], standalone_mode=False)
    assert not CONTROL.search(file.read_text())


@pytest.mark.parametrize(
    "call", [["list", "runs"], ["list", "runs", "--wide"], ["compare"], ["report", "--no-figures"]]
)
def test_other_outputs_have_no_control_characters(results: Path, call: list[str]) -> None:
    run = CliRunner().invoke(group, [*call, "--results", str(results)], standalone_mode=False)
    assert run.exception is None
    assert not CONTROL.search(run.stdout + run.stderr)
    if call[0] == "report":
        assert not CONTROL.search((results / "report.html").read_text())


def test_cells_of_csv_are_no_formulas(results: Path) -> None:
    text = render(boards(Store(results).load_all()), "csv")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert any(cell.startswith("'=1+1") for cell in cells)
    assert not any(re.match(r"[=@+\t\r]|-[^0-9.]", cell) for cell in cells)


@pytest.mark.parametrize("value", ["-0.5", "+1", "-1e-5", "5%", "", "plate-1", 3, -0.5, None])
def test_numbers_and_names_stay(value: object) -> None:
    assert csv_cell(value) == value


@pytest.mark.parametrize("value", ["=1", "+a", "-a", "@x", "-1+cmd|' /C calc'!A1"])
def test_formulas_are_quoted(value: str) -> None:
    assert csv_cell(value) == f"'{value}"


def test_styles_stay_and_other_codes_go() -> None:
    assert printable("\x1b[1;31mred\x1b[0m\x1b[2J\tx\n", styled=True) == (
        "\x1b[1;31mred\x1b[0m�[2J\tx\n"
    )
    assert "\x1b" not in printable("\x1b[31m")


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me:pw@host/a@b", "https://host/a@b"),
        ("https://token@host", "https://host"),
        ("https://host/user@x", "https://host/user@x"),
        ('"https://a","b@c"', '"https://a","b@c"'),
    ],
)
def test_passwords_of_urls_are_removed(url: str, clean: str) -> None:
    assert printable(url) == clean
    assert "pw" not in command_line(["data", "fetch", url])


def test_an_error_with_a_password(capfd: pytest.CaptureFixture[str]) -> None:
    from bench.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["data", "fetch", "coos7", "--from", "https://me:secret@127.0.0.1:9/x\x1b[2J"])
    assert ended.value.code == 2
    err = capfd.readouterr().err
    assert "secret" not in err
    assert not CONTROL.search(err)


def test_deep_toml_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text("a = " + "[" * 10_000)
    with raises(BenchError, file):
        parse(file)


@pytest.mark.parametrize("name", ["BENCH_THREADS", "BENCH_ARRAY_BYTES"])
@pytest.mark.parametrize("value", ["²", "9" * 5000, "-1", "1.5"])
def test_numbers_in_variables(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.core import arrays
    from bench.runs.device import threads

    monkeypatch.setenv(name, value)
    with raises(BenchError, name):
        threads() if name == "BENCH_THREADS" else arrays.limit()


@pytest.mark.skipif(os.name == "nt", reason="no permissions of other users on this system")
def test_no_file_can_be_changed_by_all_users(tmp_path: Path) -> None:
    table = tiny.write_table(tmp_path / "data")
    before = os.umask(0)
    try:
        for command in (f"run -m zscore -s {table} --no-controls", "report --no-figures"):
            words = [*command.split(), "--results", str(tmp_path / "results")]
            if command.startswith("report"):
                words += ["--output", str(tmp_path / "results" / "report.html")]
            with pytest.raises(SystemExit) as end:
                main(words)
            assert not end.value.code
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode for path in (tmp_path / "results").rglob("*")}
    assert len(modes) > 5
    assert not [path for path, mode in modes.items() if mode & stat.S_IWOTH]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_the_command(ignored: bool) -> None:
    code = (
        "import os, signal, sys\n"
        # Set in both cases: a test run under `nohup` inherits SIG_IGN.
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignored else 'SIG_DFL'})\n"
        "from bench.cli import group, main\n"
        "group.group.main = lambda **k: os.kill(os.getpid(), signal.SIGHUP) or 0\n"
        "main.main(['list', 'methods'])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if ignored else 129)
    assert len(done.stderr.splitlines()) == (0 if ignored else 1)
