"""From a name to checked files: archives, trees, records, what is here already, the command."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import trustme
from PIL import Image

from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.core.words import file_size
from bench.data.fetch.archive import unpack
from bench.data.fetch.check import check_tree
from bench.data.fetch.fetcher import Fetcher
from bench.data.fetch.listing import Fetchable, fetchable, fetchable_names, read_fetchable
from bench.data.fetch.tree import Desk, folder_of, verify
from bench.data.fetch.zenodo import choose, find_record
from tests.helpers.errors import mentions, raises
from tests.helpers.https_server import Server, serving, truncated
from tests.helpers.processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with serving(authority) as result:
        yield result


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def a_tar(path: Path, members: dict[str, bytes], **special: Any) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            for key, value in special.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(body))
    return path


def a_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


@pytest.mark.parametrize("make", [a_tar, a_zip])
def test_an_archive_is_unpacked(make: Any, tmp_path: Path) -> None:
    archive = make(tmp_path / "a.bin", {"one.txt": b"1", "in/two.txt": b"22"})
    shown: list[tuple[int, int]] = []
    count = unpack(archive, tmp_path / "out", lambda done, total: shown.append((done, total)))
    assert count == 2
    assert (tmp_path / "out" / "in" / "two.txt").read_bytes() == b"22"
    assert shown[-1][0] == shown[-1][1] or make is a_tar
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "out"]


@pytest.mark.parametrize("name", ["../out.txt", "in/../../out.txt", "/abs.txt", "c:\\out.txt"])
def test_a_zip_that_climbs_out_is_refused_whole(name: str, tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", {"good.txt": b"1", name: b"2"})
    with raises(BenchError, "a.zip"):
        unpack(archive, tmp_path / "sub" / "out")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.zip"]


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with raises(BenchError, "link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("members", "special"),
    [
        ({"../out.txt": b"2"}, {}),
        ({"link": b""}, {"type": tarfile.SYMTYPE, "linkname": "../../etc"}),
        ({"device": b""}, {"type": tarfile.CHRTYPE}),
    ],
)
def test_a_tar_that_climbs_out_is_refused_whole(
    members: dict[str, bytes], special: dict[str, Any], tmp_path: Path
) -> None:
    archive = a_tar(tmp_path / "a.tar.gz", members, **special)
    with raises(BenchError, "a.tar.gz"):
        unpack(archive, tmp_path / "sub" / "out")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.tar.gz"]


@pytest.mark.parametrize("make", [a_tar, a_zip])
def test_a_truncated_archive_leaves_nothing(make: Any, tmp_path: Path) -> None:
    archive = make(tmp_path / "a.bin", {f"{i}.bin": os.urandom(5000) for i in range(20)})
    archive.write_bytes(archive.read_bytes()[:40_000])
    with raises(BenchError, "a.bin"):
        unpack(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_several_archives_meet_in_one_folder(tmp_path: Path) -> None:
    for k in (1, 2, 2):
        unpack(a_zip(tmp_path / f"{k}.zip", {f"week{k}/a.txt": b"%d" % k}), tmp_path / "out")
    assert (tmp_path / "out/week1/a.txt").read_bytes() == b"1"
    assert (tmp_path / "out/week2/a.txt").read_bytes() == b"2"


CHECK = {
    "kind": "images",
    "metadata": "set/metadata.csv",
    "path": "set/images/{experiment}/Plate{plate}/{well}_s{site}.png",
    "by": "experiment",
    "n_groups": 2,
    "rows": 8,
}


def a_tree() -> dict[str, bytes]:
    """A small set in RxRx1's layout, by path."""
    rows, members = ["experiment,plate,well,site"], {}
    for experiment in ("A-01", "B-02"):
        for k in range(4):
            pixels = np.random.default_rng(k).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            members[f"images/{experiment}/Plate1/B0{k}_s1.png"] = buffer.getvalue()
            rows.append(f"{experiment},1,B0{k},1")
    members["metadata.csv"] = ("\n".join(rows) + "\n").encode()
    return members


