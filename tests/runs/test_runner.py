"""Runs: what is trained once, what is kept, what fails without harm, and what is caught."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.api import Access, BenchError
from bench.records.tables import predictions_digest
from bench.runs.job import Options
from bench.runs.runner import Runner
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import edit_signed
from tests.helpers.processes import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.task import Task

pytestmark = pytest.mark.usefixtures("few_penalties")


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the name of each network's class when it is trained."""
    from bench.network import NetworkMethod

    result: list[str] = []
    fit = NetworkMethod.fit

    def counted(self: Any, *args: Any) -> None:
        result.append(type(self).__name__)
        fit(self, *args)

    monkeypatch.setattr(NetworkMethod, "fit", counted)
    return result


@pytest.fixture
def bench(tmp_path: Path) -> tiny.Bench:
    return tiny.Bench(tmp_path / "results")


def two_tests() -> list[Task]:
    """Return two splits that train on the same rows."""
    data = tiny.opened()
    return [
        tiny.task(data, name=f"tiny/{p}", train={"plate": ("p0", "p1")}, test={"plate": (p,)})
        for p in ("p2", "p3")
    ]


def calls(bench: tiny.Bench, name: str) -> list[str]:
    """Return what a plugin noted in its list CALLS."""
    import sys

    module = bench.registry.entry("method", name).load().__module__
    result: list[str] = sys.modules[module].CALLS
    return result


def test_one_training_for_several_tests_and_methods(bench: tiny.Bench, fits: list[str]) -> None:
    records = bench.run("erm,ben,adabn,erm+zscore,adabn+zscore", two_tests(), seeds=2)
    assert [r["status"] for r in records] == ["ok"] * 20
    assert sorted(fits) == ["BEN", "BEN", "ERM", "ERM"]
    assert len(bench.artifacts("weights.safetensors")) == 4 + 2 * 2  # and two z-scores a seed
    of = {(r["method"], r["split"], r["spec"]["seed"]): r for r in records}
    erm = of["erm", "tiny/p2", 0]
    for method in ("adabn", "erm+zscore"):
        for split in ("tiny/p2", "tiny/p3"):
            assert of[method, split, 0]["cost"]["steps"] == erm["cost"]["steps"] == 6
    assert not (bench.store.root / "scratch").exists() or not any(
        (bench.store.root / "scratch").iterdir()
    )


def test_whoever_trains_first_trains_the_same(tmp_path: Path) -> None:
    where = two_tests()
    digests = []
    for k, order in enumerate(("erm,adabn", "adabn,erm")):
        records = tiny.Bench(tmp_path / str(k)).run(order, where)
        digests.append({(r["method"], r["split"]): r["predictions_sha256"] for r in records})
    assert digests[0] == digests[1]
    alone = tiny.Bench(tmp_path / "alone").run("adabn", where[1])[0]
    assert alone["predictions_sha256"] == digests[0]["adabn", "tiny/p3"]


def test_the_cost_is_that_of_the_chain_alone(bench: tiny.Bench) -> None:
    [first] = bench.run("erm", tiny.task())
    [chain] = bench.run("erm+zscore", tiny.task())
    [other] = bench.run("adabn", tiny.task())
    for record in (chain, other):
        assert record["cost"]["fit_s"] >= first["cost"]["fit_s"] > 0
        assert record["cost"]["steps"] == first["cost"]["steps"] == 6
        assert record["cost"]["images_seen"] == first["cost"]["images_seen"] == 6 * 16
    assert chain["cost"]["apply_s"] > first["cost"]["apply_s"]


def test_curves_stay_when_a_training_is_reused(bench: tiny.Bench) -> None:
    records = bench.run("erm,adabn,erm+zscore", two_tests())
    curves = [bench.store.find(r["run_id"]).curves() for r in records]  # type: ignore[union-attr]
    for record, curve in zip(records, curves, strict=True):
        assert curve is not None, record["method"]
        assert set(curve["stage"]) == {record["method_id"].split("+")[0]}
        for name in ("step", "name", "value"):
            assert curve[name].tolist() == curves[0][name].tolist()
    assert "loss" in set(curves[0]["name"])


def test_the_same_again_is_read_from_disk(bench: tiny.Bench, fits: list[str]) -> None:
    where = tiny.task()
    [result] = bench.run("erm", where)
    [again] = bench.run("erm", where)
    assert len(fits) == 1
    assert dict(again) == json.loads(json.dumps(dict(result)))
    assert again.path == result.path
    assert bench.said == []


