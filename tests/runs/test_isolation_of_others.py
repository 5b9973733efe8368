"""Isolated metrics, saved corrections and descriptions; cautions about what is not isolated."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench import Corrector
from bench.api import BenchError, RunFailed
from bench.boards.select import boards
from bench.cli.main import main
from bench.core.isolated import host, sandbox
from bench.core.isolated.metric import RemoteMetric
from bench.metrics import balanced_accuracy, compute, takes_batch
from bench.runs.isolation import BADGES
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import as_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.core.registry import Isolate
    from bench.records.record import Record

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

METRIC = """
import numpy as np
from bench.metrics import Value

META = {"kind": "metric", "name": "right", "function": "right", "version": 1,
        "needs": "predictions", "range": [0, 1], "higher_is_better": True,
        "oracle_is_best": True, "summary": "For a test.", "reference": "none"}

CALLS = []

def right(y_true, y_pred, batch=None):
    DOES
    kept = np.asarray(y_true) >= 0
    return Value(float(np.mean((y_true == y_pred)[kept])), int(kept.sum()), "rows")
"""


def write_metric(folder: Path, does: str = "pass") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "right.py"
    path.write_text(METRIC.replace("DOES", does), encoding="utf-8")
    return path


def run(folder: Path, metric: Path, isolate: Isolate) -> tuple[Record, tiny.Bench]:
    """Run zscore with the metric of a plugin as an additional one."""
    bench_ = tiny.Bench(folder / f"results-{isolate}", metric)
    bench_.registry = bench_.registry.isolating(isolate)
    [record] = bench_.run("zscore", tiny.task(metrics=("right",)))
    return record, bench_


def command(arguments: list[str]) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code


def imported(path: Path) -> bool:
    """Return whether a plugin file is imported in this process."""
    return any(getattr(m, "__file__", None) == str(path) for m in list(sys.modules.values()))


@pytest.fixture(autouse=True)
def settings_are_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what methods that are not isolated set for the whole process."""
    monkeypatch.setenv("BENCH_THREADS", "1")
    with np.errstate():
        yield


def test_a_metric_of_a_plugin_is_computed_in_its_own_process(tmp_path: Path) -> None:
    path = write_metric(tmp_path / "plugin")
    isolated, _ = run(tmp_path, path, "plugins")
    assert isolated.status == "ok", isolated.reason
    assert not imported(path)
    here, _ = run(tmp_path, path, "none")
    assert imported(path)
    assert isolated["metrics"] == here["metrics"]
    assert isolated["metrics"]["right"]["all"] == isolated["metrics"]["accuracy"]["all"]
    assert (len(isolated.cautions), len(here.cautions)) == (0, 1)
    mentions(here.cautions[0], "right", "right.py")
    real = as_records([{**here.data, "spec": {**here["spec"], "edition": "real"}}])
    notes = [note for board in boards(real) for note in board.notes]
    assert any(here.cautions[0] in note for note in notes)


def test_a_metric_cannot_change_what_the_benchmark_computes(tmp_path: Path) -> None:
    does = (
        "import bench.metrics.balanced_accuracy as b, os, gc; from bench.api import Opened; "
        "b.balanced_accuracy = lambda *a: 1; os.environ['BENCH_THREADS'] = '7'; "
        "assert not any(type(o) is Opened for o in gc.get_objects())"
    )
    before = balanced_accuracy.balanced_accuracy
    record, bench_ = run(tmp_path, write_metric(tmp_path / "plugin", does), "plugins")
    assert record.status == "ok", record.reason
    assert not bench_.said
    assert balanced_accuracy.balanced_accuracy is before
    assert os.environ.get("BENCH_THREADS") != "7"


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("return 0.5", "float"),
        ("raise KeyError('x')", "KeyError"),
        ("import os; os._exit(3)", "exit code 3"),
        ("return Value(7.0, 3, 'rows')", "7"),
        ("return Value('x', 3, 'rows')", "ValueError"),
    ],
)
def test_a_broken_metric_is_a_failed_run(does: str, reason: str, tmp_path: Path) -> None:
    registry = tiny.Bench(tmp_path, write_metric(tmp_path / "p", does)).registry
    y = np.zeros(3, int)
    with raises(RunFailed, reason):
        compute("right", registry=registry.isolating("plugins"), y_true=y, y_pred=y)
    host.close_all()
    assert not host._OPEN


