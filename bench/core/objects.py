"""Objects of an object store, such as Amazon S3, through fsspec.

A folder of an object store does not exist by itself and cannot be renamed, but a single object is
written in one step. Whatever must be complete is therefore one object, or is named by an object
that is written last.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.disk import write_file
from bench.core.errors import BenchError
from bench.core.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE = "file://"
TOGETHER = 64
"""Objects that are requested at the same time."""


def path_of_url(url: str) -> Path | None:
    """Return the path of a ``file://`` URL; None for other URLs."""
    if not url.startswith(FILE):
        return None
    from urllib.parse import unquote

    return Path(unquote(url.removeprefix(FILE)))


class ObjectStore:
    """The objects below a URL. Keys are relative to it.

    Parameters
    ----------
    url
        A URL of fsspec, such as ``s3://bucket/folder``. Credentials and the address of the server
        are those of the environment, as for other programs of the store.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[Any, str] | None = None

    @property
    def _place(self) -> tuple[Any, str]:
        """File system and path, opened on first use."""
        if self._opened is None:
            with self._errors("open"):
                from fsspec.core import url_to_fs

                # Another process may have written meanwhile.
                self._opened = url_to_fs(self.url, use_listings_cache=False)
        return self._opened

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Convert an error of a file system to one line."""
        try:
            yield
        except ImportError as error:
            extra = "labshift[s3]" if self.url.startswith("s3:") else "the package of the store"
            raise BenchError(f"{self.url}: {error}; pip install '{extra}'") from None
        except Exception as error:
            text = str(error).strip()
            reason = text.splitlines()[0] if text else type(error).__name__
            raise BenchError(
                f"cannot {doing} {self.url}: {reason}; check the URL, the credentials and the "
                "address of the server, such as $AWS_ENDPOINT_URL"
            ) from error

    def _path(self, key: str) -> str:
        return f"{self._place[1]}/{key}"

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of objects; missing ones are left out."""
        system, paths = self._place[0], {self._path(key): key for key in keys}
        contents: dict[str, bytes] = {}
        listed = list(paths)
        for start in range(0, len(listed), TOGETHER):
            with self._errors("read"):
                some = listed[start : start + TOGETHER]
                plain = [path for path in some if not set(path) & set("*?[")]
                result = system.cat(plain, on_error="return") if plain else {}
                result |= {path: _contents(system, path) for path in some if path not in plain}
                for path, data in result.items():
                    if isinstance(data, bytes):
                        contents[paths[path]] = data
                    elif not isinstance(data, FileNotFoundError):
                        raise data
        return contents

    def write(self, key: str, data: bytes, *, replace: bool = False) -> bool:
        """Write an object in one step.

        Returns
        -------
        bool
            False if the object exists and is kept.
        """
        system = self._place[0]
        with self._errors("write"):
            try:
                system.pipe_file(self._path(key), data, mode="overwrite" if replace else "create")
            except FileExistsError:
                return False
            except OSError:
                # A store reports in several ways that a conditional write was refused.
                if replace or not system.exists(self._path(key)):
                    raise
                return False
            return True

    def stamps(self, prefix: str = "") -> dict[str, str]:
        """Return the keys below a prefix, each with a text that changes with the object."""
        system, root = self._place
        with self._errors("list"):
            try:
                entries = system.find(f"{root}/{prefix}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return {path[len(root) + 1 :]: _stamp(entry) for path, entry in entries.items()}

    def stamp(self, key: str) -> str:
        """Return the stamp of an object, empty if it does not exist."""
        with self._errors("read"):
            try:
                return _stamp(self._place[0].info(self._path(key)))
            except FileNotFoundError:
                return ""

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is ignored."""
        with self._errors("delete from"), contextlib.suppress(FileNotFoundError):
            self._place[0].rm_file(self._path(key))


def _contents(system: Any, path: str) -> bytes | FileNotFoundError:  # noqa: ANN401 - fsspec has no types
    try:
        data: bytes = system.cat_file(path)
    except FileNotFoundError as error:
        return error
    return data


def _stamp(entry: dict[str, object]) -> str:
    for key in ("ETag", "etag", "md5Hash", "mtime", "created"):
        if entry.get(key):
            return f"{entry[key]} {entry.get('size')}"
    return str(entry.get("size"))


def local_copy(url: str, name: str = "") -> Path:
    """Download the objects below a URL that are new or changed; return the folder with all.

    Parameters
    ----------
    name
        Only the objects below this folder, or this object.

    Raises
    ------
    BenchError
        If the store cannot be read.
    """
    from bench.core.folders import cache_folder

    store = ObjectStore(url)
    folder = cache_folder("objects") / digest(store.url, 24)
    listing = folder / f".{digest(name, 16)}.json"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(listing.read_text(encoding="utf-8"))
    stamps = store.stamps(name)
    new = [
        key
        for key, stamp in stamps.items()
        if known.get(key) != stamp or not (folder / key).is_file()
    ]
    for key in new:
        if ".." in Path(key).parts:
            raise BenchError(f"{store.url}/{key} has a name that is no path: rename it")
    for start in range(0, len(new), TOGETHER):
        report(f"downloading {store.url}", start, len(new))
        for key, data in store.read(new[start : start + TOGETHER]).items():
            write_file(folder / key, data)
    if new:
        write_file(listing, json.dumps(stamps))
    return folder
