"""Methods of others in processes of their own: what they can reach, and that results are equal."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.api import Access, BenchError, RunFailed
from bench.core.isolated import host, sandbox
from bench.core.isolated.remote import RemoteMethod
from bench.core.isolated.wire import Closed, receive_plain, send_plain
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.runs.job import Options
from bench.runs.runner import Runner
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.core.registry import Isolate
    from bench.data.task import Task
    from bench.records.record import Record

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
]
BUBBLEWRAP = pytest.mark.skipif(
    sandbox.mode() != "bubblewrap", reason="no bubblewrap with user namespaces on this system"
)

HEAD = """
import gc, os, socket, sys, tempfile
from pathlib import Path

TABLE = {table!r}
SEEN = {{}}

def one_hot(y):
    return np.eye(8, dtype=np.float32)[y]

def from_opened(opened, X):
    "Labels of rows by their contents."
    every = opened.source.read(np.arange(len(opened.index)))
    names = sorted(set(opened.index["label"]))
    labels = opened.index["label"]
    known = {{row.tobytes(): names.index(label) for row, label in zip(every, labels)}}
    return one_hot([known[row.tobytes()] for row in X])

def cheat(samples):
    raise LookupError

def learn(train):
    pass

class M(Profile):
    def fit(self, train, adapt, ctx):
        learn(train)
    def apply(self, samples):
        try:
            return Output(cheat(samples))
        except (LookupError, OSError, AttributeError):
            return Output(np.repeat(samples.X[:, :1], 8, axis=1))
"""
CHEATS = {
    "objects": """
def cheat(samples):
    from bench.api import Opened
    for known in gc.get_objects():
        if type(known) is Opened:  # of this data set or of another one
            try:
                return from_opened(known, samples.X)
            except Exception:
                continue
    raise LookupError
""",
    "frames": """
def cheat(samples):
    frame = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if hasattr(owner, "job"):
            return from_opened(owner.job.task.opened, samples.X)
        frame = frame.f_back
    raise LookupError
""",
    "file": """
def cheat(samples):
    import pandas as pd
    table = pd.read_parquet(TABLE)
    every = table[[c for c in table if c.startswith("f")]].to_numpy(np.float32)
    names = sorted(set(table["label"]))
    known = {row.tobytes(): names.index(label) for row, label in zip(every, table["label"])}
    return one_hot([known[row.tobytes()] for row in samples.X])
""",
    "module": """
def learn(train):
    SEEN.update((row.tobytes(), y) for row, y in zip(train.X, train.y))
def cheat(samples):
    return one_hot([SEEN[row.tobytes()] for row in samples.X])
""",
    "temporary-file": """
KEPT = Path(tempfile.gettempdir()) / "labshift-test-of-isolation.npz"
def learn(train):
    old = dict(np.load(KEPT)) if KEPT.exists() else {"X": train.X[:0], "y": train.y[:0]}
    np.savez(KEPT, X=np.concatenate([old["X"], train.X]), y=np.concatenate([old["y"], train.y]))
def cheat(samples):
    old = np.load(KEPT)
    known = {row.tobytes(): y for row, y in zip(old["X"], old["y"])}
    return one_hot([known[row.tobytes()] for row in samples.X])
