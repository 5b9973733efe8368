"""Classes with the interface of a method that run its code in another process.

The file of the method is never imported in this process. Its process gets the views of ``fit`` and
``apply`` as arrays, and images on request.
"""

from __future__ import annotations

import dataclasses
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.core.access import Access
from bench.core.canonical import canonical_json
from bench.core.errors import BenchError, RunFailed
from bench.core.isolated import host
from bench.core.params import make_params
from bench.core.samples import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.core.entry import Entry
    from bench.core.method import Context
    from bench.core.samples import Samples
    from bench.core.types import Array, Arrays, JsonObject

MOST_NOTES = 100
NETWORKS = ["torch", "torch._dynamo", "bench.training.loop", "bench.training.inference"]
"""Modules that every network needs; optimisers of torch import the second one when they start."""
_CLASSES: dict[tuple[object, ...], type[RemoteMethod]] = {}


class RemoteMethod:
    """A method that runs ``fit`` and ``apply`` in a process of their own.

    Each fit, and each method rebuilt from its state, has a new process. Class attributes describe
    the class of the plugin; see :func:`remote_class`.
    """

    Params: ClassVar[type]
    entry: ClassVar[Entry]
    has_head: ClassVar[bool]
    declared: ClassVar[dict[str, JsonObject]]
    cost: dict[str, int] | None = None

    def __init__(self, params: Any) -> None:  # noqa: ANN401 - an instance of Params
        self.params = params
        self._state: dict[str, Array] = {}
        self._device: str | None = None
        self._connection: host.Connection | None = None

    @classmethod
    def access(cls, params: Any) -> Access:  # noqa: ANN401 - an instance of Params
        """Return the access required with these parameters."""
        return Access(cls._declared(params)["access"])

    @classmethod
    def _declared(cls, params: Any) -> JsonObject:  # noqa: ANN401 - an instance of Params
        """Return access, needs and pinned inputs, from a new process for new parameters."""
        values = dataclasses.asdict(params)
        key = canonical_json(values)
        if key not in cls.declared:
            connection = connect(cls.entry)[0]
            try:
                reply, _ = connection.ask(
                    {"op": "declare", "values": values}, seconds=host.PATIENCE
                )
                cls.declared[key] = {
                    "access": Access(reply["access"]),
                    "needs": _texts(reply["needs"], "needs"),
                    "pinned": dict(
                        zip(
                            reply["pinned"],
                            _texts([*reply["pinned"].values()], "pinned"),
                            strict=True,
                        )
                    ),
                }
            except (BenchError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise unusable(cls.entry, error) from error
            finally:
                connection.close()
        return cls.declared[key]

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Fit in a new process; the state is transferred at its end."""
        owner = self.entry.fitted_by
        if owner is not None:  # the fit of a packaged method must be made by that method
            cls = owner.load()
            shared = {f.name for f in dataclasses.fields(cls.Params)}
            values = {k: v for k, v in dataclasses.asdict(self.params).items() if k in shared}
            fitted = cls(make_params(owner.name, cls.Params, values))
            fitted.fit(train, adapt, ctx)
            self._state, self.cost = dict(fitted.state()), getattr(fitted, "cost", None)
            self._device = ctx.device if hasattr(fitted, "to") else None
            return
        views = [view for view in (train, adapt) if view is not None]
        request = {
            "op": "fit",
            "values": dataclasses.asdict(self.params),
            "train": _fields(train, 0),
            "adapt": None if adapt is None else _fields(adapt, 1),
            "context": {"seed": ctx.seed, "recipe": dict(ctx.recipe), "device": ctx.device},
        }
        serve = {**_images(views), "log": _log(ctx), "progress": _progress(ctx)}
        self._open(ctx.recipe)
        reply, self._state = self._asked(request, serve)
        cost = reply.get("cost")
        if isinstance(cost, dict):
            self.cost = {name: int(cost[name]) for name in ("steps", "images_seen")}

    def apply(self, samples: Samples) -> Output:
        """Apply the fitted method in its process."""
        if self._connection is None:
            self._open({})
            values = dataclasses.asdict(self.params)
            request = {"op": "restore", "values": values, "state": self._state}
            self._asked({**request, "device": self._device}, {})
        request = {"op": "apply", "samples": _fields(samples, 0)}
        reply, arrays = self._asked(request, _images([samples]))
        if "X" not in arrays:
            raise RunFailed("apply returned no profiles")
        notes = _texts(reply.get("notes", []), "notes")[:MOST_NOTES]
        fallbacks = reply.get("fallbacks", 0)
        if not isinstance(fallbacks, int):
            raise RunFailed("apply returned fallbacks that are no number")
        return Output(arrays["X"], arrays.get("logits"), fallbacks=fallbacks, notes=tuple(notes))

    def state(self) -> Arrays:
        """Return the fitted state as arrays."""
        return self._state

    @classmethod
    def from_state(cls, params: object, state: Mapping[str, Array]) -> RemoteMethod:
        """Rebuild a fitted method; its process is started when it is applied."""
        method = cls(params)
        method._state = dict(state)
        return method

    def to(self, device: str) -> None:
        """Use a device when the method is rebuilt."""
        self._device = device

    def _open(self, recipe: Mapping[str, object]) -> None:
        self._connection = connect(self.entry, recipe)[0]
        weakref.finalize(self, self._connection.close)

    def _asked(
        self, request: JsonObject, serve: Mapping[str, Callable[[JsonObject, Arrays], object]]
    ) -> tuple[JsonObject, Arrays]:
        assert self._connection is not None
        return self._connection.ask(request, serve)


def remote_class(entry: Entry) -> type[RemoteMethod]:
    """Return a class with the interface of a method, from its description by another process.

    Raises
    ------
    BenchError
        If the file cannot be imported, or its class lacks a part of the interface.
    """
    files = tuple((path, path.stat().st_mtime_ns) for path in entry.sources)
    owner = entry.fitted_by.name if entry.fitted_by else ""
    key = (entry.name, entry.module, entry.argument, owner, files)
    if key in _CLASSES:
        return _CLASSES[key]
    connection, reply = connect(entry)
    connection.close()
    try:
        if not reply["class"]:
            raise BenchError(f"{entry.meta.get('class')} is not a class")
        params = reply["params"]
        members: JsonObject = {
            **{
                name: None
                for name in ("access", "fit", "apply", "state", "from_state")
                if name not in reply["methods"]
            },
            "Params": None if params is None else _params_class(params),
            "entry": entry,
            "has_head": bool(reply["has_head"]),
            "declared": {},
        }
        for name in ("needs", "pinned"):
            if name in reply["optional"]:
                members[name] = classmethod(_declaration(name))
        cls = type(str(entry.meta.get("class")), (RemoteMethod,), members)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise unusable(entry, error) from error
    _CLASSES[key] = cls
    return cls


def _declaration(name: str) -> Callable[[Any, object], object]:
    def declared(cls: type[RemoteMethod], params: object) -> object:
        return cls._declared(params)[name]

    return declared


def connect(
    entry: Entry, recipe: Mapping[str, object] | None = None
) -> tuple[host.Connection, JsonObject]:
    """Start a process with the class or function of an entry; return what it declares."""
    sources = {}
    if entry.module is None and entry.path is not None:
        folder = entry.path.parent
        sources = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in entry.sources
            if path.is_relative_to(folder)
        }
    readable = []
    if entry.provider != "labshift" and entry.module is not None and entry.path is not None:
        depth = entry.module.count(".")
        readable.append(str(entry.path.parents[depth]))
    file, colon, _ = str((recipe or {}).get("network", "")).rpartition(":")
    if colon and file.endswith(".py"):
        readable.append(str(Path(file).resolve()))
    fields = {f.name: getattr(entry, f.name) for f in dataclasses.fields(entry)}
    fields |= {"isolated": False, "fitted_by": None}
    torch = sys.modules.get("torch")
    request = {
        "op": "load",
        "entry": fields,
        "sources": sources,
        "threads": None if torch is None else torch.get_num_threads(),
    }
    preload = host.imported(entry.sources)
    if entry.kind == "metric":
        preload.append("bench.metrics")
    if entry.meta.get("level") in ("network", "classifier"):
        preload += NETWORKS
    connection = host.Connection(entry.name, preload, tuple(readable))
    try:
        return connection, connection.ask(request, seconds=host.PATIENCE)[0]
    except BenchError as error:
        connection.close()
        raise unusable(entry, error) from error


def _params_class(listed: list[JsonObject]) -> type:
    """Return a dataclass with the fields of a plugin's ``Params``."""
    fields = []
    for item in listed:
        metadata = {key: _tuples(value) for key, value in item["metadata"].items()}
        default = item["default"]
        if not isinstance(default, bool | int | float | str):
            raise TypeError(f"Params.{item['name']} is not a number, text or truth value")
        field: Any = dataclasses.field(default=default, metadata=metadata)
        fields.append((item["name"], type(default), field))
    return dataclasses.make_dataclass("Params", fields, frozen=True)


def _tuples(value: object) -> object:
    """Return a value of JSON with tuples instead of lists."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def unusable(entry: Entry, error: Exception) -> BenchError:
    """Return an error that names the extension of a failed process."""
    text = str(error)
    if text.startswith(f"{entry.kind} '{entry.name}' of"):  # the method's process named it already
        return BenchError(text)
    return BenchError(
        f"{entry.kind} '{entry.name}' of {entry.origin}: {text}; `python -m bench check "
        f"{entry.name}` tests the interface"
    )


def _texts(values: object, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise RunFailed(f"{name} does not return texts")
    return [value[:1000] for value in values]


def _fields(view: Samples, number: int) -> JsonObject:
    """Return the arrays of a view."""
    fields = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    if fields.pop("_handle") is not None:
        fields["images"] = number
        fields["dtype"] = view.images(np.empty(0, np.int64)).dtype
    return {**fields, "exposed": dict(view.exposed)}


def _images(views: list[Samples]) -> dict[str, Callable[[JsonObject, Arrays], object]]:
    """Return a function that reads images of these views, and of no other rows."""

    def images(message: JsonObject, arrays: Arrays) -> object:
        number, rows = message.get("view", -1), arrays.get("rows")
        if (
            number not in range(len(views))
            or rows is None
            or rows.dtype != np.int64
            or rows.ndim != 1
            or not ((rows >= 0) & (rows < len(views[number]))).all()
        ):
            raise RunFailed("it asked for images outside of its view")
        return views[number].images(rows)

    return {"images": images}


def _log(ctx: Context) -> Callable[[JsonObject, Arrays], None]:
    def log(message: JsonObject, arrays: Arrays) -> None:  # noqa: ARG001 - signature of serve
        ctx.log(int(message["step"]), **{str(k): float(v) for k, v in message["values"].items()})

    return log


def _progress(ctx: Context) -> Callable[[JsonObject, Arrays], None]:
    def progress(message: JsonObject, arrays: Arrays) -> None:  # noqa: ARG001 - signature of serve
        ctx.progress(int(message["done"]), int(message["total"]))

    return progress
