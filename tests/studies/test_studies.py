"""Studies: their estimators on planted data, and every study from the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from bench.api import NotApplicable
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.core.words import LONGEST
from bench.runs.job import Options
from bench.studies import Difference, cell_text, known, load, markdown, subtitle
from bench.studies._networks import batch_statistics
from bench.studies._variance import complete_block, crossed, nested
from bench.studies.drift import leading, procrustes, replicate_distance
from bench.studies.restrictions import runs_of
from bench.studies.strength import breaks_at
from tests.helpers import tiny, trained
from tests.helpers.errors import mentions, raises
from tests.helpers.prose import markdown_sentences, n_words

pytestmark = pytest.mark.usefixtures("few_penalties")


def test_additive_effects_are_found_exactly() -> None:
    rng = np.random.default_rng(0)
    b, c = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    y = np.repeat((b[:, None] + c[None])[:, :, None], 2, axis=2)
    result = crossed(y)
    assert np.allclose(result.batch, b.var(axis=0, ddof=1))
    assert np.allclose(result.label, c.var(axis=0, ddof=1))
    assert np.allclose(result.both, 0)
    assert np.allclose(result.rest, 0)
    total = b.var(axis=0, ddof=1) + c.var(axis=0, ddof=1)
    assert result.shares()["class"] == pytest.approx(float((c.var(0, ddof=1) / total).mean()))


def test_planted_components_are_recovered_on_average() -> None:
    """Many channels are many draws of one layout: their mean is unbiased but for the cut at 0."""
    rng = np.random.default_rng(1)
    B, C, R, n = 12, 8, 2, 4000
    planted = {"batch": 4.0, "label": 2.0, "both": 1.0, "rest": 0.5}
    shapes = {"batch": (B, 1, 1, n), "label": (1, C, 1, n), "both": (B, C, 1, n)}
    y = np.zeros((B, C, R, n))
    for name, value in planted.items():
        y = y + rng.normal(0, np.sqrt(value), shapes.get(name, y.shape))
    result = crossed(y)
    for name, value in planted.items():
        assert getattr(result, name).mean() == pytest.approx(value, rel=0.05)


def test_no_effect_has_no_share() -> None:
    y = np.random.default_rng(2).normal(size=(9, 8, 2, 500))
    shares = crossed(y).shares()
    assert shares["rows"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert np.isnan(crossed(np.ones((3, 3, 2, 4))).shares()["rows"])


def test_mean_squares_are_those_of_a_naive_loop() -> None:
    y = np.random.default_rng(3).normal(size=(4, 3, 2, 1))
    B, C, R = 4, 3, 2
    grand = y.mean()
    result, rows, columns = y.mean(2)[..., 0], y.mean((1, 2))[:, 0], y.mean((0, 2))[:, 0]
    ss = {"b": 0.0, "c": 0.0, "bc": 0.0, "e": 0.0}
    for i in range(B):
        for j in range(C):
            for r in range(R):
                ss["b"] += (rows[i] - grand) ** 2
                ss["c"] += (columns[j] - grand) ** 2
                ss["bc"] += (result[i, j] - rows[i] - columns[j] + grand) ** 2
                ss["e"] += (y[i, j, r, 0] - result[i, j]) ** 2
    ms = {"b": ss["b"] / 3, "c": ss["c"] / 2, "bc": ss["bc"] / 6, "e": ss["e"] / 12}
    results_found = crossed(y)
    assert results_found.rest[0] == pytest.approx(ms["e"])
    assert results_found.both[0] == pytest.approx(max((ms["bc"] - ms["e"]) / R, 0))
    assert results_found.batch[0] == pytest.approx(max((ms["b"] - ms["bc"]) / (C * R), 0))
    assert results_found.label[0] == pytest.approx(max((ms["c"] - ms["bc"]) / (B * R), 0))


def test_between_and_within_batches() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(0, 2, (10, 1, 3000)) + rng.normal(0, 1, (10, 6, 3000))
    between, within = nested(y)
    assert between.mean() == pytest.approx(4, rel=0.05)
    assert within.mean() == pytest.approx(1, rel=0.05)


def test_the_block_has_enough_rows_everywhere() -> None:
    counts = np.array([[9, 9, 0], [9, 9, 9], [9, 1, 9], [0, 0, 1]])
    rows, columns = complete_block(counts, 4)
    assert (counts[np.ix_(rows, columns)] >= 4).all()
    assert len(rows) * len(columns) >= 4
    assert [len(x) for x in complete_block(np.eye(4) * 9, 4)] in ([1, 1], [0, 4], [4, 0])


@pytest.mark.parametrize("name", ["erm", "ben"])
def test_statistics_are_those_that_a_layer_would_use(name) -> None:
    """Both layers of an MLP by hand: running averages on the way for ERM, the group's for BEN."""
    view = trained.profiles()
    method = trained.fitted(name, view)
    state = method.state()
    plate = trained.plate_of(view)
    groups = [np.arange(0, 7), np.arange(5, 12)]
    first, second = batch_statistics(method, plate, groups)
    for k, rows in enumerate(groups):
        X = plate.X[rows].astype(np.float64)
        h = (X - state["scaling.mean"]) / state["scaling.sd"]
        h = h @ state["model.network.0.weight"].astype(np.float64).T
        assert np.allclose(first[1][k], h.mean(0), atol=1e-5)
        assert np.allclose(first[2][k], h.var(0), atol=1e-5)
        norm = "model.network.1."
        mean, var = h.mean(0), h.var(0)
        if name == "erm":
            mean, var = state[norm + "running_mean"], state[norm + "running_var"]
        h = (h - mean) / np.sqrt(var + 1e-5) * state[norm + "weight"] + state[norm + "bias"]
        h = np.maximum(h, 0) @ state["model.network.3.weight"].astype(np.float64).T
        assert np.allclose(second[1][k], h.mean(0), atol=1e-4)
        assert np.allclose(second[2][k], h.var(0), rtol=1e-3, atol=1e-4)