""",
}
HOLD_OUT = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'


def bench_of(
    folder: Path, body: str, isolate: Isolate, name: str = "cheat", **meta: Any
) -> tiny.Bench:
    """Return a store and a registry with one plugin."""
    path = tiny.write_method(folder, name, body, **meta)
    result = tiny.Bench(folder / isolate, path)
    result.registry = result.registry.isolating(isolate)
    return result


def score(record: Record) -> float:
    assert record.status == "ok", record.reason
    return float(record["metrics"]["balanced_accuracy"]["all"])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = tiny.write_table(tmp_path_factory.mktemp("data"), HOLD_OUT, batches=3)
    rows = pd.read_parquet(path.parent / "table.parquet")
    rows["label"] = rows["label"] + " of a test"
    rows.to_parquet(path.parent / "table.parquet")
    [task] = open_splits([str(path)], Registry(), "auto", {}, lambda line: None)
    task.opened.index.attrs["path"] = str(path.parent / "table.parquet")
    return task


def source(table: Task, body: str = "") -> str:
    return HEAD.format(table=table.opened.index.attrs["path"]) + body


@pytest.fixture(scope="module")
def honest(table: Task, tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("honest")
    [record] = bench_of(folder, source(table), "none").run("cheat", table)
    return record


@BUBBLEWRAP
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_that_wins_in_this_process_finds_nothing(
    name: str, table: Task, tmp_path: Path, honest: Record
) -> None:
    body = source(table, CHEATS[name])
    [cheating] = bench_of(tmp_path, body, "none").run("cheat", table)
    assert score(cheating) > score(honest) + 0.2
    [isolated] = bench_of(tmp_path, body, "plugins").run("cheat", table)
    assert score(isolated) <= max(score(honest), isolated["chance"]) + 0.1
    assert (cheating["isolated"], isolated["isolated"]) == ("no", "bubblewrap")
    assert (cheating["badges"], isolated["badges"]) == (["not isolated"], ["isolated"])


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolate in plain processes."""
    monkeypatch.setattr(sandbox, "mode", lambda: "process")
    yield
    host.close_servers()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", ["objects", "frames", "module"])
