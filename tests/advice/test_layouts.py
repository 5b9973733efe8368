"""Folders of images as microscopes and archives write them."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import tifffile

from bench.advice.cellprofiler import joined
from bench.advice.describe import describe
from bench.advice.layouts import read_layout
from bench.advice.tables import write_table
from bench.core.errors import BenchError
from bench.data.own.table import load
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.api import Opened

WELLS = ("A01", "A02", "B01", "B02")
RNG = np.random.default_rng(0)


def opened(folder: Path) -> Opened:
    """Write the table and the description of a folder, and open them."""
    table, _ = write_table(folder, folder.parent / "mine.toml")
    result = describe(table, "mine", folder.parent)
    assert result.missing == ()
    (folder.parent / "mine.toml").write_text(result.text, encoding="utf-8")
    return load(folder.parent / "mine.toml").open()


def plate_map(folder: Path, wells: tuple[str, ...] = WELLS) -> None:
    rows = [{"Well": w.replace("0", ""), "Compound Name": "ab"[i % 2]} for i, w in enumerate(wells)]
    pd.DataFrame(rows).to_csv(folder / "annotation.csv", index=False)


def harmony(folder: Path, plate: str) -> dict[tuple[str, int], np.ndarray]:
    """Write a Harmony export of two channels and two fields; return the pixels of each field."""
    images = folder / "Images"
    images.mkdir(parents=True)
    entries, pixels = [], {}
    for well in WELLS:
        row, column = ord(well[0]) - 64, int(well[1:])
        for field in (1, 2):
            planes = RNG.integers(0, 999, (2, 8, 9)).astype(np.uint16)
            pixels[well, field] = planes
            for channel, plane in enumerate(planes, 1):
                url = f"r{row:02d}c{column:02d}f{field:02d}p01-ch{channel}sk1fk1fl1.tiff"
                tifffile.imwrite(images / url, plane)
                entries.append(
                    f"<Image Version='1'><id>x</id><URL>{url}</URL><Row>{row}</Row><Col>{column}"
                    f"</Col><FieldID>{field}</FieldID><PlaneID>1</PlaneID><TimepointID>0"
                    f"</TimepointID><ChannelID>{channel}</ChannelID></Image>"
                )
    (images / "Index.idx.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><EvaluationInputData Version="1" '
        'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV6"><Plates><Plate><PlateID>'
        f"{plate}</PlateID></Plate></Plates><Wells><Well><Image id='x'/></Well></Wells><Maps><Map>"
        "<Entry ChannelID='1'><ChannelName>DNA</ChannelName></Entry></Map></Maps>"
        f"<Images>{''.join(entries)}</Images></EvaluationInputData>",
        encoding="utf-8",
    )
    return pixels


def index_of(version: int, images: str, maps: str = "") -> str:
    """Return an index of Harmony, Operetta and Opera Phenix, as they write it."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<EvaluationInputData Version="1" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV{version}">\n<User>x</User>'
        "<InstrumentType>Phenix</InstrumentType><Plates><Plate><PlateID>P7</PlateID>"
        "<MeasurementID>6f</MeasurementID><Name>screen</Name><PlateRows>32</PlateRows>"
        "<PlateColumns>48</PlateColumns><Well id='0102' /></Plate></Plates><Wells><Well>"
        "<id>0102</id><Row>1</Row><Col>2</Col><Image id='0102K1F1P1R1' /></Well></Wells>"
        f"<Maps>{maps}</Maps><Images>{images}</Images></EvaluationInputData>"
    )


def touch_images(folder: Path, images: str) -> None:
    """Create the files of an index; their content is not read."""
    for name in re.findall(r"<URL>([^<]+)</URL>", images):
        (folder / name).touch()


def image_of(row: int, column: int, field: int, channel: int, url: str, more: str = "") -> str:
    return (
        f'<Image Version="1"><id>{row:02d}{column:02d}K1F{field}P1R{channel}</id><State>Ok</State>'
        f"<URL>{url}</URL><Row>{row}</Row><Col>{column}</Col><FieldID>{field}</FieldID><PlaneID>1"
        f"</PlaneID><TimepointID>0</TimepointID><SequenceID>1</SequenceID><GroupID>1</GroupID>"
        f"<ChannelID>{channel}</ChannelID><FlimID>1</FlimID>{more}"
        '<PositionX Unit="m">-0.0003</PositionX><AbsTime>2021-01-01T10:00:00Z</AbsTime></Image>'
    )


