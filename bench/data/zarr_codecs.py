"""Check the metadata of a zarr array before decoding any of it.

Some codecs execute code: numcodecs' ``pickle`` restores any Python object. Only codecs that turn
bytes into numbers are accepted, in formats 2 and 3.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CODECS = frozenset(
    [
        "adler32",
        "astype",
        "bitround",
        "blosc",
        "bytes",
        "bz2",
        "crc32",
        "crc32c",
        "delta",
        "endian",
        "fixedscaleoffset",
        "fletcher32",
        "gzip",
        "jenkins_lookup3",
        "lz4",
        "lzma",
        "packbits",
        "pcodec",
        "quantize",
        "sharding_indexed",
        "shuffle",
        "transpose",
        "zfpy",
        "zlib",
        "zstd",
        "imagecodecs_jpeg",
        "imagecodecs_jpeg2k",
        "imagecodecs_jpegls",
        "imagecodecs_jpegxl",
        "imagecodecs_jpegxr",
        "imagecodecs_png",
        "imagecodecs_webp",
    ]
)
LARGEST = 16 << 20
"""Maximum size of a metadata file in bytes; larger files are rejected without reading them."""
DEEPEST = 16


def check_zarr(folder: Path) -> None:
    """Raise if a zarr store uses a codec or a data type that is not known to be safe.

    Parameters
    ----------
    folder
        A zarr store on disk, format 2 or 3: an array or a group.

    Raises
    ------
    BenchError
        If it does; the message names the metadata file and the codec or data type.
    """
    for name in (".zarray", "zarr.json", ".zmetadata"):
        for path in sorted(folder.rglob(name)):
            if len(path.relative_to(folder).parts) > DEEPEST or not path.is_file():
                continue
            if path.stat().st_size > LARGEST:
                raise BenchError(f"{path} is larger than {LARGEST:,} bytes: it is not metadata")
            try:
                metadata = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise BenchError(
                    f"{path} cannot be read as JSON ({error}): write it again"
                ) from None
            _check(metadata, path, depth=0)


def open_zarr(folder: Path) -> Any:  # noqa: ANN401 - zarr has no types
    """Return the array or group of a zarr store, with the codecs of imagecodecs registered.

    Raises
    ------
    BenchError
        As :func:`check_zarr`.
    """
    check_zarr(folder)
    import imagecodecs.numcodecs
    import zarr

    imagecodecs.numcodecs.register_codecs(
        [name for name in CODECS if name.startswith("imagecodecs_")], verbose=False
    )
    return zarr.open(str(folder), mode="r")


def _check(value: object, path: Path, depth: int) -> None:
    if depth > DEEPEST:
        raise BenchError(f"{path} is nested too deeply: it is not metadata of zarr")
    if isinstance(value, list):
        for item in value:
            _check(item, path, depth + 1)
    if not isinstance(value, dict):
        return
    for codec in _codecs(value):
        if codec.removeprefix("numcodecs.") not in CODECS:
            raise BenchError(
                f"{path} uses the codec '{codec}', which may run code and is refused: write the "
                "array again with blosc, zstd, gzip or no compression"
            )
    dtype = value.get("dtype", value.get("data_type", ""))
    if "O" in json.dumps(dtype) if isinstance(dtype, list) else "O" in str(dtype):
        raise BenchError(
            f"{path} has the data type '{dtype}' of Python objects, which is refused: write "
            "numbers, such as uint8, uint16 or float32"
        )
    for item in value.values():
        _check(item, path, depth + 1)


def _codecs(metadata: dict[str, object]) -> Iterator[str]:
    """Yield the names of all codecs that a metadata object declares."""
    declared: list[object] = []
    for key in ("filters", "codecs", "index_codecs"):
        value = metadata.get(key)
        declared += value if isinstance(value, list) else []
    declared.append(metadata.get("compressor"))
    for codec in declared:
        if isinstance(codec, str):
            yield codec
        elif isinstance(codec, dict):
            yield str(codec.get("id", codec.get("name", "")))
