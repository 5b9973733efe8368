"""Sweeps: suite files, the graph, and equal records from one process, several and killed ones."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.api import BenchError
from bench.cli.main import main
from bench.records.store import Store
from bench.runs import identity
from bench.runs.fold import FoldRun
from bench.runs.sweeps import work
from bench.runs.sweeps.clusters import Where, batch_options, read_profile
from bench.runs.sweeps.engine import execute_graph
from bench.runs.sweeps.graph import Graph, build
from bench.runs.sweeps.suite import packaged, parse, read_suite
from bench.runs.sweeps.units import Host, opened, units_of
from tests.helpers import tiny
from tests.helpers.dask_cluster import DaskCluster
from tests.helpers.errors import mentions, raises
from tests.helpers.processes import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SPLITS = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n\n[splits.p3]\n'
SPLITS += 'train = { plate = ["p0", "p1"] }\ntest = { plate = ["p3"] }\nshares = ["week"]\n\n'
SPLITS += '[splits.p2]\ntrain = { plate = ["p0", "p1"] }\ntest = { plate = ["p2"] }\n'
SETTINGS = {"recipe.steps": 6, "recipe.batch_size": 16, "recipe.width": 8}
# A network that notes each training, and kills its process after a checkpoint, once.
NOTED = """
    import os
    import signal
    from pathlib import Path

    import bench.training.checkpoint as checkpoint
    from methods.erm import ERM

    checkpoint.CHECKPOINT_SECONDS = 0.0


    class M(ERM):
        def fit(self, train, adapt, ctx):
            folder = Path(os.environ["NOTES"])
            with (folder / "fits").open("a") as file:
                file.write(f"{ctx.scratch.parent.name} {ctx.seed}\\n")
            kill, real = folder / "kill", ctx.progress

            def progress(done, total):
                real(done, total)
                if done == 4 and kill.exists():
                    kill.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
                if (folder / "hang").exists() and done == 4:
                    (folder / "hanging").touch()
                    import time
                    while (folder / "hang").exists():
                        time.sleep(0.05)

            import dataclasses
            super().fit(train, adapt, dataclasses.replace(ctx, progress=progress))
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tiny.write_table(tmp_path / "data", SPLITS)


def suite(table: Path, **block: Any) -> dict[str, Any]:
    """Return the content of a suite of one block."""
    settings = {**SETTINGS, **block.pop("settings", {})}
    splits = [f"{table}:{name}" for name in block.pop("splits", ("p2", "p3"))]
    defaults = {"methods": ["erm"], "seeds": 1, "recipe": "smoke"}
    return {"block": [{**defaults, "splits": splits, "settings": settings, **block}]}


def host(folder: Path, **options: Any) -> Host:
    folder.mkdir(exist_ok=True)
    # Plugins of these tests write files.
    return Host(str(folder), str(Path.cwd()), device="cpu", **{"isolate": "none", **options})


def graph_of(content: dict[str, Any], where: Host) -> Graph:
    return build(units_of(parse(content, "s", "s"), where))


class Watcher:
    """Collects what happens."""

    def __init__(self) -> None:
        self.started_tasks: list[str] = []

    def say(self, line: str) -> None: ...

    def cluster(self, dashboard: str) -> None: ...

    def started(self, task: Any, worker: str) -> None:
        self.started_tasks.append(task.kind)

    def steps(self, task: Any, done: int, total: int) -> None: ...

    def finished(self, task: Any, result: Any) -> None: ...


def contents(folder: Path) -> dict[str, Any]:
    """Return records without what differs from one call to the next."""
    result = {}
    for file in sorted((folder / "runs").glob("*/*/run.json")):
        record = json.loads(file.read_text())
        for key in ("provenance", "cost", "digests"):
            del record[key]
        result[record["run_id"]] = (
            record,
            {path.name: path.read_bytes() for path in sorted(file.parent.glob("*.parquet"))},
        )
    return result


# ------------------------------------------------------------------ suite files