def test_two_runs_from_nothing_give_equal_bits(tmp_path: Path) -> None:
    for method in ("erm", "ben+zscore"):
        item, other = (
            tiny.Bench(tmp_path / k).run(method, tiny.task())[0]["predictions_sha256"]
            for k in (f"1{method}", f"2{method}")
        )
        assert item == other


@pytest.mark.parametrize("images", [False, True])
def test_the_order_of_the_source_does_not_matter(tmp_path: Path, images: bool) -> None:
    n = len(tiny.opened().index)
    result = []
    for k, seed in enumerate((None, 1, 2)):
        order = None if seed is None else np.random.default_rng(seed).permutation(n)
        # another file has other bytes, so another digest
        data = tiny.opened(images=images, order=order, digest=str(k) * 64)
        if images and order is not None:
            whole = tiny.opened(images=True).source.read(np.arange(n))
            data = dataclasses.replace(data, source=tiny.Images(whole[order]))
        records = tiny.Bench(tmp_path / str(k)).run("erm,ben,erm+zscore", tiny.task(data))
        result.append([r["predictions_sha256"] for r in records])
    assert result[0] == result[1] == result[2]


def test_seeds_differ_and_stand_alone(bench: tiny.Bench, tmp_path: Path) -> None:
    records = bench.run("erm", tiny.task(), seeds=3)
    digests = [r["predictions_sha256"] for r in records]
    assert len(set(digests)) == 3
    assert [r["spec"]["seed"] for r in records] == [0, 1, 2]
    other = tiny.Bench(tmp_path / "other")
    job = other.jobs("erm", tiny.task(), 3)[2]
    assert Runner(other.store, Options(device="cpu")).run(job)["predictions_sha256"] == digests[2]


def test_verify_recomputes_and_touches_nothing(bench: tiny.Bench, fits: list[str]) -> None:
    where = tiny.task()
    [result] = bench.run("erm", where)
    files = {p: p.stat().st_mtime_ns for p in bench.store.root.rglob("*") if p.is_file()}
    [checked] = bench.run("erm", where, if_exists="verify")
    assert len(fits) == 2
    assert (checked["verified"], checked["status"], checked.path) == (True, "ok", result.path)
    after = {p: p.stat().st_mtime_ns for p in bench.store.root.rglob("*") if p.is_file()}
    assert after == files


def test_verify_notices_other_values(bench: tiny.Bench) -> None:
    where = tiny.task()
    [result] = bench.run("erm", where)
    file = bench.store.path_of(result["run_id"]) / "run.json"

    def change(data: dict[str, Any]) -> None:
        data["track"] = "transductive"

    edit_signed(file, change)
    content = file.read_bytes()
    [checked] = bench.run("erm", where, if_exists="verify")
    assert (checked["verified"], checked["status"]) == (False, "failed")
    mentions(checked["reason"], "verify", "track", "transductive")
    assert file.read_bytes() == content, "verifying writes nothing"


def test_verify_of_an_edited_record_names_it(bench: tiny.Bench) -> None:
    where = tiny.task()
    [result] = bench.run("zscore", where)
    folder = bench.store.path_of(result["run_id"])
    (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace('"ranked": false', '"ranked": true')
    )
    [checked] = bench.run("zscore", where, if_exists="verify")
    assert checked["status"] == "failed"
    mentions(checked["reason"], folder)
    [again] = bench.run("zscore", where)
    assert again.status == "ok"
    assert again["ranked"] is False
    assert len(list((bench.store.root / "damaged").iterdir())) == 1, "nothing is deleted"


def test_verify_of_what_is_not_there_makes_it(bench: tiny.Bench) -> None:
    [result] = bench.run("erm", tiny.task(), if_exists="verify")
    assert bench.store.find(result["run_id"]) is not None


def test_rerun_makes_trainings_again_once(bench: tiny.Bench, fits: list[str]) -> None:
    where = two_tests()
    first = bench.run("erm,adabn", where)
    before = {p: p.stat().st_ino for p in bench.artifacts("meta.json")}
    again = bench.run("erm,adabn", where, if_exists="rerun")
    assert fits == ["ERM", "ERM"]  # one for all four runs, each time
    assert {p: p.stat().st_ino for p in bench.artifacts("meta.json")}.keys() == before.keys()
    assert all(p.stat().st_ino != ino for p, ino in before.items())
    assert [r["predictions_sha256"] for r in first] == [r["predictions_sha256"] for r in again]
    assert len(bench.store.load_all()) == 4


