"""Atomic writes: a file has its new or its old content, or does not exist."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bench.core import disk
from bench.core.disk import new_file, new_folder, write_file, write_files
from bench.core.errors import BenchError
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_or_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    write_file(path, "one")
    with pytest.raises(ZeroDivisionError), new_file(path) as temporary:  # noqa: PT012 - the block is interrupted
        assert (temporary.parent, temporary.suffix) == (path.parent, ".json")
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "one"
    write_file(path, b"two")
    assert path.read_text() == "two"
    assert entries(path.parent) == ["x.json"]


def test_a_missing_folder_is_not_created_when_it_must_be_there(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        new_file(tmp_path / "a" / "x", parents=False) as temporary,
    ):
        temporary.write_text("x")
    assert entries(tmp_path) == []


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "set-1.0"
    with pytest.raises(ZeroDivisionError), new_folder(path) as temporary:  # noqa: PT012 - the block is interrupted
        (temporary / "x").write_text("half")
        (temporary / "y").write_text(str(1 / 0))
    assert entries(path.parent) == []
    with new_folder(path) as temporary:
        (temporary / "x").write_text("one")
        assert not path.exists()
    assert entries(path.parent) == ["set-1.0"]
    assert (path / "x").read_text() == "one"


@pytest.mark.parametrize(("replace", "expected"), [(False, "first"), (True, "second")])
def test_of_two_writers_of_a_folder_one_wins(tmp_path: Path, replace: bool, expected: str) -> None:
    path = tmp_path / "set"
    with new_folder(path, replace=replace, inside=tmp_path / "tmp") as temporary:
        (temporary / "x").write_text("second")
        path.mkdir()
        (path / "x").write_text("first")
    assert (path / "x").read_text() == expected
    assert entries(tmp_path / "tmp") == []


def test_old_leftovers_of_an_interrupted_writer_are_deleted(tmp_path: Path) -> None:
    old, young, other = (
        tmp_path / name for name in (".set.7-00112233", ".set.8-00112233", ".set.config")
    )
    for folder in (old, young, other):
        folder.mkdir()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    with new_folder(tmp_path / "set"):
        pass
    assert entries(tmp_path) == [".set.8-00112233", ".set.config", "set"]


def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError):
        write_files(tmp_path / "file", {"x": b""})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_synced", full)
    with (
        raises(BenchError, "BENCH_CACHE"),
        disk.disk_errors("write", tmp_path, "$BENCH_CACHE"),
    ):
        write_file(tmp_path / "y", b"")
    assert entries(tmp_path) == ["file"]