def put(members: dict[str, bytes], folder: Path) -> None:
    for name, body in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def test_a_whole_tree_is_counted_by_experiment(tmp_path: Path) -> None:
    put(a_tree(), tmp_path / "set")
    report = check_tree(tmp_path, [CHECK])
    assert report.problems == []
    assert report.groups == [
        {"group": "A-01", "expected": 4, "found": 4, "unreadable": 0},
        {"group": "B-02", "expected": 4, "found": 4, "unreadable": 0},
    ]


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    put(a_tree(), tmp_path / "set")
    images = tmp_path / "set" / "images"
    (images / "A-01/Plate1/B02_s1.png").unlink()
    broken = images / "B-02/Plate1/B01_s1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    report = check_tree(tmp_path, [CHECK])
    assert report.problems == [
        "experiment A-01: 1 of 4 files are missing, the first is set/images/A-01/Plate1/B02_s1.png",
        "experiment B-02: 1 of 4 files are unreadable, the first is "
        "set/images/B-02/Plate1/B01_s1.png",
    ]
    assert [g["unreadable"] for g in report.groups] == [0, 1]
    assert len(check_tree(tmp_path, [CHECK], read=False).problems) == 1


def test_metadata_that_is_not_the_published_one_is_said(tmp_path: Path) -> None:
    members = a_tree()
    members["metadata.csv"] = b"\n".join(members["metadata.csv"].splitlines()[:5]) + b"\n"
    put(members, tmp_path / "set")
    report = check_tree(tmp_path, [CHECK])
    assert "4 rows, 8 are published" in report.problems[0]
    assert "1 values of experiment, 2 are published" in report.problems[1]
    (tmp_path / "set/metadata.csv").write_text("a,b\n1,2\n")
    assert "no column experiment, plate" in check_tree(tmp_path, [CHECK]).problems[0]
    (tmp_path / "set/metadata.csv").unlink()
    assert "is missing" in check_tree(tmp_path, [CHECK]).problems[0]


