"""Free memory: of the machine, and within the limits of containers and batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.memory import available_memory, limits

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB = 1 << 20


def group(folder: Path, names: tuple[str, str, str], most: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\nfile 99\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_limits_of_a_group_and_its_parents(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/batch/job\n")
    group(tmp_path / "batch", V2, str(100 * MIB), 70 * MIB, 10 * MIB)
    group(tmp_path / "batch" / "job", V2, "max", 70 * MIB, 10 * MIB)
    assert limits(own, tmp_path) == [40 * MIB]
    group(tmp_path / "batch" / "job", V2, str(60 * MIB), 70 * MIB, 0)
    assert limits(own, tmp_path) == [0, 40 * MIB]


def test_limits_of_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("7:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n")
    group(tmp_path / "memory", V1, str(1 << 62), 0, 0)
    group(tmp_path / "memory" / "docker" / "abc", V1, str(50 * MIB), 20 * MIB, MIB)
    assert limits(own, tmp_path) == [31 * MIB, 1 << 62]


def test_the_smaller_of_machine_and_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9000 kB\nMemAvailable: 4096 kB\n")
    for left, expected in (([], 4 * MIB), ([MIB, 8 * MIB], MIB), ([8 * MIB], 4 * MIB)):
        monkeypatch.setattr("bench.core.memory.limits", lambda left=left: left)
        assert available_memory(info) == expected
    assert available_memory(tmp_path / "nothing") is None
    assert limits(tmp_path / "nothing") == []
