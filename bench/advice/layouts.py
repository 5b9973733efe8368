"""Tables of the images in a folder: OME-Zarr plates, Harmony exports, and plain image files.

Each layout becomes one row per field of view with the columns ``plate``, ``well`` and ``field`` and
one or more columns of images. A table of the wells in the same folder (a plate map, the annotation
of an IDR study) is joined by well, and by plate if both have one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd

from bench.advice.guess import relative
from bench.core.errors import BenchError
from bench.core.words import count
from bench.data.own.delimited import DELIMITED
from bench.data.own.files import open_table
from bench.data.own.wells import normalised_wells, plate_column, position_column
from bench.data.zarr_image import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
LARGEST = 256 << 20
"""Maximum size of an index file in bytes."""
_HARMONY = ("Index.idx.xml", "Index.ref.xml", "Index.xml", "ImageIndex.ColumbusIDX.xml")
_CHANNELS = "channels: "
"""Start of the note that names the channels."""
_WELL = re.compile(r"(?<![A-Za-z0-9])([A-Pa-p])[-_]?(\d{2})(?=[^A-Za-z0-9]|$|[fs]\d)")
_GUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
"""ImageXpress adds one to the channel: ``B02_s1_w1EB5BA7AB-…``."""
_CHANNEL = re.compile(
    r"(?:[_-](?:w|ch|channel|c(?=\d(?!\d)))|(?<=f\d\d)d)"
    rf"(\d(?={_GUID})|\d{{1,2}})(?:{_GUID})?(?=[_.-]|$)",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?:[_-](?:s|f|site|field|fov)|(?<=[A-P]\d\d)f)(\d{1,4})(?=[_.-]|$|d\d)", re.IGNORECASE
)


@dataclass(frozen=True)
class Layout:
    """The images of a folder.

    Attributes
    ----------
    frame
        One row per image, all text.
    images
        The columns with image files, one per channel or one for all.
    notes
        What was recognised, and what was left out.
    """

    frame: pd.DataFrame
    images: list[str]
    notes: tuple[str, ...]


def has_images(folder: Path) -> bool:
    """Return whether a folder or one in it has images or an index of images."""
    return bool(_indexes(folder)) or any(map(_is_image, folder.rglob("*")))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in (*IMAGES, ".zarr") and path.exists()


def read_layout(folder: Path, base: Path) -> Layout:
    """Return the images of a folder.

    Parameters
    ----------
    folder
        An OME-Zarr plate, the ``Images`` folder of a Harmony export or the folder above it, a
        folder with several plates or exports, or any folder with PNG, TIFF or JPEG files.
    base
        Folder to which the image paths in the table are relative.

    Raises
    ------
    BenchError
        If the folder has no images, its metadata cannot be read, or no image that they name is
        there.
    """
    indexes = _indexes(folder)
    plates = [folder, *sorted(folder.glob("*.zarr"))]
    plates = [path for path in plates if "plate" in attributes(path)]
    if plates:
        rows = [row for plate in plates for row in _ome_zarr(plate)]
        if not rows:
            raise BenchError(f"{plates[0]} names no images: copy the plate again")
        channels = _omero_channels(Path(rows[0]["image"]))
        layout = _layout(rows, f"OME-Zarr plate{'s' * (len(plates) > 1)}", channels)
    elif indexes:
        layout = _harmony(indexes[0]) if len(indexes) == 1 else _exports(indexes)
    else:
        layout = _files(folder)
    layout = _with_files(layout)
    frame = layout.frame
    for column in layout.images:
        frame[column] = [relative(Path(name), base) for name in frame[column]]
    joined, note = _with_wells(frame, folder)
    return Layout(joined, layout.images, (*layout.notes, *note))


def _indexes(folder: Path) -> list[Path]:
    """Return the indexes of the Harmony exports in a folder; one per export."""
    exports = [[folder, *_images_of(folder)]]
    if not any((place / name).is_file() for place in exports[0] for name in _HARMONY):
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        exports = [[path, *_images_of(path)] for path in inner]
    groups = [
        [place / name for name in _HARMONY for place in places if (place / name).is_file()]
        for places in exports
    ]
    return [files[0] for files in groups if files]


def _images_of(folder: Path) -> list[Path]:
    """Return the folders ``Images`` of an export; some copies have another case."""
    return [path for path in folder.iterdir() if path.name.lower() == "images" and path.is_dir()]


def _exports(indexes: Sequence[Path]) -> Layout:
    """Read several Harmony exports with the same channels."""
    layouts = [_harmony(index) for index in indexes]
    images = layouts[0].images
    named = {note for layout in layouts for note in layout.notes if note.startswith(_CHANNELS)}
    if len(named) > 1 or any(layout.images != images for layout in layouts):
        raise BenchError("the exports have different channels: name one of their folders instead")
    frame = pd.concat([layout.frame for layout in layouts], ignore_index=True)
    if frame["plate"].nunique() < len(layouts):  # a plate was imaged again
        runs = [index.parents[index.parent.name.lower() == "images"].name for index in indexes]
        frame["run"] = np.repeat(runs, [len(layout.frame) for layout in layouts])
    more = dict.fromkeys(note for layout in layouts for note in layout.notes[1:])
    what = f"{len(layouts)} Harmony exports: {count(len(frame), 'image')}"
    return Layout(frame, images, (what, *more))


def _with_files(layout: Layout) -> Layout:
    """Leave out rows without files, and say so; raises if no row has all its files."""
    frame = layout.frame
    there = [all(map(_exists, row)) for row in frame[layout.images].to_numpy()]
    if all(there):
        return layout
    kept = frame[there].reset_index(drop=True)
    if not len(kept):
        first = next(name for name in frame[layout.images].to_numpy().ravel() if not _exists(name))
        raise BenchError(f"{first} is named by the metadata, but is missing: copy the images, too")
    note = f"{count(len(frame) - len(kept), 'row')} left out, because image files are missing"
    return Layout(kept, layout.images, (*layout.notes, note))


def _exists(name: str) -> bool:
    return Path(name).exists()


def _layout(rows: Sequence[dict[str, str]], what: str, more: Sequence[str] = ()) -> Layout:
    frame = pd.DataFrame(rows).fillna("")
    images = [name for name in frame if str(name).startswith("image")]
    return Layout(
        frame, [str(name) for name in images], (f"{what}: {count(len(frame), 'image')}", *more)
    )


def _ome_zarr(plate: Path) -> Iterator[dict[str, str]]:
    """Yield the fields of an OME-Zarr plate: the array of the highest resolution of each."""
    described = attributes(plate)["plate"]
    names = {a["id"]: a.get("name") or str(a["id"]) for a in described.get("acquisitions", [])}
    for well in described.get("wells", []):
        place = plate / _inside(well["path"])
        for image in _fields(place):
            field = place / _inside(image["path"])
            scales = attributes(field).get("multiscales", [])
            if not scales:
                raise BenchError(f"{field} has no multiscales metadata: copy the plate again")
            row = {
                "plate": described.get("name") or plate.stem,
                "well": str(well["path"]).replace("/", ""),
                "field": str(image["path"]),
            }
            if len(names) > 1:  # rounds of staining or days; each has fields of its own
                row["acquisition"] = names.get(image.get("acquisition"), "")
            yield {**row, "image": str(field / _inside(scales[0]["datasets"][0]["path"]))}


def _fields(well: Path) -> list[dict[str, Any]]:
    """Return the images of a well; those in its folder if the well has no metadata."""
    described = attributes(well).get("well")
    if described is not None:
        return list(described.get("images", []))
    inner = sorted(path for path in well.iterdir() if path.is_dir()) if well.is_dir() else []
    return [{"path": path.name} for path in inner if "multiscales" in attributes(path)]


def _omero_channels(array: Path) -> list[str]:
    """Return the names of the channels of an OME-Zarr image, for a note."""
    channels = attributes(array.parent).get("omero", {}).get("channels", [])
    names = [str(channel.get("label") or "") for channel in channels]
    return [f"{_CHANNELS}{', '.join(names)}"] if any(names) else []


def _inside(path: object) -> str:
    """Return a path of the metadata; raises for one that leaves its folder."""
    text = str(path)
    if Path(text).is_absolute() or ".." in Path(text).parts:
        raise BenchError(f"the metadata name '{text}', which is outside of the plate: check them")
    return text


def _harmony(index: Path) -> Layout:
    """Read the index of a Harmony export (Operetta, Opera Phenix): a file per channel and field."""
    if index.stat().st_size > LARGEST:
        raise BenchError(f"{index} is larger than {LARGEST:,} bytes: it is not an index of images")
    try:
        root = ET.fromstring(index.read_bytes())
    except ET.ParseError as error:
        raise BenchError(f"{index} is not XML ({error}): export the measurement again") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    plates = [e.findtext("PlateID") or e.findtext("Name") or "" for e in root.iter("Plate")]
    plate = plates[0] if plates else index.parent.name
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    # Harmony 6 and 7 have several maps, and only one of them names the channels.
    entries = {
        entry.get("ChannelID"): name
        for entry in root.iter("Entry")
        if (name := entry.findtext("ChannelName"))
    }
    channels: dict[str, str] = {}
    planes: set[str] = set()
    missing = 0
    for image in root.iter("Image"):
        url = image.find("URL")
        if url is None:
            continue
        if url.get("BufferNo", "0") != "0":
            raise BenchError(
                f"{index} names pages of files: export one TIFF file per channel and field"
            )
        facts: dict[str, Any] = {child.tag: child.text or "" for child in image}
        if not facts["URL"].strip():  # the microscope skipped this image
            missing += 1
            continue
        well = f"{_row_name(int(facts['Row']))}{int(facts['Col']):02d}"
        plane = facts.get("PlaneID", "1")
        planes.add(plane)
        time = facts.get("TimepointID", "0")
        channel = f"image_{facts['ChannelID']}"
        channels[channel] = facts.get("ChannelName") or entries.get(facts["ChannelID"]) or ""
        key = (well, facts["FieldID"], plane, time)
        row = {"plate": plate, "well": well, "field": key[1], "plane": plane, "time": time}
        rows.setdefault(key, row)[channel] = str(index.parent / _inside(facts["URL"]))
    if not rows:
        raise BenchError(f"{index} names no images: export the measurement with images")
    names = ", ".join(f"{key} is {name}" for key, name in sorted(channels.items()) if name)
    more = [f"{_CHANNELS}{names}"] if names else []
    if len(planes) > 1:
        more.append(
            f"{len(planes)} planes per field: each is a row, remove rows or planes as needed"
        )
    whole = [row for row in rows.values() if set(channels) <= set(row)]
    if missing or len(whole) < len(rows):
        more.append(
            f"{count(missing, 'image')} without a file; {count(len(rows) - len(whole), 'field')} "
            "without all channels left out"
        )
    if not whole:
        raise BenchError(f"{index} has no field with all channels: export the measurement again")
    listed = [{key: row[key] for key in sorted(row, key=_last)} for row in whole]
    return _layout(listed, f"Harmony index {index.name}", more)


def _row_name(number: int) -> str:
    """Return the letters of a plate's row: 1 is A, 26 is Z, 27 is AA (plates of 1,536 wells)."""
    return ("A" if number > 26 else "") + chr(65 + (number - 1) % 26)


