"""The process of a method or metric: answers requests until the connection is closed."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.access import Access
from bench.core.entry import Entry
from bench.core.errors import BenchError, RunFailed
from bench.core.isolated.wire import Closed, receive_object, send_plain
from bench.core.method import Context
from bench.core.samples import Output, Samples, new_handle

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from bench.core.types import Array, Arrays, DType, Ints, JsonObject

METHODS = ("access", "fit", "apply", "state", "from_state")


class Session:
    """Requests of the benchmark, one at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._name = ""
        self._cls: Any = None
        self._method: Any = None
        self._threads: int | None = None

    def run(self) -> None:
        """Answer requests until the connection is closed."""
        with contextlib.suppress(Closed):
            while True:
                request: Any = receive_object(self._connection)
                try:
                    reply, arrays = getattr(self, f"_{request.pop('op')}")(**request)
                except Closed:
                    raise
                except BaseException as error:  # noqa: BLE001 - SystemExit, too: it is reported
                    reply, arrays = _described(error), {}
                with self._lock:
                    send_plain(self._connection, reply, arrays)

    def _load(
        self, entry: Mapping[str, Any], sources: Mapping[str, bytes], threads: int | None
    ) -> tuple[JsonObject, Arrays]:
        """Import a class or function; return what it declares independently of parameters."""
        fields = dict(entry)
        if sources:
            folder = Path(tempfile.mkdtemp())
            for name, content in sources.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            fields["path"] = folder / Path(fields["path"]).name
        self._name = fields["name"]
        self._cls = Entry(**fields).load()
        self._threads = threads
        if fields["kind"] == "metric":
            parameters = inspect.signature(self._cls).parameters.values()
            return {"parameters": [[p.name, p.default is not p.empty] for p in parameters]}, {}
        cls, params = self._cls, getattr(self._cls, "Params", None)
        is_params = isinstance(params, type) and dataclasses.is_dataclass(params)
        return {
            "class": isinstance(cls, type),
            "methods": [name for name in METHODS if callable(getattr(cls, name, None))],
            "optional": [name for name in ("needs", "pinned", "to") if hasattr(cls, name)],
            "has_head": bool(getattr(cls, "has_head", True)),
            "params": _fields(params) if is_params else None,
        }, {}

    def _declare(self, values: JsonObject) -> tuple[JsonObject, Arrays]:
        """Return what the class declares for parameters."""
        params = self._cls.Params(**values)
        access = self._cls.access(params)
        if not isinstance(access, Access):
            raise RunFailed(f"access returns {type(access).__name__}, not Access")
        needs = list(getattr(self._cls, "needs", lambda _: ())(params))
        pinned = dict(getattr(self._cls, "pinned", lambda _: {})(params))
        return {"access": access.value, "needs": needs, "pinned": pinned}, {}

    def _fit(
        self, values: JsonObject, train: JsonObject, adapt: JsonObject | None, context: JsonObject
    ) -> tuple[JsonObject, Arrays]:
        self._set_threads()
        self._method = self._cls(self._cls.Params(**values))
        views = [None if view is None else self._view(view) for view in (train, adapt)]
        self._method.fit(*views, Context(**context, log=self._log, progress=self._progress))
        cost = getattr(self._method, "cost", None)
        state = self._method.state()
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(array, np.ndarray) for name, array in state.items()
        ):
            raise RunFailed("state returned something other than arrays by name")
        return {"cost": cost}, state

    def _restore(
        self, values: JsonObject, state: Arrays, device: str | None
    ) -> tuple[JsonObject, Arrays]:
        self._set_threads()
        self._method = self._cls.from_state(self._cls.Params(**values), state)
        if device is not None and hasattr(self._method, "to"):
            self._method.to(device)
        return {}, {}

    def _apply(self, samples: JsonObject) -> tuple[JsonObject, Arrays]:
        output = self._method.apply(self._view(samples))
        if not isinstance(output, Output):
            raise RunFailed(f"apply returned a {type(output).__name__}: the contract says Output")
        arrays: Arrays = {"X": output.X}
        if output.logits is not None:
            arrays["logits"] = output.logits
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise RunFailed(
                    f"apply returned {name} as {type(array).__name__}, not a numpy array"
                )
        return {"fallbacks": int(output.fallbacks), "notes": list(map(str, output.notes))}, arrays

    def _measure(self, arrays: Mapping[str, object]) -> tuple[JsonObject, Arrays]:
        """Return the value of a metric."""
        value = self._cls(**arrays)
        if type(value).__name__ != "Value":
            raise RunFailed(
                f"metric '{self._name}' returned {type(value).__name__}: it must return "
                "bench.metrics.Value"
            )
        return {"value": float(value.value), "n": int(value.n), "used": str(value.used)}, {}

    def _set_threads(self) -> None:
        """Use as many threads as the benchmark, if it has set a number and torch is imported."""
        torch = sys.modules.get("torch")
        if self._threads is not None and torch is not None:
            torch.set_num_threads(self._threads)

    def _view(self, fields: JsonObject) -> Samples:
        """Return a view; the benchmark reads its images on request."""
        number, dtype = fields.pop("images", None), fields.pop("dtype", None)
        if number is not None:
            source = _Images(self, int(number), tuple(fields["shape"]), dtype)
            fields["_handle"] = new_handle(source, np.arange(len(fields["ids"])))
        if fields["X"] is not None:
            fields["X"].flags.writeable = False
        return Samples(**fields)

    def images(self, view: int, rows: Ints) -> Array:
        """Return images of a view from the benchmark."""
        with self._lock:
            send_plain(self._connection, {"ask": "images", "view": view}, {"rows": rows})
            reply: Any = receive_object(self._connection)
        return reply  # type: ignore[no-any-return]

    def _log(self, step: int, **scalars: float) -> None:
        values = {name: float(value) for name, value in scalars.items()}
        with self._lock:
            send_plain(self._connection, {"ask": "log", "step": int(step), "values": values})

    def _progress(self, done: int, total: int) -> None:
        with self._lock:
            message = {"ask": "progress", "done": int(done), "total": int(total)}
            send_plain(self._connection, message)


class _Images:
    """Images of a view, read by the benchmark."""

    def __init__(self, session: Session, view: int, shape: tuple[int, ...], dtype: DType) -> None:
        self._session, self._view = session, view
        self.shape, self.dtype = shape, dtype

    def read(self, rows: Ints) -> Array:
        return self._session.images(self._view, np.asarray(rows, np.int64))


def _fields(params: Any) -> list[JsonObject]:  # noqa: ANN401 - a dataclass of a plugin
    """Return name, default and description of the fields of ``Params``."""
    values = params()
    listed = [
        {"name": f.name, "default": getattr(values, f.name), "metadata": dict(f.metadata)}
        for f in dataclasses.fields(params)
    ]
    result: list[JsonObject] = json.loads(json.dumps(listed))
    return result


def _described(error: BaseException) -> JsonObject:
    """Return an exception of a method as text."""
    kind = type(error).__name__ if isinstance(error, BenchError) else ""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, BenchError):
        text = str(error)
    elif not isinstance(error, Exception):
        text = f"raised {error!r}"
    trace = traceback.format_exc()
    return {"error": kind, "text": text[:10_000], "traceback": trace[-100_000:], "pid": os.getpid()}
