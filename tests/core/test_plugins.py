"""Plugins as their authors and users meet them: files, folders, distributions, other processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import BenchError
from bench.core.registry import Registry
from tests.helpers import tiny
from tests.helpers.caller import Caller, Said, bench
from tests.helpers.errors import mentions, raises

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests" / "third_party"
TOML = """
name = "small"
table = "small.csv"
features = "^f_"
id = "id"
label = "moa"
batches = ["plate"]

[splits.new]
test = { plate = ["p3", "p4"] }
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of five plates, each shifted and scaled."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(3)
    n = 100
    moa, plate = np.arange(n) % 2, np.arange(n) // 20
    X = (rng.normal(size=(n, 3)) + 2 * moa[:, None]) * (1 + plate[:, None]) + 5 * plate[:, None]
    frame = pd.DataFrame(X, columns=["f_a", "f_b", "f_c"])
    frame["id"] = [f"row{k}" for k in range(n)]
    frame["moa"] = np.where(moa, "eg5", "actin")
    frame["plate"] = [f"p{k}" for k in plate]
    frame.to_csv(folder / "small.csv", index=False)
    (folder / "small.toml").write_text(TOML)
    return folder / "small.toml"


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, which finds other distributions."""
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    return Caller(capsys, tmp_path / "r")


def ok(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stderr
    return done


def new_method(folder: Path, name: str = "my-method") -> Path:
    path = folder / f"{name.replace('-', '_')}.py"
    ok(bench("new", "method", name, "--output", path))
    return path


def run_arguments(
    table: Path, results: Path | None = None, method: str = "my-method"
) -> list[object]:
    return [
        "run",
        "-m",
        method,
        "-s",
        f"{table}:new",
        "--recipe",
        "smoke",
        "--seeds",
        1,
        *(() if results is None else ("--results", results)),
    ]


def test_new_method_writes_a_file_that_passes_check_and_runs(table: Path, tmp_path: Path) -> None:
    path = new_method(tmp_path)
    written = path.read_text()
    assert "checks passed" in ok(bench("check", "my-method", "--plugin", path)).stdout
    done = bench(*run_arguments(table, tmp_path / "r"), "--plugin", path, "--json")
    [printed] = json.loads(ok(done).stdout)["runs"]
    assert (printed["method_id"], printed["track"]) == ("identity+my-method", "test-batch")
    assert printed["metrics"]["probe.accuracy"]["all"] > 0.5
    assert path.read_text() == written
    refused = bench("new", "method", "my-method", "--output", path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    bench("new", "method", "zscore", "--output", tmp_path / "zscore.py")


@pytest.mark.slow
def test_an_author_who_edits_the_file_is_told(table: Path, tmp_path: Path, call: Caller) -> None:
    path = new_method(tmp_path)
    arguments = [*run_arguments(table), "--plugin", path]

    def said(*words: object) -> Said:
        result = call(*words)
        assert result.code == 0, result.err
        return result

    said(*arguments)
    assert "my_method.py" not in said(*arguments).err
    path.write_text(path.read_text() + "\n# a remark\n")
    assert "my_method.py" not in said(*arguments).err
    path.write_text(path.read_text() + "\nADDED = 1\n")
    messages = said(*arguments).err
    [line] = [line for line in messages.splitlines() if "my_method.py" in line]
    mentions(line, "--if-exists", "refresh")
    said(*arguments, "--if-exists", "refresh")
    assert "my_method.py" not in said(*arguments).err


@pytest.mark.slow
def test_an_author_who_edits_a_neighbour_is_told_and_reruns_see_the_edit(
    table: Path, tmp_path: Path, call: Caller
) -> None:
    path = new_method(tmp_path)
    (tmp_path / "_factor.py").write_text("FACTOR = 1.0\n")
    text = path.read_text().replace("META = {", "from ._factor import FACTOR\n\nMETA = {")
    text = text.replace("self.params.amount * shift", "FACTOR * self.params.amount * shift")
    assert text.count("FACTOR") == 2
    path.write_text(text)
    arguments = [*run_arguments(table), "--plugin", path, "--json"]

    def score(*more: str) -> tuple[float, str]:
        done = call(*arguments, *more)
        assert done.code == 0, done.err
        [row] = done.json["runs"]
        return row["metrics"]["probe.accuracy"]["all"], done.err

    corrected, _ = score()
    (tmp_path / "_factor.py").write_text("FACTOR = 0.0\n")
    value, messages = score()
    assert value == corrected
    assert "_factor.py" in messages
    uncorrected, _ = score("--if-exists", "rerun")
    assert uncorrected < corrected


def test_a_plugin_is_known_in_worker_processes(tmp_path: Path) -> None:
    path = new_method(tmp_path)
    script = tmp_path / "spawns.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from bench.core.registry import open_registry\n"
        "def work(name):\n"
        "    from bench.core.registry import Registry\n"
        "    from bench.testing.method import check_method\n"
        "    check_method(name)\n"
        "    return Registry().entry('method', name).load().__name__\n"
        "if __name__ == '__main__':\n"
        "    open_registry((sys.argv[1],))\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(work, ['my-method']))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), os.path.relpath(path, tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ok(done).stdout.strip() == "['MyMethod']"


@pytest.mark.slow
def test_plugins_of_the_environment_are_listed_with_their_state(
    table: Path, tmp_path: Path
) -> None:
    works = new_method(tmp_path)
    (tmp_path / "unfinished.py").write_text("META = {\n")
    fails = new_method(tmp_path, "fails-late")
    fails.write_text(fails.read_text() + "\nimport no_such_module\n")
    missing = tmp_path / "missing.py"
    paths = (works, tmp_path / "unfinished.py", fails, missing)
    environment = {"BENCH_PLUGINS": os.pathsep.join(map(str, paths))}
    listed = json.loads(ok(bench("list", "plugins", "--json", **environment)).stdout)["plugins"]
    state = {row["name"]: row["state"] for row in listed}
    assert state["my-method"] == "works"
    assert "not valid Python (line 1" in state["unfinished"]
    assert "No module named 'no_such_module'" in state["fails-late"]
    assert "cannot be read (No such file or directory)" in state["missing"]
    # All other methods work; using a broken one raises its error.
    ok(bench("list", "methods", **environment))
    done = bench(*run_arguments(table, tmp_path / "r"), **environment)
    assert ok(done).stdout
    for name, says in (("unfinished", "not valid Python"), ("fails-late", "no_such_module")):
        done = bench(*run_arguments(table, tmp_path / "r", name), **environment)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert re.match(rf"error: .*{says}", done.stderr)


def test_a_name_taken_twice_is_one_line_that_names_both(table: Path, tmp_path: Path) -> None:
    path = new_method(tmp_path)
    path.write_text(path.read_text().replace('"name": "my-method"', '"name": "zscore"'))
    done = bench(*run_arguments(table, tmp_path / "r", "zscore"), "--plugin", path)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: two methods are named 'zscore': labshift \(zscore\.py\) and my_method\.py; .*\n",
        done.stderr,
    )


def test_a_misspelt_method_is_answered_with_the_nearest(table: Path, tmp_path: Path) -> None:
    path = new_method(tmp_path)
    done = bench(*run_arguments(table, tmp_path / "r", "my-metod"), "--plugin", path)
    assert done.returncode == 2
    mentions(done.stderr, "my-metod", "my-method")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip installed the example distribution."""
    folder = tmp_path_factory.mktemp("third-party")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source)
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--no-compile", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--target", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


