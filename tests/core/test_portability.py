"""Systems other than Linux: names that only POSIX has, and a run without them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

from bench.core.errors import BenchError
from bench.core.isolated import host
from bench.data.catalog import parse_split_argument
from tests.helpers import tiny
from tests.helpers.errors import raises

ROOT = Path(__file__).resolve().parents[2]
MODULES = frozenset(["fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"])
NAMES = frozenset(
    [
        *(
            "fork",
            "forkpty",
            "killpg",
            "setsid",
            "getpgid",
            "setpgid",
            "getppid_",
            "wait3",
            "wait4",
        ),
        *("geteuid", "getegid", "getuid", "getgid", "chown", "mkfifo", "mknod", "nice"),
        *("sched_getaffinity", "sched_setaffinity", "statvfs", "sysconf", "getloadavg", "uname"),
        *("O_NOFOLLOW", "O_DIRECTORY", "O_PATH", "O_NONBLOCK", "O_CLOEXEC"),
        *("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGSTOP", "SIGCONT", "alarm"),
        *("AF_UNIX", "send_fds", "recv_fds"),
    ]
)
GUARDED = {
    # The server of isolated methods is started only where there is `os.fork`.
    "bench/core/isolated/server.py": {
        *("resource", "fork", "killpg", "setsid", "geteuid", "getegid", "SIGKILL"),
        *("O_PATH", "O_DIRECTORY", "recv_fds"),
    },
    "bench/core/isolated/host.py": {"AF_UNIX", "send_fds", "killpg", "SIGKILL"},
    "bench/core/time_limit.py": {"SIGALRM"},  # after hasattr
    "bench/cli/doctor.py": {"sched_getaffinity"},  # after hasattr
    "bench/runs/provenance.py": {"resource"},  # after ImportError
}
"""File -> names that it uses where the system has them."""


def posix_names(file: Path) -> set[str]:
    """Return the names of POSIX that a file imports or reads from a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            imported = {alias.name for alias in node.names} if node.module in MODULES else set()
            names |= imported | ({node.module or ""} & MODULES)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("os", "signal", "socket"):
                names |= {node.attr} & NAMES
    return names


def test_names_of_posix_are_in_guarded_places_only() -> None:
    found = {}
    for folder in ("bench", "methods", "datasets"):
        for file in (ROOT / folder).rglob("*.py"):
            if names := posix_names(file):
                found[file.relative_to(ROOT).as_posix()] = names
    assert found == GUARDED


WITHOUT = """
import os, signal, socket, sys
import multiprocessing, subprocess, concurrent.futures, asyncio  # import what the library needs
for module, names in ((os, {names!r}), (signal, {names!r}), (socket, {names!r})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in {modules!r}:
    sys.modules[name] = None
from bench.cli.main import main
main(sys.argv[1:])
"""


def without_posix(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(names=sorted(NAMES - {"uname"}), modules=sorted(MODULES))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments, "--results", str(folder / "results")],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )


@pytest.mark.slow
def test_a_run_needs_no_name_of_posix(tmp_path: Path) -> None:
    table = tiny.write_table(tmp_path / "table")
    words = ("-m", "identity", "-s", f"{table}:plates", "--seeds", "1", "--no-controls")
    done = without_posix(tmp_path, "run", *words)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results" / "runs").glob("*/*/run.json"))) == 1


def test_isolation_without_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork")
    with raises(BenchError, "--isolate none"):
        host._Server(())


@pytest.mark.parametrize(
    "text", [r"C:\plates\dataset.toml:weeks", "C:/plates/dataset.toml:weeks", r"a b\x.toml:weeks"]
)
def test_arguments_with_paths_of_windows(text: str) -> None:
    parsed = parse_split_argument(text)
    assert parsed is not None
    file, name = parsed
    assert name == "weeks"
    assert PureWindowsPath(str(file)) == PureWindowsPath(text.removesuffix(":weeks"))
