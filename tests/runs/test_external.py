"""Predictions and embeddings computed elsewhere: scores, checks, marks on boards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from bench.api import BenchError
from bench.boards.select import boards
from bench.cli.main import main
from bench.data.external import read_external
from bench.records.schema import NOT_RUN_HERE
from bench.runs.external import Submission, required_ids, score
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.record import Record

MINE = Submission("mine", "inductive", deterministic=True)
UNSUPERVISED = """
treatment = ["label"]
compound = ["position"]
nscb_batch = "plate"

[splits.all]
protocol = "unsupervised"
test = "all"
metrics = ["nsc"]
"""


class Case:
    """A tiny table, its split, and files of outputs for it."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.toml = tiny.write_table(folder, **how)
        [self.task] = tiny.open_table(self.toml)
        self.bench = tiny.Bench(folder / "results")
        self.table = pd.read_parquet(folder / "table.parquet")
        self.folder = folder

    def embeddings(self) -> pd.DataFrame:
        return self.table[["id", *[name for name in self.table if name.startswith("f")]]]

    def classes(self) -> pd.DataFrame:
        """Return a prediction for each scored row, a third of them wrong."""
        rows = self.table[~self.table["control"]]
        wrong = np.arange(len(rows)) % 3 == 0
        return pd.DataFrame(
            {"id": rows["id"], "prediction": np.where(wrong, "actin", rows["label"])}
        )

    def scored(self, frame: pd.DataFrame, submission: Submission = MINE, **how: Any) -> Record:
        path = self.folder / "outputs.parquet"
        frame.to_parquet(path)
        return score(path, self.task, submission, self.bench.registry, self.bench.store, **how)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def numbers(record: Record) -> dict[str, object]:
    return {"metrics": record.data["metrics"], "clusters": record.data["clusters"]}


def test_the_table_as_embeddings_scores_as_identity_does(case: Case) -> None:
    [expected] = case.bench.run("identity", case.task)
    shuffled = case.embeddings().sample(frac=1.0, random_state=0)
    record = case.scored(shuffled)
    assert numbers(record) == numbers(expected)
    assert record.predictions_sha256 == expected.predictions_sha256
    assert record.data["external"]["kind"] == "embeddings"
    assert case.scored(case.embeddings()).run_id == record.run_id


def test_retrieval_of_embeddings_equals_identity(tmp_path: Path) -> None:
    case = Case(tmp_path, splits=UNSUPERVISED)
    [expected] = case.bench.run("identity", case.task)
    assert numbers(case.scored(case.embeddings())) == numbers(expected)
    with raises(BenchError, "classes"):
        case.scored(case.classes())


def test_predicted_classes_against_scikit_learn(case: Case) -> None:
    frame = case.classes()
    record = case.scored(frame)
    joined = frame.merge(case.table[["id", "label", "plate"]], on="id")
    by_plate = [part for _, part in joined.groupby("plate")]
    for name, metric in (
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        expected = np.mean([metric(part["label"], part["prediction"]) for part in by_plate])
        assert record.value(name, "head") == pytest.approx(expected)
    assert "calibration_error" in record.data["undefined"]
    assert not record.has("calibration_error")


def test_scores_are_probabilities_or_logits(case: Case) -> None:
    frame = case.classes()
    logits = pd.DataFrame({"id": frame["id"]})
    for name in case.task.classes:
        logits[name] = np.where(frame["prediction"] == name, 2.0, -1.0)
    z = np.exp(logits[list(case.task.classes)].to_numpy())
    chances = logits.assign(
        **dict(zip(case.task.classes, (z / z.sum(axis=1, keepdims=True)).T, strict=True))
    )
    first, second = case.scored(logits), case.scored(chances)
    assert first.data["metrics"]["accuracy"] == second.data["metrics"]["accuracy"]
    assert first.value("calibration_error", "head") == pytest.approx(
        second.value("calibration_error", "head"), abs=1e-6
    )
    assert first.value("accuracy", "head") == case.scored(frame).value("accuracy", "head")


def test_a_row_per_model_and_fold(case: Case) -> None:
    folds = [case.embeddings().assign(fold=fold.name) for fold in case.task.folds]
    record = case.scored(pd.concat(folds))
    assert numbers(record) == numbers(case.scored(case.embeddings()))
    with raises(BenchError, "p3"):
        case.scored(pd.concat(folds[:-1]))
    with raises(BenchError, "p9"):
        case.scored(folds[0].assign(fold="p9"))


def test_the_required_ids_suffice(case: Case) -> None:
    ids = pd.DataFrame(required_ids(case.task), columns=["id", "fold", "partition"])
    assert set(ids["id"]) == set(case.table["id"][~case.table["control"]])
    frame = case.embeddings()
    only = frame[frame["id"].isin(ids["id"])]
    assert numbers(case.scored(only)) == numbers(case.scored(frame))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.iloc[:-9], "p3-w14"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "p0-w00"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(id="z1")]), "z1"),
        (lambda t: t.assign(f0=np.where(t["id"] == "p1-w01", np.nan, t["f0"])), "p1-w01"),
        (lambda t: t.drop(columns="id"), "id"),
        (lambda t: t[["id"]], "--features"),
    ],
    ids=["missing", "duplicate", "unknown", "not finite", "no id", "no features"],
)
def test_wrong_files_are_refused(case: Case, change: Any, named: str) -> None:
    frame = case.embeddings()
    frame = frame[frame["id"] != "p3-w14"] if named == "p3-w14" else change(frame)
    with raises(BenchError, named):
        case.scored(frame)
    assert not case.bench.store.load_all()