def test_an_index_with_several_maps_and_skipped_images(tmp_path: Path) -> None:
    """Version 7: channels in one of several maps. Row 28 is AB. An empty URL is no image."""
    names = "".join(
        f"<Entry ChannelID='{k}'><ChannelName>{name}</ChannelName>"
        "<ImageResolutionX Unit='m'>1E-07</ImageResolutionX></Entry>"
        for k, name in ((1, "HOECHST 33342"), (2, "Alexa 488"))
    )
    profiles = "".join(
        f"<Entry ChannelID='{k}'><FlatfieldProfile>{{Channel: {k}}}</FlatfieldProfile></Entry>"
        for k in (1, 2)
    )
    images = "".join(
        image_of(28, column, field, channel, f"r28c{column:02d}f{field:02d}p01-ch{channel}.tiff")
        for column in (1, 48)
        for field in (1, 2)
        for channel in (1, 2)
    ).replace("r28c48f02p01-ch2.tiff", "")
    maps = f"<Map>{names}</Map><Map>{profiles}</Map>"
    (tmp_path / "Index.xml").write_text(index_of(7, images, maps), encoding="utf-8")
    touch_images(tmp_path, images)
    layout = read_layout(tmp_path, tmp_path)
    assert layout.frame[["well", "field"]].to_numpy().tolist() == [
        ["AB01", "1"],
        ["AB01", "2"],
        ["AB48", "1"],
    ]
    assert set(layout.frame["plate"]) == {"P7"}
    notes = " ".join(layout.notes)
    assert "image_1 is HOECHST 33342" in notes
    assert "image_2 is Alexa 488" in notes
    assert "1 image without a file" in notes


def test_names_of_channels_in_each_image(tmp_path: Path) -> None:
    """Version 5 repeats the name of the channel in each image."""
    images = "".join(
        image_of(2, 3, 1, k, f"r02c03f01p01-ch{k}.tiff", f"<ChannelName>c{k}</ChannelName>")
        for k in (1, 2)
    )
    (tmp_path / "Index.idx.xml").write_text(index_of(5, images), encoding="utf-8")
    touch_images(tmp_path, images)
    layout = read_layout(tmp_path, tmp_path)
    assert layout.frame["well"].tolist() == ["B03"]
    assert "image_1 is c1, image_2 is c2" in " ".join(layout.notes)


def test_pages_of_files_are_refused(tmp_path: Path) -> None:
    """Columbus names pages of one file, which would be read as its first page."""
    image = image_of(1, 1, 1, 1, "x.tif").replace("<URL>", "<URL BufferNo='3'>")
    (tmp_path / "ImageIndex.ColumbusIDX.xml").write_text(index_of(5, image), encoding="utf-8")
    with raises(BenchError, "pages", "TIFF"):
        read_layout(tmp_path, tmp_path)


def test_several_exports_of_one_screen(tmp_path: Path) -> None:
    """A plate that was imaged again has the same name, so the folder is a column."""
    for name, plate in (("m1", "P1"), ("m2", "P2")):
        harmony(tmp_path / name, plate)
    (tmp_path / "m2" / "Images").rename(tmp_path / "m2" / "images")  # as in copies of JUMP
    layout = read_layout(tmp_path, tmp_path)
    assert layout.frame["plate"].value_counts().to_dict() == {"P1": 8, "P2": 8}
    assert "run" not in layout.frame
    assert layout.notes[0].endswith("16 images")
    harmony(tmp_path / "m3", "P1")
    again = read_layout(tmp_path, tmp_path)
    assert again.frame["run"].tolist() == ["m1"] * 8 + ["m2"] * 8 + ["m3"] * 8
    index = tmp_path / "m3" / "Images" / "Index.idx.xml"
    index.write_text(index.read_text("utf-8").replace("DNA", "ER"), encoding="utf-8")
    with raises(BenchError, "channels"):
        read_layout(tmp_path, tmp_path)


