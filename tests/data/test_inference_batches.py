"""Inference batches of studies: what is in them, and what they leave alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.api import Access, NotApplicable
from bench.boards.select import boards
from bench.core.errors import BenchError
from bench.core.seeds import generator
from bench.data.inference_batches import KINDS, InferenceBatches, pieces
from bench.data.views import column_of, make_partition
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from bench.scoring.labels import inference_batches
from tests.helpers import tiny
from tests.helpers.errors import raises

LABELS = np.array(["a"] * 12 + ["b"] * 6 + ["c"] * 3 + [""] * 9)
CONTROLS = LABELS == ""
WELLS = np.array([f"{'ABCDEFGH'[i % 8]}{1 + i % 12:02d}" for i in range(len(LABELS))])

EACH_ROW = (
    {"kind": "rows", "rows": 1},
    {"kind": "rows", "rows": 7},
    {"kind": "rows", "rows": 1000},
    {"kind": "parts", "parts": 4},
    {"kind": "dirichlet", "alpha": 0.01, "rows": 5},
    {"kind": "dirichlet", "alpha": 100, "rows": 5},
    {"kind": "single-class"},
    {"kind": "same-sizes"},
    {"kind": "few-classes", "classes": 2, "rows": 4},
    {"kind": "few-classes-sizes", "classes": 2, "rows": 4},
    {"kind": "quarter-plate"},
)


def made(spec, labels=LABELS, seed=0, wells=WELLS):
    grouping = InferenceBatches.read(spec)
    return pieces(grouping, labels, labels == "", wells, generator("test", seed))


@pytest.mark.parametrize("spec", EACH_ROW, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_in_one_piece(spec, seed) -> None:
    result = made(spec, seed=seed)
    assert all(len(part) for part in result)
    assert sorted(np.concatenate(result).tolist()) == list(range(len(LABELS)))


@pytest.mark.parametrize("k", [1, 2, 7, 29, 30, 31])
def test_rows_makes_the_fewest_pieces_of_nearly_equal_size(k) -> None:
    sizes = [len(part) for part in made({"kind": "rows", "rows": k})]
    assert len(sizes) == -(-len(LABELS) // k)
    assert max(sizes) <= k
    assert max(sizes) - min(sizes) <= 1


def test_single_class_pieces_hold_one_class_and_their_share_of_controls() -> None:
    result = made({"kind": "single-class"})
    held = [Counter(LABELS[part].tolist()) for part in result]
    assert [set(c) - {""} for c in held] == [{"a"}, {"b"}, {"c"}]
    # 9 controls over 12 : 6 : 3 rows.
    assert [c[""] for c in held] == [5, 3, 1]
    sizes = [len(part) for part in result]
    assert [len(part) for part in made({"kind": "same-sizes"})] == sizes
    mixed = [set(LABELS[p].tolist()) for p in made({"kind": "same-sizes"}, seed=4)]
    assert len(mixed[0]) > 2


@pytest.mark.parametrize("k", [1, 2])
def test_pieces_of_few_classes_and_random_pieces_of_the_same_sizes(k) -> None:
    values = {"classes": k, "rows": 4}
    few = made({"kind": "few-classes", **values}, seed=1)
    assert max(len(set(LABELS[piece].tolist()) - {""}) for piece in few) == k
    assert max(np.count_nonzero(LABELS[piece] != "") for piece in few) <= 4
    mixed = made({"kind": "few-classes-sizes", **values}, seed=2)
    assert [len(piece) for piece in mixed] == [len(piece) for piece in few]
    assert max(len(set(LABELS[piece].tolist()) - {""}) for piece in mixed) > k


def test_quarters_are_those_of_the_occupied_layout() -> None:
    wells = np.array(["B02", "B11", "G02", "G11", "C03", "F10"])
    result = made({"kind": "quarter-plate"}, np.array(["x"] * 6), wells=wells)
    assert [sorted(wells[part].tolist()) for part in result] == [
        ["B02", "C03"],
        ["B11"],
        ["G02"],
        ["F10", "G11"],
    ]
    with raises(NotApplicable, "well"):
        made({"kind": "quarter-plate"}, wells=None)
    with raises(NotApplicable, "well"):
        made({"kind": "quarter-plate"}, wells=np.array(["well one"] * len(LABELS)))


@pytest.mark.parametrize("c", [1, 4, 9, 50])
def test_controls_are_left_out_and_nothing_else(c) -> None:
    [kept] = made({"kind": "controls", "controls": c})
    assert np.count_nonzero(LABELS[kept] == "") == min(c, 9)
    assert set(np.flatnonzero(~CONTROLS)) <= set(kept.tolist())


def test_dirichlet_has_the_moments_of_its_distribution() -> None:
    """The first piece of a large batch is a Dirichlet-multinomial draw, up to running dry."""
    labels = np.repeat(["a", "b", "c"], [1000, 600, 400])
    share, m, alpha = np.array([0.5, 0.3, 0.2]), 20, 2.0
    spec = {"kind": "dirichlet", "alpha": alpha, "rows": m}
    counts = []
    for seed in range(80):
        # The first pieces of a draw are independent; the last ones get what is left.
        for part in made(spec, labels, seed, wells=None)[:6]:
            counts.append([np.count_nonzero(labels[part] == k) for k in "abc"])
    total = alpha * 3
    var = m * share * (1 - share) * (m + total) / (1 + total)
    counts = np.array(counts)
    error = np.sqrt(var / len(counts))
    assert np.all(np.abs(counts.mean(0) - m * share) < 4 * error)
    assert np.allclose(counts.var(0), var, rtol=0.25)


def test_small_alpha_gives_one_class_and_large_alpha_the_mixture() -> None:
    labels = np.repeat(["a", "b", "c", "d"], 50)

    def purity(alpha):
        result = made({"kind": "dirichlet", "alpha": alpha, "rows": 10}, labels, wells=None)
        return np.mean([max(Counter(labels[p].tolist()).values()) / len(p) for p in result])

    values = [purity(alpha) for alpha in (0.01, 0.1, 1, 10, 100)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[-1] < 0.5


@pytest.mark.parametrize(
    "spec, words",
    [
        ({"kind": "half"}, ()),
        ({"kind": "rows"}, ()),
        ({"kind": "rows", "rows": 0}, ()),
        ({"kind": "rows", "rows": 2.5}, ()),
        ({"kind": "single-class", "rows": 2}, ()),
    ],
)
def test_a_wrong_grouping_is_refused(spec, words) -> None:
    with raises(BenchError, *words):
        InferenceBatches.read(spec)


def grouped(bench, methods, task, spec, seeds=1, values=None):
    options = Options(
        "default",
        tiny.QUICK,
        values or {},
        "cpu",
        grouping=InferenceBatches.read(spec) if spec else None,
    )
    return plan(methods.split(","), [task], list(range(seeds)), options, bench.registry)


def runs(bench, jobs):
    runner = Runner(bench.store, Options(device="cpu"), bench.said.append)
    return [runner.run(job) for job in jobs]


def test_only_the_apply_ids_of_batchwise_stages_change(tmp_path) -> None:
    bench, task = tiny.Bench(tmp_path), tiny.task()
    [plain], [eight] = (
        grouped(bench, "ben", task, spec) for spec in (None, {"kind": "rows", "rows": 8})
    )
    a, b = plain.spec(), eight.spec()
    assert "grouping" not in a
    assert b.pop("grouping") == {"kind": "rows", "rows": 8}
    item, two = a["folds"][0]["stages"][0], b["folds"][0]["stages"][0]
    assert item["fit_id"] == two["fit_id"]
    assert item.pop("apply_id") != two.pop("apply_id")
    assert a == b


def test_what_looks_at_no_test_batch_or_adapts_to_all_is_not_applicable(tmp_path) -> None:
    bench, task = tiny.Bench(tmp_path), tiny.task()
    spec = {"kind": "rows", "rows": 8}
    assert "test batches" in grouped(bench, "erm", task, spec)[0].not_applicable
    assert "fitted on the evaluation" in grouped(bench, "ben+harmony", task, spec)[0].not_applicable
    none = {"kind": "controls", "controls": 2}
    index, X = tiny.frame(controls=0)
    bare = tiny.task(tiny.opened(index=index, X=X))
    assert "no negative controls" in grouped(bench, "ben", bare, none)[0].not_applicable
    several = {"ben": {"level": "week"}, "zscore": {"level": "plate"}}
    [job] = grouped(bench, "ben+zscore", task, none, values=several)
    assert "several batch levels" in job.not_applicable


def center(folder):
    return tiny.write_method(
        folder,
        "center-rows",
        """
        class M(Profile):
            ACCESS = Access.TEST_BATCH

            def apply(self, samples):
                assert (samples.y == -1).all()
                CALLS.append(len(samples))
                X = samples.X - samples.X.mean(0, dtype=np.float64)
                return Output(X.astype(np.float32), fallbacks=int(len(samples) < 3))
        """,
        access=["test-batch"],
    )


@pytest.mark.parametrize("spec", EACH_ROW, ids=str)
def test_a_method_gets_each_piece_alone(tmp_path, spec) -> None:
    bench, data = tiny.Bench(tmp_path / "r", center(tmp_path)), tiny.opened()
    task = tiny.task(data)
    [job] = grouped(bench, "center-rows", task, spec)
    [record] = runs(bench, [job])
    assert record["status"] == "ok"
    assert record["undeclared_adaptation"] is None
    # By hand: each piece minus its mean.
    fold = task.folds[0]
    partition = make_partition(data, fold.test, fold.classes, "plate", "by", "hand", labels=False)
    partition = inference_batches(InferenceBatches.read(spec), partition, 0)
    X = data.source.read(partition.rows).astype(np.float64)
    for name in np.unique(partition.batch):
        X[partition.batch == name] -= X[partition.batch == name].mean(0)
    key = job.spec()["folds"][0]["stages"][-1]["apply_id"]
    kept = bench.store.read_artifact("apply", key).arrays["embeddings"]
    assert np.allclose(np.sort(X, axis=0), np.sort(kept, axis=0), atol=1e-5)
    sizes = Counter(partition.batch.tolist()).values()
    assert record["batches"]["n_test"] == len(sizes)
    assert record["batches"]["rows_max"] == max(sizes)
    assert record["batches"]["fallbacks"] == sum(size < 3 for size in sizes)


def test_one_piece_is_the_whole_test_batch_and_file_order_says_nothing(tmp_path) -> None:
    bench = tiny.Bench(tmp_path)
    task = tiny.task()
    [whole] = runs(bench, grouped(bench, "ben", task, None))
    [same] = runs(bench, grouped(bench, "ben", task, {"kind": "rows", "rows": 1000}))
    assert same["predictions_sha256"] == whole["predictions_sha256"]
    assert same["run_id"] != whole["run_id"]
    [few] = runs(bench, grouped(bench, "ben", task, {"kind": "rows", "rows": 4}))
    assert few["predictions_sha256"] != whole["predictions_sha256"]
    order = np.random.default_rng(5).permutation(len(task.opened.index))
    other = tiny.Bench(tmp_path / "other")
    again = tiny.task(tiny.opened(order=order))
    [result] = runs(other, grouped(other, "ben", again, {"kind": "rows", "rows": 4}))
    assert result["predictions_sha256"] == few["predictions_sha256"]


def test_nothing_is_trained_and_no_ordinary_board_changes(tmp_path) -> None:
    bench = tiny.Bench(tmp_path)
    task = tiny.task()
    ordinary = runs(bench, grouped(bench, "erm,ben", task, None))
    before = bench.artifacts("weights.safetensors")
    specs = ({"kind": "single-class"}, {"kind": "controls", "controls": 1})
    studied = [r for s in specs for r in runs(bench, grouped(bench, "ben", task, s))]
    assert bench.artifacts("weights.safetensors") == before
    for record in studied:
        assert record["ranked"] is False
        assert any(why.startswith("study: ") for why in record["unranked_because"])
    real = [
        {**r, "spec": {**r["spec"], "edition": "real"}, "unranked_because": []}
        for r in [*ordinary, *studied]
    ]
    assert [b.runs_digest for b in boards(real)] == [b.runs_digest for b in boards(real[:2])]
    apart = boards(real, studies=True)
    assert len(apart) == 3
    assert sum("study (kind=single-class)" in board.title for board in apart) == 1


def test_controls_left_out_are_seen_by_no_stage(tmp_path) -> None:
    plugin = tiny.write_method(
        tmp_path,
        "count-controls",
        """
        class M(Profile):
            ACCESS = Access.CONTROLS | Access.TEST_CONTROLS

            def apply(self, samples):
                CALLS.append(int(samples.controls().sum()))
                return Output(samples.X.copy())
        """,
        access=["controls", "test-controls"],
    )
    bench, task = tiny.Bench(tmp_path / "r", plugin), tiny.task()
    spec = {"kind": "controls", "controls": 2}
    [record] = runs(bench, grouped(bench, "erm+count-controls", task, spec))
    assert record["status"] == "ok"
    rows = len(task.folds[0].test)
    assert record["batches"]["rows_max"] == rows - 2
    assert record["n_eval"] == int(task.folds[0].scored.sum())
    assert Access.TEST_CONTROLS in grouped(bench, "count-controls", task, spec)[0].chain.access


def test_labels_of_the_test_side_stay_with_the_harness() -> None:
    data = tiny.opened()
    fold = tiny.task(data).folds[0]
    partition = make_partition(data, fold.test, fold.classes, "plate", "x", labels=False)
    apart = inference_batches(InferenceBatches.read({"kind": "single-class"}), partition, 0)
    assert (apart.y == -1).all()
    view = apart.view(Access.TEST_BATCH, batches=True)
    assert (view.y == -1).all()
    # The names of the pieces do not follow the classes.
    names = {column_of(data, "label")[apart.rows[apart.batch == b]][0] for b in set(apart.batch)}
    assert len(names) >= 3
    assert not set(view.batch.tolist()) & set(apart.batch.tolist())


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        (kind, name, low, high)
        for kind, values in KINDS.items()
        for name, (_, low, high) in values.items()
    ],
)
def test_the_bounds_of_a_grouping_are_inclusive(kind, name, low, high) -> None:
    least = {"rows": 1, "parts": 2, "alpha": 1e-6, "classes": 1, "controls": 1}
    most = {"rows": 1e9, "parts": 1e6, "alpha": 1e6, "classes": 1e6, "controls": 1e9}
    assert (low, high) == (2 if (kind, name) == ("dirichlet", "rows") else least[name], most[name])
    others = {other: values[1] for other, values in KINDS[kind].items() if other != name}
    for value in (low, high):
        assert getattr(InferenceBatches.read({"kind": kind, **others, name: value}), name) == value
    step = 1 if KINDS[kind][name][0] is int else 1e-7
    for value in (low - step, high + 1):
        with raises(BenchError, name):
            InferenceBatches.read({"kind": kind, **others, name: value})


def test_a_quarter_ends_at_the_middle_of_the_layout() -> None:
    wells = np.array([f"{row}{column:02d}" for row in "ABC" for column in (1, 2, 3)])
    result = pieces(
        InferenceBatches.read({"kind": "quarter-plate"}), wells, wells == "", wells, generator("q")
    )
    assert sorted(sorted(wells[part]) for part in result) == [
        ["A01", "A02", "B01", "B02"],
        ["A03", "B03"],
        ["C01", "C02"],
        ["C03"],
    ]
