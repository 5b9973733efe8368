"""One file over https, from a server that truncates, stalls, redirects and sends wrong data."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from bench.core.errors import BenchError
from bench.data.fetch.https import Meter, download
from tests.helpers.errors import mentions, raises
from tests.helpers.https_server import (
    Server,
    other,
    redirect,
    serving,
    stalled,
    status,
    truncated,
    without_ranges,
)
from tests.helpers.processes import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = os.urandom(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
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
        result.files["/a.bin"] = BODY
        yield result


def get(server: Server, target: Path, *paths: str, **options: object) -> object:
    urls = [server.url(path) for path in paths or ("/a.bin",)]
    passed = {"sha256": SHA, "pause_s": 0.01, "stall_s": PATIENCE, **options}
    return download(urls, target, **passed)  # type: ignore[arg-type]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"authority.pem"}


def test_a_file_arrives_with_its_checksums(server: Server, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    received = download(
        [server.url("/a.bin")],
        tmp_path / "sub" / "a.bin",
        size=len(BODY),
        meter=Meter(lambda done, total: shown.append((done, total))),
    )
    assert (tmp_path / "sub" / "a.bin").read_bytes() == BODY
    assert (received.bytes, received.sha256) == (len(BODY), SHA)
    assert received.md5 == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert shown[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert left(tmp_path / "sub") == {"a.bin"}


@pytest.mark.parametrize("known", [True, False])
def test_a_truncated_transfer_is_resumed(server: Server, tmp_path: Path, known: bool) -> None:
    server.acts["/a.bin"] = [truncated(100_000)]
    get(server, tmp_path / "a.bin", **({} if known else {"sha256": ""}))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    first, second = server.asked("/a.bin")
    assert first == ""
    start = int(re.fullmatch(r"bytes=(\d+)-", second).group(1))  # type: ignore[union-attr]
    assert 0 < start <= 100_000


def test_without_checksum_or_version_nothing_is_put_together(
    server: Server, tmp_path: Path
) -> None:
    server.etags = False
    server.acts["/a.bin"] = [truncated(100_000)]
    get(server, tmp_path / "a.bin", sha256="")
    assert server.asked("/a.bin") == ["", ""]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_server_without_ranges_gives_all_again(server: Server, tmp_path: Path) -> None:
    server.acts["/a.bin"] = [truncated(100_000), without_ranges]
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked("/a.bin")[1].startswith("bytes=")


def test_a_file_that_changed_meanwhile_is_begun_again(server: Server, tmp_path: Path) -> None:
    new = os.urandom(200_000)
    server.acts["/a.bin"] = [truncated(100_000), other(new)]
    get(server, tmp_path / "a.bin", sha256="")
    assert (tmp_path / "a.bin").read_bytes() == new


def test_a_stall_is_said_and_mended(server: Server, tmp_path: Path) -> None:
    server.acts["/a.bin"] = [stalled(150_000, PATIENCE)]
    said: list[str] = []
    # A busy server stalls more than once.
    get(server, tmp_path / "a.bin", say=said.append, stall_s=0.5, tries=100)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert said
    mentions(said[0], "a.bin", "0.5")


def test_a_503_comes_back(server: Server, tmp_path: Path) -> None:
    server.acts["/a.bin"] = [status(503), status(503)]
    said: list[str] = []
    get(server, tmp_path / "a.bin", say=said.append)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert [("503" in line) for line in said] == [True, True]


def test_a_503_that_stays_leaves_what_arrived(server: Server, tmp_path: Path) -> None:
    server.acts["/a.bin"] = [truncated(100_000), status(503), status(503)]
    with raises(BenchError, "503"):
        get(server, tmp_path / "a.bin", tries=3)
    assert not (tmp_path / "a.bin").exists()
    assert 0 < (tmp_path / "a.bin.part").stat().st_size <= 100_000
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked("/a.bin")[-1].startswith("bytes=")


def test_a_404_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    with raises(BenchError, "404"):
        get(server, tmp_path / "gone.bin", "/gone.bin")
    assert len(server.asked("/gone.bin")) == 1


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    received = get(server, tmp_path / "a.bin", "/gone.bin", "/a.bin")
    assert received.url == server.url("/a.bin")  # type: ignore[attr-defined]


def test_wrong_bytes_are_thrown_away_and_the_next_mirror_asked(
    server: Server, tmp_path: Path
) -> None:
    server.files["/wrong.bin"] = BODY[:-1] + b"x"
    with raises(BenchError, "sha256"):
        get(server, tmp_path / "a.bin", "/wrong.bin")
    assert left(tmp_path) == set()
    assert len(server.asked("/wrong.bin")) == 1
    get(server, tmp_path / "a.bin", "/wrong.bin", "/a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_wrong_size_is_refused_before_it_is_transferred(server: Server, tmp_path: Path) -> None:
    with raises(BenchError, "300,000", "299,999"):
        get(server, tmp_path / "a.bin", sha256="", size=299_999)
    assert not (tmp_path / "a.bin").exists()


def test_a_redirect_to_https_is_followed(server: Server, tmp_path: Path) -> None:
    server.files["/moved"] = b""
    server.acts["/moved"] = [redirect(server.url("/a.bin"))]
    get(server, tmp_path / "a.bin", "/moved")
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_redirect_to_http_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/moved"] = b""
    server.acts["/moved"] = [redirect(f"http://localhost:{server.port}/a.bin")]
    with raises(BenchError, "http://"):
        get(server, tmp_path / "a.bin", "/moved")
    assert not (tmp_path / "a.bin").exists()
    assert server.asked("/a.bin") == []


def test_plain_http_is_refused_without_a_connection(tmp_path: Path) -> None:
    with raises(BenchError, "--from"):
        download(["http://localhost:9/a.bin"], tmp_path / "a.bin")


def test_an_unknown_certificate_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with raises(BenchError, "--from"):
        get(server, tmp_path / "a.bin", tries=1)


def test_no_connection_is_one_line(tmp_path: Path) -> None:
    with raises(BenchError, "--from"):
        download(["https://localhost:9/a.bin"], tmp_path / "a.bin", tries=1)


def test_killed_and_continued(server: Server, tmp_path: Path) -> None:
    server.acts["/a.bin"] = [stalled(200_000, PATIENCE)]
    code = (
        "from pathlib import Path; from bench.data.fetch.https import download; "
        f"download([{server.url('/a.bin')!r}], Path({str(tmp_path / 'a.bin')!r}), "
        f"sha256={SHA!r}, stall_s={PATIENCE})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True)
    part = tmp_path / "a.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 100_000, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a.bin").exists()
    here = part.stat().st_size
    get(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked("/a.bin")[-1] == f"bytes={here}-"
