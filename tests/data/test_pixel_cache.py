"""Images of many files, decoded once: what is read, what is kept, and who may be killed."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.api import BenchError
from bench.core.progress import listening
from bench.data import pixel_writer as pixel_cache
from bench.data.decode import read_image
from bench.data.image_ref import ImageRef
from bench.data.pixel_cache import decoded
from bench.data.pixels import kept
from tests.helpers.errors import raises
from tests.helpers.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def drawn(n: int, shape: tuple[int, ...] = (9, 7, 3), dtype: str = "uint8") -> Any:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (n, *shape), dtype=dtype, endpoint=True)


def written(folder: Path, images: Any, level: int | None = None) -> list[ImageRef]:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for i, image in enumerate(images):
        path = folder / f"{i:04d}.png"
        path.write_bytes(imagecodecs.png_encode(image, level=level))
        pictures.append(ImageRef((path,)))
    return pictures


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pixels"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_channels_come_first_in_both_depths(
    tmp_path: Path, kind: str, dtype: str, channels: int
) -> None:
    image = drawn(1, (6, 5, channels), dtype)[0]
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        path.write_bytes(imagecodecs.png_encode(image[..., 0] if channels == 1 else image))
    else:
        tifffile.imwrite(path, np.moveaxis(image, -1, 0), photometric="minisblack")
    result = read_image(path)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.moveaxis(image, -1, 0))


def test_tiff_of_other_writers(tmp_path: Path) -> None:
    image = drawn(1, (6, 5, 3))[0]
    for name, write in {
        "interleaved": lambda path: tifffile.imwrite(path, image, photometric="rgb"),
        "big-endian": lambda path: tifffile.imwrite(path, image, byteorder=">", photometric="rgb"),
        "compressed": lambda path: tifffile.imwrite(
            path, image, compression="zlib", predictor=True, photometric="rgb"
        ),
        "pillow-lzw": lambda path: Image.fromarray(image).save(
            path, "TIFF", compression="tiff_lzw"
        ),
    }.items():
        path = tmp_path / f"{name}.tif"
        write(path)
        np.testing.assert_array_equal(read_image(path), np.moveaxis(image, -1, 0), err_msg=name)
    wide = drawn(1, (6, 5), "uint16")[0]
    tifffile.imwrite(tmp_path / "deep.tif", wide, byteorder=">")
    result = read_image(tmp_path / "deep.tif")
    assert result.dtype.isnative
    np.testing.assert_array_equal(result[0], wide)


def test_png_as_pillow_reads_it(tmp_path: Path) -> None:
    image = drawn(1)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(opened)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ("PNG", "TIFF")),
        (b"GIF89a rest", ("PNG", "TIFF")),
        (b"\x89PNG\r\n\x1a\nrubbish", ()),
        (b"II*\0rubbish", ()),
        (imagecodecs.png_encode(drawn(1)[0])[:80], ()),
        (None, ()),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with raises(BenchError, *said) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_other_pixels_are_refused_and_never_cast(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.float64))
    with raises(BenchError, "float64", "uint8", "uint16", "float32"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 3, 4, 4), np.uint8), photometric="minisblack")
    with raises(BenchError, "b.tif"):
        read_image(tmp_path / "b.tif")


def test_rows_are_the_files(tmp_path: Path, cache: Path) -> None:
    images = drawn(150)
    pixels = decoded(written(tmp_path / "a", images))
    assert (pixels.shape, pixels.dtype, len(pixels)) == ((3, 9, 7), np.uint8, 150)
    rows = np.array([149, 0, 3, 3, 64])
    np.testing.assert_array_equal(pixels.read(rows), np.moveaxis(images[rows], -1, 1))
    assert pixels.read(np.zeros(0, np.int64)).shape == (0, 3, 9, 7)
    with pytest.raises(IndexError):
        pixels.read(np.array([-1]))
    with pytest.raises(IndexError):
        pixels.read(np.array([150]))


def test_what_is_read_belongs_to_the_reader(tmp_path: Path, cache: Path) -> None:
    pixels = decoded(written(tmp_path / "a", drawn(3)))
    first = pixels.read(np.arange(3))
    expected = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(pixels.read(np.arange(3)), expected)


def test_crops_channels_and_files_of_one_channel(tmp_path: Path, cache: Path) -> None:
    image = drawn(1, (12, 10, 3), "uint16")[0]
    files = []
    for k in range(3):
        files.append(tmp_path / f"{k}.tif")
        tifffile.imwrite(files[-1], image[..., k])
    calls: list[Path] = []
    pictures = [
        ImageRef(tuple(files), crop=(top, left, 4, 5), channels=(2, 0))
        for top, left in [(0, 0), (8, 5), (3, 2)]
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_cache, "read_image", lambda p: calls.append(p) or read_image(p))  # type: ignore[func-returns-value]
        pixels = decoded(pictures)
    expected = [image[t : t + 4, x : x + 5][..., [2, 0]] for t, x in [(0, 0), (8, 5), (3, 2)]]
    np.testing.assert_array_equal(pixels.read(np.arange(3)), np.moveaxis(expected, -1, 1))
    assert len(calls) == 3 * 2, "once to see the shape, once for all crops"


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ({"crop": (6, 0, 4, 4)}, ()),
        ({"crop": (0, -1, 4, 4)}, ()),
        ({"crop": (0, 0, 0, 4)}, ()),
        ({"channels": (0, 3)}, ("channels",)),
    ],
)
def test_what_is_not_in_the_image_is_refused(
    tmp_path: Path, cache: Path, picture: dict[str, Any], said: str
) -> None:
    [item] = written(tmp_path / "a", drawn(1))
    with raises(BenchError, *said):
        decoded([ImageRef(item.files, **picture)])


def test_images_of_two_shapes_are_refused_by_name(tmp_path: Path, cache: Path) -> None:
    pictures = written(tmp_path / "a", drawn(70)) + written(tmp_path / "b", drawn(1, (9, 8, 3)))
    with raises(BenchError, "b/0000.png", "3", "9", "uint8"):
        decoded(pictures)
    with raises(BenchError, "3", "9", "7", "uint16"):
        decoded(pictures[:2], dtype="uint16")
    with raises(BenchError):
        decoded([])


def test_a_file_that_is_not_there_is_named_before_anything_is_decoded(
    tmp_path: Path, cache: Path
) -> None:
    pictures = written(tmp_path / "a", drawn(2))
    pictures[1].files[0].unlink()
    with raises(BenchError, "0001", ".png"):
        decoded(pictures)
    assert not cache.exists()


def test_a_float_that_is_no_number_is_refused(tmp_path: Path, cache: Path) -> None:
    image = np.zeros((4, 4), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image)
    assert decoded([ImageRef((tmp_path / "a.tif",))]).dtype == np.float32
    image[2, 2] = np.nan
    tifffile.imwrite(tmp_path / "b.tif", image)
    with raises(BenchError, "b.tif"):
        decoded([ImageRef((tmp_path / "b.tif",))])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    calls: list[Path] = []
    monkeypatch.setattr(pixel_cache, "read_image", lambda p: calls.append(p) or read_image(p))  # type: ignore[func-returns-value]
    return calls


def test_it_is_decoded_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = written(tmp_path / "a", drawn(5))
    first = decoded(pictures)
    calls = counted(monkeypatch)
    again = decoded(pictures)
    assert not calls
    assert again.digest == first.digest
    result = kept(first.digest)
    assert result is not None
    np.testing.assert_array_equal(result.read(np.arange(5)), first.read(np.arange(5)))


def test_the_key_is_the_content(tmp_path: Path, cache: Path) -> None:
    images = drawn(5)
    here = decoded(written(tmp_path / "a", images))
    elsewhere = decoded(written(tmp_path / "b", images))
    assert elsewhere.folder == here.folder
    # other bytes, same pixels
    for i, picture in enumerate(written(tmp_path / "c", images)):
        picture.files[0].write_bytes(imagecodecs.png_encode(images[i], level=0))
    assert (
        decoded([ImageRef((tmp_path / "c" / f"{i:04d}.png",)) for i in range(5)]).folder
        == here.folder
    )
    other = images.copy()
    other[3, 0, 0, 0] ^= 1
    changed = decoded(written(tmp_path / "a", other))
    assert changed.digest != here.digest
    assert np.flatnonzero(changed.digests() != here.digests()).tolist() == [3]
    turned = decoded(written(tmp_path / "d", images[::-1]))
    assert turned.digest != here.digest
    assert turned.digests().tolist() == here.digests()[::-1].tolist()


def test_an_image_replaced_with_equal_size_and_time_is_decoded(tmp_path: Path, cache: Path) -> None:
    images = drawn(4)
    pictures = written(tmp_path / "a", images, level=0)
    np.testing.assert_array_equal(decoded(pictures).read(np.arange(4)), np.moveaxis(images, 3, 1))
    path = pictures[2].files[0]
    before = path.stat()
    path.write_bytes(imagecodecs.png_encode(images[0], level=0))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    images[2] = images[0]
    np.testing.assert_array_equal(decoded(pictures).read(np.arange(4)), np.moveaxis(images, 3, 1))


@pytest.mark.parametrize("name", ["pixels.bin", "facts.json"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path, name: str) -> None:
    pictures = written(tmp_path / "a", drawn(5))
    first = decoded(pictures)
    expected = first.read(np.arange(5))
    (first.folder / name).write_bytes(b"{}")
    assert kept(first.digest) is None
    np.testing.assert_array_equal(decoded(pictures).read(np.arange(5)), expected)
    shutil.rmtree(first.folder)
    np.testing.assert_array_equal(decoded(pictures).read(np.arange(5)), expected)


def test_nothing_is_left_beside_it(tmp_path: Path, cache: Path) -> None:
    pixels = decoded(written(tmp_path / "a", drawn(200)))
    assert sorted(p.name for p in pixels.folder.iterdir()) == [
        "facts.json",
        "pixels.bin",
        "rows.npy",
    ]
    visible = sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))
    assert visible == sorted([pixels.folder.name, "jobs"])


def test_it_goes_to_another_process(tmp_path: Path, cache: Path) -> None:
    pixels = decoded(written(tmp_path / "a", drawn(4)))
    pixels.read(np.arange(2))
    text = pickle.dumps(pixels)
    assert len(text) < 2000, "the pixels do not travel"
    np.testing.assert_array_equal(pickle.loads(text).read(np.arange(4)), pixels.read(np.arange(4)))


def test_memory_holds_a_few_images_at_a_time(tmp_path: Path, cache: Path) -> None:
    images = np.zeros((300, 128, 128, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(300) % 256
    pictures = written(tmp_path / "a", images)
    tracemalloc.start()
    try:
        pixels = decoded(pictures, workers=2)
        pixels.read(np.arange(8))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes / 4


def test_progress_is_told_to_whoever_listens(tmp_path: Path, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with listening(lambda *told: seen.append(told)):
        decoded(written(tmp_path / "a", drawn(130)), label="mine")
    assert {label for label, _, _ in seen} == {"decoding mine"}
    assert seen[-1][1:] == (130, 130)
    done = [n for _, n, _ in seen]
    assert done == sorted(done)


def test_a_full_disk_is_one_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = written(tmp_path / "a", drawn(5))
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with raises(BenchError, "$BENCH_CACHE"):
        decoded(pictures)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from bench.data import pixel_writer
from bench.data.decode import read_image
from bench.data.image_ref import ImageRef
from bench.data.pixel_cache import decoded
pixel_writer.SECONDS = 0.0
calls = []
def slow(path):
    calls.append(path)
    time.sleep(0.001)
    if str(len(calls)) in sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_image(path)
pixel_writer.read_image = slow
files = sorted(Path(sys.argv[1]).glob("*.png"))
pixels = decoded([ImageRef((f,)) for f in files], workers=1)
print(len(calls), pixels.digest)
"""