def test_hdf5_files_are_opened_and_counted(tmp_path: Path) -> None:
    check = {"kind": "hdf5", "files": "S_*.hdf5", "keys": ["data", "labels"], "n_files": 2}
    for name in ("S_a.hdf5", "S_b.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["labels"] = np.zeros((3, 2)), np.zeros(3)
    assert check_tree(tmp_path, [{**check, "rows": 6}]).problems == []
    assert "6 rows in all files, 7" in check_tree(tmp_path, [{**check, "rows": 7}]).problems[0]
    with h5py.File(tmp_path / "S_b.hdf5", "a") as file:
        del file["labels"]
    assert "has no labels" in check_tree(tmp_path, [check]).problems[0]
    whole = (tmp_path / "S_a.hdf5").read_bytes()
    (tmp_path / "S_a.hdf5").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as HDF5" in check_tree(tmp_path, [check]).problems[0]
    (tmp_path / "S_a.hdf5").unlink()
    assert "1 of 2 files" in check_tree(tmp_path, [check]).problems[0]


FAST = {"pause_s": 0.01, "stall_s": PATIENCE, "tries": 2}


def a_set(server: Server, tmp_path: Path, members: dict[str, bytes] | None = None) -> Fetchable:
    archive = a_tar(tmp_path / "whole.tar.gz", members or a_tree()).read_bytes()
    server.files["/blob/"] = archive
    file = {
        "name": "set.tar.gz",
        "urls": [server.url("/dead/"), server.url("/blob/")],
        "bytes": len(archive),
        "unpack": "set",
    }
    content = {"title": "a set", "licence": "CC0", "file": [file], "check": [CHECK]}
    return read_fetchable("a-set", content, "test")


def test_an_archive_is_fetched_unpacked_checked_and_cleared_away(
    server: Server, tmp_path: Path, data: Path
) -> None:
    what = a_set(server, tmp_path)
    server.acts["/blob/"] = [truncated(1000)]
    said: list[str] = []
    asked: list[str] = []
    desk = Desk(said.append, lambda question: not asked.append(question))  # type: ignore[func-returns-value]
    report = Fetcher(what, desk=desk, options=FAST).run()
    assert report.problems == []
    assert sum(group["found"] for group in report.groups) == 8
    folder = data / "a-set"
    assert sorted(p.name for p in folder.iterdir()) == ["set", "source.json"]
    assert len(asked) == 1
    assert file_size(what.bytes) in asked[0]
    mentions(said, "CC0")
    noted = json.loads((folder / "source.json").read_text())["files"]["set.tar.gz"]
    assert noted["url"] == server.url("/blob/")
    assert noted["sha256"] == hashlib.sha256(server.files["/blob/"]).hexdigest()
    assert noted["published checksum"] == "unknown"
    n_requests = len(server.requests)
    again = Fetcher(what, desk=Desk(confirm=refuse), options=FAST).run()
    assert again.problems == []
    assert len(server.requests) == n_requests
    assert verify(what, Desk()).problems == []


def refuse(question: str) -> bool:
    raise AssertionError(question)


def test_an_incomplete_archive_is_found_out_and_kept(
    server: Server, tmp_path: Path, data: Path
) -> None:
    members = a_tree()
    del members["images/B-02/Plate1/B03_s1.png"]
    report = Fetcher(a_set(server, tmp_path, members), options=FAST).run()
    assert report.problems == [
        "experiment B-02: 1 of 4 files are missing, the first is set/images/B-02/Plate1/B03_s1.png"
    ]
    assert (data / "a-set" / "set.tar.gz").exists()


def test_killed_between_the_transfer_and_the_end_of_unpacking(
    server: Server, tmp_path: Path, data: Path
) -> None:
    what = a_set(server, tmp_path)
    folder = data / "a-set"
    folder.mkdir(parents=True)
    (folder / "set.tar.gz").write_bytes(server.files["/blob/"])
    put({"half.png": b"1"}, folder / ".unpacking-set.tar.gz")
    assert Fetcher(what, desk=Desk(confirm=refuse), options=FAST).run().problems == []
    assert server.requests == []
    assert sorted(p.name for p in folder.iterdir()) == ["set", "source.json"]
    assert not (folder / "set" / "half.png").exists()
    noted = json.loads((folder / "source.json").read_text())["files"]["set.tar.gz"]
    assert noted["sha256"] == hashlib.sha256(server.files["/blob/"]).hexdigest()


def test_an_archive_here_that_is_not_the_published_one_is_refused(
    server: Server, tmp_path: Path, data: Path
) -> None:
    what = a_set(server, tmp_path)
    (data / "a-set").mkdir(parents=True)
    (data / "a-set" / "set.tar.gz").write_bytes(server.files["/blob/"][:-10])
    with raises(BenchError, "set.tar.gz", "3,652", "3,662"):
        Fetcher(what, options=FAST).run()
    assert not (data / "a-set" / "set").exists()


def test_no_is_no(server: Server, tmp_path: Path, data: Path) -> None:
    with raises(BenchError):
        Fetcher(a_set(server, tmp_path), desk=Desk(confirm=lambda question: False)).run()
    assert server.requests == []


def test_a_tree_of_the_user_is_taken_where_it_is(
    server: Server, tmp_path: Path, data: Path
) -> None:
    put(a_tree(), tmp_path / "mine")
    what = a_set(server, tmp_path)
    assert Fetcher(what, str(tmp_path / "mine")).run().problems == []
    assert (data / "a-set" / "set").resolve() == (tmp_path / "mine").resolve()
    assert server.requests == []
    # and one that is in the data folder already
    put(a_tree(), data / "b-set" / "set")
    other = read_fetchable(
        "b-set",
        {
            "title": "b",
            "licence": "CC0",
            "file": [{"name": "b.zip", "urls": ["https://localhost:9/b"], "unpack": "set"}],
            "check": [CHECK],
        },
        "test",
    )
    assert Fetcher(other, desk=Desk(confirm=refuse)).run().problems == []


def test_an_archive_of_the_user_is_unpacked_from_where_it_is(
    server: Server, tmp_path: Path, data: Path
) -> None:
    what = a_set(server, tmp_path)
    archive = tmp_path / "whole.tar.gz"
    assert Fetcher(what, str(archive)).run().problems == []
    assert (data / "a-set/set/metadata.csv").exists()
    assert archive.exists()
    archive.write_bytes(archive.read_bytes()[:-10])
    (data / "a-set/source.json").unlink()
    (data / "a-set/set").rename(data / "gone")
    with raises(BenchError, "whole.tar.gz", "3,652", "3,662"):
        Fetcher(what, str(archive)).run()


def plain(server: Server, body: bytes = b"a,b\n1,2\n") -> Fetchable:
    server.files["/t/table.csv"] = body
    file = {
        "name": "table.csv",
        "urls": [server.url("/dead/table.csv")],
        "sha256": hashlib.sha256(b"a,b\n1,2\n").hexdigest(),
    }
    return read_fetchable("c-set", {"title": "c", "licence": "CC0", "file": [file]}, "test")


@pytest.mark.parametrize("end", ["/t", "/t/", "/t/table.csv"])
def test_another_url_may_be_given(server: Server, data: Path, end: str) -> None:
    Fetcher(plain(server), server.url(end), options=FAST).run()
    assert (data / "c-set/table.csv").read_bytes() == b"a,b\n1,2\n"


def test_what_is_given_must_be_there_and_right(server: Server, tmp_path: Path, data: Path) -> None:
    what = plain(server, b"other")
    for passed, said in (
        (server.url("/t"), "wrong bytes"),
        ("http://localhost/t", "must be https"),
        (str(tmp_path / "nowhere"), "no such file or folder"),
        (str(tmp_path), "table.csv"),
    ):
        with raises(BenchError, said):
            Fetcher(what, passed, options=FAST).run()
    (tmp_path / "table.csv").write_bytes(b"x")
    with raises(BenchError, "table.csv"):
        Fetcher(what, str(tmp_path)).run()
    assert not (data / "c-set/table.csv").exists()
    (tmp_path / "table.csv").write_bytes(b"a,b\n1,2\n")
    Fetcher(what, str(tmp_path)).run()
    assert verify(what, Desk()).problems == []
    (data / "c-set/table.csv").write_bytes(b"a,b\n1,3\n")
    assert "its checksum differs" in verify(what, Desk()).problems[0]
    with raises(BenchError, "table.csv"):
        Fetcher(what).run()


def test_a_table_names_further_files(server: Server, data: Path) -> None:
    server.files["/plate.csv"] = b"source,plate,kind\ns 1,P/1,T\ns 1,P2,T\ns 2,P3,C\n"
    server.files["/s%201/P%2F1.bin"] = b"one"
    server.files["/s%201/P2.bin"] = b"two"
    content = {
        "title": "d",
        "licence": "CC0",
        "file": [{"name": "plate.csv", "urls": [server.url("/plate.csv")]}],
        "rows": [
            {
                "table": "plate.csv",
                "where": {"kind": ["T"]},
                "name": "{source}/{plate}.bin",
                "urls": [server.url("/{source}/{plate}.bin")],
            }
        ],
    }
    what = read_fetchable("d-set", content, "test")
    asked: list[str] = []
    desk = Desk(confirm=lambda question: not asked.append(question))  # type: ignore[func-returns-value]
    Fetcher(what, desk=desk, options=FAST).run()
    assert len(asked) == 2
    assert (data / "d-set/s 1/P2.bin").read_bytes() == b"two"
    assert (data / "d-set/s 1/P/1.bin").read_bytes() == b"one"
    server.files["/plate.csv"] = b"source,plate,kind\n..,P1,T\n"
    (data / "d-set/plate.csv").unlink()
    with raises(BenchError, "plate.csv"):
        Fetcher(what, options=FAST).run()


def test_two_fetches_do_not_meet(server: Server, tmp_path: Path, data: Path) -> None:
    from filelock import FileLock

    what = plain(server)
    folder_of(what).mkdir(parents=True)
    with FileLock(folder_of(what) / ".fetch.lock"):
        with raises(BenchError):
            Fetcher(what, options=FAST).run()


def a_hit(number: int, title: str, names: list[str], concept: str, server: Server | None) -> Any:
    def link(name: str) -> str:
        return server.url(f"/files/{number}/{name}") if server else f"https://host/{number}/{name}"

    return {
        "id": number,
        "conceptrecid": concept,
        "doi": f"10.5281/zenodo.{number}",
        "metadata": {"title": title, "license": {"id": "cc-by-4.0"}},
        "files": [
            {
                "key": name,
                "size": len(name),
                "checksum": "md5:" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
                "links": {"self": link(name)},
            }
            for name in names
        ],
    }


WANTED: dict[str, list[str]] = {"titles": ["CELLS-7", "cells of"], "files": ["a.hdf5", "b.hdf5"]}


def test_a_record_is_chosen_by_title_and_files() -> None:
    both, extra = ["a.hdf5", "b.hdf5"], ["a.hdf5", "b.hdf5", "c.txt"]
    hits = [
        a_hit(1, "Cells-7, first version", both, "9", None),
        a_hit(2, "The Cells-7 data", extra, "9", None),
        a_hit(3, "Cells-7 embeddings", ["a.hdf5"], "8", None),
        a_hit(4, "Another", both, "7", None),
    ]
    result = choose(hits, WANTED)
    assert result.doi == "10.5281/zenodo.2"
    assert result.licence == "cc-by-4.0"
    assert [file.name for file in result.files] == both
    assert result.files[0].urls == ("https://host/2/a.hdf5",)
    assert result.files[0].md5 == hashlib.md5(b"a.hdf5", usedforsecurity=False).hexdigest()
    with raises(BenchError, "CELLS-7", "a.hdf5"):
        choose(hits[2:], WANTED)
    with raises(BenchError, "--from"):
        choose([*hits, a_hit(5, "Cells-7 copied", both, "6", None)], WANTED)


def test_files_of_a_record_are_fetched_and_the_doi_stands_beside_them(
    server: Server, tmp_path: Path, data: Path
) -> None:
    # the second phrase finds it
    hits = [a_hit(12, "The Cells of Summer", WANTED["files"], "11", server)]
    server.files["/api/records"] = json.dumps({"hits": {"hits": hits}}).encode()
    for name in WANTED["files"]:
        server.files[f"/files/12/{name}"] = name.encode()
    what = read_fetchable("e-set", {"title": "e", "licence": "as said", "zenodo": WANTED}, "test")
    said: list[str] = []
    host = server.url("")
    Fetcher(what, desk=Desk(said.append), options=FAST, zenodo=host).run()
    source = json.loads((data / "e-set/source.json").read_text())
    assert source["doi"] == "10.5281/zenodo.12"
    assert source["licence"] == "cc-by-4.0"
    assert source["files"]["a.hdf5"]["published checksum"] == hits[0]["files"][0]["checksum"][4:]
    assert any("doi:10.5281/zenodo.12" in line for line in said)
    mentions(said, "cc-by-4.0")
    n = len(server.requests)
    Fetcher(what, options=FAST, zenodo=host).run()  # all here: not even the search is made
    assert len(server.requests) == n
    assert verify(what, Desk()).problems == []
    (data / "e-set/b.hdf5").write_bytes(b"other!")
    assert "not the file that was received" in verify(what, Desk()).problems[0]
    server.files["/api/records"] = b"<html>"
    with raises(BenchError, "--from"):
        find_record(WANTED, host)


def test_every_packaged_list_is_read_and_named_after_known_data() -> None:
    registry = Registry()
    names = fetchable_names(registry)
    assert {"coos7", "rxrx1", "camelyon17", "bbbc021", "jump-stains", "jump"} <= set(names)
    for name in names:
        what = fetchable(name, registry)
        assert what.licence
        check_tree(Path("/nonexistent"), what.checks)  # all kinds are known
    assert fetchable("rxrx1", registry).bytes == 7_413_123_845


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"urls": ["http://a/b"]}, ("https",)),
        ({"name": "../a"}, ()),
        ({"name": "/a"}, ()),
        ({"sha256": "12"}, ("64",)),
        ({"bytes": "7"}, ()),
        ({"unpack": ".."}, ()),
        ({"url": "https://a"}, ()),
    ],
)
def test_a_wrong_list_is_refused(change: dict[str, Any], said: str) -> None:
    file = {"name": "a", "urls": ["https://host/a"], **change}
    with raises(BenchError, *said):
        read_fetchable("x", {"title": "x", "licence": "x", "file": [file]}, "x.toml")


