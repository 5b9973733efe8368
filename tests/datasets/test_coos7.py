"""COOS-7: every variant of the published files that may be met, bad files, editions, examples."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bench.datasets import coos7
from bench.datasets._crop_files import CLASSES
from bench.datasets.coos7 import COOS7, PARTS, Settings

from bench.api import BenchError, make_params
from bench.core.folders import cache_folder, data_folder
from bench.data.audit import audit
from bench.data.catalog import find_split
from bench.data.folds import folds
from bench.data.rescale import pixel_sizes
from bench.output.examples import draw_examples
from tests.helpers.errors import raises

ROOT = Path(__file__).resolve().parents[2]


def columns(part: str, n: int = 12) -> dict[str, Any]:
    """Return the contents of a small file of a part."""
    rng = np.random.default_rng(PARTS.index(part))
    plate = 40 + 10 * PARTS.index(part)
    return {
        "data": rng.integers(90, 4000, (n, 2, 8, 8)).astype(np.uint16),
        "labels": np.arange(n) % 7,
        "dateIDs": np.full(n, 20170101 + PARTS.index(part)),
        "microscopeIDs": np.full(n, part == "test4", dtype=int),
        "plateIDs": plate + np.arange(n) // 6,
        "wellIDs": np.array([f"B{1 + i // 3:02d}" for i in range(n)], "S3"),
    }


def write_file(path: Path, content: dict[str, Any], storage: dict[str, Any] | None = None) -> None:
    with h5py.File(path, "w") as handle:
        for key, value in content.items():
            handle.create_dataset(key, data=value, **(storage or {} if key == "data" else {}))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with five small files, where the real edition is looked for."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "coos7"
    folder.mkdir(parents=True)
    for part in PARTS:
        write_file(folder / coos7.file_name(part), columns(part))
    return folder


STORAGES: list[dict[str, Any]] = [
    {},
    {"dtype": ">u2"},
    {"chunks": (5, 2, 8, 8), "compression": "gzip"},
    {"chunks": (5, 1, 8, 4), "compression": "lzf", "shuffle": True, "dtype": ">u2"},
    {"chunks": (12, 2, 8, 8)},
    {"dtype": "u1"},
    {"dtype": "i4"},
    {"dtype": ">f8"},
    {"dtype": "f2"},
]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_pixels_of_every_storage(storage: dict[str, Any], root: Path) -> None:
    content = {part: columns(part) for part in PARTS}
    for part in PARTS:
        content[part]["data"] %= 200
        write_file(root / coos7.file_name(part), content[part], storage)
    opened = COOS7().open("real")
    stored = np.dtype(storage.get("dtype", "u2"))
    expected = np.concatenate([content[part]["data"] for part in PARTS])
    kind = {1: np.uint8, 2: np.uint16}.get(stored.itemsize) if stored.kind == "u" else None
    assert opened.source.dtype == (kind or np.float32)
    assert opened.source.dtype.isnative
    assert opened.source.shape == (2, 8, 8)

    rows = np.random.default_rng(0).integers(0, 60, 200)
    got = opened.source.read(rows)
    assert got.dtype == opened.source.dtype
    assert np.array_equal(got, expected[rows])
    assert opened.source.read(np.array([], dtype=np.int64)).shape == (0, 2, 8, 8)
    again = pickle.loads(pickle.dumps(opened.source))
    assert np.array_equal(again.read(rows), got)
    with pytest.raises(IndexError):
        opened.source.read(np.array([60]))


def test_plain_blocks_are_mapped_and_not_loaded(root: Path) -> None:
    source: Any = COOS7().open("real").source
    assert all(file.offset is not None for file in source.files)
    source.read(np.array([3, 1]))
    assert all(isinstance(block, np.memmap) for block in source._open.values())
    assert list(source._open) == [0]


@pytest.mark.parametrize("storage", [{"chunks": (5, 2, 8, 8)}, {}], ids=["chunked", "plain"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_reading_after_a_fork(storage: dict[str, Any], root: Path) -> None:
    write_file(root / coos7.file_name("test4"), columns("test4"), storage)
    source = COOS7().open("real").source
    rows = np.arange(60)
    expected = source.read(rows)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(source.read(rows[::-1]), expected[::-1]) else 1)
    assert os.waitpid(child, 0)[1] == 0


LABELS = [
    np.arange(12) % 7,
    (np.arange(12) % 7).astype(float),
    (np.arange(12) % 7).astype(">i2").reshape(12, 1),
    np.array([str(i % 7) for i in range(12)], "S1"),
    np.array([CLASSES[i % 7] for i in range(12)], "S30"),
    np.array([CLASSES[i % 7].lower() for i in range(12)], h5py.string_dtype()),
]


@pytest.mark.parametrize("labels", LABELS, ids=lambda value: str(value.dtype))
def test_labels_of_every_type(labels: np.ndarray, root: Path) -> None:
    path = root / coos7.file_name("training")
    with h5py.File(path, "a") as handle:
        del handle["labels"]
        handle.create_dataset("labels", data=labels, dtype=labels.dtype)
    index = COOS7().open("real").index
    assert index["label"].tolist()[:12] == [CLASSES[i % 7] for i in range(12)]


def test_index(root: Path) -> None:
    opened = COOS7().open("real")
    index = opened.index
    assert index["id"].is_unique
    assert index["id"].tolist()[:2] == ["training/000000", "training/000001"]
    assert index["part"].value_counts().to_dict() == dict.fromkeys(PARTS, 12)
    assert not index["control"].any()
    assert opened.levels == ("plate", "date", "microscope")
    assert opened.level == "plate"
    first = index.iloc[0]
    assert (first["plate"], first["date"], first["microscope"]) == ("40", "20170101", "0")
    assert (first["well"], first["position"]) == ("40/B01", "B01")
    assert "laboratory" not in index
    assert opened.columns == {"well": "well", "position": "position"}


def test_names_that_occur_in_several_outer_units_are_joined(root: Path) -> None:
    for part in PARTS:
        content = columns(part)
        content["plateIDs"] = np.arange(12) // 6
        write_file(root / coos7.file_name(part), content)
    index = COOS7().open("real").index
    assert index["plate"].nunique() == 10
    assert index["plate"].iloc[0] == "20170101/0"
    assert (index.groupby("plate")["date"].nunique() == 1).all()


def test_further_keys_are_ignored(root: Path) -> None:
    with h5py.File(root / coos7.file_name("test2"), "a") as handle:
        handle["segmentation"] = np.zeros(3)
        handle.create_group("notes")
    assert len(COOS7().open("real").index) == 60


def without(key: str) -> Any:
    def change(content: dict[str, Any]) -> None:
        del content[key]

    return change


def replaced(key: str, value: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content[key] = value

    return change


BAD = {
    "no data": (without("data"), "has no data"),
    "no labels": (without("labels"), "has no labels"),
    "no plates": (without("plateIDs"), "has no plateIDs"),
    "three dimensions": (replaced("data", np.zeros((12, 8, 8), "u2")), "expected images x 2"),
    "three channels": (replaced("data", np.zeros((12, 3, 8, 8), "u2")), "expected images x 2"),
    "no images": (replaced("data", np.zeros((0, 2, 8, 8), "u2")), "expected images x 2"),
    "text": (replaced("data", np.full((12, 2, 8, 8), "a", "S1")), "not an array of numbers"),
    "other size": (replaced("data", np.zeros((12, 2, 9, 8), "u2")), "different releases"),
    "other type": (replaced("data", np.zeros((12, 2, 8, 8), "f4")), "different releases"),
    "few labels": (replaced("labels", np.zeros(11, int)), "11 values for 12 images"),
    "few wells": (replaced("wellIDs", np.zeros(3, "S3")), "3 values for 12 images"),
    "one-hot": (replaced("labels", np.zeros((12, 7))), "one value per image"),
    "class 7": (replaced("labels", np.full(12, 7)), "'7' in 'labels'"),
    "half a class": (replaced("labels", np.full(12, 0.5)), "'0.5' in 'labels'"),
    "NaN": (replaced("labels", np.full(12, np.nan)), "'nan' in 'labels'"),
    "a name": (replaced("labels", np.full(12, "Golgy", "S5")), "'Golgy' in 'labels'"),
}


def message(error: BaseException) -> str:
    assert isinstance(error, BenchError)
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", BAD)
def test_bad_content(name: str, root: Path) -> None:
    change, said = BAD[name]
    content = columns("test3")
    change(content)
    path = root / coos7.file_name("test3")
    write_file(path, content)
    with pytest.raises(BenchError) as caught:
        COOS7().open("real")
    text = message(caught.value)
    assert said in text
    assert str(path) in text


@pytest.mark.parametrize("keep", [0, 10, 100, 2000, -1])
def test_truncated_files(keep: int, root: Path) -> None:
    path = root / coos7.file_name("training")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(BenchError) as caught:
        COOS7().open("real")
    assert str(path) in message(caught.value)


def test_a_damaged_chunk_is_found_when_read(root: Path) -> None:
    path = root / coos7.file_name("training")
    write_file(path, columns("training"), {"chunks": (6, 2, 8, 8), "compression": "gzip"})
    with h5py.File(path) as handle:
        chunk = handle["data"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    source = COOS7().open("real").source
    source.read(np.array([0]))
    with raises(BenchError, "COOS7_v1.1_training.hdf5") as caught:
        source.read(np.array([7]))
    message(caught.value)


def test_other_files_and_folders(root: Path) -> None:
    path = root / coos7.file_name("test1")
    path.write_text("<html>404</html>" * 100)
    with raises(BenchError, "COOS7_v1.1_test1.hdf5"):
        COOS7().open("real")
    path.unlink()
    path.mkdir()
    with raises(BenchError, "test1"):
        COOS7().open("real")
    path.rmdir()
    with raises(BenchError, "COOS7_v1.1_test1.hdf5", "python -m bench data fetch coos7"):
        COOS7().open("real")


def test_groups_in_place_of_arrays(root: Path) -> None:
    path = root / coos7.file_name("test1")
    with h5py.File(path, "a") as handle:
        del handle["dateIDs"]
        handle.create_group("dateIDs")
    with raises(BenchError, "dateIDs"):
        COOS7().open("real")


def test_pixels_that_are_not_finite(root: Path) -> None:
    for part in PARTS:
        content = columns(part)
        content["data"] = content["data"].astype("f4")
        if part == "test2":
            content["data"][4, 1, 3, 3] = np.nan
        write_file(root / coos7.file_name(part), content)
    source = COOS7().open("real").source
    source.read(np.arange(24))
    with raises(BenchError, "test2") as caught:
        source.read(np.arange(20, 40))
    message(caught.value)


def test_editions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert COOS7().editions() == ["real", "simulated"]
    changed = COOS7(make_params("data", Settings, {"strength": "2"}))
    assert changed.editions() == ["simulated", "real"]
    with raises(BenchError, "strength", "coos7", "simulated"):
        changed.open("real")
    with raises(BenchError, "fixture"):
        COOS7().open("fixture")
    monkeypatch.setenv("BENCH_DATA", str(root))
    assert COOS7().editions() == ["simulated"]
    with raises(BenchError, "--edition", "simulated"):
        COOS7().open("real")


@pytest.mark.parametrize(
    "settings",
    [{"strength": "5"}, {"strength": "-1"}, {"draw": "-1"}, {"draw": "two"}, {"scale": "0"}],
)
def test_settings_out_of_range(settings: dict[str, str]) -> None:
    with raises(BenchError, next(iter(settings))):
        make_params("data", Settings, settings)


def test_unknown_effects(tmp_path: Path) -> None:
    with raises(BenchError, "lmap", "lamp"):
        COOS7(Settings(off="focus,lmap"))
    assert COOS7(Settings(off=" lamp, optics,")).settings.off == "lamp,optics"


def test_the_digest_is_of_the_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = COOS7().open("real").digest
    (tmp_path / "elsewhere").mkdir()
    root.rename(tmp_path / "elsewhere" / "coos7")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "elsewhere"))
    assert COOS7().open("real").digest == digest
    path = tmp_path / "elsewhere" / "coos7" / coos7.file_name("test4")
    with h5py.File(path, "a") as handle:
        handle["data"][0, 0, 0, 0] = 1
    os.utime(path, ns=(1, 1))
    assert COOS7().open("real").digest != digest


def test_sums_are_computed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.datasets.simulator import write

    first = COOS7().open("real").digest
    monkeypatch.setattr(write, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert COOS7().open("real").digest == first


def test_a_cache_that_cannot_be_used_costs_only_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = COOS7().open("real").digest
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    assert COOS7().open("real").digest == first


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", "~/cache")
    assert data_folder("coos7") == tmp_path / "coos7"
    assert cache_folder("index") == Path.home() / "cache" / "index"
    monkeypatch.delenv("BENCH_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    if sys.platform == "linux":
        assert data_folder("coos7") == tmp_path / "share" / "labshift" / "coos7"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("BENCH_DATA", "/nowhere")
        return COOS7(Settings(draw=0, scale=0.05)).open("simulated")


def test_simulated_edition(simulated: Any) -> None:
    index = simulated.index
    assert simulated.edition == "simulated"
    assert simulated.settings == {"draw": 0, "scale": 0.05}
    assert simulated.source.shape == (2, 64, 64)
    assert simulated.source.dtype == np.uint16
    assert set(index["label"]) == set(CLASSES)
    assert simulated.levels == ("plate", "date", "microscope")
    assert set(index["laboratory"]) == {"A", "B"}
    assert set(index.loc[index["part"] == "test4", "laboratory"]) == {"B"}
    outer = ("plate", "date"), ("date", "microscope"), ("microscope", "laboratory")
    for small, large in outer:
        assert (index.groupby(small)[large].nunique() == 1).all()
    assert len(simulated.source.read(np.arange(5))) == 5


def test_a_simulated_folder_without_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    dataset = COOS7(Settings(draw=0, scale=0.01))
    digest = dataset.open("simulated").digest
    (dataset.prepare("simulated") / "parameters.json").write_text("{}")
    assert dataset.open("simulated").digest == digest


@pytest.mark.parametrize("name", ["coos7/test1", "coos7/test2", "coos7/test3", "coos7/test4"])
def test_splits_of_both_editions(name: str, simulated: Any, root: Path) -> None:
    split = find_split(name)
    assert split.shift
    assert split.metric == "balanced_accuracy"
    assert set(split.metrics) == {"accuracy", "worst_batch_accuracy"}
    (fold,) = folds(split, simulated)
    assert audit(split, simulated, [fold]) == []
    parts = simulated.index["part"].to_numpy()
    assert set(parts[fold.train]) == {"training"}
    assert set(parts[fold.test]) == {name.removeprefix("coos7/")}
    assert folds(split, COOS7().open("real"))


def test_ottawa_is_the_fourth_test() -> None:
    assert find_split("ottawa") == find_split("coos7/test4")


OPEN = """
import re
from pathlib import Path
import numpy as np
import pandas, h5py, concurrent.futures
from bench.datasets.coos7 import COOS7
opened = COOS7().open("real")
opened.source.read(np.random.default_rng(0).integers(0, len(opened.index), 256))
print(len(opened.index))
# Not getrusage: its peak begins with that of the process that started this one.
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.is_file() else None
print(peak.group(1) if peak else 0)
"""


@pytest.mark.slow
def test_two_gigabytes_open_without_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "coos7"
    folder.mkdir()
    for part in PARTS:
        n = 13_221  # half of the published rows, four bytes a pixel: a sparse file
        content = columns(part, n)
        del content["data"]
        with h5py.File(folder / coos7.file_name(part), "w") as handle:
            for key, value in content.items():
                handle[key] = value
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            space = h5py.h5s.create_simple((n, 2, 64, 64))
            h5py.h5d.create(handle.id, b"data", h5py.h5t.IEEE_F32LE, space, layout)
    assert sum(path.stat().st_size for path in folder.iterdir()) > 2e9
    COOS7().open("real")  # the sums are taken here, once
    done = subprocess.run(
        [sys.executable, "-c", OPEN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows, peak = (int(line) for line in done.stdout.split())
    assert rows == 5 * 13_221
    assert peak * 1024 < 1e9


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from matplotlib.figure import Figure

    figures: list[Any] = []
    real = Figure.savefig

    def save(self: Any, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        real(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save)
    return figures


def test_examples_of_the_simulated_edition(
    simulated: Any, tmp_path: Path, drawn: list[Any]
) -> None:
    path = draw_examples(simulated, tmp_path / "cells.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    (figure,) = drawn
    assert "simulated" in figure.get_suptitle()
    assert len(figure.axes) == 6 * 7
    titles = [axis.get_title().replace("\n", " ") for axis in figure.axes[:7]]
    assert sorted(titles) == sorted(CLASSES)
    places = [axis.get_ylabel() for axis in figure.axes[::7]]
    assert sum("laboratory A" in place for place in places) == 3
    assert sum("laboratory B" in place for place in places) == 3
    assert all("|" in place for place in places)


def test_examples_of_real_files_with_a_missing_class(
    root: Path, tmp_path: Path, drawn: list[Any]
) -> None:
    content = columns("test4")
    content["labels"] = np.zeros(12, int)
    write_file(root / coos7.file_name("test4"), content)
    draw_examples(COOS7().open("real"), tmp_path / "cells.svg")
    assert "simulated" not in drawn[0].get_suptitle()
    assert "none" in [text.get_text() for axis in drawn[0].axes for text in axis.texts]


def test_examples_that_cannot_be_written(simulated: Any, tmp_path: Path) -> None:
    for name in ("missing/cells.png", "cells.xyz"):
        with raises(BenchError, ".png") as caught:
            draw_examples(simulated, tmp_path / name)
        message(caught.value)


def test_examples_are_the_same_each_time(simulated: Any, tmp_path: Path) -> None:
    item = draw_examples(simulated, tmp_path / "1.png").read_bytes()
    assert draw_examples(simulated, tmp_path / "2.png").read_bytes() == item


def test_pixel_sizes_are_metadata_of_both_editions(simulated: Any, root: Path) -> None:
    sizes = pixel_sizes(simulated)
    assert len(set(sizes)) == 2
    for _, of_microscope in simulated.index.groupby("microscope"):
        assert len(set(sizes[of_microscope.index])) == 1
    assert ((sizes >= 0.2) & (sizes <= 0.5)).all()
    assert "pixel" not in COOS7().open("real").columns
    microscopes = sorted(set(COOS7().open("real").index["microscope"]))
    text = ",".join(f"{name}:0.{k + 2}" for k, name in enumerate(microscopes))
    settings = make_params("data", Settings, {"pixel": text})
    assert COOS7(settings).editions() == ["real", "simulated"]
    opened = COOS7(settings).open("real")
    assert opened.settings == {"pixel": text}
    expected = [0.2 + 0.1 * microscopes.index(name) for name in opened.index["microscope"]]
    assert pixel_sizes(opened) == pytest.approx(expected)
    with raises(BenchError, "pixel", "simulated"):
        COOS7(settings).open("simulated")


@pytest.mark.parametrize("text", ["0.3", "0:-1", "0:x", "0:0.3"])
def test_wrong_pixel_sizes(root: Path, text: str) -> None:
    # The last names one microscope of several.
    with raises(BenchError, "pixel", "coos7"):
        COOS7(make_params("data", Settings, {"pixel": text})).open("real")


def test_a_simulated_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    data = COOS7(Settings(scale=0.02))
    folder = data.prepare("simulated")
    data.open("simulated")
    file = sorted(folder.glob("*.hdf5"))[0]
    with h5py.File(file, "r+") as handle:
        handle["labels"][:] = np.roll(handle["labels"][:], 1)
    with raises(BenchError, file, folder):
        data.open("simulated")