def _last(key: str) -> tuple[bool, str]:
    return key.startswith("image"), key


def _files(folder: Path) -> Layout:
    """Return plain image files; files that differ in their channel only are one image."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGES and f.is_file())
    if not files:
        inner = sorted(
            f for f in folder.rglob("*") if f.name.lower().endswith((".parquet", ".csv"))
        )
        example = f", such as {inner[0]}" if inner else ""
        raise BenchError(
            f"{folder} has no OME-Zarr plate, Harmony index, or PNG, TIFF or JPEG files: name the "
            f"folder of the images, or a table{example}"
        )
    rows = _by_channel(files, folder)
    columns = {name for row in rows.values() for name in row if name.startswith("image")}
    if len(columns) > 1:
        whole = {key: row for key, row in rows.items() if columns <= set(row)}
        if not whole and "image" in columns:  # the numbers in some names are not of channels
            rows = _by_channel(files, folder, channels=False)
            return _layout(list(rows.values()), "image files, no image has all channels")
        if not whole:
            raise BenchError(
                f"no image in {folder} has all of {', '.join(sorted(columns))}: move the files of "
                "other channels away"
            )
        lost = len(rows) - len(whole)
        more = [f"{count(lost, 'image')} without all channels left out"] if lost else []
        return _layout(list(whole.values()), f"files, {len(columns)} channels", more)
    return _layout(list(rows.values()), "image files")


def _by_channel(
    files: Sequence[Path], folder: Path, *, channels: bool = True
) -> dict[str, dict[str, str]]:
    """Return a row per image: files that differ in the channel only, or each file."""
    rows: dict[str, dict[str, str]] = {}
    for file in files:
        inside = file.relative_to(folder)
        channel = _CHANNEL.search(file.stem) if channels else None
        key = _CHANNEL.sub("", str(inside.with_suffix(""))) if channels else str(inside)
        row = rows.setdefault(key, {"file": inside.as_posix()})
        for k, part in enumerate(inside.parts[:-1], 1):
            row[f"folder_{k}"] = part
        if (well := _WELL.search(file.stem)) is not None:
            row["well"] = f"{well[1].upper()}{well[2]}"
        if (field := _FIELD.search(file.stem)) is not None:
            row["field"] = field[1]
        row[f"image_{channel[1]}" if channel else "image"] = str(file)
    for name in ("well", "field"):  # parts of other names, unless all files have one
        if any(name not in row for row in rows.values()):
            for row in rows.values():
                row.pop(name, None)
    return rows


def _with_wells(frame: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Join the first table of the folder that has a column of wells or of image files."""
    for path in sorted(f for f in folder.iterdir() if f.name.lower().endswith(DELIMITED)):
        table = open_table(path)
        names = table.columns
        numbers = [name for name in table.columns if name != ""]
        other, _ = table.read(numbers, [])
        other = other.fillna("")
        well, plate = position_column(names), plate_column(names)
        if well is not None and "well" in frame:
            keys = ["well", *(["plate"] if plate and "plate" in frame else [])]
            other["well"] = normalised_wells(other[well].to_numpy(dtype=object))
            frame["well"] = normalised_wells(frame["well"].to_numpy(dtype=object))
            if "plate" in keys and set(other[str(plate)]) & set(frame["plate"]):
                other["plate"] = other[str(plate)]
            else:
                keys = ["well"]
        else:
            column = next((n for n in names if set(other[n]) & _names(frame)), None)
            if column is None:
                continue
            keys = ["file_name"]
            other["file_name"] = [Path(name).name for name in other[column]]
            frame["file_name"] = [Path(name).name for name in frame["file"]]
        if other.duplicated(keys).any():
            continue
        joined_by = {"well": well, "plate": plate}
        same = {joined_by.get(key) for key in keys} - set(keys)  # the same values under two names
        new = [n for n in other if (n not in frame and n not in same) or n in keys]
        joined = frame.merge(other[new], on=keys, how="left").fillna("")
        known = other[keys].apply(tuple, axis=1)
        n = int(frame[keys].apply(tuple, axis=1).isin(set(known)).sum())
        return joined, [f"{path.name} joined by {' and '.join(keys)}: {n} of {len(frame)} rows"]
    return frame, []


def _names(frame: pd.DataFrame) -> set[str]:
    return {Path(name).name for name in frame.get("file", pd.Series(dtype=str))}
