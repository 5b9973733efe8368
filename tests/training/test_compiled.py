"""Trainings with torch.compile: the same steps by fused kernels."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.core.errors import BenchError
from bench.training import compiled as compiled_module
from bench.training.checkpoint import Checkpoint
from bench.training.compiled import compiled
from bench.training.parallel.averaged import averaged
from bench.training.recipes import resolve
from tests.helpers import tiny, trained
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path


class Recorder:
    """A backend that keeps the compiled graphs and runs their operations one by one."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs.append(graph)
        return graph.forward


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    backend = Recorder()
    monkeypatch.setattr(compiled_module, "BACKEND", backend)
    return backend


def fitted(name: str, kind: str = "profiles", cls: Any = None, **options: Any) -> Any:
    cls = compiled(cls or trained.method_class(name))
    method = cls(trained.make_params("m", cls.Params, {}))
    method.fit(trained.samples_of(kind), None, trained.context(kind, **options))
    return method


def same(a: Any, b: Any) -> bool:
    first, second = a.state(), b.state()
    return list(first) == list(second) and all(
        np.array_equal(first[key], second[key]) for key in first if key != "config"
    )


@pytest.mark.parametrize(
    "name, kind", [("erm", "images"), ("ben", "images"), ("dann", "profiles"), ("ben", "profiles")]
)
def test_the_graphs_of_a_network_train_as_the_network(
    name: str, kind: str, recorder: Recorder
) -> None:
    method = fitted(name, kind)
    assert sum(len(graph.graph.nodes) for graph in recorder.graphs) > 20
    usual = trained.fitted(name, trained.samples_of(kind))
    assert same(method, usual)
    n_graphs = len(recorder.graphs)
    view = trained.plate_of(trained.samples_of(kind))
    assert np.array_equal(method.apply(view).X, usual.apply(view).X)
    assert len(recorder.graphs) == n_graphs, "inference is not compiled"
    again = type(method).from_state(method.params, method.state())
    assert np.array_equal(again.apply(view).X, usual.apply(view).X)


def test_several_batches_per_step_are_compiled(recorder: Recorder) -> None:
    cls = averaged(trained.method_class("erm"))
    method = fitted("erm", cls=cls, batches_per_step=2)
    assert recorder.graphs
    plain = cls(method.params)
    plain.fit(trained.profiles(), None, trained.context(batches_per_step=2))
    assert same(method, plain)


def test_an_interrupted_training_continues(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted("erm")
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)

    class Stop(Exception):
        pass

    save = Checkpoint.save

    def stop(self: Checkpoint, state: Any) -> None:
        save(self, state)
        if state["step"] == 3:
            raise Stop

    monkeypatch.setattr(Checkpoint, "save", stop)
    with pytest.raises(Stop):
        fitted("erm", scratch=tmp_path)
    monkeypatch.setattr(Checkpoint, "save", save)
    assert same(fitted("erm", scratch=tmp_path), whole)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here: apt-get install g++")
@pytest.mark.skipif("BENCH_TEST_SERVICES" not in os.environ, reason="needs BENCH_TEST_SERVICES=1")
@pytest.mark.services
def test_fused_kernels_give_the_weights_up_to_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    method = fitted("erm", steps=3)
    usual = trained.fitted("erm", trained.profiles(), {"steps": 3})
    weights, expected = method.state(), usual.state()
    for key in expected:
        if key != "config":
            np.testing.assert_allclose(weights[key], expected[key], rtol=1e-3, atol=1e-5)
    assert not same(method, usual)
    assert list((tmp_path / "compiled").rglob("*.so"))
    assert not list(tmp_path.rglob("*.pkl"))


def test_a_backend_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiled_module, "BACKEND", broken)
    with raises(BenchError, "recipe.compile"):
        fitted("erm")


def test_errors_of_a_method_are_its_own(recorder: Recorder) -> None:
    class Broken(trained.method_class("erm")):  # type: ignore[misc]
        def loss(self, model: Any, batch: Any) -> Any:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fitted("erm", cls=Broken)


def test_the_recipe_has_the_key_only_if_it_is_set(recorder: Recorder, tmp_path: Path) -> None:
    assert "compile" not in resolve("default", "images", {"compile": False})
    assert resolve("default", "profiles", {"compile": "true"})["compile"] is True
    bench = tiny.Bench(tmp_path / "r")
    where = tiny.task()
    [compiled_run] = bench.run("erm", where, steps=3, compile=True)
    assert recorder.graphs
    assert "bench/training/compiled.py" in compiled_run["code"]["files"]
    [usual] = bench.run("erm", where, steps=3)
    assert compiled_run["run_id"] != usual["run_id"]
    assert compiled_run["predictions_sha256"] == usual["predictions_sha256"]