SHIFT = """
class M(Profile):
    def fit(self, train, adapt, ctx):
        CALLS.append("fit")
        self.shift = np.float32(SHIFT)

    def apply(self, samples):
        return Output(samples.X * self.shift)

    def state(self):
        return {"shift": np.array([self.shift], np.float32)}

    @classmethod
    def from_state(cls, params, state):
        made = cls(params)
        made.shift = state["shift"][0]
        return made
"""


def test_a_changed_source_is_said_and_rerun_takes_nothing_old(tmp_path: Path) -> None:
    where = two_tests()
    text = [SHIFT.replace("SHIFT)", f"{k})") for k in (1, -1)]
    item = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path / "a", "mine", text[0]))
    [first] = item.run("mine", where[0])
    two = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path / "b", "mine", text[1]))
    [same] = two.run("mine", where[0])
    assert same["predictions_sha256"] == first["predictions_sha256"]
    assert len(two.said) == 1
    assert "plugin/mine.py" in two.said[0]
    # Another test of the same training: what the old source trained is not taken.
    two.said.clear()
    two.run("mine", where[1])
    assert calls(two, "mine") == ["fit"]
    assert len(two.said) == 1
    assert "plugin/mine.py" in two.said[0]
    two.run("mine", where[1])
    assert calls(two, "mine") == ["fit"]
    [again] = two.run("mine", where[0], if_exists="rerun")
    clean = tiny.Bench(tmp_path / "clean", tmp_path / "b" / "mine.py").run("mine", where[0])
    assert again["predictions_sha256"] == clean[0]["predictions_sha256"]


def test_what_follows_a_changed_stage_is_made_again(tmp_path: Path) -> None:
    where = two_tests()[0]
    text = [SHIFT.replace("SHIFT)", f"{k})") for k in (1, 7)]
    item = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path / "a", "mine", text[0]))
    item.run("mine,mine+zscore", where)
    two = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path / "b", "mine", text[1]))
    ids = [f["apply_id"] for f in two.jobs("mine+zscore", where)[0].spec()["folds"][0]["stages"]]
    old = [item.store.read_artifact("apply", i) for i in ids[1:]]
    two.run("mine+zscore", where, if_exists="rerun")
    new = [two.store.read_artifact("apply", i) for i in ids[1:]]
    factor = new[0].arrays["embeddings"] / old[0].arrays["embeddings"]  # type: ignore[union-attr]
    np.testing.assert_allclose(factor, 7)
    np.testing.assert_allclose(  # which the z-score takes out again
        new[1].arrays["embeddings"],  # type: ignore[union-attr]
        old[1].arrays["embeddings"],  # type: ignore[union-attr]
        atol=1e-4,
    )


FAILS = """
import os
from pathlib import Path

class M(Profile):
    def fit(self, train, adapt, ctx):
        CALLS.append("fit")
        if Path(os.environ["TINY_FLAG"]).exists():
            {raising}
"""


@pytest.mark.parametrize(
    "raising, reason",
    [
        ("raise ValueError('no such luck')", "ValueError: no such luck"),
        ("raise RunFailed('the loss is not finite at step 3')", "the loss is not finite at step 3"),
        ("raise ZeroDivisionError", "ZeroDivisionError"),
        ("train.controls()", "controls"),
        ("raise MemoryError('far too much')", "MemoryError: far too much"),
    ],
)
def test_a_failed_run_is_kept_aside_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raising: str, reason: str
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setenv("TINY_FLAG", str(flag))
    plugin = tiny.write_method(tmp_path, "fails", FAILS.format(raising=raising))
    bench = tiny.Bench(tmp_path / "r", plugin)
    failed, other = bench.run("fails,identity", tiny.task())
    assert failed["status"] == "failed"
    mentions(failed["reason"], reason)
    assert not failed["ranked"]
    assert other["status"] == "ok"
    assert bench.store.find(failed["run_id"]) is None
    [kept] = bench.store.failures()
    about = kept["about"]
    assert (about["method"], about["split"], about["seed"]) == ("fails", "tiny/last", 0)
    assert "Traceback" in (kept["path"] / "traceback.txt").read_text()
    assert failed.path == kept["path"]
    flag.unlink()
    [again] = bench.run("fails", tiny.task())
    assert again["status"] == "ok"
    assert bench.store.failures() == []


