"""Saved corrections: equal output, refused files, and warnings about unlike plates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from scipy.linalg import inv, logm, sqrtm
from sklearn.covariance import ledoit_wolf

from bench import Corrector
from bench.api import BenchError
from bench.cli.main import main
from bench.runs.similarity import CLIP, MAD, Reference
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("tvn", "zscore+sphering", "combat", "sphering-all")


def rows(seed: int = 0, **shape: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    index, X = tiny.frame(seed=seed, **shape)
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    return frame, {
        "batch": index["plate"].to_numpy(str),
        "controls": index["control"].to_numpy(bool),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "tvn.safetensors"
    frame, facts = rows(controls=6)
    Corrector("tvn", params={"variant": "efaar"}).fit(frame, **facts).save(path)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_correction_returns_the_same_bits(method: str, tmp_path: Path) -> None:
    frame, facts = rows(controls=6)
    new, new_facts = rows(seed=1, controls=6)
    corrector = Corrector(method).fit(frame, **facts)
    corrector.save(tmp_path / "c.safetensors")
    loaded = Corrector.load(tmp_path / "c.safetensors")
    expected = corrector.transform(new, **new_facts)
    assert np.array_equal(loaded.transform(new, **new_facts), expected)
    assert loaded.compare(new, **new_facts) == corrector.compare(new, **new_facts)
    assert loaded.get_feature_names_out().tolist() == corrector.get_feature_names_out().tolist()


def test_the_file_is_arrays_and_json(saved: Path) -> None:
    raw = saved.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["labshift"])
    assert header["params"] == {"variant": "efaar"}
    assert header["features"] == [f"f{j}" for j in range(6)]
    assert header["batches"] == ["p0", "p1", "p2", "p3"]
    assert all(array.dtype.kind in "fiub" for array in load(raw).values())


def rewritten(saved: Path, target: Path, **changed: Any) -> Path:
    """Write the file again with other values in its header."""
    raw = saved.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["labshift"]) | changed
    target.write_bytes(save(load(raw), {"labshift": json.dumps(header)}))
    return target


def test_files_that_cannot_be_used_are_refused(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    with raises(BenchError, "format 99"):
        Corrector.load(rewritten(saved, other, format=99))
    with raises(BenchError, "version 1", "tvn"):
        Corrector.load(rewritten(saved, other, versions=[["identity", 1], ["tvn", 1]]))
    other.write_bytes(saved.read_bytes()[:300])
    with raises(BenchError, other.name):
        Corrector.load(other)
    with raises(BenchError, "none.safetensors"):
        Corrector.load(tmp_path / "none.safetensors")
    frame, facts = rows()
    with raises(BenchError, "coral-to-target"):
        Corrector("coral-to-target").fit(frame, **facts).save(other)


def naive(X: np.ndarray, train: np.ndarray, k: int) -> list[float]:
    """Return the three distances by the formulas, with a full decomposition and matrix logs."""
    middle = np.median(train, axis=0)
    scale = MAD * np.median(np.abs(train - middle), axis=0)
    clipped = [np.clip((part - middle) / scale, -CLIP, CLIP) for part in (train, X)]
    axes = np.linalg.svd(clipped[0], full_matrices=False)[2][:k].T
    old, new = (z @ axes for z in clipped)
    root = inv(sqrtm(np.cov(old, rowvar=False, ddof=0)))
    w = (new - old.mean(axis=0)) @ root.T
    left = [np.mean(np.sum((z - z @ axes @ axes.T) ** 2, axis=1)) for z in clipped]
    return [
        float(np.sqrt(np.mean(w.mean(axis=0) ** 2))),
        float(np.linalg.norm(logm(ledoit_wolf(w)[0])) / np.sqrt(k)),
        abs(float(np.log(left[1] / left[0]))),
    ]


def test_distances_against_the_formulas() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 8))
    X = (rng.normal(size=(48, 8)) @ mix).astype(np.float32)
    batch = np.repeat(["a", "b", "c", "d"], 12)
    new = (1.5 * rng.normal(size=(12, 8)) @ mix + 1).astype(np.float32)
    reference = Reference.of(X, batch)
    [similarity] = reference.compare(new, np.full(12, "e"))
    assert list(similarity.distances.values()) == pytest.approx(naive(new, X, 4), rel=1e-4)
    own = batch == "b"
    assert reference.arrays["distances"][1] == pytest.approx(naive(X[own], X[~own], 4), rel=1e-4)


def test_the_share_of_ordinary_batches_that_exceed_a_threshold() -> None:
    """About 1 / (n + 1) per distance, as the warning states."""
    n, repeats = 7, 60
    exceeded = np.zeros(3)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((10 * (n + 1), 5)).astype(np.float32)
        batch = np.repeat([str(k) for k in range(n + 1)], 10)
        reference = Reference.of(X[:-10], batch[:-10])
        [similarity] = reference.compare(X[-10:], batch[-10:])
        exceeded += [n in similarity.exceeded for n in similarity.distances]
    expected = repeats / (n + 1)
    assert (np.abs(exceeded - expected) < 3 * np.sqrt(expected)).all()


def test_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toml = tiny.write_table(tmp_path / "screen", controls=6)
    tiny.write_outputs(toml, tmp_path)

    def called(*words: str) -> tuple[int, dict[str, Any], str]:
        with pytest.raises(SystemExit) as stop:
            main([*words, "--json"])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), json.loads(out) if out else {}, err

    code, facts, _ = called("fit", "tvn", "--data", str(toml), "--output", "tvn.safetensors")
    assert (code, facts["batches"], facts["features"], facts["rows"]) == (0, 4, 6, 84)
    apply = ("apply", "tvn.safetensors", "new_plate.parquet", "--output", "out.parquet")
    code, facts, _ = called(*apply)
    assert (code, facts["rows"]) == (0, 21)
    assert [entry["batch"] for entry in facts["batches"]] == ["p9"]
    table = pd.read_parquet("out.parquet")
    new = pd.read_parquet("new_plate.parquet")
    assert table["id"].tolist() == new["id"].tolist()
    expected = Corrector.load("tvn.safetensors").transform(
        new[[f"f{j}" for j in range(6)]],
        batch=new["plate"].to_numpy(str),
        controls=new["control"].to_numpy(bool),
    )
    assert np.array_equal(table.filter(regex="^e[0-9]").to_numpy(), expected)

    new[list(new.columns[::-1])].to_parquet("new_plate.parquet")
    assert called(*apply)[0] == 0
    assert np.array_equal(pd.read_parquet("out.parquet").filter(regex="^e[0-9]"), expected)

    moved = new.assign(**{f"f{j}": 30 + 5 * new[f"f{j}"] for j in range(6)})
    moved[~moved["control"] | (moved["position"] == "A15")].to_parquet("new_plate.parquet")
    warnings = called(*apply)[1]["warnings"]
    mentions(warnings, "p9", "1 control", "4")
    mentions(warnings, "p9", "location", "1 in 5")

    for change, named in (
        (new.drop(columns=["f1", "f4"]), "f1"),
        (new.drop(columns="plate"), "--batch"),
        (new.assign(f2=np.nan), "f2"),
        (new.assign(plate=None), "plate"),
    ):
        change.to_parquet("new_plate.parquet")
        code, _, error = called(*apply[:-1], "other.parquet")
        assert code == 2
        assert named in error
        assert error.count("\n") == 1
        assert not (tmp_path / "other.parquet").exists()
    assert called("fit", "harmony", "--data", str(toml), "--output", "h.safetensors")[0] == 2
    assert not (tmp_path / "h.safetensors").exists()
    assert called("fit", "tvn", "--data", str(toml), "--output", "h", "--level", "day")[0] == 2
    assert called(*apply[:-1], "out.txt")[0] == 2