@pytest.mark.parametrize(
    "content, fragments",
    [
        ({}, ["[[block]]"]),
        ({"blocks": []}, ["blocks", "block"]),
        ({"block": [{"splits": ["a"]}]}, ["block 1", "methods"]),
        ({"block": [{"methods": ["erm"], "splits": ["a"], "sedes": 3}]}, ["sedes", "seeds"]),
        ({"block": [{"methods": 3, "splits": ["a"]}]}, ["block 1", "methods", "3"]),
        ({"block": [{"methods": ["erm"], "splits": ["a"], "seeds": 0}]}, ["seeds", "0"]),
        ({"block": [{"methods": ["erm"], "splits": ["a"], "trials": [-1]}]}, ["trials", "-1"]),
        ({"block": [{"methods": ["erm"], "splits": ["a"], "settings": ["x"]}]}, ["settings"]),
        ({"block": [{"methods": ["erm"], "splits": ["a"], "controls": 1}]}, ["controls"]),
    ],
)
def test_a_wrong_suite_names_block_and_key(content: dict[str, Any], fragments: list[str]) -> None:
    with raises(BenchError, *fragments):
        parse(content, "s", "s.toml")


@pytest.mark.parametrize("field, value", [("methods", ["emr"]), ("splits", ["otawa"])])
def test_unknown_names_are_found_before_anything_runs(field: str, value: list[str]) -> None:
    block = {"methods": ["erm"], "splits": ["ottawa"], field: value}
    with raises(BenchError, "block 1", value[0]):
        units_of(parse({"block": [block]}, "s", "s"), Host("r", "."))


def test_a_block_is_a_product(table: Path, tmp_path: Path) -> None:
    content = suite(table, methods="erm,ben", trials=[0, 2], seeds=[3, 5])
    content["block"][0]["settings"] = [{}, {"ben": {"rows": "all"}}]
    units = [unit for unit, _ in units_of(parse(content, "s", "s"), host(tmp_path))]
    keys = {(u.split.rpartition(":")[2], u.settings, u.trials) for u in units}
    alternatives = [(), (("ben.rows", "all"),)]
    assert keys == {(s, a, t) for s in ("p2", "p3") for a in alternatives for t in (0, 2)}
    assert {(u.methods, u.seeds) for u in units} == {(("erm", "ben"), (3, 5))}


def test_packaged_suites_name_things_that_exist(tmp_path: Path) -> None:
    assert packaged() == ["default", "nightly", "paper-lin2022", "smoke"]
    for name in packaged():
        assert units_of(read_suite(name), host(tmp_path)), name


def test_the_files_in_the_documentation_are_valid(tmp_path: Path, table: Path) -> None:
    text = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if "[[block]]" in block:
            content = tomllib.loads(block.replace("my_screen.toml:weeks", f"{table}:plates"))
            assert len(units_of(parse(content, "s", "s"), host(tmp_path))) == 6
        else:
            (tmp_path / "p.toml").write_text(block)
            assert read_profile(str(tmp_path / "p.toml")).jobs == 16


def test_splits_without_data_are_skipped_only_if_optional(tmp_path: Path) -> None:
    block = {"methods": ["identity"], "splits": ["jump-stains/stains"], "edition": "real"}
    with raises(BenchError, "jump-stains"):
        graph_of({"block": [block]}, host(tmp_path / "r"))
    graph = graph_of({"block": [{**block, "optional": True}]}, host(tmp_path / "r"))
    assert [item.split for item in graph.unavailable] == ["jump-stains/stains"]
    assert not graph.tasks


# ------------------------------------------------------------------ the graph