def test_bad_input_stops_everything(tmp_path: Path) -> None:
    body = "from bench.api import BenchError\n" + FAILS.format(raising="raise BenchError('look')")
    plugin = tiny.write_method(tmp_path, "stops", body.replace("if Path", "if not Path"))
    bench = tiny.Bench(tmp_path / "r", plugin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_FLAG", str(tmp_path / "none"))
        with raises(BenchError, "look", fix=False):
            bench.run("stops", tiny.task())
    assert bench.store.load_all() == []
    assert bench.store.failures() == []


@pytest.mark.parametrize(
    "returned, reason",
    [
        ("Output(samples.X[:-1])", ("shape",)),
        ("Output(samples.X.astype(np.float64))", ("float64",)),
        ("Output(samples.X * np.float32(np.nan))", ()),
        ("samples.X", ("Output",)),
    ],
)
def test_outputs_that_break_the_contract(tmp_path: Path, returned: str, reason: str) -> None:
    body = f"class M(Profile):\n    def apply(self, samples):\n        return {returned}\n"
    [record] = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "odd", body)).run(
        "odd", tiny.task()
    )
    assert record["status"] == "failed"
    mentions(record["reason"], *reason)


def test_a_loss_that_is_not_finite_is_a_failed_run(bench: tiny.Bench) -> None:
    [record] = bench.run("erm", tiny.task(), lr=1000, steps=200, warmup=0, schedule="constant")
    if record["status"] == "failed":  # it may also survive: then the record is an ordinary one
        assert bench.store.find(record["run_id"]) is None


def test_what_does_not_apply_is_known_before_any_training(
    bench: tiny.Bench, fits: list[str]
) -> None:
    where = tiny.task(tiny.opened(controls=0))
    records = bench.run("ben-controls,erm+zscore,zscore", where)
    assert {r["status"] for r in records} == {"not-applicable"}
    assert all("controls" in r["reason"] for r in records)
    assert fits == []
    kept = bench.store.find(records[0]["run_id"])
    assert kept is not None
    assert kept["metrics"] == {}


@pytest.mark.parametrize("only_test, side", [(False, "test"), (True, "training")])
def test_controls_are_needed_on_both_sides(bench: tiny.Bench, only_test: bool, side: str) -> None:
    index, X = tiny.frame()
    keep = (~index["control"] | ((index["plate"] == "p3") == only_test)).to_numpy()
    data = tiny.opened(index=index[keep].reset_index(drop=True), X=X[keep])
    [record] = bench.run("zscore", tiny.task(data))
    assert record["status"] == "not-applicable"
    mentions(record["reason"], "controls", side)


def test_a_method_may_say_so_itself(tmp_path: Path) -> None:
    body = (
        "class M(Profile):\n    def fit(self, train, adapt, ctx):\n"
        "        raise NotApplicable('it rains')\n"
    )
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "rain", body))
    [record] = bench.run("rain", tiny.task())
    assert (record["status"], record["reason"]) == ("not-applicable", "it rains")
    assert bench.store.find(record["run_id"]) is not None


def test_a_method_of_several_training_batches_does_not_apply_to_one(bench: tiny.Bench) -> None:
    where = tiny.task(train={"plate": ("p0",)}, test={"plate": ("p3",)})
    [record] = bench.run("ben", where)
    assert record["status"] == "not-applicable"
    mentions(record["reason"], "plate")
    [record] = bench.run("erm", where, standardise="plate")  # a recipe is no batch-wise training
    assert record["status"] == "ok"


def test_values_for_a_method_that_does_not_run(bench: tiny.Bench) -> None:
    with raises(BenchError, "--set", "ben"):
        bench.run("erm", tiny.task(), values={"ben": {"rows": "all"}})


CHEATS = {
    "mean of the call": "X = samples.X - samples.X.mean(axis=0)",
    "running mean": "X = samples.X - self.seen(samples.X)",
    "a small feature of many": "X = samples.X.copy(); X[:, 5] -= X[:, 5].mean()",
    "order": "X = samples.X + np.arange(len(samples), dtype=np.float32)[:, None]",
    "size of the call": "X = samples.X * len(samples)",
}
BODY = """
class M(Profile):
    ACCESS = {access}
    total = 0.0
    n = 0

    def seen(self, X):
        self.total = self.total + X.sum(axis=0)
        self.n += len(X)
        return self.total / self.n

    def apply(self, samples):
        {does}
        return Output(X.astype(np.float32))
"""


