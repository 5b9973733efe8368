"""Which change moves which id."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.api import BenchError
from bench.core.canonical import digest
from bench.core.registry import Registry
from bench.runs import identity
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from bench.data.task import Task


class Ids:
    """Ids of one job: of the run, and of each stage in the first fold."""

    def __init__(self, bench: tiny.Bench, method: str, where: Task, **options: Any) -> None:
        seed = options.pop("seed", 0)
        values = options.pop("values", None)
        job = bench.jobs(method, where, seed + 1, values, **options)[seed]
        self.run = digest(job.spec())
        fold = where.folds[0]
        result = tiny.stage_ids(
            job.chain,
            bench.registry,
            where.opened,
            job.recipe,
            where.classes,
            fold.train,
            fold.test,
            seed,
            supervised=where.supervised,
            expose=where.split.expose,
        )
        self.fit = [item.fit for item in result]
        self.train = [item.apply_train for item in result]
        self.test = [item.apply_test for item in result]


@pytest.fixture
def bench(tmp_path: Path) -> tiny.Bench:
    return tiny.Bench(tmp_path / "results")


@pytest.fixture(scope="module")
def where() -> Task:
    return tiny.task()


def test_equal_jobs_have_equal_ids(bench: tiny.Bench, where: Task) -> None:
    item, other = Ids(bench, "ben+zscore", where), Ids(bench, "ben+zscore", tiny.task())
    assert vars(item) == vars(other)
    assert len({item.run, *item.fit, *item.train, *item.test}) == 7


@pytest.mark.parametrize("name, value", [("inference", "8")])
def test_apply_parameters_leave_the_fit(
    bench: tiny.Bench, where: Task, name: str, value: str
) -> None:
    plain = Ids(bench, "ben", where)
    changed = Ids(bench, "ben", where, values={"ben": {name: value}})
    assert changed.fit == plain.fit
    assert changed.test != plain.test
    assert changed.train != plain.train
    assert changed.run != plain.run


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"ben": {"per_batch": 2}}},
        {"values": {"ben": {"level": "week"}}},
        {"seed": 1},
        {"lr": 0.01},
        {"steps": 7},
        {"standardise": "plate"},
    ],
)
def test_fit_parameters_recipe_and_seed_move_all(
    bench: tiny.Bench, where: Task, change: dict[str, Any]
) -> None:
    plain, changed = Ids(bench, "ben+zscore", where), Ids(bench, "ben+zscore", where, **change)
    for part in ("fit", "train", "test"):
        assert all(a != b for a, b in zip(vars(plain)[part], vars(changed)[part], strict=True))
    assert plain.run != changed.run


def test_a_recipe_matters_to_networks_alone(bench: tiny.Bench, where: Task) -> None:
    plain, changed = Ids(bench, "zscore", where), Ids(bench, "zscore", where, lr=0.01)
    assert (plain.fit, plain.test) == (changed.fit, changed.test)
    assert plain.run != changed.run  # recipes are boards of their own


def test_defaults_that_are_spelt_out_change_nothing(bench: tiny.Bench, where: Task) -> None:
    plain = Ids(bench, "ben", where)
    assert vars(Ids(bench, "ben", where, values={"ben": {"rows": "all"}})) == vars(plain)


def test_values_count_as_they_are_used_not_as_typed(bench: tiny.Bench, where: Task) -> None:
    assert vars(Ids(bench, "ben", where, lr="0.010")) == vars(Ids(bench, "ben", where, lr=0.01))


def test_methods_share_a_fit(bench: tiny.Bench, where: Task) -> None:
    erm = Ids(bench, "erm", where)
    for values in ({}, {"level": "week"}, {"rows": "controls"}, {"inference": "4"}):
        adabn = Ids(bench, "adabn", where, values={"adabn": values})
        assert adabn.fit == erm.fit
        assert adabn.test != erm.test
    assert Ids(bench, "erm-plate", where).fit != erm.fit


def test_stages_after_one_parent_share_it(bench: tiny.Bench, where: Task) -> None:
    alone, zscore, robust = (Ids(bench, m, where) for m in ("erm", "erm+zscore", "erm+robust"))
    assert alone.fit[0] == zscore.fit[0] == robust.fit[0]
    assert alone.test[0] == zscore.test[0] == robust.test[0]
    assert zscore.fit[1] != robust.fit[1]
    assert Ids(bench, "ben+zscore", where).fit[1] != zscore.fit[1]


def test_tests_of_one_training_set_share_it(bench: tiny.Bench) -> None:
    data = tiny.opened()
    train = {"plate": ("p0", "p1")}
    item, other = (
        tiny.task(data, name=f"tiny/{p}", train=train, test={"plate": (p,)}) for p in ("p2", "p3")
    )
    for method in ("erm", "ben+zscore"):
        a, b = Ids(bench, method, item), Ids(bench, method, other)
        assert a.fit == b.fit
        assert a.train == b.train
        assert all(x != y for x, y in zip(a.test, b.test, strict=True))
        assert a.run != b.run


def test_the_published_tests_share_their_training(bench: tiny.Bench) -> None:
    from bench.data.catalog import packaged_splits

    tests = [s for s in packaged_splits().values() if s.dataset == "coos7"]
    assert len(tests) >= 4
    assert all(s.train == tests[0].train for s in tests)


def test_who_adapts_to_the_test_is_fitted_for_it(tmp_path: Path) -> None:
    plugin = tiny.write_method(
        tmp_path, "adapts", "class M(Profile):\n    ACCESS = Access.ADAPT\n", access=["adapt"]
    )
    bench = tiny.Bench(tmp_path / "r", plugin)
    data = tiny.opened()
    item, other = (
        tiny.task(data, name=f"tiny/{p}", train={"plate": ("p0", "p1")}, test={"plate": (p,)})
        for p in ("p2", "p3")
    )
    a, b = Ids(bench, "erm+adapts", item), Ids(bench, "erm+adapts", other)
    assert a.fit[0] == b.fit[0]
    assert a.fit[1] != b.fit[1]
    assert a.train[1] != b.train[1]


def test_versions(tmp_path: Path, where: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "class M(Profile):\n    pass\n"
    item, two = (
        tiny.Bench(tmp_path, tiny.write_method(tmp_path / str(v), "mine", body, version=v))
        for v in (1, 2)
    )
    assert Ids(item, "mine", where).fit[1] != Ids(two, "mine", where).fit[1]
    before = Ids(item, "mine", where)
    monkeypatch.setitem(item.registry.entry("metric", "nscb").meta, "version", 99)
    assert Ids(item, "mine", where).run == before.run, "it does not score this split"
    monkeypatch.setitem(item.registry.entry("metric", "accuracy").meta, "version", 99)
    after = Ids(item, "mine", where)
    assert after.fit == before.fit
    assert after.test == before.test
    assert after.run != before.run


def test_data_and_their_settings(bench: tiny.Bench, where: Task) -> None:
    plain = Ids(bench, "erm", where)
    for change in ({"digest": "e" * 64}, {"settings": {"strength": 2.0}}, {"name": "other"}):
        data = dataclasses.replace(tiny.opened(), **change)
        other = Ids(bench, "erm", tiny.task(data))
        assert other.fit != plain.fit
        assert other.run != plain.run


def test_an_exposed_column_is_another_training(bench: tiny.Bench, where: Task) -> None:
    seen = Ids(bench, "erm", tiny.task(expose=("count",)))
    plain = Ids(bench, "erm", where)
    assert seen.fit != plain.fit
    assert seen.test != plain.test


def test_rows_count_by_their_ids_in_any_order(bench: tiny.Bench, where: Task) -> None:
    order = np.random.default_rng(0).permutation(len(where.opened.index))
    assert vars(Ids(bench, "ben+zscore", tiny.task(tiny.opened(order=order)))) == vars(
        Ids(bench, "ben+zscore", where)
    )
    data = where.opened
    rows = where.folds[0].train
    whole = identity.rows_digest(data, rows)
    assert identity.rows_digest(data, rows[::-1].copy()) == whole
    assert identity.rows_digest(data, rows[:-1].copy()) != whole


def test_levels_of_the_evaluation_are_the_grouping(bench: tiny.Bench, where: Task) -> None:
    by_plate = Ids(bench, "adabn", where)
    by_week = Ids(bench, "adabn", where, values={"adabn": {"level": "week"}})
    assert by_week.fit == by_plate.fit
    assert by_week.test != by_plate.test


def test_folders_do_not_matter(tmp_path: Path) -> None:
    first = tiny.write_table(tmp_path / "here")
    second = tmp_path / "quite" / "elsewhere" / "renamed.toml"
    second.parent.mkdir(parents=True)
    shutil.copy(first, second)
    shutil.copy(first.parent / "table.parquet", second.parent)
    [item], [other] = tiny.open_table(first), tiny.open_table(second)
    results = [tiny.Bench(tmp_path / r) for r in ("r1", "r2")]
    assert vars(Ids(results[0], "ben+zscore", item)) == vars(Ids(results[1], "ben+zscore", other))


NET = """
from torch import nn

