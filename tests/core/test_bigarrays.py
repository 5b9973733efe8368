"""Arrays above the limit are backed by a file without a name and are otherwise the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.api import Access, Output
from bench.core import arrays as bigarrays
from bench.core.errors import BenchError
from bench.records.store import Store
from bench.runs.apply import apply_all
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path


def in_a_file(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(bigarrays.VARIABLE, "1000")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scratch"


def test_above_the_limit_an_array_is_in_a_file_without_a_name(small: Path) -> None:
    below, above = bigarrays.empty((10, 25)), bigarrays.empty((10, 26))
    assert (in_a_file(below), in_a_file(above)) == (False, True)
    assert type(above) is np.ndarray
    assert list(small.iterdir()) == []
    above[:] = np.arange(260).reshape(10, 26)
    np.testing.assert_array_equal(above[7], np.arange(182, 208))
    view = above.view()
    view.flags.writeable = False
    with raises(ValueError):
        view[0] = 1


def test_the_limit_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bigarrays.VARIABLE, "1 GB")
    with raises(BenchError, "$BENCH_ARRAY_BYTES", "1"):
        bigarrays.empty((3,))
    monkeypatch.setenv(bigarrays.VARIABLE, "")
    assert bigarrays.limit() == bigarrays.LIMIT


def test_blocks_cover_all_rows() -> None:
    for n, width in ((0, 4), (1, 4), (10, bigarrays.BLOCK_BYTES), (10, bigarrays.BLOCK_BYTES // 3)):
        rows = [i for block in bigarrays.blocks(n, width) for i in range(block.start, block.stop)]
        assert rows == list(range(n))


def test_views_and_outputs_are_the_same_on_disk(small: Path, monkeypatch: Any) -> None:
    data = tiny.opened()
    fold = tiny.task(data).folds[0]
    side = tiny.partition(data, fold, "train")

    class Twice:
        def apply(self, samples: Any) -> Output:
            return Output(2 * samples.X)

    on_disk = side.view(Access.NONE, batches=False)
    out = apply_all(Twice(), on_disk, None, 0)  # type: ignore[arg-type]
    assert in_a_file(on_disk.X)
    assert in_a_file(out.X)
    monkeypatch.setenv(bigarrays.VARIABLE, "1000000")
    in_memory = side.view(Access.NONE, batches=False)
    assert not in_a_file(in_memory.X)
    np.testing.assert_array_equal(on_disk.X, in_memory.X)
    np.testing.assert_array_equal(out.X, 2 * side.opened.source.read(side.rows))


def test_artifacts_are_pages_of_their_file(small: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    X = np.arange(600, dtype=np.float32).reshape(20, 30)
    store.write_artifact("apply", "ab" * 8, {"embeddings": X, "logits": X[:2, :3]}, {})
    stored = store.read_artifact("apply", "ab" * 8)
    assert stored is not None
    assert in_a_file(stored.arrays["embeddings"])
    assert not in_a_file(stored.arrays["logits"])
    np.testing.assert_array_equal(stored.arrays["embeddings"], X)
    np.testing.assert_array_equal(stored.arrays["logits"], X[:2, :3])


def test_a_full_disk_is_one_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with raises(BenchError, "4,000"):
        bigarrays.empty((1000,))
