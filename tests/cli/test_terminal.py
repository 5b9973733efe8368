"""What the terminal tells: estimates, the doctor, completion, trackers, bars."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.cli import completion, doctor, finding
from bench.cli.commands import show
from bench.cli.group import COMMANDS, group
from bench.cli.main import main
from bench.cli.progress import Bar
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.records import trackers as track
from bench.records.record import as_record
from bench.records.store import Store
from bench.runs import estimate
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from collections.abc import Callable

SET = {"steps": 4, "batch_size": 8, "width": 4}


def jobs(methods: list[str], seeds: list[int], **recipe: int) -> list[Any]:
    task = tiny.task()
    return plan(methods, [task], seeds, Options("smoke", {**SET, **recipe}), Registry())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with two runs that share a training."""
    result = Store(tmp_path_factory.mktemp("store"))
    runner = Runner(result, Options("smoke", SET))
    for job in jobs(["erm", "adabn"], [0]):
        assert runner.run(job)["status"] == "ok"
    return result


def test_an_estimate_is_the_median_of_the_same_runs(store: Store) -> None:
    [record] = [r for r in store.load_all() if r.method_id == "erm"]
    costs = [(1.0, 0.1), (5.0, 0.2), (2.0, 0.9)]
    past = [
        as_record({**record, "cost": {**record.cost, "fit_s": fit, "apply_s": apply}})
        for fit, apply in costs
    ]
    [job] = jobs(["erm"], [1])
    result = estimate.estimate(job, store, past)
    assert (result.fit_s, result.apply_s) == (2.0, 0.2)
    assert result.peak_bytes == record.cost["peak_bytes"]
    assert "3 records of this method on this split" in result.basis


def test_disk_is_what_the_record_and_its_artifacts_take(store: Store) -> None:
    [record] = [r for r in store.load_all() if r["method_id"] == "erm"]
    [stage] = record["spec"]["folds"][0]["stages"]
    folders = [record.path, *(store.artifact_path(stage[k]) for k in ("fit_id", "apply_id"))]
    size = sum(f.stat().st_size for folder in folders for f in Path(str(folder)).iterdir())
    [job] = jobs(["erm"], [1])
    assert estimate.estimate(job, store, [record]).disk_bytes == size


def test_another_network_is_scaled_by_what_passes_through(store: Store) -> None:
    [record] = [r for r in store.load_all() if r.method_id == "erm"]
    [job] = jobs(["ben"], [0])
    result = estimate.estimate(job, store, [record])
    seen = record.cost["images_seen"]
    assert result.fit_s == pytest.approx(record.cost["fit_s"] / seen * 4 * 8)
    assert "rough" in result.basis


def test_nothing_near_is_no_number(store: Store) -> None:
    past = store.load_all()
    [job] = jobs(["erm"], [0], steps=5)  # another recipe
    assert estimate.estimate(job, store, past) == estimate.Estimate()
    [job] = jobs(["center"], [0])
    assert estimate.estimate(job, store, past).fit_s is None  # no network to scale from


def test_a_shared_training_counts_once_and_a_kept_one_not_at_all(store: Store) -> None:
    result = [estimate.Estimate(10.0, 1.0, 5, 7, "") for _ in range(2)]
    fresh = jobs(["erm", "adabn"], [1])
    whole = estimate.total(fresh, result, store)
    assert (whole.seconds, whole.peak_bytes, whole.disk_bytes) == (12.0, 5, 14)
    kept = jobs(["erm", "adabn"], [0])
    assert estimate.total(kept, result, store).seconds == 2.0
    unknown = estimate.total(fresh, [result[0], estimate.Estimate()], store)
    assert (unknown.seconds, unknown.n_unknown) == (11.0, 1)