def test_memory_is_not_shared_in_a_plain_process(
    name: str, table: Task, tmp_path: Path, honest: Record
) -> None:
    [isolated] = bench_of(tmp_path, source(table, CHEATS[name]), "plugins").run("cheat", table)
    assert score(isolated) <= max(score(honest), isolated["chance"]) + 0.1
    assert (isolated["isolated"], isolated["badges"]) == ("process", ["own process"])


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is a program of Linux")
@pytest.mark.parametrize(("code", "mode"), [(0, "bubblewrap"), (1, "process")])
def test_bubblewrap_is_used_where_namespaces_are_not_refused(
    code: int, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert sandbox.mode.__wrapped__() == mode


def test_a_changed_record_of_another_run_is_noticed(table: Task, tmp_path: Path) -> None:
    bench_ = bench_of(tmp_path, source(table), "none")
    [other] = bench_.run("zscore", table)
    path = other.path / "run.json"
    body = f"""
def learn(train):
    path = Path({str(path)!r})
    path.write_text(path.read_text().replace('"ranked": true', '"ranked": false'))
"""
    [record] = bench_of(tmp_path, source(table, body), "none").run("cheat", table)
    assert record.status == "failed"
    mentions(record.reason, other.run_id)


CACHED = """
SEEN = {}
class M(Profile):
    def apply(self, samples):
        shifted = samples.X - samples.X.mean(axis=0)  # of the call: not declared
        rows = [SEEN.setdefault(old.tobytes(), new) for old, new in zip(samples.X, shifted)]
        return Output(np.array(rows))
"""


def test_adaptation_hidden_by_a_cache_is_noticed(table: Task, tmp_path: Path) -> None:
    [hidden] = bench_of(tmp_path, CACHED, "none").run("cheat", table)
    assert hidden["undeclared_adaptation"] is None
    [record] = bench_of(tmp_path, CACHED, "plugins").run("cheat", table)
    mentions(str(record["undeclared_adaptation"]), "undeclared adaptation")
    assert "undeclared adaptation" in record["unranked_because"]


# What a method does in fit that must not have an effect here, and whether it fails there.
HARMFUL = {
    "metric": "import bench.metrics.balanced_accuracy as b; b.balanced_accuracy = lambda *a: 1",
    "probe": "import bench.core.samples as s; s.Samples.take = None",
    "settings": "import torch; torch.set_grad_enabled(False); os.environ['BENCH_THREADS'] = '7'",
}


@pytest.mark.parametrize("name", HARMFUL)
def test_changes_stay_in_the_process_of_the_method(
    name: str, table: Task, tmp_path: Path, honest: Record
) -> None:
    body = source(table, f"def learn(train):\n    {HARMFUL[name]}\n")
    bench_ = bench_of(tmp_path, body, "plugins")
    [record] = bench_.run("cheat", table)
    assert record["predictions_sha256"] == honest["predictions_sha256"]
    assert not bench_.said


@BUBBLEWRAP
def test_files_and_network_cannot_be_reached(table: Task, tmp_path: Path, honest: Record) -> None:
    [other] = (bench_ := bench_of(tmp_path, source(table), "plugins")).run("zscore", table)
    before = (other.path / "run.json").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = f"""
def learn(train):
    places = {[str(tmp_path), str(bench_.store.root), str(other.path)]!r}
    places.append(TABLE)
    assert not any(map(os.path.exists, places)), places
    for path in ["/usr/x", "/x", sys.prefix + "/x", np.__file__]:
        try:
            open(path, "w")
        except OSError:
            continue
        raise AssertionError(path)
    try:
        socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
    except OSError:
        pass
    else:
        raise AssertionError("network")
    python = [path.split("/")[2] for path in [sys.prefix, *sys.path] if path.startswith("/tmp/")]
    assert set(os.listdir(tempfile.gettempdir())) <= {{Path(__file__).parent.name, *python}}
    assert not any("BENCH_RES" in key or "BENCH_TEST" in key for key in os.environ)
"""
        bench_ = bench_of(tmp_path, source(table, body), "plugins")
        [record] = bench_.run("cheat", table)
    assert record.status == "ok", record.reason
    assert record["predictions_sha256"] == honest["predictions_sha256"]
    assert (other.path / "run.json").read_bytes() == before


# The texts are never in the memory as a whole: they are given as numbers and compared by byte.
MEMORY = """
def places(block, secret):
    array = np.frombuffer(block, np.uint8)
    hits = np.flatnonzero(array[: len(array) - len(secret) + 1] == secret[0] - 1)
    for k, value in enumerate(secret):
        hits = hits[array[hits + k] == value - 1]
    return hits
def learn(train):
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
        for line in maps:
            if "w" not in line.split()[1]:
                continue  # what it was given is in memory that can be written, not in libraries
            start, end = (int(value, 16) for value in line.split()[0].split("-"))
            try:
                memory.seek(start)
                block = memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            for secret in {secrets!r}:
                assert not len(places(block, secret)), secret
"""


@BUBBLEWRAP
def test_names_of_classes_rows_and_files_are_not_in_memory(table: Task, tmp_path: Path) -> None:
    names = [*table.classes, *table.opened.index["id"][:3], str(tmp_path)]
    assert all(len(name) > 5 for name in names)
    secrets = [[value + 1 for value in name.encode()] for name in names]
    body = source(table, MEMORY.format(secrets=secrets))
    body = body.replace(table.opened.index.attrs["path"], "")
    [here] = bench_of(tmp_path, body, "none").run("cheat", table)
    assert here.status == "failed"
    [record] = bench_of(tmp_path, body, "plugins").run("cheat", table)
    assert record.status == "ok", record.reason


ENDS = {
    "exit": ("os._exit(0)", "exit code 0"),
    "crash": ("import ctypes; ctypes.string_at(0)", "signal 11"),
    "memory": ("np.ones((40_000, 40_000)).sum()", "Memory"),
    "system-exit": ("sys.exit(0)", "SystemExit"),
    "noise": ("[os.write(fd, b'x' * 99) for fd in range(3, 99) if not fcntl(fd)]", "message"),
    "error": ("raise KeyError('x')", "KeyError"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_process_that_ends_fails_alone(
    name: str, table: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, reason = ENDS[name]
    monkeypatch.setenv(host.LIMIT, str(4_000_000_000))
    body = f"""
def fcntl(fd):
    try:
        return os.fstat(fd) is None
    except OSError:
        return True
def learn(train):
    {code}
"""
    [cheat, zscore] = bench_of(tmp_path, source(table, body), "plugins").run("cheat,zscore", table)
    assert (cheat["status"], zscore["status"]) == ("failed", "ok")
    mentions(cheat["reason"], reason)


@pytest.mark.parametrize("code", ["import ctypes; ctypes.CDLL(None).pause()", "while True: pass"])
def test_a_native_hang_ends_after_the_timeout(code: str, table: Task, tmp_path: Path) -> None:
    bench_ = bench_of(tmp_path, source(table, f"def learn(train):\n    {code}\n"), "plugins")
    runner = Runner(bench_.store, Options(device="cpu", timeout=1.0))
    [job] = bench_.jobs("cheat", table)
    record = runner.run(job)
    assert record.status == "failed"
    mentions(record.reason, "--timeout")
    assert not host._OPEN


@pytest.mark.parametrize("separate", [True, False])
def test_no_process_is_left(
    separate: bool, table: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not separate:
        monkeypatch.setattr(sandbox, "mode", lambda: "process")
    mark = f"labshift-{os.getpid()}-{separate}"
    body = source(
        table,
        f"""
def learn(train):
    import subprocess
    call = [sys.executable, "-c", "import time; time.sleep(600)", "{mark}"]
    subprocess.Popen(call, start_new_session=True)
""",
    )
    [record] = bench_of(tmp_path, body, "plugins").run("cheat", table)
    assert record.status == "ok", record.reason
    host.close_servers()
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if mark.encode() in _read(path)
    ]
    assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "methods", ["zscore,tvn,combat", pytest.param("erm,adabn", marks=pytest.mark.slow)]
)
def test_results_are_equal_bit_for_bit(methods: str, tmp_path: Path) -> None:
    images = methods.startswith("erm")
    task = tiny.task(tiny.opened(images=images))
    here, there = tiny.Bench(tmp_path / "here"), tiny.Bench(tmp_path / "there")
    there.registry = there.registry.isolating("all")
    pairs = zip(here.run(methods, task), there.run(methods, task), strict=True)
    for a, b in pairs:
        assert (a.status, b.status) == ("ok", "ok"), b.reason
        assert (a.run_id, a["predictions_sha256"]) == (b.run_id, b["predictions_sha256"])
        assert a["metrics"] == b["metrics"]
        assert a["code"] == b["code"]
        assert (a["cost"]["steps"], a["cost"]["images_seen"]) == (
            b["cost"]["steps"],
            b["cost"]["images_seen"],
        )
        assert ("isolated" in a.data, "isolated" in b.data) == (False, True)


def test_a_record_with_less_isolation_is_repeated(table: Task, tmp_path: Path) -> None:
    bench_ = bench_of(tmp_path, source(table), "none")
    [first] = bench_.run("cheat", table)
    [again] = bench_.run("cheat", table)
    assert again["provenance"] == first["provenance"]
    bench_.registry = bench_.registry.isolating("plugins")
    [isolated] = bench_.run("cheat", table)
    assert isolated["isolated"] == sandbox.mode()
    mentions(bench_.said, "less isolation")
    bench_.registry = bench_.registry.isolating("none")
    [served] = bench_.run("cheat", table)
    assert served["isolated"] == sandbox.mode()


@pytest.mark.slow
def test_a_shared_fit_is_made_by_its_owner(tmp_path: Path) -> None:
    body = """
class M(NetworkMethod):
    def fit(self, train, adapt, ctx):
        raise RuntimeError("the fit of erm is not made by a plugin")
"""
    task = tiny.task(tiny.opened(images=True))
    bench_ = bench_of(tmp_path, body, "plugins", "late", level="network", fit="erm")
    [late, erm] = bench_.run("late,erm", task)
    assert late.status == "ok", late.reason
    assert (
        late["spec"]["folds"][0]["stages"][0]["fit_id"]
        == erm["spec"]["folds"][0]["stages"][0]["fit_id"]
    )
    [alone] = tiny.Bench(tmp_path / "alone").run("erm", task)
    assert erm["predictions_sha256"] == alone["predictions_sha256"]


def test_noise_goes_to_stderr(
    table: Task, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host.close_servers()
    noise = "def learn(train):\n    print('noise', flush=True); os.system('echo noise')\n"
    bench_of(tmp_path, source(table, noise), "plugins").run("cheat", table)
    host.close_servers()
    out, err = capfd.readouterr()
    assert (out, err.count("noise")) == ("", 2 * len(table.folds))


def test_parameters_are_described(tmp_path: Path) -> None:
    body = """
@dataclass(frozen=True)
class Some:
    amount: float = param(1.0, "Amount.", low=0.0, high=2.0, search=(0.5, 1.5))
    rows: str = param("all", "Rows.", choices=("all", "controls"))
    flag: bool = param(False, "Flag.", phase="apply", acts_if={"rows": ("controls",)})
class M(Profile):
    Params = Some
    @classmethod
    def access(cls, params):
        return Access.CONTROLS if params.rows == "controls" else Access.NONE
    @classmethod
    def needs(cls, params):
        return frozenset({"controls"}) if params.rows == "controls" else frozenset()
"""
    registry = bench_of(tmp_path, body, "plugins").registry
    there: Any = registry.entry("method", "cheat").load()
    here = registry.isolating("none").entry("method", "cheat").load()
    assert issubclass(there, RemoteMethod)
    assert [(f.name, f.default, dict(f.metadata)) for f in fields(there.Params)] == [
        (f.name, f.default, dict(f.metadata)) for f in fields(here.Params)
    ]
    for rows, access in (("all", Access.NONE), ("controls", Access.CONTROLS)):
        params = there.Params(rows=rows)
        assert there.access(params) == access
        assert set(there.needs(params)) == set(here.needs(params))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return cls.ACCESS", "return 'none'"),
        ("return cls.ACCESS", "raise KeyError('x')"),
        ("return cls.ACCESS", "sys.exit(0)"),
        ("Params = NoParams", "Params = None"),
        ("class Profile", "import no_such_module\nclass Profile"),
        ("class Profile", "import os; os._exit(0)\nclass Profile"),
        ("def state(self)", "def other(self)"),
        ("class Profile", "import bench.metrics as b\nb.compute = None\nclass Profile"),
    ],
)
def test_a_broken_contract_is_one_line(old: str, new: str, tmp_path: Path) -> None:
    bench_ = bench_of(tmp_path, "import sys\nclass M(Profile):\n    pass\n", "plugins")
    path = tmp_path / "cheat.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with raises(BenchError, "cheat", "cheat.py"):
        bench_.run("cheat", tiny.task())


def test_a_file_that_hangs_on_import_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PATIENCE", 1.0)
    host.close_servers()
    bench_ = bench_of(tmp_path, "class M(Profile):\n    pass\n", "plugins")
    with (tmp_path / "cheat.py").open("a") as file:
        file.write("while True: pass\n")
    monkeypatch.setattr("bench.core.isolated.remote.host.PATIENCE", 1.0)
    with raises(BenchError, "cheat", "1 s"):
        bench_.run("cheat", tiny.task())


@pytest.mark.parametrize(
    "message",
    [
        b"\xff" * 8,
        b"\x02" + bytes(7) + b"[]",
        b"\x05" + bytes(7) + b'"x" ,',
        (text := b'{"arrays": [["X", "|O", [1]]]}') and bytes([len(text)]) + bytes(7) + text,
        (text := b'{"arrays": [["X", "<f8", [9223372036854775807, 9]]]}')
        and bytes([len(text)]) + bytes(7) + text,
        (text := b'{"arrays": [["X", "<f8", [-1]]]}') and bytes([len(text)]) + bytes(7) + text,
        (text := b'{"arrays": [["X", "<f8", ["a"]]]}') and bytes([len(text)]) + bytes(7) + text,
    ],
)
def test_invalid_messages_are_refused(message: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(message)
        theirs.close()
        with pytest.raises(RunFailed):
            receive_plain(ours, 1 << 20)


def test_messages_keep_arrays() -> None:
    ours, theirs = socket.socketpair()
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "none": np.zeros((0, 4), np.int16),
        "text": np.array(["a", "bc"]),
        "scalar": np.array(2.5),
    }
    with ours, theirs:
        send_plain(theirs, {"x": 1}, arrays)
        message, received = receive_plain(ours, 1 << 20)
        theirs.close()
        with pytest.raises(Closed):
            receive_plain(ours, 1 << 20)
    assert message == {"x": 1}
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)
        assert received[name].dtype == array.dtype


def test_packages_below_tmp_can_be_imported(
    table: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "package_below_tmp.py").write_text("SHIFT = 1.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    body = source(table, "def learn(train):\n    import package_below_tmp")
    host.close_servers()
    [record] = bench_of(tmp_path, body, "plugins").run("cheat", table)
    host.close_servers()
    assert record.status == "ok", record.reason