def test_alignment_undoes_turn_scale_and_shift() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 5))
    turned = 3 * X @ ortho_group.rvs(5, random_state=6) + rng.normal(size=5)
    on = np.arange(60) < 20
    assert np.allclose(procrustes(turned, X, on), X)
    noisy = turned + rng.normal(size=X.shape)
    a, b = noisy - noisy[on].mean(0), X - X[on].mean(0)
    turn, s = orthogonal_procrustes(a[on], b[on])
    by_scipy = s / (a[on] ** 2).sum() * a @ turn + X[on].mean(0)
    assert np.allclose(procrustes(noisy, X, on), by_scipy)


def test_leading_components_keep_distances() -> None:
    X = np.random.default_rng(7).normal(size=(30, 4)) * [5, 3, 2, 1]
    reduced, kept = leading(X, 4)
    assert kept == pytest.approx(1)
    assert np.allclose(np.linalg.norm(X[0] - X[1]), np.linalg.norm(reduced[0] - reduced[1]))
    assert leading(X, 2)[1] < 1


def test_replicates_are_compared_between_batches_alone() -> None:
    rng = np.random.default_rng(8)
    X, group = rng.normal(size=(20, 3)), rng.integers(3, size=20).astype(str)
    batch = rng.integers(4, size=20).astype(str)
    squares = [
        ((X[i] - X[j]) ** 2).sum()
        for i in range(20)
        for j in range(i)
        if group[i] == group[j] and batch[i] != batch[j]
    ]
    expected = np.sqrt(np.mean(squares))
    assert replicate_distance(X, group, batch) == pytest.approx(expected)
    with raises(NotApplicable):
        replicate_distance(X, group, group)


def test_where_a_method_breaks() -> None:
    # Chance 0.2, start 1.0: half way is 0.6.
    assert breaks_at({0: 1.0, 1: 0.8, 2: 0.4, 4: 0.3}, 0.2) == pytest.approx(1.5)
    assert breaks_at({0: 1.0, 1: 0.9}, 0.2) is None
    assert breaks_at({0: 1.0, 1: 0.6, 2: 0.5}, 0.2) == pytest.approx(1.0)