def cheat(tmp_path: Path, does: str, access: str = "Access.NONE", **options: Any) -> dict[str, Any]:
    plugin = tiny.write_method(tmp_path, "cheat", BODY.format(access=access, does=does))
    bench = tiny.Bench(tmp_path / "r", plugin)
    data = options.pop("data", None)
    [record] = bench.run("cheat", tiny.task(data, **options))
    return record


@pytest.mark.parametrize("does", CHEATS.values(), ids=CHEATS.keys())
def test_adapting_without_saying_so_is_caught(tmp_path: Path, does: str) -> None:
    index, X = tiny.frame()
    X[:, 0] = X[:, 0] * 1e6 + 1e7  # numbers so large that they would hide the others
    record = cheat(tmp_path, does, data=tiny.opened(index=index, X=X))
    assert record["status"] == "ok"
    assert "test-batch access was not declared" in record["undeclared_adaptation"]
    assert record["unranked_because"][-1] == "undeclared adaptation"
    assert not record["ranked"]


SMALL = {
    "rows": ("Access.NONE", "X = samples.X - EPSILON * samples.X.mean(axis=0)"),
    "carried": ("Access.TEST_BATCH", "X = samples.X - EPSILON * self.seen(samples.X)"),
    "treated": (
        "Access.CONTROLS | Access.TEST_CONTROLS",
        "X = samples.X - EPSILON * samples.X.mean(axis=0)",
    ),
}


@pytest.mark.parametrize("kind", SMALL)
def test_small_adaptation_is_noticed(kind: str, tmp_path: Path) -> None:
    access, does = SMALL[kind]
    whole = {"test": {"week": ("w1",)}, "shares": (), "hold_out": None}
    record = cheat(tmp_path, does.replace("EPSILON", "2e-3"), access, **whole)
    assert record["status"] == "ok"
    assert record["undeclared_adaptation"]


NOISY = """
X = samples.X + np.random.default_rng().normal(size=samples.X.shape) * 1e-4
"""


def test_outputs_that_do_not_repeat_have_the_larger_tolerance(tmp_path: Path) -> None:
    record = cheat(tmp_path, NOISY.strip())
    assert record["status"] == "ok"
    assert record["undeclared_adaptation"] is None


@pytest.mark.parametrize(
    "does", ["X = samples.X", "X = np.tanh(samples.X) @ np.ones((6, 3), np.float32)"]
)
def test_honest_methods_are_ranked(tmp_path: Path, does: str) -> None:
    record = cheat(tmp_path, does, data=dataclasses.replace(tiny.opened(), edition="real"))
    assert record["undeclared_adaptation"] is None
    assert record["ranked"]


def test_a_declared_batch_may_be_used_but_not_carried_over(tmp_path: Path) -> None:
    whole = {"test": {"week": ("w1",)}, "shares": ()}
    own = cheat(
        tmp_path / "a", CHEATS["mean of the call"], "Access.TEST_BATCH", hold_out=None, **whole
    )
    assert own["undeclared_adaptation"] is None
    carried = cheat(
        tmp_path / "b", CHEATS["running mean"], "Access.TEST_BATCH", hold_out=None, **whole
    )
    assert "after other test batches were seen" in carried["undeclared_adaptation"]


CONTROLS = "Access.CONTROLS | Access.TEST_CONTROLS"


def test_only_the_controls_that_were_declared(tmp_path: Path) -> None:
    honest = "c = samples.controls(); X = samples.X - samples.X[c].mean(axis=0)"
    assert cheat(tmp_path / "a", honest, CONTROLS)["undeclared_adaptation"] is None
    record = cheat(tmp_path / "b", CHEATS["mean of the call"], CONTROLS)
    assert "only its controls were declared" in record["undeclared_adaptation"]


