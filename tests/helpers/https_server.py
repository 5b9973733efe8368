"""A local HTTPS server that fails on purpose, with a certificate that only the tests trust."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trustme

Act = Callable[["Handler", bytes], None]


class Server:
    """Files by path, and the actions for successive requests of a path; then normal responses."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.acts: dict[str, list[Act]] = {}
        self.requests: list[tuple[str, str]] = []
        self.etags = True
        self.port = 0

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def asked(self, path: str) -> list[str]:
        """Return the Range header of each request for a path."""
        return [ranges for name, ranges in self.requests if name == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        ranges = self.headers.get("Range", "")
        self.served.requests.append((path, ranges))
        body = self.served.files.get(path)
        if body is None:
            self.answer(404, b"")
            return
        acts = self.served.acts.get(path, [])
        if acts:
            acts.pop(0)(self, body)
            return
        self.plain(body)

    def plain(self, body: bytes) -> None:
        ranges = self.headers.get("Range", "")
        etag = f'"{hash(body) & 0xFFFFFF:x}"'
        if self.headers.get("If-Range", etag) != etag:
            ranges = ""
        if ranges:
            start = int(ranges.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.answer(416, b"")
                return
            self.head(206, len(body) - start, etag)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(body[start:])
            return
        self.head(200, len(body), etag)
        self.end_headers()
        self.wfile.write(body)

    def head(self, code: int, length: int, etag: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        if etag and self.served.etags:
            self.send_header("ETag", etag)

    def answer(self, code: int, body: bytes) -> None:
        self.head(code, len(body))
        self.end_headers()
        self.wfile.write(body)


def truncated(at: int) -> Act:
    def act(handler: Handler, body: bytes) -> None:
        handler.head(200, len(body), f'"{hash(body) & 0xFFFFFF:x}"')
        handler.end_headers()
        handler.wfile.write(body[:at])
        handler.wfile.flush()
        handler.close_connection = True

    return act


def stalled(at: int, seconds: float) -> Act:
    def act(handler: Handler, body: bytes) -> None:
        handler.head(200, len(body), f'"{hash(body) & 0xFFFFFF:x}"')
        handler.end_headers()
        handler.wfile.write(body[:at])
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True

    return act


def status(code: int) -> Act:
    return lambda handler, body: handler.answer(code, b"no")


def redirect(target: str) -> Act:
    def act(handler: Handler, body: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return act


def other(body: bytes) -> Act:
    return lambda handler, _: handler.plain(body)


def without_ranges(handler: Handler, body: bytes) -> None:
    handler.answer(200, body)


@contextlib.contextmanager
def serving(authority: trustme.CA) -> Iterator[Server]:
    server = Server()
    handler = type("Bound", (Handler,), {"served": server})
    http = ThreadingHTTPServer(("localhost", 0), handler)
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