def test_a_remote_metric_has_the_parameters_of_the_function(tmp_path: Path) -> None:
    registry = tiny.Bench(tmp_path, write_metric(tmp_path / "p", "CALLS.append(1)")).registry
    registry = registry.isolating("plugins")
    function: Any = registry.entry("metric", "right").load()
    assert isinstance(function, RemoteMetric)
    assert takes_batch("right", registry)
    y = np.array([0, 1, -1, 1])
    values = [compute("right", registry=registry, y_true=y, y_pred=y * 0) for _ in range(3)]
    assert [(v.value, v.n, v.used) for v in values] == [(1 / 3, 3, "rows")] * 3
    with raises(BenchError, "right", "y_pred"):
        compute("right", registry=registry, y_true=y)
    host.close_all()


SCALES = """
class M(Profile):
    def fit(self, train, adapt, ctx):
        import os
        os.environ["BENCH_THREADS"] = "7"
        np.seterr(all="raise")
        self.mean = train.X.mean(axis=0)
    def apply(self, samples):
        return Output(samples.X - self.mean)
    def state(self):
        return {"mean": self.mean}
    @classmethod
    def from_state(cls, params, state):
        method = cls(params)
        method.mean = state["mean"]
        return method
"""


def test_a_corrector_isolates_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = np.geterr()
    path = tiny.write_method(tmp_path, "minus-mean", SCALES)
    monkeypatch.setenv("BENCH_PLUGINS", str(path))
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    batch = np.repeat(["a", "b"], 20)
    corrector = Corrector("minus-mean").fit(X, batch=batch)
    assert not imported(path)
    assert np.geterr() == before
    assert os.environ.get("BENCH_THREADS") != "7"
    assert corrector.isolated_ == sandbox.mode()
    corrector.save(tmp_path / "c.safetensors")
    loaded = Corrector.load(tmp_path / "c.safetensors")
    assert loaded.isolated_ == sandbox.mode()
    expected = X - X.mean(axis=0)
    for corrected in (corrector.transform(X, batch=batch), loaded.transform(X, batch=batch)):
        np.testing.assert_allclose(corrected, expected, atol=1e-6)
    assert not host._OPEN
    assert Corrector("zscore").fit(X, batch=batch, controls=batch == "a").isolated_ is None
    with pytest.raises(ValueError, match="isolate"):
        Corrector("zscore", isolate="some").fit(X)


def test_fit_and_apply_of_a_file_do_not_import_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "")
    table = tiny.write_table(tmp_path / "data")
    path = tiny.write_method(tmp_path, "minus-mean", SCALES)
    saved, out = str(tmp_path / "c.safetensors"), str(tmp_path / "out.npy")
    corrected = []
    for isolate in ("plugins", "none"):
        options = ["--plugin", str(path), "--json", "--isolate", isolate]
        command(["fit", "minus-mean", "--data", str(table), "--output", saved, *options])
        facts = json.loads(capsys.readouterr().out)
        assert facts["isolated"] == (sandbox.mode() if isolate == "plugins" else "no")
        rows = str(table.parent / "table.parquet")
        command(["apply", saved, rows, "--output", out, *options])
        corrected.append(np.load(out))
        assert imported(path) == (isolate == "none")
        capsys.readouterr()
    np.testing.assert_array_equal(*corrected)
    assert set(BADGES) == {"no", "process", "bubblewrap"}


def test_a_method_of_a_file_is_described_without_importing_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = '@dataclass(frozen=True)\nclass Some:\n    amount: float = param(1.0, "Amount.")\n'
    body += 'class M(Profile):\n    """Does nothing."""\n    Params = Some\n'
    path = tiny.write_method(tmp_path, "idle", body)
    command(["show", "method", "idle", "--plugin", str(path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["what it does"] == "Does nothing."
    assert [p["name"] for p in facts["parameters"]] == ["amount"]
    command(["list", "plugins", "--plugin", str(path), "--json"])
    mentions(capsys.readouterr().out, "works")
    assert not imported(path)
