"""Every form of ``new`` writes a file that passes lint, types and ``check`` as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.caller import bench

ROOT = Path(__file__).resolve().parents[2]
FORMS = ["method", "network-method", "loader", "metric", "figure", "study"]


def written(form: str, folder: Path, name: str = "") -> tuple[Path, str]:
    """Return the file that ``new`` writes, and the command that it prints."""
    done = bench("new", form, name or f"my-{form}", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return folder / document["written"], document["next"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_command_that_is_printed_works(form: str, tmp_path: Path) -> None:
    path, follow = written(form, tmp_path)
    assert path.name == f"my_{form.replace('-', '_')}.py"
    arguments = follow.removeprefix("python -m bench ").split()
    done = bench(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_files_pass_lint_and_types_with_short_and_long_names(tmp_path: Path) -> None:
    files = []
    for form in FORMS:
        for name in (f"my-{form}", f"my-{form}-with-a-longer-name"):
            files.append(written(form, tmp_path, name)[0])
    lint = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "pyproject.toml")]
    for command in ([*lint, "check", *config], [sys.executable, "-m", "mypy", "--strict"]):
        done = subprocess.run(
            [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    short = [str(path) for path in files if "longer" not in path.name]
    done = subprocess.run(
        [*lint, "format", "--check", *config, *short], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("images", [False, True])
def test_a_description_of_data_names_the_check_that_reads_it(images: bool, tmp_path: Path) -> None:
    done = bench("new", "dataset", "my-set", *(["--images"] if images else []), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "check-data my_set.toml" in done.stdout
    done = bench("check-data", "my_set.toml", cwd=tmp_path)
    assert done.returncode == 2  # the table is not there yet
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("hat", "mine"),
        ("method", "zscore"),
        ("network-method", "erm"),
        ("loader", "coos7"),
        ("metric", "accuracy"),
        ("figure", "umap"),
        ("study", "gap"),
        ("method", "Bad Name"),
        ("metric", "1x"),
        ("method", "mine", "--images"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = bench("new", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_left(tmp_path: Path) -> None:
    path, _ = written("metric", tmp_path)
    before = path.read_text()
    assert bench("new", "metric", "my-metric", cwd=tmp_path).returncode == 2
    assert path.read_text() == before


BROKEN = [
    ("metric", "min(recall)", 'float("nan")', "value"),
    ("metric", "min(recall)", "7.0", "value"),
    ("metric", "min(recall)", "recall[truth[0]]", "row order"),
    ("metric", '"needs": "predictions"', '"needs": "labels"', "META"),
    ("loader", "noise + label", "noise + np.nan * label", "rows"),
    ("loader", 'row{k:03d}"', 'row{k // 2}"', "index"),
    ("loader", "hashlib.sha256(values.tobytes()).hexdigest()", '""', "digest"),
    ("loader", '"licence": "CC0",', "", "META"),
    ("method", "self.params.amount * shift", "np.nan", "output"),
    (
        "method",
        "samples.X is None or not np.isfinite(samples.X).all()",
        "samples.X is None",
        "unusable tables",
    ),
    ("study", '["identity", "zscore"]', '["identity", "zscor"]', ""),
    ("figure", "inputs.out, stem", "inputs.out.parent, stem", "with records"),
]


@pytest.mark.slow
@pytest.mark.parametrize("form, old, new, failing", BROKEN)
def test_what_breaks_the_contract_is_refused(
    form: str, old: str, new: str, failing: str, tmp_path: Path
) -> None:
    path, _ = written(form, tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    name = "my_metric" if form == "metric" else f"my-{form}"
    done = bench("check", name, "--plugin", str(path), "--json")
    if not failing:
        assert done.returncode == 2
        return
    assert done.returncode == 1, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert failing in [check["name"] for check in checks if not check["ok"]]


@pytest.mark.slow
def test_a_data_set_class_is_run(tmp_path: Path) -> None:
    path, _ = written("loader", tmp_path)
    done = bench(
        *("run", "--method", "identity", "--split", "my-loader/weeks", "--edition", "fixture"),
        *("--recipe", "smoke", "--plugin", str(path), "--results", str(tmp_path), "--json"),
    )
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["runs"]
    assert (run["status"], run["dataset"]) == ("ok", "my-loader")


def test_of_several_kinds_with_one_name_the_kind_is_chosen() -> None:
    assert bench("check", "controls", "--kind", "method").returncode == 2
    done = bench("check", "accuracy", "--kind", "metric", "--json")
    assert json.loads(done.stdout)["metric"] == "accuracy"
    assert bench("check", "accuracy", "--edition", "real").returncode == 2
    assert bench("check", "accurracy").returncode == 2