def test_a_batch_without_controls_gives_no_leave_to_use_all(tmp_path: Path) -> None:
    does = (
        "c = samples.controls(); c = c if c.any() else ~c; "
        "X = samples.X - samples.X[c].mean(axis=0)"
    )
    index, X = tiny.frame(batches=6)
    keep = (~index["control"] | (index["plate"] != "p5")).to_numpy()
    data = tiny.opened(index=index[keep].reset_index(drop=True), X=X[keep])
    record = cheat(tmp_path, does, CONTROLS, data=data, test={"plate": ("p4", "p5")})
    assert "only its controls were declared" in record["undeclared_adaptation"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("images", [False, True])
def test_rounding_is_no_adaptation(bench: tiny.Bench, images: bool, precision: str) -> None:
    where = tiny.task(tiny.opened(images=images, per_class=120, batches=4))
    for record in bench.run("erm,ben,adabn", where, precision=precision):
        assert record["status"] == "ok"
        assert record["undeclared_adaptation"] is None, record["method"]


LOOKS = """
class M(Profile):
    ACCESS = Access.TRAIN_BATCH | Access.CONTROLS | Access.TEST_BATCH

    def fit(self, train, adapt, ctx):
        assert any(v == "golgi" for v in walk([{"a": np.array(["golgi"])}], set()))
        self.check(train)
        self.check(ctx)
        ctx.recipe["steps"] = 10 ** 9  # changes a copy
        assert set(train.y) == {-1, 0, 1, 2}

    def apply(self, samples):
        assert set(samples.y) == {-1}
        self.check(samples)
        return Output(samples.X.copy())

    def check(self, samples):
        for value in walk(samples, set()):
            assert not (isinstance(value, str) and value in FORBIDDEN), value


FORBIDDEN = {"actin", "golgi", "nucleus", "p0", "p1", "p2", "p3", "p0-w00", "A00", "plate"}


def walk(value, seen):
    if id(value) in seen or isinstance(value, (int, float, type)):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, np.ndarray):
        yield from walk(value.base, seen)
        if value.dtype.kind in "OU":
            yield from map(str, value.ravel().tolist())
    elif isinstance(value, (dict, list, tuple, set)):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            yield from walk(part, seen)
    elif callable(value):
        for cell in getattr(value, "__closure__", None) or ():
            yield from walk(cell.cell_contents, seen)
        yield from walk(getattr(value, "__self__", None), seen)
    elif not isinstance(value, (str, bytes)):
        for name in getattr(type(value), "__slots__", getattr(value, "__dict__", ())):
            yield from walk(getattr(value, name), seen)
"""


def test_no_label_or_name_is_reachable_from_what_a_method_gets(tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "looks", LOOKS))
    records = bench.run("looks,erm", tiny.task())
    assert [r["status"] for r in records] == ["ok", "ok"], records[0]["reason"]


def test_a_fold_with_nothing_to_score_is_not_trained(bench: tiny.Bench, fits: list[str]) -> None:
    index, X = tiny.frame()
    index.loc[(index["plate"] == "p2") & ~index["control"], "label"] = "alone"
    where = tiny.task(tiny.opened(index=index, X=X), hold_out="plate")
    assert [bool(fold.scored.any()) for fold in where.folds] == [True, True, False, True]
    [record] = bench.run("erm", where)
    assert record["status"] == "ok"
    assert len(fits) == 3
    assert record["n_eval"] == 45
    assert record["n_excluded"] == 15
    assert record["excluded_classes"] == ["alone"]
    mentions(record["notes"], "fold", "p2")
    assert record["batches"]["n_test"] == 3
    assert "fold=p2" not in record["metrics"]["accuracy"]


def test_small_batches_are_counted_on_the_test_side(bench: tiny.Bench) -> None:
    index, X = tiny.frame(batches=6)
    small = ((index["plate"] == "p5") | (index["plate"] == "p0")).to_numpy()
    keep = ~small | ((np.arange(len(index)) % 19 < 1) | index["control"].to_numpy())
    index, X = index[keep].reset_index(drop=True), X[keep]
    where = tiny.task(tiny.opened(index=index, X=X), test={"plate": ("p4", "p5")})
    least = {"adabn": {"min_rows": 6}, "zscore": {"min_rows": 6, "rows": "all"}}
    item, chain = bench.run("adabn,adabn+zscore", where, values=least)
    for record in (item, chain):
        assert record["batches"]["n_test"] == 2
        assert record["batches"]["fallbacks"] == 1  # once, although both stages met it
        assert (record["batches"]["rows_min"], record["batches"]["rows_max"]) == (5, 19)
        mentions(record["notes"], "1 test batch")
        mentions(record["notes"], "1 training batch")


