"""What a method changes for the methods after it is undone and named."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import bench.metrics.accuracy
from bench.api import BenchError
from bench.cli.group import group
from bench.core.guard import guarded
from bench.core.registry import Registry
from bench.metrics import compute
from bench.runs.job import Options
from bench.runs.runner import Runner
from tests.helpers import tiny
from tests.helpers.caller import bench as command
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
METHOD = '''
"""A method."""
from dataclasses import dataclass
import os, sys
import numpy as np
import bench.api as api
META = {
    "kind": "method", "name": "odd", "class": "Odd", "version": 1, "level": "profile",
    "access": [], "summary": "x.", "reference": "none", "url": "", "helps": [], "hurts": [],
}
@dataclass(frozen=True)
class Params:
    amount: float = api.param(1.0, "Amount.")
class Odd:
    Params = Params
    def __init__(self, params): self.params = params
    @classmethod
    def access(cls, params): return api.Access.NONE
    def fit(self, train, adapt, ctx): self.m = train.X.mean(0)
    def apply(self, samples): return api.Output(samples.X - self.m)
    def state(self): return {"m": self.m}
    @classmethod
    def from_state(cls, params, state):
        fitted = cls(params)
        fitted.m = state["m"]
        return fitted
'''
FIT = "self.m = train.X.mean(0)"


def plugin(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in METHOD
    path = folder / "odd.py"
    path.write_text(METHOD.replace(old, new) if old else METHOD)
    return path


# What ``fit`` does, and what is named afterwards.
SETTINGS: dict[str, tuple[str, Callable[[], Any]]] = {
    "torch.set_grad_enabled": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "torch.set_default_dtype": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "torch.use_deterministic_algorithms": (
        "torch.use_deterministic_algorithms(True)",
        torch.are_deterministic_algorithms_enabled,
    ),
    "torch.set_num_threads": ("torch.set_num_threads(3)", torch.get_num_threads),
    "numpy.seterr": ("np.seterr(under='warn')", np.geterr),
    "the working folder": ("os.chdir('/')", os.getcwd),
    "BENCH_": ("os.environ['BENCH_THREADS'] = '7'", lambda: os.environ.get("BENCH_THREADS")),
}


def test_settings_are_restored_and_named(tmp_path: Path) -> None:
    code = "import torch; " + "; ".join(code for code, _ in SETTINGS.values())
    before = {name: get() for name, (_, get) in SETTINGS.items()}
    bench_ = tiny.Bench(tmp_path / "r", plugin(tmp_path, FIT, f"{code}; {FIT}"))
    [odd, erm] = bench_.run("odd,erm", tiny.task())
    assert {name: get() for name, (_, get) in SETTINGS.items()} == before
    for name in SETTINGS:
        mentions(bench_.said, "odd", name)
    assert odd.status == "ok", odd.reason
    mentions(odd["notes"], *SETTINGS)
    [alone] = tiny.Bench(tmp_path / "alone").run("erm", tiny.task())
    assert erm["predictions_sha256"] == alone["predictions_sha256"]


def test_random_states_are_restored() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    with guarded():
        first = draw()
    with guarded() as changes:
        assert draw() == first
    assert not changes.settings


def _function(module: ModuleType) -> None:
    module.accuracy = lambda y_true, y_pred: 1  # type: ignore[attr-defined]


def _code(module: ModuleType) -> None:
    module.accuracy.__code__ = (lambda y_true, y_pred: 1).__code__


@pytest.mark.parametrize("change", [_function, _code])
def test_replaced_functions_are_restored_and_named(change: Callable[[ModuleType], None]) -> None:
    before = compute("accuracy", y_true=np.array([0, 1]), y_pred=np.array([0, 0]))
    with guarded() as changes:
        change(bench.metrics.accuracy)
    assert changes.functions == ["bench.metrics.accuracy.accuracy"]
    assert compute("accuracy", y_true=np.array([0, 1]), y_pred=np.array([0, 0])) == before


def test_replaced_methods_of_classes_are_restored() -> None:
    from bench.scoring.scorer import Scores

    before = Scores.finish
    with guarded() as changes:
        Scores.finish = None  # type: ignore[method-assign, assignment]
    assert Scores.finish is before
    assert changes.functions == ["bench.scoring.scorer.Scores.finish"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import bench.metrics.accuracy as a; a.accuracy = lambda y_true, y_pred: 1", "accuracy"),
        ("np.bincount = lambda *a, **k: 1", "numpy.bincount"),
        ("sys.exit(0)", "SystemExit"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "E"),
    ],
)
def test_a_method_that_spoils_the_run_fails_alone(tmp_path: Path, code: str, name: str) -> None:
    bench_ = tiny.Bench(tmp_path / "r", plugin(tmp_path, FIT, f"{code}; {FIT}"))
    [odd, zscore] = bench_.run("odd,zscore", tiny.task())
    assert (odd["status"], zscore["status"]) == ("failed", "ok")
    mentions(odd["reason"], name)


def test_a_plugin_that_replaces_a_function_when_imported_is_refused(tmp_path: Path) -> None:
    code = "import bench.metrics.balanced_accuracy as b\nb.balanced_accuracy = lambda *a: 1\n"
    path = plugin(tmp_path, "class Odd:", f"{code}class Odd:")
    before = bench.metrics.balanced_accuracy
    with raises(BenchError, "odd", "balanced_accuracy"):
        Registry((path,)).entry("method", "odd").load()
    sys.modules.pop("bench.metrics.balanced_accuracy", None)
    assert before is bench.metrics.balanced_accuracy


CONTRACT = [
    ("return api.Access.NONE", "return 'none'"),
    ("return api.Access.NONE", "raise KeyError('x')"),
    ("return api.Access.NONE", "sys.exit(0)"),
    ("    Params = Params\n", "    Params = None\n"),
    ("    Params = Params\n", "    Params = Params\n    needs = classmethod(lambda c, p: [5])\n"),
    (
        "    Params = Params\n",
        "    Params = Params\n    pinned = classmethod(lambda c, p: {1: 1})\n",
    ),
    ('api.param(1.0, "Amount.")', "float('nan')"),
    (' = api.param(1.0, "Amount.")', ""),
    ('    def state(self): return {"m": self.m}\n', ""),
    ("class Odd:", "def Odd(params): pass\nclass Other:"),
]


@pytest.mark.parametrize(("old", "new"), CONTRACT)
def test_a_broken_contract_is_one_line_that_names_the_plugin(
    tmp_path: Path, old: str, new: str
) -> None:
    bench_ = tiny.Bench(tmp_path / "r", plugin(tmp_path, old, new))
    with raises(BenchError, "odd", "odd.py"):
        bench_.run("odd", tiny.task())


@pytest.mark.parametrize(("old", "new"), CONTRACT[3:5])
def test_a_broken_contract_is_one_line_of_show(tmp_path: Path, old: str, new: str) -> None:
    done = command("show", "method", "odd", "--plugin", plugin(tmp_path, old, new))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    mentions(done.stderr, "odd.py")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this system")
@pytest.mark.parametrize(
    "code",
    [
        "exec('while True: pass')",
        "import threading; threading.Event().wait()",
        "exec('while True:\\n try:\\n  while True: pass\\n except Exception: pass')",
    ],
)
def test_a_run_that_does_not_end_fails_alone(tmp_path: Path, code: str) -> None:
    bench_ = tiny.Bench(tmp_path / "r", plugin(tmp_path, FIT, f"{code}; {FIT}"))
    runner = Runner(bench_.store, Options(device="cpu", timeout=0.2))
    [job] = bench_.jobs("odd", tiny.task())
    record = runner.run(job)
    assert record.status == "failed"
    mentions(record.reason, "--timeout")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("state", ["None", "[self.m]", "{'m': 'x'}", "{1: self.m}"])
def test_a_state_that_cannot_be_stored_fails_alone(tmp_path: Path, state: str) -> None:
    path = plugin(tmp_path, '{"m": self.m}', state)
    [odd, zscore] = tiny.Bench(tmp_path / "r", path).run("odd,zscore", tiny.task())
    assert (odd["status"], zscore["status"]) == ("failed", "ok")


def test_a_metric_outside_its_range_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wild.py"
    path.write_text(
        "from bench.api import *\nfrom bench.metrics import Value\n"
        'META = {"kind": "metric", "name": "wild", "function": "wild", "version": 1, '
        '"needs": "predictions", "range": [0, 1], "higher_is_better": True, "summary": "x.", '
        '"reference": "none"}\n'
        "def wild(y_true, y_pred):\n    return Value(7.0, len(y_true), 'rows')\n"
    )
    registry = Registry((path,))
    with raises(BenchError, "wild", "7", "[0, 1]"):
        compute("wild", registry=registry, y_true=np.zeros(3), y_pred=np.zeros(3))


def test_noise_on_stdout_does_not_break_json(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    noise = "import ctypes; print('noise'); os.write(1, b'noise'); os.system('echo noise')\n"
    path.write_text(METHOD.replace("class Odd:", f"{noise}class Odd:"))
    call = [sys.executable, "-m", "bench", "show", "method", "odd", "--plugin", str(path), "--json"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["name"] == "odd"
    assert done.stderr.count("noise") == 3
    inside = CliRunner().invoke(group, call[3:], standalone_mode=False)
    assert json.loads(inside.stdout)["name"] == "odd"
