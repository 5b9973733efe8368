"""Exported embeddings have the values, ids and metadata of their rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.cli.commands.export import command as export_command
from bench.core.errors import BenchError
from bench.records.embeddings import embedding, embeddings
from bench.records.export import chosen_sides, provenance, table, write
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.helpers.factories import edit_signed

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.record import Record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, dict[str, Record]]:
    """Runs on a table: one split with a fixed test plate, and one with each plate held out."""
    folder = tmp_path_factory.mktemp("export")
    splits = (
        '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'
        '\n[splits.last]\ntest = { plate = ["p3"] }\nshares = ["week"]\n'
    )
    path = tiny.write_table(folder / "table", splits)
    bench = tiny.Bench(folder / "results")
    records = {}
    for name in ("plates", "last"):
        for record in bench.run("zscore,identity", tiny.open_table(path, name)):
            assert record["status"] == "ok", record["reason"]
            stored = bench.store.find(record["run_id"])
            assert stored is not None
            records[f"{record['method']}/{name}"] = stored
    return bench.store, path, records


def by_hand(path: Path, id_: str) -> np.ndarray:
    """Z-score of a row by the controls of its plate, in the features of the file."""
    frame = pd.read_parquet(path.parent / "table.parquet").set_index("id")
    columns = [name for name in frame if name.startswith("f")]
    plate = frame[frame["plate"] == frame.loc[id_, "plate"]]
    controls = plate[plate["control"]][columns].to_numpy(np.float64)
    row = frame.loc[id_, columns].to_numpy(np.float64)
    return (row - controls.mean(axis=0)) / controls.std(axis=0)


def test_each_row_is_the_row_it_says(runs) -> None:
    store, path, records = runs
    record = records["zscore/last"]
    X, obs = table(
        embeddings(store, record, ("train", "test")),
        record,
        tiny.open_table(path, "last")[0].opened.index,
    )
    assert X.shape == (len(obs), 6)
    assert X.dtype == np.float32
    assert obs.index.is_unique
    assert set(obs["split"]) == {"train", "test"}
    assert set(obs.loc[obs["split"] == "test", "plate"]) == {"p3"}
    for place in (0, 20, 40, 70):
        np.testing.assert_allclose(X[place], by_hand(path, obs["id"].iloc[place]), rtol=1e-4)
    truth = pd.read_parquet(path.parent / "table.parquet").set_index("id")
    scored = obs[~obs["control"].astype(bool)]
    assert (scored["label"].to_numpy() == truth.loc[scored["id"], "label"].to_numpy()).all()


def test_predictions_stand_beside_their_rows(runs) -> None:
    store, path, records = runs
    record = records["zscore/plates"]
    assert chosen_sides(store, record, "auto") == ("test",)
    X, obs = table(
        embeddings(store, record, ("test",)),
        record,
        tiny.open_table(path, "plates")[0].opened.index,
    )
    predictions = record.predictions()
    assert predictions is not None
    classes = record["classes"]
    expected = {row.id: classes[row.y_pred] for row in predictions.itertuples()}
    assert len(X) == 76
    assert {i: p for i, p in zip(obs["id"], obs["prediction"], strict=True) if p} == expected
    assert (obs["fold"] == obs["plate"]).all()
    assert (obs.loc[obs["control"].astype(bool), "prediction"] == "").all()


def test_without_the_data_there_is_what_the_record_knows(runs) -> None:
    store, _, records = runs
    _, obs = table(embeddings(store, records["zscore/plates"], ("test",)), records["zscore/plates"])
    assert list(obs) == ["id", "fold", "split", "plate", "label", "prediction"]
    assert (obs["label"] == "").sum() == 16  # the controls were not scored


def test_several_folds_have_unique_names(runs) -> None:
    store, _, records = runs
    X, obs = table(
        embeddings(store, records["zscore/plates"], ("train", "test")), records["zscore/plates"]
    )
    assert len(X) == 4 * 76
    assert obs.index.is_unique


def test_formats_hold_the_same_rows(runs, tmp_path: Path) -> None:
    import anndata
    import pyarrow.parquet as pq

    store, path, records = runs
    record = records["zscore/plates"]
    X, obs = table(
        embeddings(store, record, ("test",)),
        record,
        tiny.open_table(path, "plates")[0].opened.index,
    )
    facts = provenance(record)
    (h5ad,) = write(X, obs, facts, "h5ad", tmp_path / "a.h5ad")
    read = anndata.read_h5ad(h5ad)
    np.testing.assert_array_equal(read.X, X)
    assert list(read.obs_names) == list(obs.index)
    assert (read.obs["label"].astype(str) == obs["label"]).all()
    assert read.uns["labshift"]["run_id"] == record.run_id
    assert read.uns["labshift"]["edition"] == "real"
    (parquet,) = write(X, obs, facts, "parquet", tmp_path / "a.parquet")
    frame = pd.read_parquet(parquet)
    np.testing.assert_array_equal(frame.filter(regex="^e[0-9]").to_numpy(np.float32), X)
    assert list(frame["id"]) == list(obs["id"])
    assert json.loads(pq.read_schema(parquet).metadata[b"labshift"]) == facts
    files = write(X, obs, facts, "npy", tmp_path / "a.npy")
    assert [file.suffix for file in files] == [".npy", ".csv", ".json"]
    np.testing.assert_array_equal(np.load(files[0]), X)
    assert list(pd.read_csv(files[1])["id"]) == list(obs["id"])
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        file.name for file in (h5ad, parquet, *files)
    )


def test_what_is_not_kept_says_how_to_make_it_again(runs, tmp_path: Path) -> None:
    _, _, records = runs
    with raises(BenchError, "bench run"):
        embeddings(Store(tmp_path), records["zscore/plates"], ("test",))
    store, _, _ = runs
    with raises(BenchError, "--side"):
        embeddings(store, records["identity/plates"], ("train",))


def test_identity_is_kept_as_what_others_are_compared_with(runs) -> None:
    store, path, records = runs
    X, obs = table(
        embeddings(store, records["identity/plates"], ("test",)), records["identity/plates"]
    )
    frame = pd.read_parquet(path.parent / "table.parquet").set_index("id")
    expected = frame.loc[obs["id"], [f"f{j}" for j in range(6)]].to_numpy(np.float32)
    np.testing.assert_array_equal(X, expected)
    stage = embedding(store, records["zscore/plates"], 1, stage=0)
    assert stage is not None
    assert stage.method == "identity"


def test_the_command(runs, tmp_path: Path) -> None:
    from click.testing import CliRunner

    store, _, records = runs
    run = records["zscore/last"].run_id
    call = [run[:10], "--results", str(store.root), "--output", str(tmp_path / "x.parquet")]
    done = CliRunner().invoke(export_command, [*call, "--format", "parquet", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == 76
    assert (tmp_path / "x.parquet").is_file()
    for wrong in (["--format", "csv"], ["--side", "left"]):
        assert isinstance(CliRunner().invoke(export_command, [*call, *wrong]).exception, BenchError)


def test_embeddings_by_other_code_are_reported(runs, tmp_path: Path) -> None:
    from click.testing import CliRunner

    _, path, _ = runs
    bench = tiny.Bench(tmp_path)
    [result] = bench.run("zscore", tiny.open_table(path, "last"))
    record = bench.store.find(result["run_id"])
    assert record is not None
    outputs = embeddings(bench.store, record, ("train", "test"))
    assert [output.changed for output in outputs] == [(), ()]
    meta = bench.store.artifact_path(record.folds[0]["stages"][-1]["apply_id"]) / "meta.json"
    earlier = {"methods/zscore.py": "00000000", "methods/_earlier.py": "00000000"}
    edit_signed(meta, lambda facts: facts["code"]["files"].update(earlier))
    train, test = embeddings(bench.store, record, ("train", "test"))
    assert train.changed == ()
    assert test.changed == ("methods/_earlier.py", "methods/zscore.py")
    call = [record.run_id[:12], "--results", str(tmp_path), "--output", str(tmp_path / "x.npy")]
    printed = CliRunner().invoke(export_command, [*call, "--format", "npy"])
    assert printed.exit_code == 0
    assert "methods/zscore.py" in printed.stderr
    assert "--if-exists rerun" in printed.stderr
