"""Files from somebody else run no code, and name no file outside their folder."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.group import group
from bench.core.errors import BenchError
from bench.data.fetch.archive import unpack
from bench.data.hdf5 import own_dataset
from bench.data.zarr_codecs import check_zarr
from tests.helpers import tiny
from tests.helpers.errors import raises


class _RunsCode:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


V2 = {
    "filter": {"dtype": "|u1", "filters": [{"id": "pickle"}], "compressor": None},
    "compressor": {"dtype": "|u1", "filters": None, "compressor": {"id": "pickle"}},
    "objects": {"dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None},
    "object dtype": {"dtype": "|O", "filters": None, "compressor": None},
    "fields": {"dtype": [["a", "|O"]], "filters": None, "compressor": None},
    "unknown": {"dtype": "|u1", "filters": None, "compressor": {"id": "my-codec"}},
}


@pytest.mark.parametrize("name", V2)
def test_a_zarr_array_with_a_codec_that_runs_code_is_refused(name, tmp_path):
    mark, store = tmp_path / "mark", tmp_path / "images.zarr"
    store.mkdir()
    layout = {"zarr_format": 2, "shape": [24, 1, 8, 8], "chunks": [24, 1, 8, 8]}
    (store / ".zarray").write_text(
        json.dumps({**layout, "fill_value": 0, "order": "C", **V2[name]})
    )
    (store / "0.0.0.0").write_bytes(pickle.dumps(_RunsCode(mark)))
    index = {"label": ["ab"[i % 2] for i in range(24)], "plate": [f"p{i // 12}" for i in range(24)]}
    pd.DataFrame(index).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "d.toml").write_text(
        'name = "own"\nkind = "images"\ntable = "t.csv"\narray = "images.zarr"\nlabel = "label"\n'
        'batches = ["plate"]\n[splits.s]\ntest = {plate = ["p1"]}\n'
    )
    result = CliRunner().invoke(
        group, ["check-data", str(tmp_path / "d.toml")], standalone_mode=False
    )
    assert not mark.exists()
    assert isinstance(result.exception, BenchError)
    assert ".zarray" in str(result.exception)


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "numcodecs.pickle"}],
        [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "pickle"}]}}],
        ["pickle"],
    ],
)
def test_format_3_is_checked_too(codecs, tmp_path):
    store = tmp_path / "images.zarr" / "group"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "array", "data_type": "uint8", "codecs": codecs})
    )
    with pytest.raises(BenchError):
        check_zarr(tmp_path / "images.zarr")


def test_ordinary_zarr_arrays_are_accepted(tmp_path):
    zarr = pytest.importorskip("zarr")
    pixels = np.arange(24 * 64, dtype=np.uint16).reshape(24, 1, 8, 8)
    zarr.save(str(tmp_path / "a.zarr"), pixels)
    check_zarr(tmp_path / "a.zarr")


def _hdf5(tmp_path, kind):
    other, path = tmp_path / "other.h5", tmp_path / "file.h5"
    with h5py.File(other, "w") as file:
        file["data"] = np.arange(10)
    (tmp_path / "raw.bin").write_bytes(bytes(80))
    with h5py.File(path, "w") as file:
        file["real"] = np.arange(10)
        if kind == "external link":
            file["data"] = h5py.ExternalLink("other.h5", "/data")
        elif kind == "soft link":
            file["data"] = h5py.SoftLink("/real")
        elif kind == "link above":
            file["group"] = h5py.ExternalLink("other.h5", "/")
        elif kind == "external storage":
            file.create_dataset("data", (10,), "i8", external=[(str(tmp_path / "raw.bin"), 0, 80)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((10,), "i8")
            layout[:] = h5py.VirtualSource(str(other), "data", (10,))
            file.create_virtual_dataset("data", layout)
    return path


@pytest.mark.parametrize(
    "kind", ["external link", "soft link", "link above", "external storage", "virtual"]
)
def test_hdf5_values_of_other_files_are_refused(kind, tmp_path):
    path = _hdf5(tmp_path, kind)
    key = "group/data" if kind == "link above" else "data"
    with h5py.File(path, "r") as file:
        with pytest.raises(BenchError):
            own_dataset(file, key, path)
        assert own_dataset(file, "real", path)[3] == 3
        with pytest.raises(KeyError):
            own_dataset(file, "absent", path)


def _tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc") if info.size else None)


MEMBERS = {
    "symbolic link inside": [("a", tarfile.SYMTYPE, "b")],
    "hard link": [("b", tarfile.REGTYPE, ""), ("a", tarfile.LNKTYPE, "b")],
    "chain of links": [
        ("d/e", tarfile.SYMTYPE, "."),
        ("d/e/f", tarfile.SYMTYPE, "../.."),
        ("d/e/f/x", tarfile.REGTYPE, ""),
    ],
    "fifo": [("a", tarfile.FIFOTYPE, "")],
    "device": [("a", tarfile.CHRTYPE, "")],
    "climbs out": [("../x", tarfile.REGTYPE, "")],
    "absolute": [("/absolute/x", tarfile.REGTYPE, "")],
    "deep": [("/".join(["d"] * 1200), tarfile.REGTYPE, "")],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_archives_hold_files_and_folders_only(name, tmp_path):
    archive = tmp_path / "in" / "a.tar"
    archive.parent.mkdir()
    _tar(archive, MEMBERS[name])
    with pytest.raises(BenchError):
        unpack(archive, tmp_path / "out" / "data")
    assert not (tmp_path / "out" / "data").exists()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["\0x", "."])
def test_a_file_without_a_name_is_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("x", b"abc")
        file.writestr(zipfile.ZipInfo(name), b"abc")  # a zero byte ends a name
    with pytest.raises(BenchError):
        unpack(tmp_path / "a.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_an_ordinary_archive_is_unpacked(tmp_path):
    _tar(tmp_path / "a.tar", [("d", tarfile.DIRTYPE, ""), ("d/x", tarfile.REGTYPE, "")])
    assert unpack(tmp_path / "a.tar", tmp_path / "data") == 1
    assert (tmp_path / "data/d/x").read_bytes() == b"abc"


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_bomb_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.data.fetch.archive.SMALL", 1 << 20)
    path = tmp_path / f"bomb.{kind}"
    zeros = bytes(4 << 20)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("zeros", zeros)
    else:
        with tarfile.open(path, "w:gz") as file:
            member = tarfile.TarInfo("zeros")
            member.size = len(zeros)
            file.addfile(member, io.BytesIO(zeros))
    with raises(BenchError, path.name, "200"):
        unpack(path, tmp_path / "data")
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_of_too_many_files_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.data.fetch.archive.MOST_MEMBERS", 3)
    path = tmp_path / f"many.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for k in range(4):
                file.writestr(str(k), b"")
    else:
        with tarfile.open(path, "w:gz") as file:
            for k in range(4):
                file.addfile(tarfile.TarInfo(str(k)))
    with raises(BenchError, path.name, "3"):
        unpack(path, tmp_path / "data")
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
@pytest.mark.parametrize("name", ["dataset.toml", "table.parquet"])
def test_a_pipe_is_no_file(name, tmp_path):
    path = tiny.write_table(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with raises(BenchError, name, "pipe"):
        tiny.open_table(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices on this system")
def test_a_link_to_a_device_is_no_file(tmp_path):
    path = tiny.write_table(tmp_path)
    (tmp_path / "table.parquet").unlink()
    (tmp_path / "table.parquet").symlink_to("/dev/zero")
    with raises(BenchError, "table.parquet", "device"):
        tiny.open_table(path)