def test_each_training_is_one_task(table: Path, tmp_path: Path) -> None:
    methods = ["erm", "adabn", "erm+zscore", "ben", "center"]
    content = suite(table, methods=methods, splits=("p2", "p3", "plates"), seeds=2)
    content["block"].append({**content["block"][0], "methods": ["erm", "tent"]})  # overlaps
    where = host(tmp_path / "r")
    graph = graph_of(content, where)
    fits, runs = set(), set()
    for unit, _ in units_of(parse(content, "s", "s"), where):
        for job in opened(unit).jobs:
            runs.add(identity.run_id(job.spec()))
            if job.chain.stages[0].kind == "network":
                fits |= {job.ids(fold)[0].fit for fold in job.task.folds}
    tasks = list(graph.tasks.values())
    assert sorted(task.result for task in tasks if task.kind == "fit") == sorted(fits)
    assert sorted(task.result for task in tasks if task.kind == "run") == sorted(runs)
    position = {task.key: k for k, task in enumerate(tasks)}
    assert all(position[p] < position[task.key] for task in tasks for p in task.parents)


def test_serial_sweep_gives_the_records_of_run(table: Path, tmp_path: Path) -> None:
    methods = ["erm", "adabn", "erm+zscore", "identity"]
    content = suite(table, methods=methods, splits=("p2",), recipe="default")
    where = host(tmp_path / "sweep")
    watcher = Watcher()
    graph = graph_of(content, where)
    records = execute_graph(graph, Where(), watcher)
    assert {record.status for record in records} == {"ok"}
    assert len(watcher.started_tasks) == len(graph.tasks)
    splits = ",".join(content["block"][0]["splits"])
    sets = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    command = ["run", "-m", ",".join(methods), "-s", splits, "--seeds", "1", *sets]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--results", str(tmp_path / "run"), "--device", "cpu"])
    assert contents(tmp_path / "sweep") == contents(tmp_path / "run")
    again = graph_of(content, where)
    assert not again.tasks
    assert len(again.stored) == len(graph.runs)
    assert not any((tmp_path / "sweep" / "locks").iterdir())


def test_a_failed_training_fails_its_runs_once(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[str] = []
    real = FoldRun._fitted

    def fitted(self: FoldRun, *arguments: Any) -> Any:
        fits.append(self.label)
        return real(self, *arguments)

    monkeypatch.setattr(FoldRun, "_fitted", fitted)
    body = """
        from methods.erm import ERM

        class M(ERM):
            def fit(self, train, adapt, ctx):
                raise ValueError("no luck")
    """
    file = tiny.write_method(tmp_path, "luckless", body, level="network")
    where = host(tmp_path / "r", plugins=((str(file), file.read_text()),))
    content = suite(table, methods=["luckless", "luckless+zscore", "identity"], seeds=1)
    graph = graph_of(content, where)
    records = execute_graph(graph, Where(), Watcher())
    failed = [record for record in records if record.status == "failed"]
    assert len(failed) == 4
    assert {record.reason for record in failed} == {"ValueError: no luck"}
    assert sum(record.ok for record in records) == 2
    store = Store(tmp_path / "r")
    assert {failure["run_id"] for failure in store.failures()} == {r.run_id for r in failed}
    assert len(fits) == 1  # both splits have the same training rows


def test_a_training_that_does_not_end_fails_its_runs(table: Path, tmp_path: Path) -> None:
    """Tasks of workers run in a thread, where signals cannot end them."""
    body = """
        from methods.erm import ERM

        class M(ERM):
            def fit(self, train, adapt, ctx):
                while True:
                    pass
    """
    file = tiny.write_method(tmp_path, "endless", body, level="network")
    where = host(tmp_path / "r", plugins=((str(file), file.read_text()),), timeout=0.3)
    graph = graph_of(suite(table, methods=["endless", "endless+zscore"], splits=("p2",)), where)
    with ThreadPoolExecutor(1) as pool:
        records = pool.submit(execute_graph, graph, Where(), Watcher()).result()
        again = pool.submit(sum, (1, 2)).result()
    assert [record.status for record in records] == ["failed"] * 2
    for record in records:
        mentions(record.reason, "--timeout")
    assert again == 3


def test_tuned_folds_are_tasks(table: Path, tmp_path: Path) -> None:
    content = suite(table, methods=["ben"], splits=("plates",), trials=2, validations=1)
    graph = graph_of(content, host(tmp_path / "r"))
    assert graph.count() == {"fold": 4, "tune": 1}
    [record] = execute_graph(graph, Where(), Watcher())
    assert record.ok, record.reason
    assert record.tuning is not None
    assert record.tuning["trials"] == 2
    # Again, the record is found without reading a study.
    again = graph_of(content, host(tmp_path / "r"))
    assert again.tasks == {}
    assert list(again.stored) == [record.run_id]
    more = suite(table, methods=["ben"], splits=("plates",), trials=3, validations=1)
    assert graph_of(more, host(tmp_path / "r")).count() == {"fold": 4, "tune": 1}
    shutil.rmtree(record.path)
    assert graph_of(content, host(tmp_path / "r")).count() == {"fold": 4, "tune": 1}


def test_a_worker_that_differs_is_refused(table: Path, tmp_path: Path) -> None:
    graph = graph_of(suite(table, methods=["identity"]), host(tmp_path / "r"))
    task = next(iter(graph.tasks.values()))
    version, numerics, threads = work.stamp()
    for other, name in (
        (("0.0.1", numerics, threads), "0.0.1"),
        ((version, -1, threads), "numerics"),
        ((version, numerics, 99), "$BENCH_THREADS"),
    ):
        with raises(work.Misfit, name):
            work.execute(task, [], Any, other)  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "r")
    with raises(work.Misfit, str(tmp_path / "r")):
        work.execute(task, [], Any, work.stamp())  # type: ignore[arg-type]


