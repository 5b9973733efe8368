"""Views: what a method did not declare is not in them, and undeclared use is detected.

The second half plants cheats, each a plugin file that is run as a user would run it.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import types
import weakref
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest

from bench.api import Access, AccessError, BenchError, Opened, Output, RunFailed
from bench.core import samples as api
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.data.views import Partition, make_partition
from bench.records.store import Store
from bench.runs.apply import assemble
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from bench.testing.synthetic import CLASSES, synthetic_data
from tests.helpers.caller import bench
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.records.record import Record

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = ~Access.NONE
PLAIN = (str, bytes, int, float, type(None), np.generic)


class FromFile:
    """A source with an open file, as the loaders of image sets are."""

    def __init__(self, path: Path, values: Any) -> None:
        with h5py.File(path, "w") as file:
            file["data"] = values
        self.file = h5py.File(path)
        self.shape, self.dtype = values.shape[1:], values.dtype

    def read(self, rows: Any) -> Any:
        order = np.argsort(rows)
        out = np.empty((len(rows), *self.shape), self.dtype)
        unique, inverse = np.unique(rows[order], return_inverse=True)
        out[order] = self.file["data"][unique][inverse]
        return out


@pytest.fixture(params=["images", "profiles"])
def opened(request: Any, tmp_path: Path) -> Iterator[Opened]:
    result = synthetic_data(request.param)
    if request.param == "profiles":
        yield result
        return
    source = FromFile(tmp_path / "rows.hdf5", result.source.read(np.arange(len(result.index))))
    yield replace(result, source=source)
    source.file.close()


def a_side(opened: Opened, role: str = "test", *address: Any, level: str = "plate") -> Partition:
    plates = ["p4", "p5", "p6"] if role == "test" else ["p0", "p1", "p2", "p3"]
    rows = np.flatnonzero(np.isin(opened.index["plate"], plates))
    return make_partition(
        opened, rows, CLASSES, level, role, *(address or (0,)), labels=role == "train"
    )


def neighbours(thing: Any) -> list[Any]:
    """Return all that an object leads to: attributes, slots, items, closures, weak references.

    Classes, modules and the globals of functions are left out: through them everything leads to
    everything.
    """
    if isinstance(thing, np.ndarray):
        result = [thing.base]
        return result + (list(thing.flat) if thing.dtype.hasobject else [])
    if isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        return [*cells, thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
    if isinstance(thing, weakref.ref):
        return [thing(), thing.__callback__]
    result = list(gc.get_referents(thing))
    for name in dir(type(thing)):
        if not name.startswith("__"):
            try:
                result.append(getattr(thing, name))
            except Exception:  # noqa: BLE001 - any exception is a refusal
                continue
    try:
        result += weakref.getweakrefs(thing)
    except TypeError:
        pass
    return result


def reachable(start: Any) -> list[Any]:
    seen: dict[int, Any] = {}
    waiting = [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, types.ModuleType)):
            continue
        if isinstance(thing, (types.BuiltinMethodType, types.MethodWrapperType)):
            continue
        seen[id(thing)] = thing
        # A table or a file is a leak by itself: no need to go on from there.
        if not isinstance(thing, (*PLAIN, pd.DataFrame, h5py.HLObject)):
            waiting += neighbours(thing)
        assert len(seen) < 100_000
    return list(seen.values())


def texts(things: list[Any]) -> set[str]:
    result = {thing for thing in things if isinstance(thing, str)}
    for thing in things:
        if isinstance(thing, np.ndarray) and thing.dtype.kind == "U":
            result.update(thing.ravel().tolist())
    return result


def secrets(opened: Opened) -> set[str]:
    columns = ("id", "well", "plate", "week")
    return {value for name in columns for value in opened.index[name]} | set(CLASSES)


def leaks(start: Any, opened: Opened, partition: Partition, *, labels: bool) -> list[str]:
    """Return what is reachable from an object and should not be, in words."""
    things = reachable(start)
    result = [f"text {text!r}" for text in texts(things) & secrets(opened)]
    forbidden = [opened, opened.index, opened.source, partition, partition.rows]
    result += [type(t).__name__ for t in things if any(t is item for item in forbidden)]
    result += [type(t).__name__ for t in things if isinstance(t, (h5py.HLObject, pd.DataFrame))]
    y = opened.index["label"].to_numpy(str)[partition.rows]
    truth = np.array([CLASSES.index(name) if name else -1 for name in y])
    for thing in things:
        if not isinstance(thing, np.ndarray):
            continue
        if thing.ndim and len(thing) > len(partition):
            result.append(f"an array of {len(thing)} rows, where the view has {len(partition)}")
        if np.array_equal(thing, partition.rows):
            result.append("the rows of the file")
        if not labels and np.array_equal(thing, truth):
            result.append("the labels")
    return result


@pytest.mark.parametrize("role", ["train", "test"])
@pytest.mark.parametrize("access", [Access.NONE, Access.CONTROLS, EVERYTHING])
def test_nothing_withheld_is_reachable_from_a_view(
    opened: Opened, role: str, access: Access
) -> None:
    partition = a_side(opened, role)
    wells = role == "train" and Access.TRAIN_WELL in access
    view = partition.view(access, batches=True, labels=role == "train", wells=wells)
    for item in (view, view.take(np.arange(5)), view.take(partition.controls)):
        assert leaks(item, opened, partition, labels=role == "train") == []
    if view.is_images:
        assert len(view.images(np.arange(3))) == 3


def test_the_walk_finds_what_is_hidden(opened: Opened) -> None:
    partition = a_side(opened)
    view = partition.view(EVERYTHING, batches=True)

    def through_a_closure() -> Any:
        return partition

    class Slots:
        __slots__ = ("hidden",)

    slots = Slots()
    slots.hidden = {"deep": [opened.index["id"].to_numpy(str)]}
    handle = types.SimpleNamespace(back=weakref.ref(opened))
    whole = np.zeros((len(opened.index), 2))
    for hidden in (through_a_closure, slots, handle, whole[partition.rows[0] :]):
        exposed = replace(view, exposed={"x": hidden})  # type: ignore[dict-item]
        assert leaks(exposed, opened, partition, labels=False) != []


def test_evaluation_rows_have_no_labels_and_no_side_holds_them(opened: Opened) -> None:
    partition = a_side(opened)
    assert (partition.y == -1).all()
    view = partition.view(EVERYTHING, batches=True, labels=True)
    assert (view.y == -1).all()
    training = a_side(opened, "train")
    assert set(training.view(EVERYTHING, batches=True, labels=True).y) == {-1, 0, 1, 2}
    assert set(training.view(EVERYTHING, batches=True).y) == {-1}


def test_controls_are_there_only_if_declared(opened: Opened) -> None:
    partition = a_side(opened)
    declared = partition.view(Access.CONTROLS, batches=True)
    np.testing.assert_array_equal(declared.controls(), partition.controls)
    np.testing.assert_array_equal(declared.take(np.arange(4)).controls(), partition.controls[:4])
    for access in (Access.NONE, Access.TEST_BATCH, Access.TEST_CONTROLS, Access.ADAPT):
        view = partition.view(access, batches=True)
        for item in (view, view.take(np.arange(4))):
            with raises(AccessError, "controls"):
                item.controls()


def test_batch_names_are_withheld_or_opaque(opened: Opened) -> None:
    partition = a_side(opened)
    assert set(partition.view(Access.NONE, batches=False).batch) == {""}
    names = partition.view(Access.NONE, batches=True).batch
    assert len(set(zip(names, partition.batch, strict=True))) == len(set(partition.batch)) == 3
    assert not set(names) & set(partition.batch)
    weeks = a_side(opened, level="week").view(Access.NONE, batches=True)
    assert len(set(weeks.batch)) == 2


def test_names_are_salted_anew_for_each_run_and_side(opened: Opened) -> None:
    runs = [a_side(opened, role, *a) for role, a in (("test", (0,)), ("test", (1,)))]
    views = [partition.view(Access.NONE, batches=True) for partition in runs]
    assert not set(views[0].ids) & set(views[1].ids)
    assert not set(views[0].batch) & set(views[1].batch)
    # The same plates on both sides, as in a test on known plates, have different names there.
    rows = np.arange(20)
    both = [
        make_partition(opened, rows, CLASSES, "plate", role, 0, labels=False).view(
            Access.NONE, batches=True
        )
        for role in ("train", "test")
    ]
    assert not set(both[0].ids) & set(both[1].ids)
    assert not set(both[0].batch) & set(both[1].batch)
    again = a_side(opened, "test", 0).view(Access.NONE, batches=True)
    np.testing.assert_array_equal(views[0].ids, again.ids)
    assert len(set(views[0].ids)) == len(views[0])


def test_row_order_is_no_function_of_the_file(opened: Opened) -> None:
    """Rank correlations of view order with file order, label and plate are those of chance."""
    n = len(a_side(opened))
    correlations = []
    for seed in range(60):
        partition = a_side(opened, "test", seed)
        label = opened.index["label"].to_numpy(str)[partition.rows]
        codes = [partition.rows, np.unique(label, return_inverse=True)[1]]
        codes.append(np.unique(partition.batch, return_inverse=True)[1])
        correlations.append([np.corrcoef(np.arange(n), code)[0, 1] for code in codes])
    # Under a random order each has mean 0 and variance 1 / (n - 1).
    z = np.sqrt(n - 1) * np.array(correlations)
    assert np.abs(z.mean(axis=0) * np.sqrt(60)).max() < 4
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=0.35)


@pytest.mark.parametrize("kind", ["images", "profiles"])
def test_the_order_of_the_file_changes_nothing(kind: str) -> None:
    """A file with its rows in another order gives the very same view."""
    opened = synthetic_data(kind)
    turn = np.random.default_rng(0).permutation(len(opened.index))
    source = type(opened.source)(opened.source.read(turn))  # type: ignore[call-arg]
    turned = replace(opened, index=opened.index.iloc[turn].reset_index(drop=True), source=source)
    item = a_side(opened).view(EVERYTHING, batches=True)
    two = a_side(turned).view(EVERYTHING, batches=True)
    np.testing.assert_array_equal(item.ids, two.ids)
    for view in (item, two):
        rows = view.images(np.arange(len(view))) if view.is_images else view.X
        np.testing.assert_array_equal(rows, opened.source.read(a_side(opened).rows))


def test_a_view_cannot_be_changed_and_its_key_goes_with_it(opened: Opened) -> None:
    gc.collect()
    before = len(api._SOURCES)
    partition = a_side(opened)
    view = partition.view(EVERYTHING, batches=True)
    with pytest.raises(FrozenInstanceError):
        view.y = partition.y  # type: ignore[misc]
    parts = [view.take(np.arange(k)) for k in range(3)]
    assert len(api._SOURCES) == before + (4 if view.is_images else 0)
    del view, parts
    gc.collect()
    assert len(api._SOURCES) == before


def test_rows_taken_belong_together(opened: Opened) -> None:
    partition = a_side(opened)
    view = partition.view(EVERYTHING, batches=True)
    idx = np.array([5, 3, 3, 60])
    part = view.take(idx)
    np.testing.assert_array_equal(part.ids, view.ids[idx])
    read = opened.source.read(partition.rows[idx])
    np.testing.assert_array_equal(part.images(np.arange(4)) if part.is_images else part.X, read)
    if part.is_images:
        out = np.empty((2, *part.shape), part.images(np.arange(1)).dtype)
        assert part.images(np.array([3, 0]), out) is out
        np.testing.assert_array_equal(out, read[[3, 0]])
    else:
        with raises(BenchError, ".X"):
            part.images(np.arange(1))


def test_parts_are_put_together_row_by_row_or_refused() -> None:
    X = np.arange(12, dtype=np.float32).reshape(6, 2)
    parts = [
        (np.array([4, 0, 2]), Output(X[[4, 0, 2]])),
        (np.array([1, 5, 3]), Output(X[[1, 5, 3]])),
    ]
    np.testing.assert_array_equal(assemble(6, parts).X, X)
    for wrong, says in [
        (Output(X[:1]), "one row each is due"),
        (Output(X[:3].astype(np.float64)), "float32"),  # type: ignore[arg-type]
        (Output(X[:3, :1]), "different widths"),
        (Output(X[:3], logits=X[:3]), "different widths"),
        (Output(X[:3], logits=X[:1]), "one row each is due"),
        (Output([[1.0]] * 3), "not a numpy array"),  # type: ignore[arg-type]
        (X[:3], "contract says Output"),
    ]:
        with raises(RunFailed, says):
            assemble(6, [parts[0], (parts[1][0], wrong)])  # type: ignore[list-item]


N_PLATES, PER_PLATE = 8, 30
TOML = """
name = "planted"
table = "planted.csv"
features = "^f_"
id = ["plate", "well"]
label = "moa"
batches = ["plate"]
control = "is_control"
treatment = ["moa"]

