"""The fork servers of this process, and sessions with the processes of methods."""

from __future__ import annotations

import ast
import atexit
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import AccessError, BenchError, NotApplicable, RunFailed
from bench.core.isolated import sandbox
from bench.core.isolated.wire import Closed, receive_plain, send_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.core.types import Arrays, JsonObject

PATIENCE = 300.0
"""Seconds that the start of the server, or a method that only declares something, may take."""
SHARE = 0.9
"""Fraction of the available memory that a method may use."""
LIMIT = "BENCH_METHOD_BYTES"
"""Variable with the memory that a method may use, in bytes, instead of :data:`SHARE`."""
LIBRARIES = frozenset(
    {"anndata", "harmonypy", "numpy", "pandas", "scanpy", "scipy", "skimage", "sklearn", "torch",
     "torchvision", "bench"}
)  # fmt: skip
"""Packages that the server imports before it forks, if a method imports them."""
_ERRORS = {kind.__name__: kind for kind in (AccessError, BenchError, NotApplicable, RunFailed)}
_NUMBERS = itertools.count()


class _Server:
    """A fork server. It ends when its control socket is closed, also if this process is killed."""

    def __init__(self, readable: tuple[str, ...]) -> None:
        if not hasattr(os, "fork"):  # Windows
            raise BenchError(
                "methods cannot be isolated on this system, which has no fork: --isolate none runs "
                "methods that you trust in this process"
            )
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._process = subprocess.Popen(
            sandbox.command(theirs.fileno(), readable),
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__ if _has_file(sys.__stderr__) else subprocess.DEVNULL,
            stderr=None if _has_file(sys.__stderr__) else subprocess.DEVNULL,
            env=sandbox.environment(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._control.settimeout(PATIENCE)
        self._lock = threading.Lock()
        try:
            self.separate = bool(json.loads(self._control.recv(1 << 16))["separate"])
        except (OSError, ValueError, KeyError):
            self.close()
            raise BenchError(
                "the process for isolated methods cannot be started: --isolate none runs methods "
                "that you trust in this process"
            ) from None

    def open(self, session: int, theirs: socket.socket, preload: list[str]) -> None:
        request = {"session": session, "preload": preload, "memory": _memory()}
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], [theirs.fileno()])
            self._control.recv(1 << 16)

    def end(self, session: int, *, kill: bool) -> int | None:
        """End a session; return the exit code of its process, or None if that is unknown."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._control.send(json.dumps({"session": session, "kill": kill}).encode())
            reply = json.loads(self._control.recv(1 << 16))
            return int(reply["status"])
        return None

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


_SERVERS: dict[tuple[int, str, tuple[str, ...]], _Server] = {}
_LOCK = threading.Lock()


def _server(readable: tuple[str, ...]) -> _Server:
    """Return the server of this process that makes some files readable."""
    key = (os.getpid(), sandbox.mode(), readable)  # a fork does not use the server of its parent
    with _LOCK:
        server = _SERVERS.get(key)
        if server is None or not server.alive:
            server = _SERVERS[key] = _Server(readable)
        return server


@atexit.register
def close_servers() -> None:
    """End all servers of this process."""
    for key in [key for key in _SERVERS if key[0] == os.getpid()]:
        _SERVERS.pop(key).close()


class Connection:
    """A session with the process of a method.

    Parameters
    ----------
    name
        Name of the method, for messages.
    preload
        Modules that the server imports before it forks.
    readable
        Further files that the method may read.
    """

    def __init__(self, name: str, preload: list[str], readable: tuple[str, ...]) -> None:
        self.name = name
        self._number = next(_NUMBERS)
        self._server = _server(readable)
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._server.open(self._number, theirs, preload)
        self._owner = (os.getpid(), threading.get_ident())
        _OPEN.add(self)

    def ask(
        self,
        request: JsonObject,
        serve: Mapping[str, Callable[[JsonObject, Arrays], object]] | None = None,
        seconds: float | None = None,
    ) -> tuple[JsonObject, Arrays]:
        """Send a request; answer the method's own requests until its reply arrives.

        Parameters
        ----------
        serve
            Functions by the name of the request. Results other than None are sent.
        seconds
            Maximum waiting time for each message.

        Raises
        ------
        BenchError
            What the method raised; RunFailed if it raised something else or its process ended.
        """
        most = _memory() or sys.maxsize
        try:
            send_object(self._ours, request)
            while True:
                message, arrays = receive_plain(self._ours, most, seconds)
                asked = message.get("ask")
                if asked is None:
                    break
                if asked not in (serve or {}):
                    raise RunFailed("its process sent an invalid request")
                answer = (serve or {})[asked](message, arrays)
                if answer is not None:
                    send_object(self._ours, answer)
        except Closed:
            raise RunFailed(f"the process of {self.name} ended: {self._why()}") from None
        except TimeoutError:
            self.close()
            raise RunFailed(f"{self.name} did not answer within {seconds:g} s") from None
        except BaseException:
            self.close()
            raise
        if "error" in message:
            raise _raised(message)
        return message, arrays

    @property
    def is_open(self) -> bool:
        """Whether the process can be asked."""
        return self in _OPEN

    def _why(self) -> str:
        code = self.close(kill=False)
        if code is None:
            return "reason unknown"
        if code < 0:
            return f"signal {-code} ({signal.strsignal(-code)})"
        return f"exit code {code}"

    def close(self, *, kill: bool = True) -> int | None:
        """End the process and all that it started."""
        if self not in _OPEN or self._owner[0] != os.getpid():
            return None
        _OPEN.discard(self)
        self._ours.close()
        code = self._server.end(self._number, kill=kill)
        if not self._server.separate and sandbox.mode() == "bubblewrap":
            # Sessions of this server share /tmp: the next one gets a new server.
            with _LOCK:
                for key in [key for key, server in _SERVERS.items() if server is self._server]:
                    del _SERVERS[key]
            self._server.close()
        return code


_OPEN: set[Connection] = set()


def close_all() -> None:
    """End the sessions of this thread, also those that a traceback keeps."""
    here = (os.getpid(), threading.get_ident())
    for connection in [c for c in list(_OPEN) if c._owner == here]:
        connection.close()


def _raised(message: JsonObject) -> BenchError:
    """Return the exception that a method raised, with its traceback as a note."""
    kind = _ERRORS.get(str(message["error"]), RunFailed)
    error = kind(str(message.get("text")))
    error.add_note(f"In the process of the method:\n{message.get('traceback')}")
    return error


def _memory() -> int:
    """Return the memory that a method may use in bytes; 0 is no limit."""
    text = os.environ.get(LIMIT, "")
    if text:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise BenchError(f"${LIMIT} is '{text}': set it to an integer, in bytes")
        return int(text)
    if any(Path("/dev").glob("nvidia*")):
        return 0  # the driver reserves far more addresses than it uses
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123
            available = next(line for line in file if line.startswith("MemAvailable:"))
        return int(SHARE * 1024 * int(available.split()[1]))
    except (OSError, StopIteration, ValueError):
        return 0


def _has_file(stream: Any) -> bool:  # noqa: ANN401 - a stream or None
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def imported(paths: list[Path]) -> list[str]:
    """Return the modules of known packages that source files import."""
    names: dict[str, None] = {}
    for path in paths:
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names[node.module] = None
    return [name for name in names if name.partition(".")[0] in LIBRARIES]
