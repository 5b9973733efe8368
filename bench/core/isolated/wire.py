"""Messages between the benchmark and the process of a method.

Messages to the method are pickles, with arrays out of band. Messages from the method are JSON and
raw arrays, because unpickling data of untrusted code would run that code.
"""

from __future__ import annotations

import json
import pickle
import struct
import time
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import RunFailed

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from bench.core.types import Array, Arrays, JsonObject

_LENGTH = struct.Struct("<Q")
MOST_TEXT = 1 << 24
"""Maximum size of the JSON part of a message of a method, in bytes."""
MOST_ARRAYS = 10_000
POLL_S = 0.5
"""Seconds between two looks at exceptions of other threads, such as that of a time limit."""
KINDS = "biufU"
"""Kinds of dtypes that a method may return: numbers and text, no objects."""


class Closed(Exception):
    """The other side ended."""


def send_object(connection: socket.socket, message: object) -> None:
    """Send any object to a method's process, without copying its arrays."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    sizes = [len(body), *(part.nbytes for part in raw)]
    head = _LENGTH.pack(len(sizes)) + b"".join(map(_LENGTH.pack, sizes))
    _send(connection, head + body, *raw)


def receive_object(connection: socket.socket) -> object:
    """Return an object from the benchmark. Raises :class:`Closed` at the end."""
    (n,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    sizes = struct.unpack(f"<{n}Q", _receive(connection, n * _LENGTH.size))
    body, *buffers = [_receive(connection, size) for size in sizes]
    return pickle.loads(body, buffers=buffers)


def send_plain(
    connection: socket.socket, message: JsonObject, arrays: Mapping[str, Array] | None = None
) -> None:
    """Send a JSON object and arrays to the benchmark."""
    kept = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in kept.items()]
    body = json.dumps({**message, "arrays": listed}).encode()
    parts = [array.reshape(-1).view(np.uint8).data for array in kept.values() if array.size]
    _send(connection, _LENGTH.pack(len(body)) + body, *parts)


def receive_plain(
    connection: socket.socket, most: int, seconds: float | None = None
) -> tuple[JsonObject, Arrays]:
    """Return a message of a method and its arrays.

    Parameters
    ----------
    most
        Maximum size of all arrays in bytes.
    seconds
        Maximum waiting time.

    Raises
    ------
    RunFailed
        If it is not a valid message.
    TimeoutError
        If it does not arrive in time.
    Closed
        If the process of the method ended.
    """
    end = None if seconds is None else time.monotonic() + seconds
    connection.settimeout(POLL_S)
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size, end))
    if length > MOST_TEXT:
        raise RunFailed(f"its process sent a message of {length:,} bytes")
    try:
        message = json.loads(bytes(_receive(connection, length, end)))
        listed = [
            (str(name), np.dtype(kind), tuple(shape)) for name, kind, shape in message.pop("arrays")
        ]
        valid = len(listed) <= MOST_ARRAYS and all(
            dtype.kind in KINDS and all(type(size) is int and size >= 0 for size in shape)
            for _, dtype, shape in listed
        )
        total = sum(dtype.itemsize * _product(shape) for _, dtype, shape in listed)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RunFailed("its process sent an invalid message") from None
    if not valid or total > most:
        raise RunFailed(f"its process sent arrays of {total:,} bytes or of an invalid type")
    arrays: Arrays = {}
    for name, dtype, shape in listed:
        raw = _receive(connection, dtype.itemsize * _product(shape), end)
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape) if raw else np.empty(shape, dtype)
    return message, arrays


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:  # not numpy, which overflows
        result *= size
    return result


def _send(connection: socket.socket, *parts: bytes | memoryview) -> None:
    connection.settimeout(None)
    try:
        for part in parts:
            connection.sendall(part)
    except (BrokenPipeError, ConnectionResetError):
        raise Closed from None


def _receive(connection: socket.socket, size: int, end: float | None = None) -> memoryview:
    """Return bytes in memory of numpy, which is aligned like that of other arrays."""
    view, done = np.empty(size, np.uint8).data, 0
    while done < size:
        try:
            n = connection.recv_into(view[done:])
        except TimeoutError:
            if end is not None and time.monotonic() > end:
                raise
            continue
        except ConnectionResetError:
            n = 0
        if not n:
            raise Closed
        done += n
    return view
