"""Pixels of one file: formats, OME sets, palettes, and files that were never finished."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from bench.core.errors import BenchError
from bench.data.decode import read_image
from bench.data.hdf5 import own_dataset
from bench.data.own.images import ArrayRows
from bench.data.own.table import load
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME '
    'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="24" '
    'SizeY="20" SizeC="{n}" SizeZ="1" SizeT="1" BigEndian="false">{channels}{planes}</Pixels>'
    "</Image></OME>"
)


def pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def an_ome_set(folder: Path, image: NDArray[np.uint8]) -> list[Path]:
    """Write one file per channel; the metadata of each file name all of them."""
    names = [f"c{c}.ome.tif" for c in range(len(image))]
    channels = "".join(
        f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(len(image))
    )
    uuid = "00000000-0000-0000-0000-{:012d}".format
    planes = "".join(
        f'<TiffData FirstC="{c}" FirstT="0" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{uuid(c)}</UUID></TiffData>'
        for c, name in enumerate(names)
    )
    for c, name in enumerate(names):
        text = OME.format(own=uuid(c), n=len(image), channels=channels, planes=planes)
        tifffile.imwrite(folder / name, image[c], description=text, metadata=None)
    return [folder / name for name in names]


def test_one_file_of_an_ome_set_has_only_its_own_planes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = pixels(2, 20, 24)
    for path, plane in zip(an_ome_set(tmp_path, image), image, strict=True):
        np.testing.assert_array_equal(read_image(path), plane[None])
    assert not caplog.records


def test_columns_of_an_ome_set_are_the_channels(tmp_path: Path) -> None:
    image = pixels(2, 20, 24)
    for k in range(4):
        (tmp_path / f"i{k}").mkdir()
        an_ome_set(tmp_path / f"i{k}", image + k)
    table = pd.DataFrame(
        {
            "plate": ["P0", "P0", "P1", "P1"],
            "label": list("abab"),
            "c0": [f"i{k}/c0.ome.tif" for k in range(4)],
            "c1": [f"i{k}/c1.ome.tif" for k in range(4)],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "d.toml").write_text(
        'name = "ome"\nkind = "images"\ntable = "t.csv"\nimages = ["c0", "c1"]\nlabel = "label"\n'
        'batches = ["plate"]\n[splits.plates]\nhold_out = "plate"\n'
    )
    source = load(tmp_path / "d.toml").open().source
    assert source.shape == (2, 20, 24)
    np.testing.assert_array_equal(source.read(np.arange(4)), [image + k for k in range(4)])


def test_a_complete_ome_file_is_read_whole(tmp_path: Path) -> None:
    image = pixels(3, 20, 24).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), image)


def test_a_plane_that_the_metadata_name_and_the_file_lacks(tmp_path: Path) -> None:
    channels = '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>' * 2
    planes = '<TiffData IFD="0" PlaneCount="1"/>'
    text = OME.format(own="1", n=2, channels=channels, planes=planes)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels(20, 24), description=text, metadata=None)
    with raises(BenchError, "incomplete", "a.ome.tif"):
        read_image(tmp_path / "a.ome.tif")


def test_a_strip_that_was_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(20, 24), rowsperstrip=5)
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = file.pages[0].tags["StripByteCounts"]
        counts.overwrite([*counts.value[:-1], 0])
    with raises(BenchError, "1 of 4 strips", "a.tif"):
        read_image(path)


def test_palettes_and_inverted_intensities(tmp_path: Path) -> None:
    image = pixels(20, 24)
    palette = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", image, photometric="palette", colormap=palette)
    with Image.open(tmp_path / "p.tif") as reference:
        expected = np.moveaxis(np.asarray(reference.convert("RGB")), -1, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif"), expected)
    tifffile.imwrite(tmp_path / "w.tif", image, photometric="miniswhite")
    with Image.open(tmp_path / "w.tif") as reference:
        np.testing.assert_array_equal(read_image(tmp_path / "w.tif")[0], np.asarray(reference))
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif")[0], 255 - image)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.tile(np.arange(24, dtype=np.uint8) * 10, (20, 1))).convert(mode)
    image.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as reference:
        expected = np.atleast_3d(np.asarray(reference))
    result = np.moveaxis(read_image(tmp_path / "a.jpg"), 0, -1)
    assert result.shape == expected.shape
    assert (
        np.abs(result.astype(int) - expected.astype(int)).max() <= 2
    )  # decoders differ in rounding
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 4])
    with raises(BenchError, "cut.jpg"):
        read_image(tmp_path / "cut.jpg")
    buffer = io.BytesIO()
    image.save(buffer, "GIF")
    (tmp_path / "a.gif").write_bytes(buffer.getvalue())
    with raises(BenchError, "a.gif", "JPEG"):
        read_image(tmp_path / "a.gif")


def test_chunks_that_are_missing_in_a_zarr_array(tmp_path: Path) -> None:
    image = np.maximum(pixels(6, 2, 8, 8), 1)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=image.shape, chunks=(1, 1, 8, 8), dtype="u1"
    )
    array[:] = image
    rows = ArrayRows(tmp_path / "a.zarr", "", "NCHW")
    np.testing.assert_array_equal(rows.read(np.arange(6)), image)
    chunks = [p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file() and p.name != "zarr.json"]
    for path in chunks[:2]:
        path.unlink()
    with raises(BenchError, "2 of 12 chunks", "a.zarr"):
        ArrayRows(tmp_path / "a.zarr", "", "NCHW")


@pytest.mark.parametrize("layout", ["chunked", "contiguous"])
def test_values_that_were_never_written_in_hdf5(tmp_path: Path, layout: str) -> None:
    image = pixels(6, 2, 8, 8)
    chunks = (1, 1, 8, 8) if layout == "chunked" else None
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("whole", data=image, chunks=chunks)
        part = file.create_dataset("part", image.shape, "u1", chunks=chunks)
        if chunks:
            part[:4] = image[:4]
        file.create_dataset("empty", (0, 2), "u1")
    rows = ArrayRows(tmp_path / "a.h5", "whole", "NCHW")
    np.testing.assert_array_equal(rows.read(np.arange(6)), image)
    with raises(BenchError, "incomplete", "part"):
        ArrayRows(tmp_path / "a.h5", "part", "NCHW")
    with h5py.File(tmp_path / "a.h5") as file:
        assert own_dataset(file, "empty", tmp_path).shape == (0, 2)


def test_values_that_were_never_written_in_h5ad(tmp_path: Path) -> None:
    import anndata

    obs = pd.DataFrame({"plate": ["a", "a", "b", "b"], "label": list("xyxy")})
    obs.index = obs.index.astype(str)
    data = anndata.AnnData(np.ones((4, 2), np.float32), obs=obs)
    data.var_names = ["f0", "f1"]
    data.write_h5ad(tmp_path / "t.h5ad")
    (tmp_path / "d.toml").write_text(
        'name = "cut"\ntable = "t.h5ad"\nfeatures = "^f"\nlabel = "label"\nbatches = ["plate"]\n'
        '[splits.plates]\nhold_out = "plate"\n'
    )
    assert load(tmp_path / "d.toml").open().source.shape == (2,)
    with h5py.File(tmp_path / "t.h5ad", "r+") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", (4, 2), "f4", chunks=(1, 2))[:2] = 1
        file["X"].attrs.update(attributes)
    with raises(BenchError, "incomplete", "t.h5ad"):
        load(tmp_path / "d.toml").open()