def test_rows_without_image_files_are_left_out(tmp_path: Path) -> None:
    harmony(tmp_path, "P1")
    files = sorted((tmp_path / "Images").glob("*.tiff"))
    files[0].unlink()
    layout = read_layout(tmp_path, tmp_path)
    assert len(layout.frame) == 7
    assert any("1 row" in note for note in layout.notes)
    for file in files[1:]:
        file.unlink()
    with raises(BenchError, files[0].name, "missing"):
        read_layout(tmp_path, tmp_path)


def test_a_harmony_export(tmp_path: Path) -> None:
    folder = tmp_path / "measurement"
    pixels = harmony(folder, "P7")
    layout = read_layout(folder, tmp_path)
    assert layout.images == ["image_1", "image_2"]
    assert any("DNA" in note for note in layout.notes)
    plate_map(folder)
    table, _ = write_table(folder, tmp_path / "mine.toml")
    frame = pd.read_csv(table, dtype=str)
    assert set(frame["plate"]) == {"P7"}
    assert frame["Compound Name"].tolist() == ["a", "a", "b", "b"] * 2
    text = describe(table, "mine", tmp_path).text.replace('batches = "?"', 'batches = ["field"]')
    (tmp_path / "mine.toml").write_text(text.replace('= "?"', '= "field"'), encoding="utf-8")
    data = load(tmp_path / "mine.toml").open()
    expected = np.stack(list(pixels.values()))
    np.testing.assert_array_equal(data.source.read(np.arange(8)), expected)


