"""The command that starts the fork server: in bubblewrap where possible, else a plain process."""

from __future__ import annotations

import functools
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.core.checkout import ROOT
from bench.core.folders import cache_folder, data_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Mode = Literal["bubblewrap", "process"]
"""How methods are isolated: without files, network and other processes, or in a plain process."""

_TMP = "/tmp"
"""Temporary folder in the sandbox: an empty file system of its own, not a folder of the machine."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/sys")
_SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "passwd")
_KEPT = (
    "BENCH_ARRAY_BYTES", "BENCH_THREADS", "CUDA_", "KMP_", "LANG", "LC_", "LD_LIBRARY_PATH", "MKL_",
    "NUMEXPR_", "NVIDIA_", "OMP_", "OPENBLAS_", "PATH", "PYTHONHASHSEED", "TZ",
)  # fmt: skip
"""Beginnings of the environment variables that a method's process gets."""
_START = (
    "import sys; sys.path[:] = {path!r}; sys.dont_write_bytecode = True; "
    "from bench.core.isolated.server import main; main({fd}, separate={separate})"
)


@functools.cache
def mode() -> Mode:
    """Return how methods can be isolated on this machine."""
    program = shutil.which("bwrap") if sys.platform == "linux" else None
    if program is None:
        return "process"
    call = [program, *_namespaces(), *_files(()), "--", "/usr/bin/env", "true"]
    try:
        done = subprocess.run(call, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return "process"
    return "bubblewrap" if done.returncode == 0 else "process"


def command(fd: int, readable: Iterable[str]) -> list[str]:
    """Return the command of the fork server.

    Parameters
    ----------
    fd
        File descriptor of its control socket.
    readable
        Further files and folders that methods may read.
    """
    start = _START.format(path=_path(), fd=fd, separate=mode() == "bubblewrap")
    python = [sys.executable, "-I", "-c", start]
    if mode() == "process":
        return python
    here = os.getcwd()  # noqa: PTH109 - for a relative name of a network file
    return [
        shutil.which("bwrap") or "bwrap",
        *_namespaces(),
        *_files(readable),
        *("--dir", here, "--chdir", here),
        "--",
        *python,
    ]


def environment() -> dict[str, str]:
    """Return the environment of methods: no folders of data, results, caches or plugins."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(_KEPT)}
    if mode() == "process":
        return kept | {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return kept | {"HOME": _TMP, "TMPDIR": _TMP, "BENCH_CACHE": f"{_TMP}/cache"}


def _namespaces() -> list[str]:
    """Return the options for namespaces. The user is not root, which may not start others."""
    user = ["--uid", "1000", "--gid", "1000"]
    return ["--unshare-user", "--unshare-all", *user, "--new-session", "--cap-drop", "ALL"]


def _files(readable: Iterable[str]) -> list[str]:
    """Return the options for the file system: read-only, with an empty ``/tmp``."""
    options = ["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", _TMP]
    for name in _SYSTEM:
        if os.path.islink(name):  # noqa: PTH114
            options += ["--symlink", os.readlink(name), name]  # noqa: PTH115
        else:
            options += ["--ro-bind-try", name, name]
    for name in _SETTINGS:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for device in sorted(Path("/dev").glob("nvidia*")):
        options += ["--dev-bind-try", str(device), str(device)]
    folders = [*dict.fromkeys(_code()), *readable]
    for folder in folders:
        options += ["--ro-bind-try", folder, folder]
    for hidden in _hidden():
        if (
            any(hidden.is_relative_to(folder) for folder in (*folders, *_SYSTEM))
            and hidden.is_dir()
        ):
            options += ["--tmpfs", str(hidden)]
    return [*options, "--remount-ro", "/"]


def _code() -> Iterator[str]:
    """Yield the folders of Python, its packages and the benchmark, without its data sets."""
    yield from dict.fromkeys((sys.base_prefix, sys.prefix))
    yield from (str(ROOT / name) for name in ("bench", "methods"))
    yield from (path for path in _path() if path != str(ROOT) and Path(path).is_dir())


def _path() -> list[str]:
    """Return ``sys.path`` without the folders of the user."""
    prefixes = tuple({sys.base_prefix, sys.prefix, *site.getsitepackages()})
    kept = [
        path
        for path in sys.path
        if path
        and (
            Path(path) == ROOT
            or path.startswith(prefixes)
            or Path(path).name in ("site-packages", "dist-packages")
        )
    ]
    return list(dict.fromkeys([*kept, str(ROOT)]))


def _hidden() -> list[Path]:
    """Return folders that methods must not read."""
    names = [os.environ.get("BENCH_RESULTS", ""), os.environ.get("BENCH_TEST_DATA", ""), "results"]
    folders = [ROOT / "bench" / "datasets", data_folder("x").parent, cache_folder("x").parent]
    return [path.absolute() for path in (*folders, *(Path(name) for name in names if name))]
