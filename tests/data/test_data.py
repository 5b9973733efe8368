"""Sides and views: what is in them, in which order, under which names."""

from __future__ import annotations

import numpy as np
import pytest

from bench.api import Access, AccessError, BenchError, Output, RunFailed
from bench.data.views import batches_of, chunks_of, column_of
from bench.runs.apply import assemble
from tests.helpers import tiny
from tests.helpers.errors import raises

ALL = Access(~Access.NONE)


@pytest.fixture(scope="module")
def parts():
    result = tiny.task()
    return result.opened, result.folds[0]


def test_rows_keep_their_meaning_in_another_order(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "train")
    assert sorted(partition.rows) == sorted(fold.train)
    assert partition.rows.tolist() != sorted(partition.rows.tolist())
    for k, row in enumerate(partition.rows):
        truth = data.index.iloc[row]
        assert partition.batch[k] == truth["plate"]
        assert partition.controls[k] == truth["control"]
        wanted = -1 if truth["control"] else fold.classes.index(truth["label"])
        assert partition.y[k] == wanted


def test_the_order_depends_on_ids_and_seed_alone(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "test")
    again = tiny.partition(data, fold, "test")
    assert partition.rows.tolist() == again.rows.tolist()
    assert tiny.partition(data, fold, "test", seed=1).rows.tolist() != partition.rows.tolist()
    shuffled = np.random.default_rng(5).permutation(len(data.index))
    moved = tiny.task(tiny.opened(order=shuffled))
    other = tiny.partition(moved.opened, moved.folds[0], "test")
    ids = column_of(data, "id")[partition.rows]
    assert column_of(moved.opened, "id")[other.rows].tolist() == ids.tolist()
    view, twin = (s.view(ALL, batches=True) for s in (partition, other))
    assert view.X is not None
    assert twin.X is not None
    np.testing.assert_array_equal(view.X, twin.X)
    assert view.ids.tolist() == twin.ids.tolist()
    assert view.batch.tolist() == twin.batch.tolist()


def test_order_and_names_say_nothing_of_class_or_plate() -> None:
    data = tiny.opened(batches=4, per_class=60)
    fold = tiny.task(data).folds[0]
    partition = tiny.partition(data, fold, "train")
    view = partition.view(ALL, batches=True)
    place = np.arange(len(partition))
    by_name = np.argsort(np.argsort(view.ids))
    n = len(place)
    for order in (place, by_name):
        for k in range(3):
            # The mean rank of a class is that of a random draw: within 4 standard errors.
            mask = partition.y == k
            se = np.sqrt((n - mask.sum()) * (n + 1) / (12 * mask.sum()))
            assert abs(order[mask].mean() - (n - 1) / 2) < 4 * se


def test_names_are_salted_by_side_and_seed(parts) -> None:
    data, fold = parts
    views = [
        tiny.partition(data, fold, role, seed=seed).view(ALL, batches=True)
        for role in ("train", "test")
        for seed in (0, 1)
    ]
    names = [set(v.ids) | set(v.batch) for v in views]
    assert all(not (a & b) for i, a in enumerate(names) for b in names[:i])
    true = set(column_of(data, "id")) | set(column_of(data, "plate"))
    assert not set.union(*names) & true
    assert [len(set(v.batch)) for v in views] == [3, 3, 1, 1]
    assert all(len(set(v.ids)) == len(v) for v in views)


def test_a_view_holds_what_was_declared_and_no_more(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "train")
    bare = partition.view(Access.NONE, batches=False)
    assert set(bare.y) == {-1}
    assert set(bare.batch) == {""}
    assert bare.exposed == {}
    assert bare.well is None
    with pytest.raises(AccessError):
        bare.controls()
    full = partition.view(Access.CONTROLS, batches=True, labels=True)
    assert full.y.tolist() == partition.y.tolist()
    assert full.controls().tolist() == partition.controls.tolist()
    for plate in set(partition.batch):
        assert len(set(full.batch[partition.batch == plate])) == 1


def test_evaluation_sides_hold_no_labels(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "test")
    assert set(partition.y) == {-1}
    assert set(partition.view(ALL, batches=True, labels=True).y) == {-1}


def test_controls_and_unknown_classes_have_no_class(parts) -> None:
    data, fold = parts
    from bench.data.views import make_partition

    some = make_partition(data, fold.train, ("actin", "golgi"), "plate", "x", labels=True)
    names = column_of(data, "label")[some.rows]
    assert set(some.y[names == "nucleus"]) == {-1}
    assert set(some.y[some.controls]) == {-1}
    assert set(some.y[names == "golgi"]) == {1}