def test_predictions_match_their_digest(bench: tiny.Bench) -> None:
    [record] = bench.run("ben", tiny.task(hold_out="plate"))
    kept = bench.store.find(record["run_id"])
    assert kept is not None
    frame = kept.predictions()
    assert frame is not None
    assert predictions_digest(frame) == record["predictions_sha256"]
    assert record["classes"] == list(tiny.LABELS)
    right = frame["y_true"] == frame["y_pred"]
    assert right.mean() == pytest.approx(record["metrics"]["accuracy"]["all"])
    canonical = json.dumps(dict(record), allow_nan=False)
    assert json.loads(canonical)["readout"] == "head"


UNSUPERVISED = (
    '\n[splits.all]\nprotocol = "unsupervised"\ntest = "all"\nmetrics = ["nscb", "nsc"]\n'
)


def test_without_training_labels_go_nowhere(tmp_path: Path, fits: list[str]) -> None:
    keys = 'treatment = ["label", "position"]\ncompound = "position"\nnscb_batch = "week"\n'
    [where] = tiny.open_table(tiny.write_table(tmp_path, UNSUPERVISED, keys))
    body = (
        "class M(Profile):\n    def fit(self, train, adapt, ctx):\n"
        "        assert set(train.y) == {-1}\n        CALLS.append('fit')\n"
    )
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "blind", body))
    records = {r["method"]: r for r in bench.run("zscore,blind,erm,identity,label-oracle", where)}
    assert records["erm"]["status"] == "not-applicable"
    assert "labels" in records["erm"]["reason"]
    assert fits == []
    for method in ("zscore", "blind"):
        assert records[method]["status"] == "ok", records[method]["reason"]
        assert records[method]["track"] == "transductive"
    assert records["identity"]["track"] == "reference"
    assert records["label-oracle"]["metrics"]["nscb"]["all"] == 1.0


def test_chains_without_training_share_profiles_and_not_their_order(tmp_path: Path) -> None:
    keys = 'treatment = ["label", "position"]\ncompound = "position"\nnscb_batch = "week"\n'
    [where] = tiny.open_table(tiny.write_table(tmp_path, UNSUPERVISED, keys))
    # both sides are the same rows in two orders: the second chain takes the first one's profiles
    shared = tiny.Bench(tmp_path / "shared")
    shared.run("zscore", where)
    [after] = shared.run("zscore+robust", where)
    [alone] = tiny.Bench(tmp_path / "alone").run("zscore+robust", where)
    assert after["status"] == "ok", after["reason"]
    assert after["predictions_sha256"] == alone["predictions_sha256"]


@pytest.mark.parametrize("images", [False, True])
def test_standardising_by_plate(bench: tiny.Bench, images: bool) -> None:
    where = tiny.task(tiny.opened(images=images, per_class=10))
    records = bench.run("erm,ben,adabn,erm-plate", where, standardise="plate")
    for record in records:
        assert record["status"] == "ok", record["reason"]
        assert record["track"] == "test-batch"
        assert record["undeclared_adaptation"] is None
        assert record["spec"]["standardise"] == "plate"


def test_a_plate_that_is_standardised_may_be_shifted_and_scaled(tmp_path: Path) -> None:
    index, X = tiny.frame()
    result = []
    for k, (scale, shift) in enumerate(((1.0, 0.0), (2.0, 8.0))):
        moved = X.copy()
        mask = (index["plate"] == "p3").to_numpy()
        moved[mask] = moved[mask] * np.float32(scale) + np.float32(shift)
        where = tiny.task(tiny.opened(index=index, X=moved, digest=str(k) * 64))
        bench = tiny.Bench(tmp_path / str(k))
        [record] = bench.run("erm", where, standardise="plate")
        frame = bench.store.find(record["run_id"]).predictions()  # type: ignore[union-attr]
        assert frame is not None
        result.append(np.stack(frame["scores"].to_list()))
    np.testing.assert_allclose(result[0], result[1], atol=1e-4)


def test_exposed_columns_reach_the_method_and_the_record(tmp_path: Path) -> None:
    body = (
        "class M(Profile):\n    def apply(self, samples):\n"
        "        count = samples.exposed['count'].astype(np.float32)\n"
        "        return Output(count[:, None])\n"
    )
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "counts", body))
    [record] = bench.run("counts", tiny.task(expose=("count",)))
    assert record["status"] == "ok"
    assert record["exposed"] == ["count"]