def started(folder: Path, *killed_at: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), *map(str, killed_at)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_that_start_at_once_do_the_work_once(tmp_path: Path, cache: Path) -> None:
    written(tmp_path / "a", drawn(300))
    both = [started(tmp_path / "a") for _ in range(2)]
    told = [process.communicate(timeout=PATIENCE)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told[0][1] == told[1][1]
    # each looks at one image for its shape; all others are decoded by one of the two
    assert 300 <= sum(int(n) for n, _ in told) <= 302


@pytest.mark.slow
def test_who_is_killed_leaves_finished_blocks_to_the_next(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn(800)
    pictures = written(tmp_path / "a", images)
    process = started(tmp_path / "a", 700)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert not [p for p in cache.iterdir() if p.is_dir() and not p.name.startswith(".work-")]
    calls = counted(monkeypatch)
    pixels = decoded(pictures)
    assert 0 < len(calls) < 800
    np.testing.assert_array_equal(pixels.read(np.arange(800)), np.moveaxis(images, -1, 1))


def test_an_interrupt_keeps_what_is_done(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = written(tmp_path / "a", drawn(400))
    main = threading.main_thread()

    def stop(label: str, done: int, total: int) -> None:
        assert threading.current_thread() is main
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop):
        decoded(pictures, workers=1)
    calls = counted(monkeypatch)
    decoded(pictures, workers=1)
    assert 0 < len(calls) <= 400 - 128 + 1