def test_what_a_method_writes_stays_its_own(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "train").with_profiles(np.ones((len(fold.train), 2)))
    view = partition.view(Access.CONTROLS, batches=True, labels=True)
    view.y[:] = 7
    view.controls()[:] = True
    assert view.X is not None
    with raises(ValueError):
        view.X -= 1
    part = view.take(np.arange(3))
    assert part.X is not None
    part.X[:] = 5  # rows of a call are the method's own copy
    assert partition.X is not None
    assert partition.X.tolist() == np.ones((len(partition), 2)).tolist()
    assert 7 not in partition.y
    assert not partition.controls.all()


def test_exposed_columns_are_handed_out(parts) -> None:
    data, fold = parts
    partition = tiny.partition(data, fold, "test", expose=("count",))
    view = partition.view(Access.NONE, batches=False)
    assert view.exposed["count"].tolist() == data.index["count"].to_numpy()[partition.rows].tolist()
    assert view.take(np.array([2, 0])).exposed["count"].tolist() == [
        view.exposed["count"][2],
        view.exposed["count"][0],
    ]


def test_images_come_in_the_order_of_the_view() -> None:
    data = tiny.opened(images=True)
    fold = tiny.task(data).folds[0]
    partition = tiny.partition(data, fold, "test")
    view = partition.view(Access.NONE, batches=False)
    assert view.is_images
    assert view.shape == (2, 12, 12)
    some = view.images(np.array([4, 1]))
    assert some.dtype == np.uint8
    np.testing.assert_array_equal(some, data.source.read(partition.rows[[4, 1]]))
    np.testing.assert_array_equal(view.take(np.array([4, 1])).images(np.array([0, 1])), some)
    out = np.empty((2, 2, 12, 12), np.float32)
    assert view.images(np.array([4, 1]), out) is out
    np.testing.assert_array_equal(out, some)


def test_an_unknown_level_is_named(parts) -> None:
    data, fold = parts
    with raises(BenchError, "month"):
        tiny.partition(data, fold, "train", level="month")


def test_batches_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    names = rng.choice(["b", "a", "c", "b2"], 50)
    result = list(batches_of(names))
    assert [set(names[idx]) for idx in result] == [{n} for n in sorted(set(names))]
    for idx in result:
        assert idx.tolist() == [i for i, n in enumerate(names) if n == names[idx[0]]]


@pytest.mark.parametrize("n, size", [(0, 4), (1, 4), (8, 4), (9, 4), (3, 100)])
def test_chunks_hold_each_row_once(n: int, size: int) -> None:
    parts = list(chunks_of(n, size, "x", 1))
    assert sorted(np.concatenate([*parts, np.zeros(0, np.int64)]).tolist()) == list(range(n))
    assert all(0 < len(p) <= size for p in parts)
    assert [p.tolist() for p in chunks_of(n, size, "x", 1)] == [p.tolist() for p in parts]


def test_outputs_come_back_in_view_order() -> None:
    whole = np.arange(12, dtype=np.float32).reshape(6, 2)
    calls = [np.array([5, 0]), np.array([3]), np.array([1, 2, 4])]
    result = assemble(
        6, [(i, Output(whole[i], whole[i] * 2, fallbacks=1, notes=("small",))) for i in calls]
    )
    np.testing.assert_array_equal(result.X, whole)
    assert result.logits is not None
    np.testing.assert_array_equal(result.logits, whole * 2)
    assert result.fallbacks == 3
    assert result.notes == ("small",)


@pytest.mark.parametrize(
    "part, words",
    [
        (Output(np.zeros((1, 2), np.float32)), ("1", "2", "3")),
        (Output(np.zeros((3, 2))), ("float64",)),
        (Output(np.zeros(3, np.float32)), ()),
        (Output([[1.0]] * 3), ()),  # type: ignore[arg-type]
        (np.zeros((3, 2), np.float32), ()),
        (Output(np.zeros((3, 3), np.float32)), ()),
    ],
)
def test_what_is_no_output_is_refused(part, words: str) -> None:
    good = (np.arange(3), Output(np.zeros((3, 2), np.float32)))
    with raises(RunFailed, *words):
        assemble(6, [good, (np.arange(3, 6), part)])
