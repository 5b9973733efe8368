"""Own images: files and arrays in every form are the same images, and errors are reported."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import h5py
import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from bench.cli.main import main
from bench.core.errors import BenchError
from bench.data.own.images import ArrayRows
from bench.data.own.table import load
from bench.data.rescale import pixel_sizes
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = """
name = "mine"
kind = "images"
table = "wells.csv"
id = ["plate", "position"]
label = "label"
batches = ["plate", "week"]
control = "control"
position = "position"
"""
SPLIT = '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'
N = 76


def pixels(dtype: str = "uint16", channels: int = 2) -> np.ndarray:
    """Return images ``(76, C, 12, 12)`` of which every one is different."""
    rng = np.random.default_rng(4)
    result = rng.integers(0, 250, (N, channels, 12, 12))
    return result.astype(dtype) * (200 if dtype == "uint16" else 1)


def write(folder: Path, keys: str, **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    frame = tiny.frame()[0].drop(columns=["well"])
    frame["label"] = frame["label"].replace("", "dmso")
    for name, values in columns.items():
        frame[name] = values
    frame.to_csv(folder / "wells.csv", index=False)
    (folder / "mine.toml").write_text(KEYS + keys + SPLIT)
    return folder / "mine.toml"


def as_files(folder: Path, suffix: str, images: np.ndarray) -> list[str]:
    """Write each image as one file with all its channels; return names in row order."""
    folder.mkdir(exist_ok=True)
    names = []
    for k, image in enumerate(images):
        name = f"{k:03d}{suffix}"
        if suffix == ".png":
            flat = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
            (folder / name).write_bytes(imagecodecs.png_encode(np.ascontiguousarray(flat)))
        else:
            tifffile.imwrite(folder / name, image, photometric="minisblack")
        names.append(name)
    return names


def rows(path: Path) -> np.ndarray:
    opened = load(path).open()
    assert opened.is_images
    assert opened.source.dtype.isnative
    return opened.source.read(np.arange(len(opened.index)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("suffix, channels", [(".png", 1), (".png", 3), (".tif", 1), (".tif", 5)])
def test_files_of_any_channels_and_depth(
    tmp_path: Path, suffix: str, channels: int, dtype: str
) -> None:
    result = pixels(dtype, channels)
    path = write(tmp_path, 'images = "path"', path=as_files(tmp_path, suffix, result))
    np.testing.assert_array_equal(rows(path), result)


def test_a_file_a_channel(tmp_path: Path) -> None:
    result = pixels()
    for k, name in enumerate(("dna", "actin")):
        as_files(tmp_path / name, ".tif", result[:, k : k + 1])
    columns = {name: [f"{name}/{k:03d}.tif" for k in range(N)] for name in ("dna", "actin")}
    path = write(tmp_path, 'images = ["actin", "dna"]', **columns)
    np.testing.assert_array_equal(rows(path), result[:, ::-1])


def _npy(folder: Path, images: np.ndarray) -> str:
    np.save(folder / "p.npy", images)
    return "p.npy"


def _big_endian(folder: Path, images: np.ndarray) -> str:
    np.save(folder / "b.npy", images.astype(images.dtype.newbyteorder(">")))
    return "b.npy"


def _hdf5(folder: Path, images: np.ndarray) -> str:
    with h5py.File(folder / "p.h5", "w") as file:
        file.create_dataset(
            "a/images", data=images, chunks=(7, *images.shape[1:]), compression="gzip"
        )
        file["other"] = [1]
    return "p.h5:a/images"


def _zarr(folder: Path, images: np.ndarray) -> str:
    zarr.save_array(str(folder / "p.zarr"), images)
    return "p.zarr"


ARRAYS: list[Callable[[Path, np.ndarray], str]] = [_npy, _big_endian, _hdf5, _zarr]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", ARRAYS)
def test_arrays_of_every_kind_are_the_same_data(
    tmp_path: Path, make: Callable[[Path, np.ndarray], str]
) -> None:
    images = pixels()
    path = write(tmp_path, f'array = "{make(tmp_path, images)}"')
    np.testing.assert_array_equal(rows(path), images)
    plain = write(tmp_path / "plain", f'array = "{_npy(tmp_path, images)}"'.replace("p.", "../p."))
    assert load(path).open().digest == load(plain).open().digest
    source = load(path).open().source
    some = np.array([70, 3, 3, 41, 0])  # in any order, one of them twice
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(some), images[some])
    near = np.array([12, 10, 11, 10])
    np.testing.assert_array_equal(source.read(near), images[near])
    assert source.read(np.zeros(0, dtype=np.int64)).shape == (0, 2, 12, 12)


@pytest.mark.parametrize("axes, back", [("NHWC", lambda a: np.moveaxis(a, 1, -1))])
def test_axes_and_channels(tmp_path: Path, axes: str, back: Any) -> None:
    result = pixels(channels=3)
    np.save(tmp_path / "p.npy", back(result))
    path = write(tmp_path, f'array = "p.npy"\naxes = "{axes}"\nchannels = [2, 0]')
    np.testing.assert_array_equal(rows(path), result[:, [2, 0]])
    np.save(tmp_path / "p.npy", result[:, 0])
    path = write(tmp_path, 'array = "p.npy"\naxes = "NHW"')
    np.testing.assert_array_equal(rows(path), result[:, :1])


def test_crops_are_cut_from_the_files(tmp_path: Path) -> None:
    result = pixels()
    as_files(tmp_path, ".tif", result[:2])
    top, left = np.arange(N) % 5, np.arange(N) % 3
    columns = {"t": top, "l": left, "h": 6, "w": 7, "path": [f"{k % 2:03d}.tif" for k in range(N)]}
    path = write(tmp_path, 'images = "path"\ncrop = ["t", "l", "h", "w"]', **columns)
    expected = [result[k % 2, :, top[k] : top[k] + 6, left[k] : left[k] + 7] for k in range(N)]
    np.testing.assert_array_equal(rows(path), expected)


def test_pixel_sizes_are_metadata(tmp_path: Path) -> None:
    names = as_files(tmp_path, ".tif", pixels())
    plain = load(write(tmp_path, 'images = "path"', path=names)).open()
    item = load(write(tmp_path, 'images = "path"\npixel = 0.5', path=names)).open()
    assert set(pixel_sizes(item)) == {0.5}
    sizes = np.where(np.arange(N) % 2, 0.25, 0.5)
    path = write(tmp_path, 'images = "path"\npixel = "um"', path=names, um=sizes)
    each = load(path).open()
    np.testing.assert_array_equal(pixel_sizes(each), sizes)
    # Pixel sizes change no number unless images are rescaled.
    assert item.digest == plain.digest
    with raises(BenchError, "mine", f"{N} of {N}"):
        pixel_sizes(plain)


def test_the_digest_is_of_pixels_not_of_places(tmp_path: Path) -> None:
    result = pixels()
    names = as_files(tmp_path / "a", ".tif", result)
    path = write(tmp_path / "a", 'images = "path"', path=names)
    first = load(path).open()
    assert first.content is not None
    assert len(set(first.content())) == N
    as_files(tmp_path / "b", ".tif", result)
    other = write(tmp_path / "b", 'images = "path"', path=names)
    assert load(other).open().digest == first.digest
    result[5, 0, 0, 0] += 1
    as_files(tmp_path / "c", ".tif", result)
    changed = write(tmp_path / "c", 'images = "path"', path=names)
    assert load(changed).open().digest != first.digest


@pytest.mark.slow
def test_own_images_are_checked_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = pixels()
    path = write(tmp_path, 'images = "path"', path=as_files(tmp_path, ".tif", result))
    words = ["run", "-m", "erm,ben", "-s", f"{path}:plates", "--recipe", "smoke"]
    words += ["--set", "recipe.steps=3", "--results", str(tmp_path / "r"), "--json"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    assert '"edition": "real"' in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["check-data", str(path)])
    assert stop.value.code == 0
    assert "76 images of 2 x 12 x 12 pixels" in " ".join(capsys.readouterr().out.split())


def test_a_new_description_of_images_is_one(tmp_path: Path) -> None:
    toml = tmp_path / "my_cells.toml"
    with pytest.raises(SystemExit) as stop:
        main(["new", "dataset", "my-cells", "--images", "--output", str(toml)])
    assert stop.value.code == 0
    frame = tiny.frame()[0]
    frame = pd.DataFrame(
        {
            "plate": frame["plate"],
            "well": frame["position"],
            "site": "1",
            "week": frame["week"],
            "treatment": frame["label"].replace("", "dmso"),
            "path": as_files(tmp_path, ".tif", pixels()),
        }
    )
    frame.to_csv(tmp_path / "my-cells.csv", index=False)
    np.testing.assert_array_equal(rows(toml), pixels())


@pytest.mark.parametrize(
    "keys, words",
    [
        ("", ("COLUMN", "FILE", "NAMES", "array")),
        ('images = "path"\narray = "p.npy"', ()),
        ('images = "path"\nfeatures = "^f"', ("features",)),
        ('images = "paht"', ()),
        ('array = "none.npy"', ("none.npy",)),
        ('array = "text.npy"', ("text.npy",)),
        ('array = "pixels.jpg"', ("pixels.jpg", "array", ".npy")),
        ('array = "p.npy"\naxes = "NCWH"', ("NCHW",)),
        ('array = "p.npy"\naxes = "NHW"', ("array", "76", "12", "axes", "NHW")),
        ('array = "p.npy"\nchannels = [2]', ("2", "channels")),
        ('array = "p.npy"\nchannels = "0"', ("0",)),
        ('array = "few.npy"', ("5", "76")),
        ('array = "wide.npy"', ("int64",)),
        ('array = "two.h5"', ()),
        ('array = "two.h5:c"', ("c",)),
        ('images = "path"\ncrop = ["plate"]', ("crop",)),
        ('images = "path"\npixel = 0', ("pixel", "um")),
        ('images = "path"\npixel = "umm"', ("umm",)),
        (
            'images = "path"\ncrop = ["plate", "week", "label", "position"]',
            (),
        ),
        ('images = "path"', ("76",)),
    ],
)
def test_what_is_wrong_is_told_on_one_line(tmp_path: Path, keys: str, words: str) -> None:
    result = pixels()
    np.save(tmp_path / "p.npy", result)
    np.save(tmp_path / "few.npy", result[:5])
    np.save(tmp_path / "wide.npy", result.astype(np.int64))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "pixels.jpg").write_text("")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = result, result
    path = write(tmp_path, keys, path=[f"{k}.tif" for k in range(N)])
    with raises(BenchError, *words):
        load(path).open()


def test_profiles_take_no_keys_of_images(tmp_path: Path) -> None:
    path = tiny.write_table(tmp_path, keys='images = "id"\n')
    with raises(BenchError, "images"):
        load(path)


def test_a_pixel_that_is_no_number_is_told_when_it_is_read(tmp_path: Path) -> None:
    result = pixels().astype(np.float32)
    result[3, 0, 0, 0] = np.nan
    np.save(tmp_path / "p.npy", result)
    source = ArrayRows(tmp_path / "p.npy", "", "NCHW")
    np.testing.assert_array_equal(source.read(np.array([2, 1])), result[[2, 1]])
    with raises(BenchError, "3"):
        source.read(np.array([2, 3]))
