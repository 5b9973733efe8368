"""Open HDF5 arrays whose values are stored in the file itself.

An untrusted file could use a link to another file, or values stored in an external file, to read
any file of the machine. Memory-mapping by offset would also read from the wrong file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def refuse_links(handle: object, key: str, path: Path) -> None:
    """Raise if a component of the name ``key`` is a soft or external link.

    Parameters
    ----------
    handle
        An open ``h5py.File`` or group.
    key
        Name of a group or array, with components separated by ``/``.

    Raises
    ------
    BenchError
        If a component is a link. A name that does not exist is accepted.
    """
    import h5py

    group = handle
    for name in [part for part in key.split("/") if part]:
        if not isinstance(group, h5py.Group):
            return
        link = group.get(name, getlink=True)
        if isinstance(link, (h5py.SoftLink, h5py.ExternalLink)):
            raise BenchError(
                f"'{key}' in {path} is a link, which is not followed: store the values in the file "
                "itself, for example with h5repack"
            )
        if link is None:
            return
        group = group[name]


def own_dataset(handle: Any, key: str, path: Path) -> Any:  # noqa: ANN401 - h5py has no types
    """Return an array of an open HDF5 file whose values are stored in this file.

    Raises
    ------
    BenchError
        If ``key`` is a link, its values are stored in other files (external storage or a virtual
        dataset), or some of them were never written.
    KeyError
        If the name does not exist.
    """
    import h5py

    refuse_links(handle, key, path)
    data = handle[key]
    if isinstance(data, h5py.Dataset) and (data.external or data.is_virtual):
        raise BenchError(
            f"the values of '{key}' in {path} are stored in other files, which are not read: "
            "store them in the file itself, for example with h5repack"
        )
    if isinstance(data, h5py.Dataset):
        refuse_unwritten(data, key, path)
    return data


def refuse_unwritten(data: Any, key: str, path: Path) -> None:  # noqa: ANN401 - h5py has no types
    """Raise if a part of an HDF5 array was never written; it would be read as the fill value.

    Raises
    ------
    BenchError
        If not all of its storage is allocated.
    """
    import h5py

    if data.size and data.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise BenchError(
            f"'{key}' in {path} is incomplete: a part of its values was never written and would be "
            f"read as {data.fillvalue}: get the file again, or write all values"
        )