def installed(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def test_an_installed_distribution_is_listed_without_importing_it(site: Path) -> None:
    script = (
        "import sys\nfrom bench.cli.main import main\n"
        "try:\n    main(['list', 'methods', '--json'])\n"
        "finally:\n    assert 'labshift_example' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **installed(site)},
        capture_output=True,
        text=True,
    )
    rows = {row["name"]: row for row in json.loads(ok(done).stdout)["methods"]}
    for name in ("example-center", "example-scale"):
        assert rows[name]["provider"] == "labshift-example"
        assert rows[name]["summary"] == "not loaded"
    assert "labshift-example" in ok(process("list", "methods", **installed(site))).stdout


def test_the_methods_of_a_distribution_run_and_are_recorded(
    table: Path, site: Path, tmp_path: Path
) -> None:
    arguments = run_arguments(
        table, tmp_path, "identity,example-center,example-center+example-scale"
    )
    done = ok(process(*arguments, "--json", **installed(site)))
    rows: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    scores = {row["method_id"]: row["metrics"]["probe.accuracy"]["all"] for row in rows}
    ids = ["identity", "identity+example-center", "identity+example-center+example-scale"]
    assert list(scores) == ids
    assert scores[ids[2]] > scores[ids[0]]
    record = json.loads((Path(rows[2]["path"]) / "run.json").read_text())
    assert record["track"] == "test-batch"
    sources = {Path(name).name for name in record["sources"]}
    assert {"example_center.py", "example_scale.py", "_shared.py"} <= sources


def test_the_methods_of_a_distribution_are_shown_and_checked(site: Path) -> None:
    for name in ("example-center", "example-scale"):
        shown = ok(process("show", "method", name, **installed(site))).stdout
        assert "labshift-example" in shown
        assert "checks passed" in ok(process("check", name, **installed(site))).stdout
    listed = json.loads(ok(process("list", "plugins", "--json", **installed(site))).stdout)
    state = {row["name"]: row["state"] for row in listed["plugins"]}
    assert state == {"example-center": "works", "example-scale": "works"}


def test_a_distribution_that_broke_is_listed_and_breaks_nothing(
    table: Path, site: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "labshift_example" / "_shared.py").write_text("import no_such_module\n")
    listed = json.loads(ok(process("list", "plugins", "--json", **installed(broken))).stdout)
    for row in listed["plugins"]:
        assert "No module named 'no_such_module'" in row["state"]
    ok(process(*run_arguments(table, tmp_path / "r", "identity"), **installed(broken)))
    done = process(*run_arguments(table, tmp_path / "r", "example-center"), **installed(broken))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "labshift-example" in done.stderr


@pytest.mark.parametrize("value", [None, 3, [], {}, ""])
@pytest.mark.parametrize("key", ["fit", "argument"])
def test_names_in_the_literal_of_a_method_are_names(tmp_path, key, value):
    path = tiny.write_method(tmp_path, "mine", "class M(Profile):\n    pass\n", **{key: value})
    with raises(BenchError, key, path.name):
        Registry((path,))