def wide(n_inputs, n_classes):
    return nn.Sequential(
        nn.Linear(n_inputs, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, n_classes)
    )
"""


def test_a_network_of_ones_own_counts_by_its_content(tmp_path: Path, where: Task) -> None:
    bench = tiny.Bench(tmp_path / "r")
    paths = [tmp_path / folder / "nets.py" for folder in ("a", "b", "c")]
    for path, text in zip(paths, (NET, NET, NET.replace("16", "17")), strict=True):
        path.parent.mkdir()
        path.write_text(text)
    item, moved, other = (Ids(bench, "erm", where, network=f"{p}:wide") for p in paths)
    assert vars(item) == vars(moved)
    assert other.fit != item.fit
    assert other.run != item.run
    # ... and what was trained at the old place serves at the new one.
    [result] = bench.run("erm", where, network=f"{paths[0]}:wide")
    paths[0].unlink()
    [again] = bench.run("adabn", where, network=f"{paths[1]}:wide")
    assert (result["status"], again["status"]) == ("ok", "ok")
    assert again["cost"]["fit_s"] == result["cost"]["fit_s"]


def test_a_shared_fit_that_does_not_exist(tmp_path: Path, where: Task) -> None:
    plugin = tiny.write_method(tmp_path, "mine", "class M(Profile):\n    pass\n", fit="emr")
    with raises(BenchError, "emr"):
        Ids(tiny.Bench(tmp_path, plugin), "mine", where)


def test_ids_need_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tests.runs.test_identity import Ids; from tests.helpers import tiny; "
        "from pathlib import Path; Ids(tiny.Bench(Path('nowhere')), 'ben+zscore', tiny.task()); "
        "assert 'torch' not in sys.modules; assert 'sklearn' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_ids_of_many_rows_are_found_once(where: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.opened()
    result = tiny.task(data)
    rows = result.folds[0].train
    first = identity.rows_digest(data, rows)
    monkeypatch.setattr(identity, "column_of", None)  # asked again, it would now fail
    assert identity.rows_digest(data, rows) == first


def test_unsupervised_runs_depend_on_no_labels(tmp_path: Path) -> None:
    splits = '\n[splits.all]\nprotocol = "unsupervised"\ntest = "all"\nmetrics = ["nscb", "nsc"]\n'
    keys = 'treatment = "label"\ncompound = "label"\nnscb_batch = "week"\n'
    [result] = tiny.open_table(tiny.write_table(tmp_path, splits, keys))
    bench = tiny.Bench(tmp_path / "r")
    ids = Ids(bench, "zscore", result)
    job = bench.jobs("zscore", result)[0]
    fold = result.folds[0]
    other = tiny.stage_ids(
        job.chain,
        Registry(),
        result.opened,
        job.recipe,
        ("other", "names"),
        fold.train,
        fold.test,
        0,
        supervised=False,
    )
    assert [item.fit for item in other] == ids.fit