def ome_zarr(
    folder: Path, version: int, axes: str = "tczyx", spec: str = "0.4", rounds: int = 1
) -> np.ndarray:
    """Write an OME-Zarr plate of the HCS layout; return the pixels of its images in order.

    ``spec`` is the version of the metadata, ``rounds`` the number of acquisitions of each well.
    """
    import zarr

    def attributes(path: Path, value: dict[str, object]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (path / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
            (path / ".zattrs").write_text(json.dumps(value), encoding="utf-8")
        else:
            group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": value}}
            (path / "zarr.json").write_text(json.dumps(group), encoding="utf-8")

    wells = [{"path": f"{w[0]}/{int(w[1:])}", "rowIndex": 0, "columnIndex": 0} for w in WELLS]
    acquisitions = [{"id": k, "name": f"round {k}"} for k in range(1, rounds + 1)]
    lines = {"rows": [{"name": "A"}, {"name": "B"}], "columns": [{"name": "1"}, {"name": "2"}]}
    plate = {"name": "P1", **lines, "wells": wells, "acquisitions": acquisitions, "field_count": 1}
    attributes(folder, {"plate": plate})
    pixels = RNG.integers(0, 999, (4 * rounds, 2, 8, 9)).astype(np.uint16)
    objects = [{"name": a, "type": "space" if a in "zyx" else "channel"} for a in axes]
    declared = {
        "0.1": {},
        "0.3": {"axes": list(axes)},
        "0.4": {"axes": objects},
        "0.5": {"axes": objects},
        "0.6": {"coordinateSystems": [{"name": "intrinsic", "axes": objects}]},
    }[spec]
    for k, image in enumerate(pixels):
        place = folder / str(wells[k // rounds]["path"])
        fields = [{"acquisition": a["id"], "path": str(i)} for i, a in enumerate(acquisitions)]
        attributes(place, {"well": {"images": fields}})
        field = place / str(k % rounds)
        scales = [{**declared, "datasets": [{"path": "0"}, {"path": "1"}], "version": spec}]
        omero = {"channels": [{"label": "DNA", "color": "0000FF"}, {"label": "ER"}]}
        attributes(field, {"multiscales": scales, "omero": omero})
        shape = [{"t": 1, "c": 2, "z": 1, "y": 8, "x": 9}[axis] for axis in axes]
        array = zarr.open_array(
            str(field / "0"), mode="w", shape=shape, dtype="u2", zarr_format=version
        )
        array[...] = image.reshape(shape)
    return pixels


@pytest.mark.parametrize(
    ("version", "axes", "spec"),
    [
        (2, "tczyx", "0.1"),
        (2, "czyx", "0.3"),
        (2, "cyx", "0.4"),
        (3, "tczyx", "0.5"),
        (3, "zcyx", "0.6"),
    ],
)
def test_an_ome_zarr_plate(tmp_path: Path, version: int, axes: str, spec: str) -> None:
    plate = tmp_path / "screen" / "P1.zarr"
    pixels = ome_zarr(plate, version, axes, spec)
    plate_map(tmp_path / "screen")
    layout = read_layout(tmp_path / "screen", tmp_path)
    assert layout.frame["well"].tolist() == list(WELLS)
    assert layout.frame["Compound Name"].tolist() == ["a", "b", "a", "b"]
    layout.frame["day"] = ["1", "1", "2", "2"]
    layout.frame.to_csv(tmp_path / "t.csv", index=False)
    result = describe(tmp_path / "t.csv", "mine", tmp_path)
    (tmp_path / "mine.toml").write_text(result.text, encoding="utf-8")
    data = load(tmp_path / "mine.toml").open()
    assert tomllib.loads(result.text)["images"] == ["image"]
    np.testing.assert_array_equal(data.source.read(np.arange(4)), pixels)


def test_acquisitions_of_an_ome_zarr_plate(tmp_path: Path) -> None:
    ome_zarr(tmp_path / "P1.ome.zarr", 3, spec="0.5", rounds=2)
    layout = read_layout(tmp_path, tmp_path)
    assert layout.frame["acquisition"].tolist() == ["round 1", "round 2"] * 4
    assert layout.frame["well"].tolist() == [w.replace("0", "") for w in WELLS for _ in range(2)]
    assert any("DNA, ER" in note for note in layout.notes)


def test_a_well_without_metadata_has_the_images_in_its_folder(tmp_path: Path) -> None:
    """As in published example data, which leave out the files of rows and wells."""
    ome_zarr(tmp_path / "P1.zarr", 2)
    (tmp_path / "P1.zarr" / "A" / "1" / ".zattrs").unlink()
    layout = read_layout(tmp_path, tmp_path)
    assert layout.frame["well"].tolist() == ["A1", "A2", "B1", "B2"]


def test_an_incomplete_or_deep_ome_zarr_image_is_refused(tmp_path: Path) -> None:
    import zarr

    from bench.data.decode import read_image

    plate = tmp_path / "P1.zarr"
    ome_zarr(plate, 2)
    array = plate / "A" / "1" / "0" / "0"
    chunk = next(p for p in array.rglob("*") if p.is_file() and not p.name.startswith("."))
    chunk.unlink()
    with raises(BenchError, "chunks", "incomplete"):
        read_image(array)
    deep = tmp_path / "deep.zarr"
    zarr.open_array(str(deep), mode="w", shape=(1, 1, 3, 4, 4), dtype="u2", zarr_format=2)[...] = 1
    with raises(BenchError, "3 planes"):
        read_image(deep)
    with raises(BenchError, str(tmp_path)):
        read_image(tmp_path)


def test_image_files_in_folders_of_batches(tmp_path: Path) -> None:
    folder = tmp_path / "screen"
    for day in ("d1", "d2"):
        (folder / day).mkdir(parents=True)
        for well in WELLS:
            for channel in (1, 2):
                file = folder / day / f"x_{well}_s1_w{channel}.tif"
                tifffile.imwrite(file, RNG.integers(0, 255, (8, 8)).astype(np.uint8))
    (folder / "d1" / "x_C01_s1_w1.tif").write_bytes(b"")  # without its second channel
    plate_map(folder)
    data = opened(folder)
    assert data.levels == ("folder_1",)
    assert data.source.shape == (2, 8, 8)
    assert len(data.index) == 8
    assert set(data.index["label"]) == {"a", "b"}


def test_an_annotation_of_files(tmp_path: Path) -> None:
    """As in IDR: a table with a line per file and the files next to it."""
    folder = tmp_path / "idr"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(8):
        tifffile.imwrite(folder / "images" / f"f{i}.tif", np.full((8, 8), i, np.uint8))
        rows.append(
            {"Image File": f"f{i}.tif", "Phenotype": "ab"[i % 2], "Experiment": f"e{i // 4}"}
        )
    pd.DataFrame(rows).to_csv(folder / "annotation.csv", index=False)
    data = opened(folder)
    assert data.levels == ("Experiment",)
    assert data.index["label"].tolist() == ["a", "b"] * 4
    assert data.source.read(np.arange(8)).max(axis=(1, 2, 3)).tolist() == list(range(8))


def test_an_export_of_cellprofiler_is_joined(tmp_path: Path) -> None:
    image = pd.DataFrame(
        {
            "ImageNumber": [1, 2],
            "Metadata_Plate": ["01", "02"],
            "Metadata_Well": ["A01", "A02"],
            "Count_Cells": [2, 1],
        }
    )
    cells = pd.DataFrame(
        {"ImageNumber": [1, 1, 2], "ObjectNumber": [1, 2, 1], "Parent_Nuclei": [2, 1, 1]}
    ).assign(AreaShape_Area=[1.0, 2.0, 3.0])
    nuclei = pd.DataFrame(
        {"ImageNumber": [1, 1, 2], "ObjectNumber": [1, 2, 1], "Texture_a": [10.0, 20.0, 30.0]}
    )
    for name, table in (("Image", image), ("Cells", cells), ("Nuclei", nuclei)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    frame, note = joined(tmp_path)
    assert frame["Nuclei_Texture_a"].tolist() == [20.0, 10.0, 30.0]
    assert frame["Cells_AreaShape_Area"].tolist() == [1.0, 2.0, 3.0]
    assert frame["Metadata_Plate"].tolist() == ["01", "01", "02"]
    assert "3 rows" in note
    pd.concat([nuclei, nuclei]).to_csv(tmp_path / "Nuclei.csv", index=False)
    with raises(BenchError, "Nuclei.csv"):
        joined(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<a", "XML"),
        ("<EvaluationInputData/>", "no images"),
        (
            "<E><Image><URL>../../x.tif</URL><Row>1</Row><Col>1</Col><FieldID>1</FieldID>"
            "<ChannelID>1</ChannelID></Image></E>",
            "outside",
        ),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "Index.xml").write_text(content, encoding="utf-8")
    with raises(BenchError, words):
        read_layout(tmp_path, tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with raises(BenchError, str(tmp_path)):
        read_layout(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("names", "channels", "wells", "fields"),
    [
        (
            [  # ImageXpress, as in BBBC021 and BBBC022
                "Week1_B02_s1_w107447158-AC92-4844-8A27-4B1B6C1B1D5C",
                "Week1_B02_s1_w2EB5BA7AB-2B6C-4A55-B458-8E0D9B0A9A0C",
                "Week1_B02_s2_w122CA072D-10D8-4177-AA22-8440DA832D60",
                "Week1_B02_s2_w237EBB874-43F8-48AC-8312-D890B0873E2F",
            ],
            ["image_1", "image_2"],
            ["B02", "B02"],
            ["1", "2"],
        ),
        (
            ["AS_09125_D03f00d0", "AS_09125_D03f00d1", "AS_09125_D04f01d0", "AS_09125_D04f01d1"],
            ["image_0", "image_1"],
            ["D03", "D04"],
            ["00", "01"],
        ),
        # neither wells nor channels: only some of the names look so
        (["E14tg2a_d2", "B1_C1", "B1_C2", "B3"], ["image"], None, None),
    ],
)
def test_names_of_image_files(
    tmp_path: Path,
    names: list[str],
    channels: list[str],
    wells: list[str] | None,
    fields: list[str] | None,
) -> None:
    for name in names:
        (tmp_path / f"{name}.tif").touch()
    layout = read_layout(tmp_path, tmp_path)
    assert layout.images == channels
    assert len(layout.frame) == len(names) // len(channels)
    for column, expected in (("well", wells), ("field", fields)):
        assert (layout.frame[column].tolist() if column in layout.frame else None) == expected


def export(folder: Path, *, prefix: str = "", plate: str = "p1", **objects: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = pd.DataFrame({"ImageNumber": [1], "Metadata_Plate": [plate]})
    for name, table in {"Image": image, **objects}.items():
        table.to_csv(folder / f"{prefix}{name}.csv", index=False)


def objects(n: int, **columns: list[int]) -> pd.DataFrame:
    numbers = range(1, n + 1)
    frame = pd.DataFrame({"ImageNumber": 1, "ObjectNumber": numbers, "AreaShape_Area": numbers})
    return frame.assign(**columns)


def test_a_kind_that_few_objects_have_costs_no_rows(tmp_path: Path) -> None:
    export(
        tmp_path,
        prefix="MyExpt_",
        Cells=objects(6, Parent_Nuclei=[6, 5, 4, 3, 2, 1]),
        Nuclei=objects(6),
        PH3=objects(2, Parent_Nuclei=[2, 3]),
        Speckles=objects(5),
    )
    frame, note = joined(tmp_path)
    assert frame["Nuclei_AreaShape_Area"].tolist() == [6, 5, 4, 3, 2, 1]
    mentions(note, "6 rows", "PH3", "Speckles")
    assert not any(name.startswith(("PH3_", "Speckles_")) for name in frame)
    assert "Nuclei_ImageNumber" not in frame  # otherwise it would be a feature
    # of the same parent, one to one: joined
    objects(6, Parent_Nuclei=[1, 2, 3, 4, 5, 6]).to_csv(tmp_path / "MyExpt_PH3.csv", index=False)
    frame, _ = joined(tmp_path)
    assert frame["PH3_AreaShape_Area"].tolist() == [6, 5, 4, 3, 2, 1]


def test_exports_in_several_folders(tmp_path: Path) -> None:
    for k, plate in enumerate(("p1", "p1", "p2", "p2")):
        export(tmp_path / "analysis" / f"site-{k}", plate=plate, Cells=objects(3))
    export(tmp_path / "analysis" / "site-4", plate="p2")
    (tmp_path / "analysis" / "site-4" / "Cells.csv").touch()  # no cell in this image
    table, notes = write_table(tmp_path, tmp_path / "screen.toml")
    frame = pd.read_parquet(table)
    assert frame["export"].tolist() == [f"analysis/site-{k}" for k in range(4) for _ in range(3)]
    mentions(" ".join(notes), "12 rows", "site-4")
    described = describe(table, "screen", tmp_path)
    guesses = {item.key: item.value for item in described.guesses}
    assert guesses["batches"] == ["Metadata_Plate"]
    assert "export" in (guesses["id"] or ())


def test_tables_of_plates_in_a_folder(tmp_path: Path) -> None:
    for k in range(3):
        frame = pd.DataFrame({"Metadata_Plate": [k, k], "Cells_a": [1.5, 2.5], "Cells_b": k})
        if k == 2:
            frame = frame.astype({"Metadata_Plate": str}).assign(Cells_c=1.0)
        frame.to_parquet(tmp_path / f"plate{k}.parquet")
    table, notes = write_table(tmp_path, tmp_path / "screen.toml")
    stacked = pd.read_parquet(table)
    assert stacked["table"].tolist() == ["plate0"] * 2 + ["plate1"] * 2 + ["plate2"] * 2
    assert stacked["Metadata_Plate"].tolist() == ["0", "0", "1", "1", "2", "2"]
    assert stacked["Cells_a"].tolist() == [1.5, 2.5] * 3
    assert "Cells_c" not in stacked
    mentions(notes[0], "6 rows", "1 column")


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("a.sqlite", "CytoTable"),
        ("a.zarr.zip", "write_h5ad"),
        ("a.zip", "unpack"),
        ("a.xlsx", "CSV"),
        ("a.ome.tif", "folder"),
    ],
)
def test_other_formats_are_refused_with_a_cure(tmp_path: Path, name: str, cure: str) -> None:
    (tmp_path / name).touch()
    with raises(BenchError, name, cure):
        describe(tmp_path / name, "x", tmp_path)


def test_annotation_of_the_image_data_resource(tmp_path: Path) -> None:
    kinds = ["", "negative", "no reagent"]
    rows = [
        {
            "Plate": f"p{plate}",
            "Well": f"A{k + 1}",
            "Comment [Gene Symbol]": gene,
            "Control Type": kinds[k // 4],
        }
        for plate in range(3)
        for k, gene in enumerate([*"abab", *"cccc", *[""] * 4])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "annotation.csv", index=False)
    described = describe(tmp_path / "annotation.csv", "screen", tmp_path)
    guesses = {item.key: item.value for item in described.guesses}
    assert guesses["label"] == "Comment [Gene Symbol]"
    assert guesses["control"] == {"Control Type": ["negative", "no reagent"]}