def test_dry_run_says_what_it_expects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.write_table(tmp_path / "data")
    words = ["run", "-s", f"{path}:plates", "--results", str(tmp_path / "r")]
    words += ["--recipe", "smoke", "--set", "recipe.steps=4"]

    def say(*more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        assert stop.value.code == 0
        return capsys.readouterr().out

    [run] = json.loads(say("-m", "erm", "--seed", "0", "--dry-run", "--json"))["runs"]
    assert run["estimate"]["fit_s"] is None
    say("-m", "erm", "--seed", "0")
    lines = say("-m", "erm,ben", "--seeds", "2", "--dry-run").splitlines()
    assert len(lines) == 5  # a line per run, and the total
    document = json.loads(say("-m", "erm,ben", "--seeds", "2", "--dry-run", "--json"))
    assert document["total"]["n_unknown"] == 0
    assert [("estimate" in run) for run in document["runs"]] == [False, True, True, True]
    assert [run["fits"] for run in document["runs"]] == [4, 4, 4, 4]
    assert document["runs"][0]["state"] == "on record"
    assert all(run["estimate"]["fit_s"] > 0 for run in document["runs"][1:])
    assert document["total"]["seconds"] > 0


def test_speeds_of_a_gpu_are_those_of_the_published_measurement() -> None:
    file = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu-h100.json"
    measured = json.loads(file.read_text(encoding="utf-8"))
    for precision, rate in estimate.IMAGES_PER_SECOND.items():
        speeds = measured["throughput"][precision]["images_per_second"]["erm"]
        assert rate == pytest.approx(np.median(speeds), rel=1e-3)
    plate = measured["whole_plate"]
    per_second = plate["images"] / plate["seconds"]["ben"]
    assert pytest.approx(per_second) == estimate.APPLIED_PER_SECOND


def test_gpu_hours_of_a_network_on_images(store: Store) -> None:
    task = tiny.task(tiny.opened(images=True))
    options = Options("paper", {"weights": "none"}, device="cuda")
    [job] = plan(["erm"], [task], [0], options, Registry())
    cost = estimate.estimate(job, store, [], "cuda")
    recipe, n_train = job.recipe, [len(task.training_rows(fold)) for fold in task.folds]
    size = int(recipe["batch_size"])
    steps = [int(recipe["steps"]) or int(recipe["epochs"]) * max(n // size, 1) for n in n_train]
    area = task.opened.source.shape[1] * task.opened.source.shape[2] / 256**2
    assert cost.fit_s == pytest.approx(sum(steps) * size * area / 1689.0)
    assert estimate.estimate(job, store, [], "cpu").fit_s is None
    [small] = plan(["erm"], [task], [0], Options("default"), Registry())
    assert estimate.estimate(small, store, [], "cuda").fit_s is None


def test_paragraphs_of_a_docstring_are_lines_and_equations_stay() -> None:
    text = "One two\nthree.\n\n    y = x\n    z\n\n- a\n- b"
    assert show._paragraphs(text) == "One two three.\n\n    y = x\n    z\n\n- a\n- b"


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert stop.value.code == int(not result["well"])
    named = {item["name"] for item in result["findings"]}
    assert {"python", "packages", "cores", "torch", "memory", "results", "data: coos7"} <= named
    assert [o for o in result["findings"] if o["name"] == "packages" and o["state"] == "fail"] == []


def test_doctor_tells_what_is_missing_or_clashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "required", lambda: ["numpy<1", "no-such-thing>=2", "click"])
    result = list(doctor._clashes())
    assert {(item.state, item.cure) for item in result} == {
        ("fail", "python -m pip install 'no-such-thing>=2'"),
        ("fail", "python -m pip install 'numpy<1'"),
    }
    assert any("numpy<1" in item.found for item in result)


def test_doctor_names_extras_dask_and_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["click", "h5py; extra == 'a'", "no-such-thing; extra == 'b'", "x; extra == 'test'"]
    whole, missing = finding.check_extras(needs)
    assert whole.found.startswith("a (h5py ")
    assert missing.found.endswith(": b")
    versions = {"dask": "2024.2.0", "distributed": "2024.1.0"}
    monkeypatch.setattr(finding, "_version", versions.get)
    [clash] = finding.check_dask()
    assert (clash.state, "distributed" in clash.cure) == ("warn", True)
    versions["distributed"] = "2024.2.0"
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    [dask] = finding.check_dask()
    assert (dask.state, "slurm" in dask.found) == ("ok", True)
    versions.clear()
    assert "labshift[cluster]" in next(finding.check_dask()).cure
    assert next(finding.check_r()).state == "ok"  # none is installed
    said = {"R version 4.2.2 \\n": "without Seurat", "R version 4.2.2 \\n4.3.0": "Seurat 4.3.0"}
    for text, expected in said.items():
        program = tmp_path / "Rscript"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\n", encoding="utf-8")
        program.chmod(0o755)
        [r] = finding.check_r()
        assert (r.state, expected in r.found) == ("ok", True)
    program.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    assert next(finding.check_r()).state == "warn"


def test_doctor_tells_of_threads_that_fight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_usable", lambda machine: 2)
    monkeypatch.setenv("BENCH_THREADS", "9")
    for name in doctor.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    by_name = {item.name: item for item in doctor._cores(Registry(), Path())}
    assert by_name["threads"].state == "warn"
    assert by_name["threads"].cure == "export BENCH_THREADS=2"
    assert by_name["thread pools"].cure == "export OMP_NUM_THREADS=9"
    monkeypatch.setenv("BENCH_THREADS", "many")
    assert [o.state for o in doctor._cores(Registry(), Path())][1] == "fail"
    both = [{"user_api": "openmp", "prefix": p} for p in ("libomp", "libiomp")]
    assert next(doctor.fighting(both)).state == "warn"
    assert next(doctor.fighting(both[:1])).state == "ok"


def test_doctor_reads_quota_and_memory(tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    for text, cores in (
        ("max 100000", None),
        ("250000 100000", 2),
        ("1000 100000", 1),
        ("?", None),
    ):
        file.write_text(text)
        assert doctor._quota(file) == cores
    file.write_text("MemTotal:  1000 kB\nMemFree: 3 kB\nMemAvailable:   500 kB\n")
    assert doctor.memory(file) == (512_000, 1_024_000)
    assert doctor.memory(tmp_path / "none") is None


def test_doctor_leaves_nothing_and_names_a_folder_it_cannot_write(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = {item.name: item for item in doctor._disk(Registry(), blocked / "results")}
    assert result["results"].state == "fail"
    assert "--results" in result["results"].cure
    assert list(tmp_path.iterdir()) == [blocked]


def test_a_broken_plugin_and_a_broken_check_are_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.py").write_text("def (:\n")
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "bad.py"))

    def breaks(registry: Registry, results: Path) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(doctor, "CHECKS", {"plugins": doctor._plugins, "luck": breaks})
    plugin, luck = doctor.examine(Registry(), tmp_path)
    assert plugin.state == "warn"
    assert "not valid Python" in plugin.found
    assert (luck.state, "out of luck" in luck.found) == ("fail", True)


@pytest.fixture
def offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """Return a function from a command line to the completions that a shell gets."""

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv("_LABSHIFT_COMPLETE", "bash_complete")
        with pytest.raises(SystemExit) as stop:
            main(["x"])
        assert stop.value.code == 0
        return capsys.readouterr().out.split()

    return ask


def test_a_shell_is_offered_what_may_follow(offered: Callable[[str], list[str]]) -> None:
    assert offered("labshift doc") == ["plain,doctor"]
    assert "plain,erm,ben" in offered("labshift run --method erm,be")
    assert offered("labshift run -m erm+zs") == ["plain,erm+zscore"]
    assert offered("labshift run -s coos7/test1,otta") == ["plain,coos7/test1,ottawa"]
    assert offered("labshift run -s my_screen.t") == ["file,my_screen.t"]
    assert offered("labshift run --recipe sm") == ["plain,smoke"]
    assert offered("labshift show method adab") == ["plain,adabn"]
    assert offered("labshift nonsense --me") == []
    assert set(offered("labshift ")) == {f"plain,{name}" for name in COMMANDS}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_gets_a_script(shell: str) -> None:
    text = completion.script(group, shell)
    assert "labshift" in text
    assert "_LABSHIFT_COMPLETE" in text


def test_an_unknown_shell_is_named() -> None:
    with raises(BenchError, "bahs"):
        completion.script(group, "bahs")


@pytest.mark.slow
# MLflow's own use of SQLAlchemy 2.1
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_trackers_hold_what_is_on_record_and_are_told_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    record = next(r for r in store.load_all() if r["method_id"] == "erm")
    board, flow = track.trackers(["tensorboard", "mlflow"], Store(tmp_path))
    for tracker in (board, flow):
        assert tracker.add(record) is True
        assert tracker.add(record) is False
    again = track.MLflow(tmp_path)
    assert again.add(record) is False

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [folder] = [p for p in (tmp_path / "tensorboard").iterdir() if not p.name.startswith(".")]
    events = EventAccumulator(str(folder))
    events.Reload()
    table = record.curves()
    assert table is not None
    loss = table[table["name"] == "loss"]
    seen = events.Scalars("erm/loss")
    assert [e.step for e in seen] == loss["step"].tolist()
    assert [e.value for e in seen] == pytest.approx(loss["value"].tolist())
    [score] = events.Scalars("score/balanced_accuracy")
    assert score.value == pytest.approx(record["metrics"]["balanced_accuracy"]["all"])

    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        values = dict(base.execute("select key, value from latest_metrics").fetchall())
        params = dict(base.execute("select key, value from params").fetchall())
    base.close()
    assert values["balanced_accuracy"] == record["metrics"]["balanced_accuracy"]["all"]
    assert (params["method"], params["edition"], params["recipe.steps"]) == ("erm", "fixture", "4")


def test_an_unknown_tracker_is_named(tmp_path: Path) -> None:
    with raises(BenchError, "tensorbord"):
        track.trackers(["tensorbord"], Store(tmp_path))


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with raises(BenchError, "labshift[track]"):
        track.trackers(["tensorboard"], Store(tmp_path))


def test_bars_show_the_run_and_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = SimpleNamespace(text=io.StringIO())
    from rich import console

    class Wide(console.Console):
        def __init__(self, **options: Any) -> None:
            super().__init__(
                file=screen.text, force_terminal=True, width=100, _environ=dict(os.environ)
            )

    monkeypatch.setattr(console, "Console", Wide)
    record = SimpleNamespace(method="erm", split="s", status="ok")
    with Bar(2, show=True, say=lambda line: None, pending=[]) as bar:
        bar.update("erm on s", 3, 10)
        bar.done(record)
        bar._progress.refresh()
    assert "erm on s" in screen.text.getvalue()
    assert "3/10" in screen.text.getvalue()
    assert "1/2" in screen.text.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_of_recommend_fits_and_is_not_cut(
    columns: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tiny.write_table(tmp_path / "table")
    monkeypatch.setenv("COLUMNS", str(columns))
    options = ["--recipe", "smoke", "--seeds", "1", "--method", "identity,coral-to-train"]
    with pytest.raises(SystemExit):
        main(["recommend", str(table), *options, "--results", str(tmp_path / "results")])
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("method"))
    assert "better in" in header
    assert ("against" in header) == (columns == 120)
    assert any(line.startswith("coral-to-train") for line in lines)
    assert len(header) <= columns