def test_a_gap_says_what_is_known() -> None:
    assert Difference(0.03, 0.01, 0.01, 0.05, 9, "plate").excludes_zero
    assert not Difference(0.03, 0.01, -0.01, 0.05, 9, "plate").excludes_zero
    assert not Difference(0.03, 0.01, None, None, 4, "plate").excludes_zero
    assert Difference(0.03, 0.01, None, None, 4, "plate").text == "+0.030 ± 0.010"


def test_a_small_p_is_not_printed_as_zero() -> None:
    assert cell_text(1e-5, "p") == cell_text(1e-5, "diff_p") == cell_text(0.0, "p_holm") == "<0.001"
    assert cell_text(0.0006, "p") == "0.001"
    assert cell_text(1e-5, "change") == "0.000"


def test_a_study_with_its_own_test_names_no_other() -> None:
    facts = {
        **dict.fromkeys(("split", "question", "title", "metric", "readout", "runs_digest"), "x"),
        "reading": ["x"],
        "left_out": {},
        "shown": {"p": "p"},
        "test": "paired t test",
    }
    table = [{"p": 0.2}]
    for notes, n in (((), 1), (("p: exact McNemar test.",), 0)):
        lines = markdown({**facts, "notes": list(notes)}, table)
        assert sum("paired t test" in line for line in lines) == n


def test_a_line_is_interrupted_where_the_queries_change() -> None:
    line = [(0.0, 0.1), (1.0, 0.2), (2.0, 0.3), (3.0, 0.4)]
    assert runs_of(line, [9, 9, 4, 9]) == [line[:2], line[2:3], line[3:]]
    assert runs_of([], []) == []


def study(capsys, folder, name, *more, table=None):
    argv = ["study", name, "--split", str(table), "--recipe", "smoke"]
    argv += ["--set", "recipe.steps=6", "--set", "recipe.width=8", "--results", str(folder)]
    with pytest.raises(SystemExit) as stop:
        main([*argv, "--json", *more])
    return stop.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write_table(tmp_path_factory.mktemp("table"), per_class=8, controls=8)


def test_every_study_is_listed_without_importing_it() -> None:
    code = (
        "import sys; from bench.studies import known; print(' '.join(known()));"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'pandas', 'scanpy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert names >= {
        "ablation",
        "batch-size",
        "composition",
        "confounding",
        "controls",
        "drift",
        "label-shift",
        "learning-curve",
        "mechanism",
        "multi-plate",
        "strength",
    }
    assert all(known()[name]["question"].endswith("?") for name in names)
    with raises(BenchError, "batch-size"):
        load("batch-sise")


def test_a_study_leaves_table_figure_and_reading_the_same_each_time(
    capsys, tmp_path, table
) -> None:
    ask = ("-m", "erm,ben", "--seeds", "2", "--points", "2,8")
    code, out = study(capsys, tmp_path / "one", "batch-size", *ask, table=table)
    assert code == 0
    shown = json.loads(out.out)
    assert len(shown["reading"]) == 3
    assert "smoke" in shown["reading"][2]
    [folder] = (tmp_path / "one" / "studies" / "batch-size").iterdir()
    names = {file.name for file in folder.iterdir()}
    figures = {f"batch-size.{suffix}" for suffix in ("png", "pdf", "csv")}
    assert names == {"table.csv", "reading.md", "study.json", *figures}
    with (folder / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["method"], r["rows"]) for r in rows] == [
        ("erm", "any"),
        *(("ben", k) for k in ("2", "8", "whole")),
    ]
    digest = json.loads((folder / "study.json").read_text(encoding="utf-8"))["runs_digest"]
    assert digest == shown["runs_digest"]
    assert digest.encode() in (folder / "batch-size.png").read_bytes()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    # Another folder with the same records: nothing is made again, and every byte is the same.
    (tmp_path / "one" / "studies").rename(tmp_path / "aside")
    code, out = study(capsys, tmp_path / "one", "batch-size", *ask, table=table)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    runs = list((tmp_path / "one" / "runs").glob("*/*"))
    assert len(runs) == 2 + 2 + 2 * 2