def bench(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "data", *words],
        cwd=ROOT,
        env={**os.environ, "BENCH_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_lists_locates_and_refuses(tmp_path: Path) -> None:
    listed = bench("list", "--json", data=tmp_path)
    names = [item["name"] for item in json.loads(listed.stdout)["data"]]
    assert names == sorted(names)
    assert "jump-stains" in names
    where = bench("where", "jump-stains", data=tmp_path)
    assert where.stdout == f"{tmp_path / 'jump-stains'}\n"
    for words, fix in (
        (("fetch",), "data list"),
        (("fetch", "jump-stain"), "jump-stains"),
        (("fetch", "jump-stains"), "--yes"),
        (("verify", "jump-stains"), "jump-stains"),
        (("list", "--yes"), "data fetch"),
        (("lst",), "list"),
    ):
        refused = bench(*words, data=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ")
        assert len(refused.stderr.splitlines()) == 1
        assert fix in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_but_fetch_opens_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    from bench.cli.main import main

    def closed(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    for words in (
        ["data", "list"],
        ["data", "where"],
        ["data", "verify"],
        ["data", "verify", "coos7"],
        ["list", "datasets"],
        ["show", "dataset", "coos7"],
        ["run", "-m", "erm", "-s", "jump-stains/stains", "--results", str(tmp_path / "results")],
        ["run", "-m", "identity", "-s", "jump/batch", "--results", str(tmp_path / "results")],
    ):
        with pytest.raises(SystemExit):
            main(words)
