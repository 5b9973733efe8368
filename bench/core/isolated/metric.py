"""A metric of others, computed in a process of its own.

The process gets the arrays of the metric, with labels, and nothing else: it can return a wrong
value of its own metric only.
"""

from __future__ import annotations

import inspect
import os
import threading
from typing import TYPE_CHECKING

from bench.core.errors import RunFailed
from bench.core.isolated.remote import connect, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.entry import Entry
    from bench.core.isolated import host
    from bench.core.types import JsonObject

_METRICS: dict[tuple[object, ...], RemoteMetric] = {}


class RemoteMetric:
    """A function of a plugin that is called in another process, by keyword arguments.

    The process is kept until the end of the run, see :func:`bench.core.isolated.host.close_all`.

    Parameters
    ----------
    entry
        The metric.
    parameters
        Names of its parameters, and whether each has a default.
    """

    def __init__(self, entry: Entry, parameters: list[tuple[str, bool]]) -> None:
        self.entry = entry
        self.__signature__ = inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=None if optional else inspect.Parameter.empty,
                )
                for name, optional in parameters
            ]
        )
        self._connections: dict[tuple[int, int], host.Connection] = {}

    def __call__(self, **arrays: object) -> tuple[float, int, str]:
        """Return the value, the number that it is based on, and its description.

        Raises
        ------
        RunFailed
            If the function raises, returns something else, or its process ends.
        """
        key = (os.getpid(), threading.get_ident())
        connection = self._connections.get(key)
        if connection is None or not connection.is_open:
            connection = self._connections[key] = connect(self.entry)[0]
        reply, _ = connection.ask({"op": "measure", "arrays": arrays})
        value, n, used = (reply.get(name) for name in ("value", "n", "used"))
        if not (isinstance(value, float) and isinstance(n, int) and isinstance(used, str)):
            raise RunFailed(f"the process of metric '{self.entry.name}' sent no value")
        return value, n, used[:1000]


def remote_metric(entry: Entry) -> RemoteMetric:
    """Return a function with the parameters of a metric, from its description by its process.

    Raises
    ------
    BenchError
        If the file cannot be imported, or its function is missing.
    """
    key = (entry.name, entry.module, _stamps(entry.sources))
    if key not in _METRICS:
        connection, reply = connect(entry)
        connection.close()
        try:
            _METRICS[key] = RemoteMetric(entry, _parameters(reply))
        except (ValueError, TypeError, KeyError) as error:
            raise unusable(entry, error) from error
    return _METRICS[key]


def _parameters(reply: JsonObject) -> list[tuple[str, bool]]:
    return [(str(name), bool(optional)) for name, optional in reply["parameters"]]


def _stamps(paths: list[Path]) -> tuple[tuple[Path, int], ...]:
    return tuple((path, path.stat().st_mtime_ns) for path in paths)