@pytest.mark.parametrize(
    "argv, words",
    [
        (("batch-sise",), ("batch-size",)),
        (("batch-size", "--points", "two"), ("numbers",)),
        (("ablation", "--points", "2"), ()),
        (("batch-size", "-m", "bem"), ("ben",)),
    ],
)
def test_wrong_usage_is_one_line(capsys, tmp_path, table, argv, words) -> None:
    code, out = study(capsys, tmp_path, *argv, table=table)
    assert code == 2
    assert out.err.startswith("error: ")
    mentions(out.err, *words)
    assert len(out.err.splitlines()) == 1
    assert not (tmp_path / "studies").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, more, columns",
    [
        ("ablation", (), {"training", "statistics", "diff_low"}),
        ("composition", ("-m", "erm,ben"), {"rows_are", "batches"}),
        ("confounding", ("-m", "erm,ben", "--points", "1"), {"classes", "rows_median"}),
        (
            "controls",
            ("-m", "erm,zscore,sphering,tvn", "--points", "2,4"),
            {"controls", "fallbacks"},
        ),
        ("drift", ("-m", "erm,zscore,sphering-all"), {"drift", "reseeded", "worst"}),
        ("label-shift", ("-m", "erm,ben", "--points", "0.1,10"), {"alpha", "rows_median"}),
        ("learning-curve", ("--points", "2,4"), {"steps", "diff"}),
        ("mechanism", (), {"batch", "class", "both", "rows", "whole"}),
        ("multi-plate", ("-m", "erm,ben", "--points", "1,2"), {"plates", "diff"}),
        ("strength", (), set()),
    ],
)
def test_every_study_runs_on_a_table(capsys, tmp_path, table, name, more, columns) -> None:
    seeds = "1" if name in ("ablation", "controls", "confounding") else "2"
    code, out = study(capsys, tmp_path, name, "--seeds", seeds, *more, table=table)
    assert code == 0, out.err
    shown = json.loads(out.out)
    assert len(shown["reading"]) == 3
    methods = frozenset(Registry().names("method"))
    for sentence in markdown_sentences("\n\n".join(shown["reading"])):
        assert n_words(sentence, methods) <= LONGEST, sentence
    if name == "strength":
        assert shown["rows"] == []
        assert set(shown["left_out"]) == {"all methods"}
        return
    assert shown["rows"]
    assert columns <= set(shown["rows"][0])
    if name == "controls":
        points = {}
        for row in shown["rows"]:
            points.setdefault(row["method"].partition("(")[0], []).append(row["controls"])
        several = ["2", "4", "all"]
        assert points == {"erm": ["any"], "zscore": several, "sphering": several, "tvn": several}
    if name == "drift":
        moved = {row["method"]: row["drift"] for row in shown["rows"]}
        assert moved["zscore"] == pytest.approx(0, abs=1e-5)  # a batch is scaled by itself
        assert moved["erm"] > 0.01
    if name == "learning-curve":
        assert [(row["method"], row["steps"]) for row in shown["rows"]] == [
            (method, steps) for method in ("erm", "ben") for steps in ("2", "4")
        ]
    if name == "ablation":
        assert len(shown["rows"]) == 9
    if name == "mechanism":
        for row in shown["rows"]:
            assert sum(row[k] for k in ("batch", "class", "both", "rows")) == pytest.approx(1)


@pytest.mark.slow
def test_arms_that_need_what_the_table_lacks_are_left_out_and_named(capsys, tmp_path) -> None:
    bare = tiny.write_table(tmp_path / "t", controls=0)
    text = bare.read_text(encoding="utf-8").replace('control = "control"\n', "")
    bare.write_text(text, encoding="utf-8")
    code, out = study(capsys, tmp_path, "ablation", "-m", "erm,adabn,zscore", table=bare)
    assert code == 0, out.err
    shown = json.loads(out.out)
    assert {row["method"] for row in shown["rows"]} == {"erm", "adabn"}
    assert "zscore" in shown["left_out"]
    assert any(name.startswith("mixed/controls") for name in shown["left_out"])
    code, out = study(capsys, tmp_path, "controls", table=bare)
    assert code == 0
    assert set(json.loads(out.out)["left_out"]) == {"all methods"}


def test_no_figure_is_made_of_a_fixture() -> None:
    context = SimpleNamespace(
        task=tiny.task(), options=Options(), seeds=[0], metric_text="accuracy", readout="head"
    )
    with raises(BenchError, "--edition"):
        subtitle(context)
