"""Real images by name: published files and contact sheets give the same pixels and splits."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.catalog import packaged_splits
from bench.data.fetch.fetcher import Fetcher
from bench.data.fetch.listing import packaged_fetchable, read_fetchable
from bench.data.fetch.tree import verify
from bench.data.folds import folds
from bench.data.opening import open_splits
from bench.data.own.table import load
from bench.data.packaged import packaged_index
from bench.data.pixel_cache import decoded
from bench.testing.dataset import check_dataset
from tests.helpers.errors import raises
from tests.helpers.real import real_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = {
    "mitosis-scanners": "mitosis_scanners",
    "mitocheck-cells": "mitocheck_cells",
    "blood-objects": "blood_objects",
}
TOMLS = {
    "mitosis-scanners/phase": "mitosis_scanners/dataset.toml",
    "mitosis-scanners/atypical": "mitosis_scanners/dataset_atypical.toml",
    "mitocheck-cells/periods": "mitocheck_cells/dataset.toml",
    "mitocheck-cells/periods-15": "mitocheck_cells/dataset_15.toml",
    "blood-objects/laboratories": "blood_objects/dataset.toml",
}
NAMES = tuple(FOLDERS)
FETCHED = ("mitosis-scanners", "mitocheck-cells")


def real(name: str) -> Path:
    return real_folder(FOLDERS[name])


def dataset(name: str) -> Any:
    return Registry().entry("dataset", name).load()(None)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("name", NAMES)
def test_without_files_the_error_names_the_command(name: str) -> None:
    assert dataset(name).editions() == []
    with raises(BenchError, "bench data fetch", name):
        dataset(name).open("real")
    with raises(BenchError, "fixture"):
        dataset(name).open("fixture")


@pytest.mark.slow
@pytest.mark.parametrize("split", TOMLS)
def test_a_registered_split_equals_that_of_the_toml(
    split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = split.partition("/")[0]
    folder = real(name)
    monkeypatch.setenv("BENCH_DATA", str(folder.parent))
    assert dataset(name).editions() == ["real"]
    [task] = open_splits([split], Registry(), "auto", {}, lambda line: None)
    own = load(folder.parent / TOMLS[split])
    other = own.open()
    for fold, their in zip(task.folds, folds(own.split(None), other), strict=True):
        assert (fold.name, fold.classes) == (their.name, their.classes)
        for rows, their_rows in ((fold.train, their.train), (fold.test, their.test)):
            index, others = task.opened.index.iloc[rows], other.index.iloc[their_rows]
            assert index["id"].tolist() == others["id"].tolist()
            assert index["label"].tolist() == others["label"].tolist()
        np.testing.assert_array_equal(
            task.opened.source.read(fold.test[::7]), other.source.read(their.test[::7])
        )
    assert task.warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_interface_is_followed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(real(name).parent))
    check_dataset(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_contact_sheets_are_taken_with_from(name: str, data: Path) -> None:
    published = packaged_fetchable(name)
    assert published is not None
    report = Fetcher(published, str(real(name))).run()
    assert (report.problems, dataset(name).editions()) == ([], ["real"])
    assert len(dataset(name).open("real").index) == len(packaged_index(name))
    sheet = data / name / published.packed[0].name
    sheet.write_bytes(sheet.read_bytes()[:-1] + b"?")
    assert len(verify(published, Fetcher(published).desk).problems) == 1


def test_images_without_a_public_source_are_only_taken_from_a_folder(tmp_path: Path) -> None:
    published = packaged_fetchable("blood-objects")
    assert published is not None
    assert (published.files, published.bytes) == ((), None)
    with raises(BenchError, "--from", "objects_0.png"):
        Fetcher(published).run()
    with raises(BenchError, "--from", "objects_0.png"):
        Fetcher(published, str(tmp_path)).run()


@pytest.mark.parametrize("name", FETCHED)
def test_the_index_matches_the_published_names(name: str) -> None:
    index, published = packaged_index(name), packaged_fetchable(name)
    assert published is not None
    [archive] = published.files
    below = index["file"].str.removeprefix(f"{archive.unpack}/")
    from fnmatch import fnmatchcase

    assert all(any(fnmatchcase(path, p) for p in archive.members) for path in below)
    assert index["file"].is_unique
    assert index["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    if name == "mitocheck-cells":
        # the plate, day and well position are those of the file name
        parts = below.str.extract(r"/(?P<phenotype>\w+)/PL(?P<plate>\w+?)--ex(?P<date>[\d_]+)--.*")
        for column in ("phenotype", "plate", "date"):
            assert (
                parts[column].str.replace("_", "-").equals(index[column].str.replace("_", "-"))
            ), column
        days = index.groupby("block")["date"].agg(["min", "max"])
        assert (days["min"].to_numpy()[1:] > days["max"].to_numpy()[:-1]).all()


class Tiny:
    """A synthetic repository in the published layout, its index and its archive."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        self.index = packaged_index("mitosis-scanners").iloc[::100].reset_index(drop=True)
        self.pixels = rng.integers(0, 256, (len(self.index), 128, 128, 3), dtype=np.uint8)
        self.files: dict[str, bytes] = {"LICENSE": b"MIT", "AMi-Br/Normal/TUPAC16_1.png": b"no"}
        sums = []
        for file, image in zip(self.index["file"], self.pixels, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            self.files[file.partition("/")[2]] = buffer.getvalue()
            sums.append(hashlib.sha256(buffer.getvalue()).hexdigest())
        self.index["sha256"] = sums
        (folder / "index").mkdir(parents=True)
        with gzip.open(folder / "index" / "mitosis-scanners.csv.gz", "wt") as handle:
            self.index.to_csv(handle, index=False)
        self.archive = folder / "repository.tar.gz"
        self.write()
        import bench.datasets

        monkeypatch.setattr(bench.datasets, "__path__", [str(folder), *bench.datasets.__path__])
        expected = folder / "expected"
        expected.mkdir()
        self.references = []
        from bench.data.image_ref import ImageRef

        for k, image in enumerate(self.pixels):
            Image.fromarray(image[32:96, 32:96]).save(expected / f"{k}.png")
            self.references.append(ImageRef((expected / f"{k}.png",)))
        cls = Registry().entry("dataset", "mitosis-scanners").load()
        monkeypatch.setattr(cls, "pixels", decoded(self.references).digest)

    def write(self) -> None:
        with tarfile.open(self.archive, "w:gz") as tar:
            link = tarfile.TarInfo("AMi-Br_Benchmark-3acf4da/link")
            link.type, link.linkname = tarfile.SYMTYPE, "AMi-Br"
            tar.addfile(link)  # not wanted, so not an error
            for name, content in self.files.items():
                info = tarfile.TarInfo(f"AMi-Br_Benchmark-3acf4da/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    return Tiny(tmp_path / "tiny", monkeypatch)


def test_the_published_archive_gives_the_central_pixels(tiny: Tiny, data: Path) -> None:
    published = packaged_fetchable("mitosis-scanners")
    assert published is not None
    report = Fetcher(published, str(tiny.archive)).run()
    assert report.problems == []
    assert report.files == len(tiny.index)
    assert not (data / "mitosis-scanners/AMi-Br_Benchmark/AMi-Br/Normal/TUPAC16_1.png").exists()
    opened = dataset("mitosis-scanners").open("real")
    np.testing.assert_array_equal(
        opened.source.read(np.arange(len(tiny.index))),
        np.moveaxis(tiny.pixels[:, 32:96, 32:96], -1, 1),
    )
    assert opened.index["label"].tolist() == tiny.index["phase"].tolist()
    assert opened.is_images
    assert opened.pixel == 0.25
    atypical = dataset("mitosis-scanners").open_split(
        "real", packaged_splits()["mitosis-scanners/atypical"]
    )
    assert atypical.index["label"].tolist() == tiny.index["atypical"].tolist()
    assert not {"phase", "atypical", "file", "sha256"} & set(atypical.index)
    assert atypical.digest != opened.digest


def test_damaged_and_missing_images_are_named(tiny: Tiny, data: Path) -> None:
    published = packaged_fetchable("mitosis-scanners")
    assert published is not None
    first, second = (file.partition("/")[2] for file in tiny.index["file"][:2])
    good = tiny.files.pop(first)
    other = io.BytesIO()
    Image.fromarray(tiny.pixels[0]).save(other, "PNG")
    tiny.files[second] = other.getvalue()
    tiny.write()
    report = Fetcher(published, str(tiny.archive)).run()
    assert len(report.problems) == 2
    assert sum(first in problem for problem in report.problems) == 1
    assert sum(second in problem for problem in report.problems) == 1
    with raises(BenchError, "1 of", "data verify"):
        dataset("mitosis-scanners").open("real")
    (data / "mitosis-scanners/AMi-Br_Benchmark" / first).write_bytes(good)
    with raises(BenchError, "not the published images"):
        dataset("mitosis-scanners").open("real")


def test_a_clone_of_the_repository_is_linked(tiny: Tiny, data: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name, content in tiny.files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(content)
    published = packaged_fetchable("mitosis-scanners")
    assert published is not None
    assert Fetcher(published, str(clone)).run().problems == []
    assert (data / "mitosis-scanners/AMi-Br_Benchmark").is_symlink()
    assert dataset("mitosis-scanners").editions() == ["real"]
    shutil.rmtree(clone)
    assert dataset("mitosis-scanners").editions() == []


def test_packed_and_members_are_checked_when_read() -> None:
    table = {"title": "t", "licence": "l", "packed": [{"name": "a.png", "sha256": "0" * 64}]}
    assert read_fetchable("x", table, "x").packed[0].urls == ()
    with raises(BenchError, "packed 1"):
        read_fetchable("x", {**table, "packed": [{"name": "a", "urls": ["https://a"]}]}, "x")
    file = {"name": "a.zip", "urls": ["https://a"], "members": "*"}
    with raises(BenchError, "members"):
        read_fetchable("x", {"title": "t", "licence": "l", "file": [file]}, "x")


def test_the_index_of_every_set_has_the_declared_columns() -> None:
    for name in NAMES:
        index, cls = packaged_index(name), type(dataset(name))
        assert index["id"].is_unique
        assert {*cls.levels, *cls.labels.values(), *cls.columns.values()} <= set(index)
        assert set(cls.labels) == {s for s in packaged_splits() if s.startswith(f"{name}/")}
        for small, large in zip(cls.levels, cls.levels[1:], strict=False):
            assert (index.groupby(small)[large].nunique() == 1).all(), (small, large)
        assert isinstance(index, pd.DataFrame)
