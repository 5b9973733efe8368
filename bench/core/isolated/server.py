"""Fork server of methods: preloads libraries, and never has data in its memory.

Each session is a process that is forked for one method on one fold. In bubblewrap, it also gets
its own namespaces of users, processes, mounts and shared memory, and its own empty ``/tmp``, so
that nothing is left for the next session. All processes of a session end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from bench.core.isolated.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x20000000
"""CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER and CLONE_NEWPID of sched.h."""
PRIVATE = 0x4000 | 0x40000
"""MS_REC and MS_PRIVATE of sys/mount.h."""
BIND = 0x1000 | 0x4000
"""MS_BIND and MS_REC of sys/mount.h."""
NO_SETUID_NO_DEVICES = 2 | 4
"""MS_NOSUID and MS_NODEV of sys/mount.h."""
SUBREAPER, NO_NEW_PRIVILEGES = 36, 38
"""PR_SET_CHILD_SUBREAPER and PR_SET_NO_NEW_PRIVS of sys/prctl.h."""
CAPABILITIES = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of linux/capability.h."""


def main(fd: int, *, separate: bool) -> None:
    """Serve requests on a control socket until it is closed; then end all sessions.

    Parameters
    ----------
    separate
        Whether sessions get namespaces of their own.
    """
    control = socket.socket(fileno=fd)
    _prctl(SUBREAPER)
    if separate:
        separate = _works(_separated)
    control.send(json.dumps({"separate": separate}).encode())
    sessions: dict[int, tuple[int, int, int]] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            break
        request = json.loads(data)
        number = request["session"]
        if fds:
            _preload(request["preload"])
            sessions[number] = _forked(fds[0], control, request["memory"], separate=separate)
            control.send(b"{}")
        elif number in sessions:
            status = _ended(*sessions.pop(number), bool(request["kill"]))
            control.send(json.dumps({"session": number, "status": status}).encode())
            if not sessions:
                _end_orphans()
    for session in sessions.values():
        _ended(*session, kill=True)
    _end_orphans()


def _preload(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _forked(
    fd: int, control: socket.socket, memory: int, *, separate: bool
) -> tuple[int, int, int]:
    """Start a session; return its guard, its process and a pipe with the status of the process."""
    reading, writing = os.pipe()
    guard = os.fork()
    if not guard:
        code = 1
        try:
            control.close()
            os.close(reading)
            if separate:
                _separated()
            worker = os.fork()
            if not worker:
                os.closerange(3, fd)
                os.closerange(fd + 1, 1 << 12)
                _work(fd, memory, separate=separate)
                code = 0
            else:
                os.close(fd)
                os.write(writing, f"{worker}\n".encode())
                status = os.waitpid(worker, 0)[1]
                os.write(writing, str(os.waitstatus_to_exitcode(status)).encode())
        except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(fd)
    os.close(writing)
    text = b""
    while not text.endswith(b"\n") and (byte := os.read(reading, 1)):
        text += byte
    return guard, int(text or b"0"), reading


def _ended(guard: int, worker: int, reading: int, kill: bool) -> int:
    """End a session; return the exit code of its process, negative for a signal."""
    done = False
    for _ in range(0 if kill else 100):  # it may be ending by itself
        done = os.waitpid(guard, os.WNOHANG)[0] == guard
        if done:
            break
        time.sleep(0.02)
    if worker and not done:
        for end in (os.kill, os.killpg):  # a process group in case there are no namespaces
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(worker, signal.SIGKILL)
    if not done:
        os.waitpid(guard, 0)
    text = os.read(reading, 64).decode()
    os.close(reading)
    return int(text) if text else 1


def _end_orphans() -> None:
    """Kill processes that a method left behind; this process is their parent."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
                children = [int(pid) for pid in file.read().split()]
            for pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            if children:
                continue
        return


def _work(fd: int, memory: int, *, separate: bool) -> None:
    """Be the process of a method."""
    os.setsid()
    if separate:
        _mount("none", "/", None, PRIVATE)
        _own_tmp()
        header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
        _checked(_libc().capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _prctl(NO_NEW_PRIVILEGES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    os.dup2(2, 1)  # standard output is the benchmark's
    sys.stdout = sys.stderr  # not buffered: prints are kept when the process is ended
    Session(socket.socket(fileno=fd)).run()


def _own_tmp() -> None:
    """Mount an empty ``/tmp``, and in it the environment of Python if that is there."""
    kept: dict[str, int] = {}
    for path in sorted({sys.prefix, sys.base_prefix, *sys.path}):
        inside = any(path.startswith(f"{folder}/") for folder in kept)
        if path.startswith("/tmp/") and os.path.isdir(path) and not inside:  # noqa: PTH112
            kept[path] = os.open(path, os.O_PATH | os.O_DIRECTORY)
    _mount("tmpfs", "/tmp", "tmpfs", NO_SETUID_NO_DEVICES)
    for path, fd in kept.items():
        os.makedirs(path)  # noqa: PTH103
        _mount(f"/proc/self/fd/{fd}", path, None, BIND)
        os.close(fd)


def _separated() -> None:
    """Give the children of this process namespaces of their own."""
    user, group = os.geteuid(), os.getegid()
    _checked(_libc().unshare(NEW_NAMESPACES), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(text)


def _works(function: Any) -> bool:  # noqa: ANN401 - any function
    """Return whether a function succeeds, in a process of its own."""
    pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            function()
            code = 0
        os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(failed: int, what: str) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind else None
    _checked(_libc().mount(source.encode(), target.encode(), encoded, flags, None), "mount")


def _prctl(option: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        _libc().prctl(option, 1, 0, 0, 0)
