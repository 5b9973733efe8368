"""Several batches per step: against a naive loop, the usual loop, and two processes."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.seeds import seed_for
from bench.records.store import Store
from bench.runs.code import Codes
from bench.runs.sweeps import devices as devices_module
from bench.training.checkpoint import Checkpoint
from bench.training.loop import _Loop
from bench.training.model import untrained_model
from bench.training.parallel.averaged import averaged, fit
from bench.training.parallel.group import Group
from bench.training.schedule import learning_rate
from tests.helpers import tiny, trained
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = ("erm", "ben", "dann")


def method_of(name: str, n: int) -> Any:
    cls = trained.method_class(name)
    return (averaged(cls) if n > 1 else cls)(trained.make_params("m", cls.Params, {}))


@pytest.mark.parametrize("kind", ["profiles", "images"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_batch_per_step_is_the_usual_loop(name: str, kind: str) -> None:
    samples = trained.samples_of(kind)
    usual = trained.fitted(name, samples)
    method = method_of(name, 1)
    fitted = fit(method, samples, None, trained.context(kind), Group())
    expected = usual.fitted.state()
    state = fitted.state()
    assert list(state) == list(expected)
    assert all(np.array_equal(state[key], expected[key]) for key in state)


def test_two_batches_per_step_are_those_of_a_naive_loop() -> None:
    """Two copies of the network see one batch each; gradients and averages are their means."""
    samples = trained.profiles()
    ctx = trained.context(batches_per_step=2)
    method = method_of("erm", 2)
    state = fit(method, samples, None, ctx, Group()).state()
    usual, one = method_of("erm", 1), trained.context()
    loop = _Loop(usual, samples, None, one)
    with torch.random.fork_rng():
        torch.manual_seed(seed_for("training", one.seed))
        model, _ = untrained_model(usual, loop.config, weights="none")
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(
        parameters, lr=one.recipe["lr"], weight_decay=one.recipe["weight_decay"]
    )
    for step in range(loop.total):
        copies = [copy.deepcopy(model) for _ in range(2)]
        for number, other in enumerate(copies):
            terms = loop.terms(other, loop.batch(2 * step + number))
            sum(terms.values()).backward()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, loop.total, one.recipe)
        for p, a, b in zip(model.parameters(), *(c.parameters() for c in copies), strict=True):
            p.grad = None if a.grad is None else (a.grad + b.grad) / 2
        for p, a, b in zip(model.buffers(), *(c.buffers() for c in copies), strict=True):
            p.copy_((a + b) / 2)
        optimiser.step()
    for name, value in model.state_dict().items():
        assert np.allclose(state[f"model.{name}"], value.numpy(), atol=1e-6), name


def test_statistics_of_two_plates_are_never_mixed() -> None:
    samples = trained.profiles()
    batches = []

    class Watched(trained.method_class("ben")):  # type: ignore[misc]
        def loss(self, model: Any, batch: Any) -> Any:
            batches.append(batch)
            return super().loss(model, batch)

    method = averaged(Watched)(trained.make_params("m", Watched.Params, {}))
    fit(method, samples, None, trained.context(batches_per_step=3), Group())
    assert len(batches) == 3 * trained.SMALL["steps"]
    assert all(len(set(batch.group.tolist())) == 1 for batch in batches)
    assert [batch.step for batch in batches[:6]] == [0, 0, 0, 1, 1, 1]


def test_an_interrupted_training_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "due", lambda self: self._path is not None)
    samples, ctx = trained.profiles(), trained.context(batches_per_step=2)
    expected = fit(method_of("ben", 2), samples, None, ctx, Group())

    def progress(done: int, total: int) -> None:
        if done == 3:
            raise trained.Interrupted

    cut = dataclasses.replace(ctx, scratch=tmp_path, progress=progress)
    with pytest.raises(trained.Interrupted):
        fit(method_of("ben", 2), samples, None, cut, Group())
    assert list(tmp_path.iterdir())
    again = fit(
        method_of("ben", 2), samples, None, dataclasses.replace(ctx, scratch=tmp_path), Group()
    )
    assert again.rows_seen == expected.rows_seen
    a, b = again.state(), expected.state()
    assert all(np.array_equal(a[key], b[key]) for key in b)


def test_epochs_count_rows() -> None:
    samples = trained.profiles()
    for n in (1, 2):
        ctx = trained.context(steps=0, epochs=4, **({"batches_per_step": n} if n > 1 else {}))
        fitted = fit(method_of("erm", n), samples, None, ctx, Group())
        assert fitted.steps == 4 * (len(samples) // 16) // n


@pytest.mark.parametrize("name", ["group-dro", "combat"])
def test_methods_with_a_state_of_their_own_are_refused(name: str) -> None:
    with raises(BenchError, trained.method_class(name).__name__):
        averaged(trained.method_class(name))


def test_only_such_runs_depend_on_the_code(tmp_path: Path) -> None:
    files = []
    for overrides in ({}, {"batches_per_step": 2}):
        bench_ = tiny.Bench(tmp_path)
        [job] = bench_.jobs("erm", tiny.task(), **overrides)
        files.append(Codes().of_run(job)["files"])
    more = files[1].keys() - files[0].keys()
    assert more == {f"bench/training/parallel/{name}.py" for name in ("averaged", "group")}


# ------------------------------------------------------------------ processes


def run(table: Path, results: Path, *more: str) -> list[str]:
    command = ["run", "-m", "erm,ben", "-s", f"{table}:plates", "--seeds", "1", "--device", "cpu"]
    command += ["--recipe", "smoke", "--no-controls", "--json", "--results", str(results)]
    for key, value in {"steps": 6, "batch_size": 16, "width": 8}.items():
        command += ["--set", f"recipe.{key}={value}"]
    return [*command, *more]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tiny.write_table(tmp_path / "data")
    answers = []
    for name, more in (
        ("one", ("--set", "recipe.batches_per_step=2")),
        ("two", ("--devices", "2")),
    ):
        with pytest.raises(SystemExit, match="0"):
            main(run(table, tmp_path / name, *more))
        answers.append([r["run_id"] for r in json.loads(capsys.readouterr().out)["runs"]])
    assert answers[0] == answers[1]
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    fits = {
        stage["fit_id"]
        for run_id in answers[0]
        if (record := one.find(run_id)) is not None
        for fold in record.folds
        for stage in fold["stages"]
    }
    assert len(fits) == 8
    for fit_id in fits:
        a, b = one.read_artifact("fit", fit_id), two.read_artifact("fit", fit_id)
        assert a is not None
        assert b is not None
        assert a.meta["images_seen"] == b.meta["images_seen"]
        for key, value in a.arrays.items():
            assert np.allclose(value, b.arrays[key], atol=1e-6), key


@pytest.mark.parametrize(
    "more, words",
    [
        (("--devices", "2", "--jobs", "2"), ("--devices", "--jobs")),
        (("--devices", "2", "--set", "recipe.batches_per_step=3"), ("--devices", "3")),
        (("--set", "recipe.batches_per_step=0"), ("batches_per_step", "0")),
        (("--devices", "2", "-m", "group-dro"), ("--devices",)),
    ],
)
def test_wrong_usage_is_one_line(
    more: tuple[str, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tiny.write_table(tmp_path / "data")
    with pytest.raises(SystemExit, match="2"):
        main(run(table, tmp_path / "r", *more))
    [line] = capsys.readouterr().err.splitlines()
    mentions(line, *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("there, refused", [(0, False), (1, True), (2, False)])
def test_each_process_has_a_device(
    there: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    if refused:
        with raises(BenchError, "--devices", "2"):
            devices_module.Devices(2, "auto")
    else:
        devices_module.Devices(2, "auto")
    assert devices_module._visible("4,6", 1) == "6"
    assert devices_module._visible(None, 1) == "1"
