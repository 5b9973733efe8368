"""Conformance checks: correct extensions pass, and each violation fails its check."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from bench.api import Access, BenchError, Context, Opened, Output, Samples, param
from bench.core.control_names import is_control_row
from bench.core.registry import Registry
from bench.testing.dataset import check_dataset
from bench.testing.method import check_method
from bench.testing.metric import _MetricChecks
from bench.testing.synthetic import Broken, synthetic_data
from tests.helpers.caller import bench
from tests.helpers.errors import mentions, raises
from tests.helpers.extras import skip_without

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
METHODS = [e for e in Registry().entries("method") if not is_control_row(e.meta.get("level"))]


def failures(cls: Any, **options: Any) -> dict[str, str]:
    checks = check_method(cls, raises=False, **options)
    return {check.name: check.message for check in checks if not check.ok and check.name != "META"}


@dataclass(frozen=True)
class Amount:
    level: str = param("", "batch level")
    amount: float = param(1.0, "share of the mean", low=0.0, high=1.0, search=(0.0, 1.0))


def finite(samples: Samples) -> Any:
    if samples.X is None or not np.isfinite(samples.X).all():
        raise BenchError("this method corrects profiles of finite values only: drop the others")
    return samples.X


class Good:
    """Subtracts what it learned from the training rows."""

    Params: ClassVar[type] = Amount
    declared = Access.NONE

    def __init__(self, params: Any) -> None:
        self.params = params
        self.mean = np.zeros(0)

    @classmethod
    def access(cls, params: Any) -> Access:
        return cls.declared

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        self.mean = finite(train).mean(axis=0, dtype=np.float64)

    def correct(self, samples: Samples) -> Any:
        assert samples.X is not None
        return samples.X - self.params.amount * self.mean

    def apply(self, samples: Samples) -> Output:
        return Output(self.correct(samples).astype(np.float32))

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    @classmethod
    def from_state(cls, params: Any, state: Any) -> Any:
        method = cls(params)
        method.mean = state["mean"]
        return method


class PerBatch(Good):
    declared = Access.TEST_BATCH

    def correct(self, samples: Samples) -> Any:
        assert samples.X is not None
        return samples.X - samples.X.mean(axis=0, dtype=np.float64)


class PerControls(Good):
    declared = Access.CONTROLS | Access.TEST_CONTROLS

    def correct(self, samples: Samples) -> Any:
        assert samples.X is not None
        rows = samples.controls()
        return samples.X - (samples.X[rows] if rows.any() else self.mean[None]).mean(axis=0)


class Transductive(Good):
    """Looks up its rows by id, as corrections of an entire matrix do."""

    declared = Access.ADAPT

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        assert adapt is not None
        assert adapt.X is not None
        assert train.X is not None
        ids = np.concatenate([train.ids, adapt.ids])
        order = np.argsort(ids)
        self.ids, self.rows = ids[order], np.concatenate([finite(train), adapt.X])[order]

    def correct(self, samples: Samples) -> Any:
        return self.rows[np.searchsorted(self.ids, samples.ids)]

    def state(self) -> dict[str, Any]:
        return {"ids": np.array([[int(x, 16)] for x in self.ids], np.uint64), "rows": self.rows}

    @classmethod
    def from_state(cls, params: Any, state: Any) -> Any:
        method = cls(params)
        method.ids = np.array([f"{int(x):016x}" for x in state["ids"][:, 0]])
        method.rows = state["rows"]
        return method


@pytest.mark.parametrize("cls", [Good, PerBatch, PerControls, Transductive])
def test_what_keeps_the_contract_passes(cls: Any) -> None:
    assert failures(cls) == {}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(e, id=e.name, marks=[pytest.mark.slow] if e.meta["level"] == "network" else [])
        for e in METHODS
    ],
)
def test_every_packaged_method_passes(entry: Any) -> None:
    skip_without(entry.name)
    names = [check.name for check in check_method(entry.name)]
    # A method of one kind of rows has its checks named without the kind.
    reached = {"images: gradients", "gradients"} & set(names)
    assert bool(reached) == (entry.meta["level"] == "network")


class RowsSorted(Good):
    def correct(self, samples: Samples) -> Any:
        return np.sort(super().correct(samples), axis=0)


class ByPosition(Good):
    def correct(self, samples: Samples) -> Any:
        return super().correct(samples) + np.arange(len(samples))[:, None]


class Doubles(Good):
    def apply(self, samples: Samples) -> Output:
        return Output(self.correct(samples))


class OneRow(Good):
    def apply(self, samples: Samples) -> Output:
        return Output(self.correct(samples).astype(np.float32)[:1])


class NotFinite(Good):
    def correct(self, samples: Samples) -> Any:
        return np.where(np.arange(6) == 2, np.nan, super().correct(samples))


class ATuple(Good):
    def apply(self, samples: Samples) -> Any:
        return self.correct(samples), None


class FewLogits(Good):
    def apply(self, samples: Samples) -> Output:
        X = self.correct(samples).astype(np.float32)
        return Output(X, X[:, :2])


class GlobalNoise(Good):
    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        super().fit(train, adapt, ctx)
        self.mean = self.mean + np.random.standard_normal(6)  # noqa: NPY002 - the mistake that is detected


class NoisyApply(Good):
    def correct(self, samples: Samples) -> Any:
        X = super().correct(samples)
        return X + 1e-6 * np.random.default_rng().standard_normal(X.shape)


class Drifts(Good):
    def correct(self, samples: Samples) -> Any:
        X = super().correct(samples)
        self.mean = self.mean + 1e-9
        return X


class WritesInApply(Good):
    def correct(self, samples: Samples) -> Any:
        X = super().correct(samples)
        samples.X[0] = 0.0  # type: ignore[index]
        return X


class WritesInFit(Good):
    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        super().fit(train, adapt, ctx)
        train.y[:] = 0


class ScalesInPlace(Good):
    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        super().fit(train, adapt, ctx)
        train.X[:] /= 2.0  # type: ignore[index]


class SharedMemory(Good):
    seen: ClassVar[list[int]] = []

    def correct(self, samples: Samples) -> Any:
        self.seen.append(len(samples))
        return super().correct(samples)


class Half(Good):
    def state(self) -> dict[str, Any]:
        return {"mean": self.mean.astype(np.float16)}


class Words(Good):
    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "columns": np.array(["a", "b"])}


class AList(Good):
    def state(self) -> Any:
        return {"mean": self.mean.tolist()}


class WholeCall(Good):
    def correct(self, samples: Samples) -> Any:
        return samples.X - samples.X.mean(axis=0)  # type: ignore[union-attr]


class FirstIsReference(Good):
    """Every test batch is moved onto the first one that came."""

    declared = Access.TEST_BATCH
    reference: Any = None

    def correct(self, samples: Samples) -> Any:
        assert samples.X is not None
        if self.reference is None:
            self.reference = samples.X.mean(axis=0)
        return samples.X - samples.X.mean(axis=0) + self.reference


class MovingAverage(Good):
    declared = Access.TEST_BATCH

    def correct(self, samples: Samples) -> Any:
        assert samples.X is not None
        self.mean = 0.5 * self.mean + 0.5 * samples.X.mean(axis=0)
        return samples.X - self.mean


class TreatedToo(PerControls):
    def correct(self, samples: Samples) -> Any:
        return PerBatch.correct(self, samples)  # type: ignore[arg-type]


class ReadsLabels(Good):
    def correct(self, samples: Samples) -> Any:
        return super().correct(samples) + samples.y[:, None]


class ReadsIds(Good):
    def correct(self, samples: Samples) -> Any:
        number = np.array([int(name[:4], 16) / 65536 for name in samples.ids])
        return super().correct(samples) + number[:, None]


class ReadsBatchNames(PerBatch):
    def correct(self, samples: Samples) -> Any:
        return super().correct(samples) + (samples.batch[0] < "8")


class TwoRowsAtLeast(PerBatch):
    def correct(self, samples: Samples) -> Any:
        with np.errstate(all="ignore"):
            return super().correct(samples) / (samples.X.std(axis=0) if len(samples) > 1 else 0.0)  # type: ignore[union-attr]


class NeedsTwoRows(PerBatch):
    def correct(self, samples: Samples) -> Any:
        return super().correct(samples) + 0 * samples.X[1]  # type: ignore[index]


class WantsControls(Good):
    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        assert train.X is not None
        self.mean = train.X[train.controls()].mean(axis=0)


class WantsControlsLater(Good):
    def correct(self, samples: Samples) -> Any:
        return super().correct(samples) * samples.controls()[:, None]


class WantsAdapt(Good):
    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        self.mean = adapt.X.mean(axis=0)  # type: ignore[union-attr]


class OnlyTestControls(PerBatch):
    declared = Access.TEST_CONTROLS


class AccessAsWords(Good):
    @classmethod
    def access(cls, params: Any) -> Any:
        return ["test-batch"]


BREAKS = [
    (RowsSorted, "row order", "row i of the output must belong to"),
    (ByPosition, "row order", "order of rows"),
    (Doubles, "output", "float64 X: the contract says float32"),
    (OneRow, "output", "one row each is due"),
    (NotFinite, "output", "not finite"),
    (ATuple, "output", "returned a tuple: the contract says Output"),
    (FewLogits, "output", "logits"),
    (GlobalNoise, "determinism", r"ctx\.generator"),
    (NoisyApply, "side effects", "second call of apply"),
    (Drifts, "side effects", "apply changed the state"),
    (WritesInApply, "side effects", "apply wrote into the samples"),
    (WritesInFit, "fit", "fit wrote into the samples"),
    (ScalesInPlace, "fit", "samples are read-only"),
    (SharedMemory, "side effects", "class attribute seen"),
    (Half, "state", "full precision"),
    (Words, "state", "only numbers and bools"),
    (AList, "state", "must be a numpy array"),
    (WholeCall, "independent rows", "undeclared adaptation.*declare Access.TEST_BATCH"),
    (FirstIsReference, "independent batches", "after other test batches were seen"),
    (MovingAverage, "independent batches", "after other test batches were seen"),
    (TreatedToo, "independent batches", "only its controls were declared"),
    (ReadsLabels, "labels", r"apply reads samples\.y"),
    (ReadsIds, "names", "opaque"),
    (ReadsBatchNames, "names", "opaque"),
    (TwoRowsAtLeast, "small batches", "not finite"),
    (NeedsTwoRows, "small batches", r"IndexError \(test_check\.py line \d+\).*raise BenchError"),
    (WantsControls, "fit", r"does not declare \(test_check\.py line \d+\).*controls"),
    (WantsControlsLater, "output", "does not declare.*controls"),
    (WantsAdapt, "fit", "`adapt` is None unless Access.ADAPT is declared"),
    (OnlyTestControls, "access", "add Access.CONTROLS"),
    (AccessAsWords, "access", "returned a list"),
]


@pytest.mark.parametrize("cls, name, says", BREAKS, ids=[cls.__name__ for cls, _, _ in BREAKS])
def test_each_break_fails_the_check_of_its_name(cls: Any, name: str, says: str) -> None:
    broken = failures(cls)
    assert name in broken, broken
    assert re.search(says, broken[name])
    with raises(AssertionError, name):
        check_method(cls)


def test_a_clean_refusal_of_small_batches_is_no_failure() -> None:
    class Refuses(PerBatch):
        def correct(self, samples: Samples) -> Any:
            if len(samples) < 2:
                raise BenchError("a batch of one row has no spread: leave it out")
            return super().correct(samples)

    assert failures(Refuses) == {}


def test_the_other_choices_of_a_parameter_are_run_too() -> None:
    @dataclass(frozen=True)
    class Rows:
        rows: str = param("train", "rows that give the mean", choices=("train", "batch"))

    class Chooses(Good):
        Params = Rows

        def correct(self, samples: Samples) -> Any:
            if self.params.rows == "batch":
                return WholeCall.correct(self, samples)  # type: ignore[arg-type]
            return samples.X - self.mean

    broken = failures(Chooses)
    assert list(broken) == ["rows=batch"]
    assert "undeclared adaptation" in broken["rows=batch"]


def test_parameters_are_frozen_documented_and_searched_within_their_range() -> None:
    @dataclass
    class Loose:
        amount: float = param(1.0, "share")

    @dataclass(frozen=True)
    class Bare:
        amount: float = 1.0

    @dataclass(frozen=True)
    class Dumb:
        amount: float = param(1.0, " ")

    @dataclass(frozen=True)
    class Outside:
        amount: float = param(2.0, "share", high=1.0)

    @dataclass(frozen=True)
    class FarSearch:
        amount: float = param(1.0, "share", high=1.0, search=(0.0, 5.0))

    @dataclass(frozen=True)
    class Backwards:
        amount: float = param(1.0, "share", search=(5.0, 0.5))

    @dataclass(frozen=True)
    class LogZero:
        amount: float = param(1.0, "share", search=(0.0, 5.0), log=True)

    @dataclass(frozen=True)
    class Mixed:
        amount: float = param(1.0, "share", search=(0.0, True))

    for params, says in [
        (Loose, "frozen"),
        (Bare, "param\\("),
        (Dumb, "sentence"),
        (Outside, "default"),
        (FarSearch, "search space.*not allowed"),
        (Backwards, "low < high"),
        (LogZero, "positive"),
    ]:
        broken = failures(type("Mine", (Good,), {"Params": params}))
        assert list(broken) == ["Params"], (params, broken)
        assert re.search(says, broken["Params"])
    assert failures(type("Mine", (Good,), {"Params": Mixed})) == {}


@pytest.mark.slow
def test_a_parameter_without_gradient_is_named() -> None:
    from torch import nn

    from bench.network import NetworkMethod

    class Idle(NetworkMethod):
        def extra_modules(self, n_features: int, n_classes: int, n_batches: int) -> nn.Module:
            return nn.Linear(n_features, 2, bias=False)

    meta = {"kind": "method", "name": "idle", "class": "Idle", "level": "network", "version": 1}
    module = sys.modules[Idle.__module__]
    module.META = {**meta, "summary": "Idle.", "reference": "none", "access": []}  # type: ignore[attr-defined]
    try:
        broken = failures(Idle)
    finally:
        del module.META  # type: ignore[attr-defined]
    assert list(broken) == ["images: gradients", "profiles: gradients"]
    assert "extra.weight" in broken["images: gradients"]


def new_method(folder: Path, name: str = "my-method") -> Path:
    template = (ROOT / "bench" / "cli" / "templates" / "method.py.txt").read_text()
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(template.replace("@NAME@", name).replace("@CLASS@", "Mine"))
    return path


def test_the_template_passes_unchanged(tmp_path: Path) -> None:
    check_method("my-method", plugins=(new_method(tmp_path),))


@pytest.mark.parametrize(
    "old, new, name, says",
    [
        ('"access": ["test-batch"]', '"access": []', "access", ()),
        ('"reference": "unpublished",', "", "META", ("reference",)),
        ('"summary": "Per', '"summary": "\\n Per', "META", ()),
        ('"version": 1', '"version": 0', "META", ("1",)),
    ],
)
def test_an_incomplete_literal_is_named(
    tmp_path: Path, old: str, new: str, name: str, says: str
) -> None:
    path = new_method(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    checks = check_method("my-method", plugins=(path,), raises=False)
    [failed] = [check for check in checks if not check.ok]
    assert failed.name == name
    mentions(failed.message, *says)


def test_the_file_is_named_after_the_method(tmp_path: Path) -> None:
    path = new_method(tmp_path).rename(tmp_path / "draft.py")
    with raises(AssertionError, "my_method.py"):
        check_method("my-method", plugins=(path,))


def test_the_command_prints_a_line_a_check(tmp_path: Path) -> None:
    path = new_method(tmp_path)
    done = bench("check", "my-method", "--plugin", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert all(line.startswith("ok      ") for line in lines)
    assert last == f"my-method: all {len(lines)} checks passed"


def test_the_command_says_what_fails_and_exits_with_1(tmp_path: Path) -> None:
    path = new_method(tmp_path)
    path.write_text(path.read_text().replace(".astype(np.float32)", ""))
    done = bench("check", "my-method", "--plugin", str(path))
    assert done.returncode == 1
    mentions(done.stdout, "FAILED", "output")
    assert "float32" in done.stdout
    printed = json.loads(bench("check", "my-method", "--plugin", str(path), "--json").stdout)
    assert (printed["method"], printed["ok"]) == ("my-method", False)
    assert [c["name"] for c in printed["checks"] if not c["ok"]] == ["output"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["zscor"], ("zscore",)),
        (["identity"], ()),
        (["zscore", "--plugin", "nowhere.py"], ("nowhere.py",)),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(arguments: list[str], says: str) -> None:
    done = bench("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    mentions(done.stderr, *says)


def test_the_kit_imports_no_torch_until_a_network_is_checked() -> None:
    script = (
        "import sys, bench.testing as t; t.check_method('zscore'); "
        "assert not {'torch', 'matplotlib', 'scanpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@dataclass(frozen=True)
class NoSettings:
    pass


class Made:
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def editions(self) -> list[str]:
        return ["fixture"]

    def change(self, opened: Opened) -> Opened:
        return opened

    def open(self, edition: str) -> Opened:
        return self.change(synthetic_data("images"))


def dataset_failures(change: Any) -> dict[str, str]:
    cls = type("Made", (Made,), {"change": lambda self, opened: change(opened)})
    checks = check_dataset(cls, raises=False)
    return {check.name: check.message for check in checks if not check.ok and check.name != "META"}


class Backwards:
    """Returns rows in file order, as after a sorted read from h5py without restoring the order."""

    def __init__(self, source: Any) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def read(self, rows: Any) -> Any:
        return self.source.read(np.sort(rows))


def with_column(opened: Opened, name: str, values: Any) -> Opened:
    index: pd.DataFrame = opened.index.copy()
    index[name] = values
    return replace(opened, index=index)


def test_a_data_set_that_keeps_the_contract_passes() -> None:
    assert dataset_failures(lambda opened: opened) == {}


def test_breaks_of_a_data_set_are_named() -> None:
    count = iter(range(9))
    breaks: list[tuple[Any, str, str]] = [
        (lambda o: with_column(o, "id", "same"), "index", "occurs twice"),
        (lambda o: with_column(o, "control", "no"), "index", "must be bool"),
        (lambda o: with_column(o, "plate", 3), "index", "'plate'"),
        (lambda o: with_column(o, "label", ""), "index", "no row has a label"),
        (lambda o: replace(o, index=o.index.drop(columns="plate")), "index", "no column 'plate'"),
        (lambda o: replace(o, source=Backwards(o.source)), "rows", "requested order"),
        (lambda o: replace(o, digest=str(next(count))), "digest", "hex string"),
        (lambda o: replace(o, edition="real"), "open", "edition"),
        (lambda o: replace(o, level="well"), "open", "one of levels"),
    ]
    for change, name, says in breaks:
        broken = dataset_failures(change)
        assert list(broken) == [name], broken
        assert says in broken[name]


def test_a_choice_that_requires_other_data_is_a_remark() -> None:
    @dataclass(frozen=True)
    class Params(Amount):
        kind: str = param("plain", "kind of data", choices=("plain", "coloured", "broken"))

    class Choosy(Good):
        def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
            if self.params.kind == "coloured":
                raise BenchError("coloured needs three channels: use plain")
            if self.params.kind == "broken":
                raise ValueError("no")
            super().fit(train, adapt, ctx)

    Choosy.Params = Params
    checks = {check.name: check for check in check_method(Choosy, raises=False)}
    assert checks["kind=coloured"].ok
    assert "three channels" in checks["kind=coloured"].message
    assert {name for name, check in checks.items() if not check.ok} == {"META", "kind=broken"}


@pytest.mark.slow
def test_the_packaged_data_set_passes() -> None:
    check_dataset("coos7", settings={"draw": 0, "scale": 0.05}, edition="simulated")


def metric_checks(name: str, **changes: Any) -> Any:
    registry = Registry()
    meta = {**registry.entry("metric", name).meta, **changes}
    return _MetricChecks(name, meta, registry)


@pytest.mark.parametrize("name", ["map", "map_controls"])
def test_a_false_claim_of_a_metric_fails_on_the_example(name: str) -> None:
    checks = metric_checks(name)
    value = checks.call(checks.arrays())
    assert value.n > 100
    assert 0.05 < value.value < 0.95
    assert checks._ignores() == "names, scale, rotation"
    with pytest.raises(Broken, match="translation"):
        metric_checks(name, ignores=["translation"])._ignores()