def test_leaks_and_wrong_statements_are_refused(case: Case) -> None:
    frame = case.classes()
    with raises(BenchError, "p1-w00"):
        case.scored(frame, Submission("mine", "inductive", trained_on=frozenset({"p1-w00"})))
    with raises(BenchError, "erm"):
        case.scored(frame, Submission("erm", "inductive"))
    with raises(BenchError, "track"):
        case.scored(frame, Submission("mine", "honest"))
    with raises(BenchError, "actni"):
        case.scored(frame.assign(prediction="actni"))


def test_training_rows_and_copies_are_counted(tmp_path: Path) -> None:
    split = '\n[splits.last]\ntest = { plate = ["p3"] }\nshares = ["week"]\n'
    case = Case(tmp_path, splits=split)
    assert any(note.startswith("predictions of 45") for note in case.scored(case.classes()).notes)
    frame = case.embeddings().set_index("id")
    frame.loc["p3-w00"] = frame.loc["p0-w00"]
    assert any(note.startswith("1 test row") for note in case.scored(frame.reset_index()).notes)


def test_boards_mark_the_rows_and_keep_their_readout(case: Case) -> None:
    [job] = plan(["identity"], [case.task], [0], Options(), case.bench.registry)
    Runner(case.bench.store, Options()).run(job)
    case.scored(case.embeddings())
    case.scored(case.classes(), Submission("guess", "transductive", deterministic=True))
    [board] = boards(case.bench.store.load_all())
    rows = {row.method_id: row for row in board.rows}
    assert board.readout == "probe"
    assert {name for name, row in rows.items() if NOT_RUN_HERE in row.badges} == {"mine", "guess"}
    assert rows["mine"].track == "inductive"
    assert rows["mine"].difference == 0
    assert rows["mine"].cost == {}
    assert (rows["guess"].readout, rows["guess"].track) == ("head", "transductive")
    assert rows["guess"].rank == 1


def test_h5ad_files(case: Case, tmp_path: Path) -> None:
    frame = case.embeddings().set_index("id")
    data = anndata.AnnData(frame.to_numpy(), var=pd.DataFrame(index=frame.columns))
    data.obs_names = frame.index.to_numpy(str)
    data.write_h5ad(tmp_path / "outputs.h5ad")
    case.embeddings().to_csv(tmp_path / "outputs.csv", index=False)
    case.embeddings().to_parquet(tmp_path / "outputs.parquet")
    tables = [
        read_external(tmp_path / f"outputs.{ending}", case.task.classes, {"plate"})
        for ending in ("h5ad", "csv", "parquet")
    ]
    for table in tables:
        assert table.ids.tolist() == case.table["id"].tolist()
        assert np.array_equal(table.X, tables[2].X)
        assert table.digest == tables[2].digest


def test_the_command(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "own"))
    files = [str(tmp_path / f"seed{seed}.csv") for seed in range(3)]
    for seed, file in enumerate(files):
        case.classes().iloc[::-1].assign(noise=seed).to_csv(file, index=False)

    def called(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main([*words, "--split", str(case.toml), "--json"])
        return int(stop.value.code or 0), capsys.readouterr().out

    how = ("--kind", "classes", "--name", "mine", "--track", "inductive")
    code, out = called("score", *files, *how)
    assert code == 0
    assert [run["seed"] for run in json.loads(out)["runs"]] == [0, 1, 2]
    [board] = json.loads(called("leaderboard")[1])["boards"]
    assert board["rows"][0]["badges"] == [NOT_RUN_HERE]
    assert board["rows"][0]["rank"] == 1
    assert called("score", "--ids", str(tmp_path / "ids.csv"))[0] == 0
    assert set(pd.read_csv(tmp_path / "ids.csv")["partition"]) == {"train", "test"}
    assert called("score")[0] == 2
    assert called("score", files[0], "--track", "best")[0] == 2
    assert called("score", files[0], "--trained-on", str(tmp_path / "none.txt"))[0] == 2
