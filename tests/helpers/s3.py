"""A server of S3 on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDS = ("s3fs", "moto", "flask", "flask_cors")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def s3_bucket() -> Iterator[str]:
    """Start moto's server and yield the URL of an empty bucket; ``$AWS_*`` are set meanwhile."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: pip install s3fs moto flask flask-cors")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            wait_for(lambda: _answers(port), server)
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir("bucket")
            yield "s3://bucket/results"
        finally:
            server.terminate()
            server.wait()