[splits.new]
test = { plate = ["p4", "p5", "p6", "p7"] }
"""
CHEAT = '''
"""A planted cheat."""
from dataclasses import dataclass
import numpy as np
from bench.api import Access, Output

META = {"kind": "method", "name": "cheat", "class": "Cheat", "level": "profile", "version": 1,
        "summary": "Cheats.", "reference": "none", "access": WORDS}

@dataclass(frozen=True)
class Params:
    """None."""

class Cheat:
    Params = Params
    memory = None
    calls = []

    def __init__(self, params):
        self.params = params

    @classmethod
    def access(cls, params):
        return ACCESS

    def fit(self, train, adapt, ctx):
        Cheat.calls.append(ctx)
        FIT

    def apply(self, samples):
        X = samples.X
        n = len(samples)
        BODY
        return Output(np.ascontiguousarray(X, dtype=np.float32))

    def state(self):
        return {}

    @classmethod
    def from_state(cls, params, state):
        return cls(params)
'''


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of pure noise whose well names, ids and order give every class away."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(5)
    rows = []
    for plate, k in itertools.product(range(N_PLATES), range(PER_PLATE)):
        moa = ("actin", "eg5", "tubulin", "dmso", "dmso")[k % 5]
        rows.append(
            {
                "plate": f"p{plate}",
                "well": f"{moa}-{k:02d}",
                "moa": moa,
                "is_control": moa == "dmso",
                **dict(zip(("f_a", "f_b", "f_c"), 3 * plate + rng.normal(size=3), strict=True)),
            }
        )
    frame = pd.DataFrame(rows).sort_values(["moa", "plate"])
    frame.to_csv(folder / "planted.csv", index=False)
    (folder / "planted.toml").write_text(TOML)
    return folder / "planted.toml"


def plant(
    folder: Path, access: str, body: str, fit: str = "pass", words: str | None = None
) -> Path:
    names = words or json.dumps([w.strip().lower().replace("_", "-") for w in access.split("|")])
    text = CHEAT.replace("WORDS", "[]" if access == "NONE" and words is None else names)
    flags = " | ".join(f"Access.{word.strip()}" for word in access.split("|"))
    text = text.replace("ACCESS", flags)
    for key, lines in (("FIT", fit), ("BODY", body)):
        text = text.replace(
            f"        {key}\n", "".join(f"        {x}\n" for x in lines.split("\n"))
        )
    path = folder / "cheat.py"
    path.write_text(text)
    return path


def run(planted: Path, plugin: Path, results: Path) -> Record:
    """Run a planted cheat as ``python -m bench run`` does."""
    registry = Registry((plugin,))
    tasks = open_splits([f"{planted}:new"], registry, "auto", {}, lambda line: None)
    options = Options(recipe="smoke")
    [job] = plan(["cheat"], tasks, [0], options, registry)
    return Runner(Store(results), options).run(job)


def accuracy(record: Record) -> float:
    assert record["status"] == "ok", record["reason"]
    return float(record["metrics"]["probe.accuracy"]["all"])


def at_chance(record: Record) -> bool:
    """Return whether the score is what guessing gives, within four standard errors."""
    p, n = record["chance"], record["n_eval"]
    assert (p, n) == (1 / 3, 4 * 18)
    return abs(accuracy(record) - p) < 4 * np.sqrt(p * (1 - p) / n)


ONE_HOT = "X = np.eye(3)[code % 3]"


def test_the_truth_would_score_one(planted: Path, tmp_path: Path) -> None:
    """The cheats below look for something that is worth finding."""
    registry = Registry()
    tasks = open_splits([f"{planted}:new"], registry, "auto", {}, lambda line: None)
    options = Options(recipe="smoke")
    jobs = plan(["label-oracle", "identity"], tasks, [0], options, registry)
    oracle, nothing = (Runner(Store(tmp_path), options).run(job) for job in jobs)
    assert accuracy(oracle) == 1.0
    assert at_chance(nothing)


@pytest.mark.parametrize("access", ["NONE", "TEST_BATCH", "CONTROLS | TEST_CONTROLS"])
def test_labels_of_evaluation_rows_are_not_in_the_view(
    planted: Path, tmp_path: Path, access: str
) -> None:
    body = f"code = samples.y + 1\n{ONE_HOT}"
    record = run(planted, plant(tmp_path, access, body), tmp_path / "results")
    assert at_chance(record)


@pytest.mark.parametrize("name", ["labels", "label", "opened", "source", "index", "rows", "wells"])
def test_a_guess_at_an_attribute_fails_the_run(planted: Path, tmp_path: Path, name: str) -> None:
    body = f"code = np.asarray(samples.{name})\n{ONE_HOT}"
    record = run(planted, plant(tmp_path, "TEST_BATCH", body), tmp_path / "results")
    assert record["status"] == "failed"
    mentions(record["reason"], name)
    assert not record["ranked"]


def test_ids_carry_nothing(planted: Path, tmp_path: Path) -> None:
    """Well names begin with the class; the ids of the view do not, nor do their digits help."""
    words = "['actin', 'eg5', 'tubulin']"
    body = (
        "hit = np.array([[w in str(i) for w in " + words + "] for i in samples.ids], float)\n"
        "digit = np.array([[int(c, 16) for c in str(i)] for i in samples.ids], float)\n"
        "X = np.hstack([100 * hit, digit])"
    )
    record = run(planted, plant(tmp_path, "TEST_BATCH", body), tmp_path / "results")
    assert at_chance(record)
    # The same cheat on the true ids would have worked.
    ids = pd.read_csv(planted.parent / "planted.csv")["well"]
    assert ids.str.contains("actin|eg5|tubulin|dmso").all()


@pytest.mark.parametrize("access", ["NONE", "TEST_BATCH"])
def test_row_order_carries_nothing(planted: Path, tmp_path: Path, access: str) -> None:
    """The file is sorted by class, so that the position in the file gives the class away."""
    body = "code = (3 * np.arange(n)) // max(n, 1)\n" + ONE_HOT
    record = run(planted, plant(tmp_path, access, body), tmp_path / "results")
    assert at_chance(record)
    if access == "NONE":
        assert "test-batch access was not declared" in record["undeclared_adaptation"]
        assert record["ranked"] is False


CARRIED = "a test batch gets another output after other test batches were seen"
CAUGHT = {
    "moving average": (
        "TEST_BATCH",
        "m = X.mean(axis=0)\n"
        "self.memory = m if self.memory is None else 0.5 * (self.memory + m)\n"
        "X = X - self.memory",
        CARRIED,
    ),
    "first batch as reference": (
        "TEST_BATCH",
        "m = X.mean(axis=0)\n"
        "self.memory = m if self.memory is None else self.memory\n"
        "X = X - m + self.memory * (1 + np.arange(n)[:, None] * 0)",
        CARRIED,
    ),
    "number of the call": (
        "TEST_BATCH",
        "self.memory = 1 + (self.memory or 0)\nX = X + self.memory",
        CARRIED,
    ),
    "statistics of the call": ("NONE", "X = X - X.mean(axis=0)", "access was not declared"),
    "first call as reference": (
        "NONE",
        "self.memory = X.mean(axis=0) if self.memory is None else self.memory\nX = X - self.memory",
        "access was not declared",
    ),
    "treated rows": (
        "CONTROLS | TEST_CONTROLS",
        "X = X - X.mean(axis=0)",
        "only its controls were declared",
    ),
    "treated rows in secret": (
        "CONTROLS | TEST_CONTROLS",
        "X = X - X[samples.controls()].mean(axis=0) - 0.1 * np.median(X, axis=0)",
        "only its controls were declared",
    ),
}


@pytest.mark.parametrize("cheat", CAUGHT)
def test_undeclared_adaptation_is_on_the_record_and_not_ranked(
    planted: Path, tmp_path: Path, cheat: str
) -> None:
    access, body, says = CAUGHT[cheat]
    record = run(planted, plant(tmp_path, access, body), tmp_path / "results")
    assert record["status"] == "ok"
    assert says in record["undeclared_adaptation"]
    assert record["ranked"] is False
    assert "undeclared adaptation" in record["unranked_because"]


@pytest.mark.parametrize(
    "access, body",
    [
        ("NONE", "X = X * 2"),
        ("TEST_BATCH", "X = X - X.mean(axis=0, dtype=float)"),
        ("CONTROLS | TEST_CONTROLS", "X = X - X[samples.controls()].mean(axis=0, dtype=float)"),
    ],
)
def test_what_was_declared_is_not_called_adaptation(
    planted: Path, tmp_path: Path, access: str, body: str
) -> None:
    record = run(planted, plant(tmp_path, access, body), tmp_path / "results")
    assert record["undeclared_adaptation"] is None
    assert record["unranked_because"] == ["smoke recipe"]


@pytest.mark.parametrize("where", ["fit", "apply"])
def test_controls_without_declaring_them_fail_the_run(
    planted: Path, tmp_path: Path, where: str
) -> None:
    fit = "train.controls()" if where == "fit" else "pass"
    body = "X = X * samples.controls()[:, None]" if where == "apply" else "pass"
    record = run(planted, plant(tmp_path, "TEST_BATCH", body, fit), tmp_path / "results")
    assert record["status"] == "failed"
    mentions(record["reason"], "controls")


def test_test_controls_without_controls_are_refused_before_anything_runs(
    planted: Path, tmp_path: Path
) -> None:
    """Else a method would get whole batches while its track speaks of controls alone."""
    plugin = plant(tmp_path, "TEST_CONTROLS", "X = X - X.mean(axis=0)")
    with raises(BenchError):
        run(planted, plugin, tmp_path / "results")


@pytest.mark.parametrize(
    "body, says",
    [
        ("X = X[:1]", ()),
        ("X = X * np.nan", ()),
        ("return X", ("Output",)),
        ("return Output(X.astype(float))", ("float32",)),
        ("raise ValueError('too bad')", ("ValueError",)),
        ("raise SystemError", ("SystemError",)),
    ],
)
def test_unusable_output_fails_the_run_and_is_no_result(
    planted: Path, tmp_path: Path, body: str, says: str
) -> None:
    record = run(planted, plant(tmp_path, "TEST_BATCH", body), tmp_path / "results")
    assert (record["status"], record["ranked"]) == ("failed", False)
    mentions(record["reason"], *says)
    assert Store(tmp_path / "results").load_all() == []


def test_what_a_method_is_handed_in_a_run_leads_to_no_labels(planted: Path, tmp_path: Path) -> None:
    fit = "Cheat.calls += [train, adapt]"
    body = "Cheat.calls.append(samples)"
    plugin = plant(tmp_path, "TEST_BATCH | ADAPT | TRAIN_BATCH", body, fit)
    registry = Registry((plugin,))
    [task] = open_splits([f"{planted}:new"], registry, "auto", {}, lambda line: None)
    options = Options(recipe="smoke")
    [job] = plan(["cheat"], [task], [0], options, registry)
    cls = registry.entry("method", "cheat").load()
    cls.calls = []
    assert Runner(Store(tmp_path / "results"), options).run(job)["status"] == "ok"
    assert len(cls.calls) > 4
    index = task.opened.index
    known = {"actin", "eg5", "tubulin", "dmso", *index["id"], *index["plate"]}
    for handed in cls.calls:
        things = reachable(handed)
        assert not texts(things) & known
        for thing in things:
            assert thing is not task.opened
            assert not isinstance(thing, pd.DataFrame)


def test_a_cheat_is_told_on_the_command_line(planted: Path, tmp_path: Path) -> None:
    plugin = plant(tmp_path, "NONE", "X = X - X.mean(axis=0)")
    common = ["run", "--method", "cheat", "--split", f"{planted}:new", "--recipe", "smoke"]
    common += ["--plugin", str(plugin), "--results", str(tmp_path / "results")]
    done = bench(*common)
    assert done.returncode == 0, done.stderr
    plant(tmp_path, "NONE", "X = X * samples.controls()[:, None]")
    failed = bench(*common, "--if-exists", "rerun")
    assert failed.returncode == 1
    assert "was not declared" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


def test_opaque_names_are_no_plain_hashes_of_the_ids(opened: Opened) -> None:
    """Who knows the ids of a data set cannot look them up by their digests."""
    view = a_side(opened).view(Access.NONE, batches=True)
    plain = {hashlib.sha256(i.encode()).hexdigest()[:16] for i in opened.index["id"]}
    assert not plain & set(view.ids)
