"""Keep activations in a file while their piece of a test batch waits.

The pieces of a batch take turns, and a waiting piece needs no memory. Its activations are written
to a file and their memory is released. An activation is read back when an operation uses it, so
that one that is not used before the next wait is written once.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from torch import UntypedStorage

SMALLEST = 1 << 16
"""Bytes of an activation below which it stays in memory."""
SPARE_DISK = 1 << 30
"""Bytes of the disk that stay free."""


class Swap:
    """A file of activations. It has no name, so that it disappears with the process.

    Parameters
    ----------
    folder
        Folder of the file.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in close
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._places: dict[int, tuple[StorageWeakRef, int, int]] = {}

    def __enter__(self) -> Swap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self._end

    def write(self, storage: UntypedStorage) -> None:
        """Move an activation to the file and release its memory.

        Raises
        ------
        OSError
            If the disk is full.
        """
        n_bytes = storage.nbytes()
        if n_bytes < SMALLEST or not storage.resizable():
            return
        if self._free[n_bytes]:
            place = self._free[n_bytes].pop()
        else:
            if shutil.disk_usage(self._folder).free < SPARE_DISK + n_bytes:
                raise OSError("the disk is full")
            place, self._end = self._end, self._end + n_bytes
        self._file.seek(place)
        self._file.write(_memory(storage.cpu()))  # type: ignore[no-untyped-call]
        self._places[storage._cdata] = StorageWeakRef(storage), place, n_bytes  # type: ignore[no-untyped-call]
        storage.resize_(0)

    def read(self, storage: UntypedStorage) -> None:
        """Bring an activation back if it is in the file."""
        if storage._cdata not in self._places:
            return
        _, place, n_bytes = self._places.pop(storage._cdata)
        self._free[n_bytes].append(place)
        storage.resize_(n_bytes)
        on_cpu = storage if storage.device.type == "cpu" else torch.UntypedStorage(n_bytes)  # type: ignore[no-untyped-call]
        self._file.seek(place)
        if self._file.readinto(_memory(on_cpu)) != n_bytes:
            raise OSError("the file of activations is shorter than expected")
        if on_cpu is not storage:
            storage.copy_(on_cpu)

    def drop_unused(self) -> None:
        """Use the places of activations that no longer exist for others."""
        for key, (reference, place, n_bytes) in list(self._places.items()):
            if reference.expired():  # type: ignore[no-untyped-call]
                del self._places[key]
                self._free[n_bytes].append(place)


class Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Observe the operations of a piece, to know its activations and to read those in the file."""

    def __init__(self, swap: Swap) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._swap = swap
        self._own: dict[int, StorageWeakRef] = {}
        self._paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the results of operations as activations inside a ``with`` block."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - any operation
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run an operation."""
        before = set()
        for storage in _storages((args, kwargs)):
            self._swap.read(storage)
            before.add(storage._cdata)
        result = func(*args, **(kwargs or {}))
        if not self._paused:
            for storage in _storages(result):
                if storage._cdata not in before:
                    self._own[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        return result

    def write(self) -> None:
        """Write all activations of the piece that still exist to the file.

        Raises
        ------
        OSError
            If the disk is full.
        """
        self._swap.drop_unused()
        for key, reference in list(self._own.items()):
            # None if no tensor uses it any longer.
            storage: Any = torch.UntypedStorage._new_with_weak_ptr(reference.cdata)
            if storage is None:
                del self._own[key]
            elif storage.nbytes():
                self._swap.write(storage)

    def read(self, result: object) -> None:
        """Read the tensors in a result."""
        for storage in _storages(result):
            self._swap.read(storage)


def _storages(values: object) -> Iterator[UntypedStorage]:
    for value in tree_leaves(values):
        if isinstance(value, torch.Tensor) and value.layout == torch.strided:
            yield value.untyped_storage()


def _memory(storage: UntypedStorage) -> memoryview:
    """Return the memory of a storage on the CPU.

    Not through NumPy: a storage that shares its memory with an array cannot be released.
    """
    return memoryview((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr()))