def test_levels_group_the_test_batches(tmp_path: Path) -> None:
    body = """
    @dataclass(frozen=True)
    class Params:
        level: str = param("", "the level", phase="apply")


    class M(Profile):
        Params = Params
        ACCESS = Access.TEST_BATCH

        def apply(self, samples):
            assert len(set(samples.batch)) == 1
            CALLS.append(len(samples))
            return Output(samples.X.copy())
    """
    plugin = tiny.write_method(tmp_path, "grouped", body)
    bench = tiny.Bench(tmp_path / "r", plugin)
    where = tiny.task(tiny.opened(batches=6), test={"week": ("w1", "w2")})
    bench.run("grouped", where)
    # train: two plates; test: four, and the first and the last once more to look for cheats
    assert calls(bench, "grouped") == ["fit"] + [19] * (2 + 4 + 2)
    calls(bench, "grouped").clear()
    [record] = bench.run("grouped", where, values={"grouped": {"level": "week"}})
    assert calls(bench, "grouped") == [38] * (1 + 2 + 2)
    assert record["level"] == "week"
    assert record["batches"]["n_test"] == 2


def test_access_decides_what_a_fit_sees(tmp_path: Path) -> None:
    body = """
    class M(Profile):
        ACCESS = Access.ADAPT | Access.TRAIN_BATCH

        def fit(self, train, adapt, ctx):
            assert len(set(train.batch)) == 3
            assert len(adapt) == 19
            assert set(adapt.y) == {-1}
            assert len(set(adapt.batch)) == 1
    """
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "adapts", body))
    [record] = bench.run("adapts", tiny.task())
    assert record["status"] == "ok", record["reason"]
    assert record["track"] == "transductive"
    assert Access.parse(record["access"]) == Access.ADAPT | Access.TRAIN_BATCH


def test_curves_hold_numbers_only(tmp_path: Path) -> None:
    body = """
    class M(Profile):
        def fit(self, train, adapt, ctx):
            ctx.log(0, loss=float("nan"), other=1.5)
            ctx.log(1, loss=np.float32(0.25))
            ctx.progress(2, 2)
    """
    bench = tiny.Bench(tmp_path / "r", tiny.write_method(tmp_path, "logs", body))
    [record] = bench.run("logs", tiny.task())
    curve = bench.store.find(record["run_id"]).curves()  # type: ignore[union-attr]
    assert curve is not None
    assert curve[["step", "name", "value"]].to_numpy().tolist() == [
        [0, "other", 1.5],
        [1, "loss", 0.25],
    ]


def test_a_checkpoint_whose_folder_another_process_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pathlib
    import shutil

    from bench.training.checkpoint import Checkpoint

    replace = pathlib.Path.replace

    def cleared(self: pathlib.Path, task: pathlib.Path) -> pathlib.Path:
        shutil.rmtree(self.parent)
        return replace(self, task)

    checkpoint = Checkpoint(tmp_path / "fit", "a")
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", cleared)
        checkpoint.save({"step": 1})
    assert checkpoint.load("cpu") is None
    checkpoint.save({"step": 2})
    assert checkpoint.load("cpu") == {"step": 2, "fingerprint": "a"}


def test_a_record_of_other_threads_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_THREADS", "1")
    bench = tiny.Bench(tmp_path / "r")
    first = bench.run("erm,zscore", tiny.task())
    assert not [line for line in bench.said if "thread" in line]
    monkeypatch.setenv("BENCH_THREADS", "2")
    again = bench.run("erm,zscore", tiny.task())
    assert [r["provenance"] for r in again] == [r["provenance"] for r in first]
    [line] = [line for line in bench.said if "thread" in line]
    mentions(line, "erm", "1 thread", "2")


def _run(folder: Path, out: Any, start: Any) -> None:
    import torch

    torch.set_num_threads(1)
    start.wait()
    bench = tiny.Bench(folder)
    out.put([(r["status"], r["predictions_sha256"]) for r in bench.run("erm,ben", tiny.task())])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_two_processes_make_the_same_run_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # saves the import of libraries
    out, start = context.Queue(), context.Event()
    both = [context.Process(target=_run, args=(tmp_path / "r", out, start)) for _ in range(2)]
    for process in both:
        process.start()
    start.set()
    result = [out.get(timeout=PATIENCE) for _ in both]
    for process in both:
        process.join(timeout=PATIENCE)
    assert result[0] == result[1]
    bench = tiny.Bench(tmp_path / "r")
    assert len(bench.store.load_all()) == 2
    assert {status for status, _ in result[0]} == {"ok"}
    [again, _] = bench.run("erm,ben", tiny.task(), if_exists="verify")
    assert again["verified"]
    assert not any((bench.store.root / "tmp").iterdir())
