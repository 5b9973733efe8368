"""Cards: Croissant of data sets and splits, Markdown of saved corrections."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.catalog import known_splits
from bench.data.croissant import card
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [entry.name for entry in Registry().entries("dataset")]
LIBRARY = "mlcroissant"


def record_set(document: dict[str, Any], name: str) -> dict[str, Any]:
    [chosen] = [s for s in document["recordSet"] if s["name"] == name]
    return chosen


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_data_set_has_its_files_and_splits(name: str) -> None:
    document = card(name, Registry())
    assert document["name"] == name
    ids = [file["@id"] for file in document["distribution"]]
    assert len(ids) == len(set(ids))
    for file in document["distribution"]:
        assert file["contentUrl"].startswith("https://")
        # Without a published checksum the card says that files may change.
        assert "sha256" in file or "md5" in file or document["isLiveDataset"]
    listed = {row["splits/name"] for row in record_set(document, "splits")["data"]}
    assert listed == {s.name for s in known_splits(Registry()).values() if s.dataset == name}


def test_the_card_of_a_split_has_that_split_alone() -> None:
    [row] = record_set(card("ottawa", Registry()), "splits")["data"]
    assert row["splits/name"] == "coos7/test4"
    with raises(BenchError, "jump-stainz", "jump-stains"):
        card("jump-stainz", Registry())


def test_an_own_table_lists_its_columns(tmp_path: Path) -> None:
    path = tiny.write_table(tmp_path, keys='licence = "CC0 1.0"\ncitation = "A. Author 2020"\n')
    document = card(str(path), Registry())
    [file] = document["distribution"]
    content = (tmp_path / "table.parquet").read_bytes()
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert (document["license"], document["citeAs"]) == ("CC0 1.0", "A. Author 2020")
    fields = {field["name"] for field in record_set(document, "rows")["field"]}
    assert fields == {"id", "label", "plate", "week", "control", "position"}
    table = tmp_path / "table.parquet"
    rows = pd.read_parquet(table)
    for change, named in (
        (rows.drop(columns="label"), "label"),
        (rows.iloc[:0], "no rows"),
        (rows.assign(f2=np.nan), "f2"),
    ):
        change.to_parquet(table)
        with raises(BenchError, named):
            card(str(path), Registry())
    table.unlink()
    with raises(BenchError, "table.parquet"):
        card(str(path), Registry())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*NAMES, "ottawa", "own"])
def test_the_reference_library_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    croissant = pytest.importorskip(LIBRARY, reason=f"{LIBRARY} is not installed (extra cards)")
    own = tiny.write_table(tmp_path, keys='licence = "CC0 1.0"\n')
    document = card(str(own) if name == "own" else name, Registry())
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = croissant.Dataset(jsonld=path)
    assert not data.metadata.ctx.issues.errors
    splits = {row["splits/name"] for row in data.records("splits")}
    expected = record_set(document, "splits")["data"]
    assert {s.decode() if isinstance(s, bytes) else s for s in splits} == {
        row["splits/name"] for row in expected
    }
    if name == "own":
        rows = list(data.records("rows"))
        assert len(rows) == 76
        assert {row["rows/plate"] for row in rows} in ({b"p0", b"p1", b"p2", b"p3"},)


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, said.out, said.err


def test_a_saved_correction_has_a_model_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, saved = tiny.write_table(tmp_path, controls=4), tmp_path / "saved.safetensors"
    call = ["fit", "zscore", "--data", path, "--output", saved, "--set", "zscore.rows=controls"]
    assert called(capsys, *call)[0] == 0
    code, out, _ = called(capsys, "card", saved)
    assert code == 0
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    for text in ("`zscore`", "rows = controls", digest, "tiny-table", "`plate`", "p0", "f0"):
        assert text in out
    for distance in ("location", "covariance", "residual"):
        assert f"| {distance} |" in out
    code, out, _ = called(capsys, "card", saved, "--json", "--output", tmp_path / "README.md")
    assert json.loads(out)["card"] == (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("target", ["nobody", "absent.toml", "absent.safetensors"])
def test_bad_input_gives_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = called(capsys, "card", target, "--output", "card.json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