# ------------------------------------------------------------------ the command


def test_dry_run_and_status_count_the_same_runs(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_suite(tmp_path, suite(table, methods=["erm", "identity"]))
    command = ["sweep", str(path), "--results", str(tmp_path / "r"), "--json"]

    def answer(*options: str) -> dict[str, Any]:
        with pytest.raises(SystemExit, match="0"):
            main([*command, *options])
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    plan = answer("--dry-run")
    assert (plan["to_run"], plan["on_disk"]) == (4, 0)
    assert plan["tasks"] == {"fit": 1, "apply": 2, "run": 4}
    assert [row["waiting"] for row in answer("--status")["splits"].values()] == [2, 2]
    end = answer()
    assert [run["status"] for run in end["runs"]] == ["ok"] * 4
    assert [row["done"] for row in answer("--status")["splits"].values()] == [2, 2]
    assert answer("--dry-run")["tasks"] == {}


@pytest.mark.parametrize(
    "options, fragments",
    [
        (["nonsense.toml"], ["nonsense.toml"]),
        (["smok"], ["smoke"]),
        (["smoke", "--cluster", "slurn", "--profile", "x"], ["slurm"]),
        (["smoke", "--cluster", "slurm"], ["--profile"]),
        (["smoke", "--scheduler", "tcp://x", "--jobs", "2"], ["--jobs"]),
        (["smoke", "--memory", "1GB"], ["--memory"]),
        (["smoke", "--if-exists", "rerun"], ["rerun", "skip"]),
        (["smoke", "--device", "gpu"], ["--device", "gpu"]),
    ],
)
def test_wrong_usage_is_one_line(
    options: list[str],
    fragments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", *options, "--results", str(tmp_path / "r")])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error:")
    assert all(fragment in line for fragment in fragments)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", ["run", "tune"])
def test_commands_with_jobs_print_the_same(
    command: str,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The worker is this process; other tests start real ones."""
    from bench.runs.sweeps import engine

    result: list[str] = []

    def on_dask(graph: Graph, where: Where, watcher: Any) -> Any:
        result.extend(task.kind for task in graph.tasks.values())
        assert where.jobs == 2
        return engine._serial(graph, watcher)

    monkeypatch.setattr(engine, "_on_dask", on_dask)
    sets = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    options = ["-m", "erm,center" if command == "run" else "ben", "-s", f"{table}:plates"]
    options += ["--recipe", "smoke", "--seeds", "1", "--json", *sets]
    options += ["--trials", "2", "--validations", "1"] if command == "tune" else []
    answers = []
    for name, jobs in (("one", []), ("two", ["--jobs", "2"])):
        with pytest.raises(SystemExit, match="0"):
            main([command, *options, "--results", str(tmp_path / name), *jobs])
        answers.append(json.loads(capsys.readouterr().out)["runs"])
        for run in answers[-1]:
            for key in ("path", "cost", "tuning"):
                run.pop(key, None)
    assert answers[0] == answers[1]
    assert set(result) == ({"fit", "apply", "run"} if command == "run" else {"fold", "tune"})


PROFILE = """
jobs = 2
queue = "gpu"
account = "lab"
walltime = "04:00:00"
memory = "16GB"
gpus = 1
image = "labshift.sif"
prologue = ["module load python"]
"""


def test_profiles_become_directives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    (tmp_path / "p.toml").write_text(PROFILE)
    profile = read_profile(str(tmp_path / "p.toml"))
    monkeypatch.setenv("BENCH_THREADS", "4")
    for system, job, lines in (
        ("slurm", jobqueue.slurm.SLURMJob, ["-p gpu", "-A lab", "--cpus-per-task=4", "--gres"]),
        ("pbs", jobqueue.pbs.PBSJob, ["-q gpu", "-A lab", "ncpus=4:ngpus=1:mem=16GB"]),
        ("lsf", jobqueue.lsf.LSFJob, ["-q gpu", '-P "lab"', "-n 4", "-gpu num=1"]),
        ("sge", jobqueue.sge.SGEJob, ["-q gpu", "-P lab", "-l gpu=1"]),
    ):
        options = batch_options(system, profile, {"OMP_NUM_THREADS": "4"})
        options.pop("scheduler_options")
        script = job("tcp://127.0.0.1:1", name="x", **options).job_script()
        lines += ["module load python", "export BENCH_THREADS=4", "apptainer exec --nv", "GPU=1"]
        lines += ["--nthreads 1"]
        assert not [line for line in lines if line not in script], system


@pytest.mark.parametrize(
    "text, fragments",
    [
        ("queu = 'x'", ["queu", "queue"]),
        ("gpus = 2", ["gpus"]),
        ("jobs = 'two'", ["jobs"]),
        ("prologue = 'x'", ["prologue"]),
        ("jobs = ", ["TOML"]),
    ],
)
def test_a_wrong_profile_names_the_key(tmp_path: Path, text: str, fragments: list[str]) -> None:
    (tmp_path / "p.toml").write_text(text)
    with raises(BenchError, "p.toml", *fragments):
        read_profile(str(tmp_path / "p.toml"))


# ------------------------------------------------------------------ processes


def write_suite(folder: Path, content: dict[str, Any]) -> Path:
    [block] = content["block"]
    lines = ["[[block]]"]
    for key, value in block.items():
        if key == "settings":
            inner = ", ".join(f'"{name}" = {json.dumps(v)}' for name, v in value.items())
            lines.append(f"settings = {{ {inner} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    path = folder / "suite.toml"
    path.write_text("\n".join(lines))
    return path


class Processes:
    """A suite of a network that notes its trainings, and commands that run it."""

    def __init__(self, folder: Path, table: Path) -> None:
        self.folder = folder
        self.plugin = tiny.write_method(folder, "noted", NOTED, level="network")
        methods = ["noted", "noted+zscore"]
        self.suite = write_suite(folder, suite(table, methods=methods, seeds=2))

    def command(self, results: Path, *options: str) -> list[str]:
        # The method kills its process and writes a file, so it runs in that of the worker.
        command = [sys.executable, "-m", "bench", "sweep", str(self.suite), "--json"]
        command += ["--results", str(results), "--plugin", str(self.plugin), "--isolate", "none"]
        return [*command, *options]

    def start(self, results: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(results, *options),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def here(self, results: Path) -> list[str]:
        """Run the suite in this process; return the statuses."""
        plugins = ((str(self.plugin), self.plugin.read_text()),)
        where = host(results, plugins=plugins, isolate="none")
        graph = build(units_of(read_suite(str(self.suite)), where))
        records = [*graph.stored.values(), *execute_graph(graph, Where(), Watcher())]
        return [record.status for record in records]

    def fits(self) -> list[str]:
        """Return the trainings that were started, in order, and forget them."""
        notes = self.folder / "fits"
        lines = notes.read_text().splitlines() if notes.is_file() else []
        notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def processes(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setenv("NOTES", str(tmp_path))
    monkeypatch.chdir(ROOT)
    return Processes(tmp_path, table)


@pytest.mark.attack
def test_two_sweeps_share_a_folder(processes: Processes, tmp_path: Path) -> None:
    both = [processes.start(tmp_path / "r") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    fits = processes.fits()
    assert len(fits) == len(set(fits)) == 2  # two seeds; both splits have the same training rows
    assert len(contents(tmp_path / "r")) == 8


@pytest.mark.attack
def test_a_killed_worker_costs_the_steps_since_its_checkpoint(
    processes: Processes, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    assert processes.here(tmp_path / "serial") == ["ok"] * 8
    assert len(processes.fits()) == 2
    (tmp_path / "kill").touch()
    process = processes.start(tmp_path / "dask", "--jobs", "2")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert not (tmp_path / "kill").exists()
    fits = processes.fits()
    assert len(fits) == 3  # one of the two trainings was started again
    assert len(set(fits)) == 2
    assert contents(tmp_path / "dask") == contents(tmp_path / "serial")


@pytest.mark.attack
@pytest.mark.timeout(3600)  # six processes start, which takes minutes on a busy machine
def test_a_scheduler_and_workers_are_killed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler ends after some tasks; in the second call, one of three workers does."""
    pytest.importorskip("distributed")
    from bench.runs.sweeps import engine

    content = suite(table, methods=["erm", "adabn", "erm+zscore"], seeds=1)
    execute_graph(graph_of(content, host(tmp_path / "serial")), Where(), Watcher())
    where = host(tmp_path / "dask")
    monkeypatch.setattr(engine, "SILENT_S", 1.0)

    class Kills(Watcher):
        def __init__(self, victim: Callable[[str], object]) -> None:
            super().__init__()
            self.victim = victim

        def started(self, task: Any, worker: str) -> None:
            super().started(task, worker)
            if len(self.started_tasks) == 2:
                self.victim(worker)

    with DaskCluster(tmp_path / "first", 1) as dask:
        kills = Kills(lambda worker: dask.scheduler.kill())
        with raises(BenchError, "scheduler"):
            execute_graph(graph_of(content, where), Where(scheduler=dask.address), kills)
    with DaskCluster(tmp_path / "second", 3) as dask:
        kills = Kills(lambda worker: os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL))
        graph = graph_of(content, where)
        execute_graph(graph, Where(scheduler=dask.address), kills)
        assert sum(worker.poll() is None for worker in dask.workers) == 2
    assert contents(tmp_path / "dask") == contents(tmp_path / "serial")
    assert len(contents(tmp_path / "dask")) == 6


@pytest.mark.attack
def test_a_study_survives_a_killed_worker(processes: Processes, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    [block] = tomllib.loads(processes.suite.read_text())["block"]
    command = [sys.executable, "-m", "bench", "study", "multi-plate", "--recipe", "smoke"]
    command += ["-m", "noted", "-s", block["splits"][0], "--seeds", "2", "--device", "cpu"]
    command += [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    command += ["--plugin", str(processes.plugin), "--json", "--isolate", "none"]
    answers = []
    for name, more in (("serial", ()), ("dask", ("--jobs", "2"))):
        if more:
            (tmp_path / "kill").touch()
        done = subprocess.run(
            [*command, "--results", str(tmp_path / name), *more],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        answers.append({**json.loads(done.stdout), "files": []})
    assert answers[0] == answers[1]
    assert len(processes.fits()) == 2 + 3  # one of the two trainings was started again
    assert contents(tmp_path / "dask") == contents(tmp_path / "serial")


@pytest.mark.attack
def test_an_interrupted_sweep_continues(processes: Processes, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "hang").touch()
    process = processes.start(tmp_path / "r", "--jobs", "2")
    wait_for((tmp_path / "hanging").exists, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert not out
    assert "Traceback" not in err
    (tmp_path / "hang").unlink()
    assert processes.here(tmp_path / "r") == ["ok"] * 8


@pytest.mark.services
def test_a_batch_system(processes: Processes, tmp_path: Path) -> None:
    """The commands of Slurm are scripts: one executes the job here, another refuses it."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "p.toml").write_text('memory = "2GB"\ninterface = "lo"\n')
    (tmp_path / "bin").mkdir()
    scripts = {
        # As sbatch does, copy the script, which the caller deletes.
        "sbatch": f"cp $1 {tmp_path}/job.sh\nbash {tmp_path}/job.sh > {tmp_path}/job.log 2>&1 &\n"
        f"echo $! > {tmp_path}/job\necho 7",
        "scancel": f"kill $(cat {tmp_path}/job)",
    }
    for name, lines in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{lines}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    options = ("--cluster", "slurm", "--profile", str(tmp_path / "p.toml"))
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    process = processes.start(tmp_path / "r", *options, PATH=path, PYTHONPATH=str(ROOT))
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert [run["status"] for run in json.loads(out)["runs"]] == ["ok"] * 8
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho no such queue >&2\nexit 1\n")
    process = processes.start(tmp_path / "other", *options, PATH=path)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("error:")
    assert "no such queue" in err.splitlines()[-1]
    assert "Traceback" not in err


SLURM = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=2048 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
DAEMONS = ("munged", "slurmctld", "slurmd")


def free_ports(n: int) -> list[int]:
    """Return ports that no process uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def answer(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start Slurm on this machine, as Debian packages it; return a profile."""
    paths = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in DAEMONS]
    if None in paths or os.geteuid() != 0:
        pytest.skip("apt-get install slurmctld slurmd slurm-client munge, and run as root")
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    name = platform.node().partition(".")[0]
    conf.write_text(SLURM.format(host=name, ports=free_ports(2), folder=folder))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge"]
    munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
    arguments = [munge, ["-D"], ["-D"]]
    processes = []
    for path, options in zip(paths, arguments, strict=True):
        with (folder / f"{Path(str(path)).name}.out").open("w") as out:
            process = subprocess.Popen([str(path), *options], stdout=out, stderr=out, text=True)
            processes.append(process)
        if options is munge:
            wait_for((folder / "munge").exists, process)
    wait_for(lambda: "idle" in answer("sinfo", "-h"), processes[-1])
    profile = tmp_path / "slurm.toml"
    profile.write_text(
        f'queue = "cpu"\nmemory = "2GB"\ninterface = "lo"\nlog_directory = "{folder}"\n'
    )
    yield profile
    for process in reversed(processes):
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.services
def test_a_job_of_slurm_that_ends_is_submitted_again(
    processes: Processes, tmp_path: Path, slurm: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "hang").touch()
    process = processes.start(
        tmp_path / "r", "--cluster", "slurm", "--profile", str(slurm), PYTHONPATH=str(ROOT)
    )
    wait_for((tmp_path / "hanging").exists, process)
    job = answer("squeue", "-h", "-o", "%i").strip()
    answer("scancel", "--signal=KILL", job)
    answer("scancel", job)
    (tmp_path / "hang").unlink()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert [run["status"] for run in json.loads(out)["runs"]] == ["ok"] * 8
    assert len(list((tmp_path / "slurm").glob("labshift-*.out"))) == 2
