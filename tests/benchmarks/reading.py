"""How fast decoded images are read and opened, as ratios within one run.

    python -m tests.benchmarks.reading [epochs] [loop] [opening]

``epochs``   an epoch of shuffled uint8 batches from the decoded array, against one through the
             loader of ``wilds``, which decodes a PNG each time (256 x 256 x 3, batches of 75, one
             process); and the same of float32 batches.
``loop``     the training loop on the default network from the decoded array, read ahead and never
             kept, against the same loop with all images in memory.
``opening``  opening the kept index of 125,510 rows, against the constructor of ``wilds``.

Each pair is measured in turns, and the medians are compared. Times are of one machine under
whatever else runs on it; the ratios are what counts.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 75


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def seconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(first: Callable[[], Any], second: Callable[[], Any], n: int) -> tuple[float, float]:
    """Return the medians of ``n`` times of each, measured in turns."""
    times = [(seconds(first), seconds(second)) for _ in range(n)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def epochs(root: Path) -> None:
    """Compare a later epoch with one through the loader of wilds."""
    from bench.datasets import _rxrx1_fixture, _wilds
    from bench.datasets.rxrx1 import open_folder

    _rxrx1_fixture.write(root, size=256)
    folder = root / "rxrx1_v1.0"
    opened = None

    def first() -> None:
        nonlocal opened
        opened = open_folder(folder, "fixture")

    decoding = seconds(first)
    theirs = _wilds.wilds_class("rxrx1")(root_dir=root)
    import torch
    from torchvision.transforms import PILToTensor, ToTensor
    from wilds.common.data_loaders import get_train_loader
    from wilds.datasets.wilds_dataset import WILDSSubset

    there = [i for i, path in enumerate(theirs._input_array) if (folder / path).is_file()]
    n, rng = len(there), np.random.default_rng(0)
    size = sum((folder / theirs._input_array[i]).stat().st_size for i in there) / n
    say(
        f"epochs: {n} PNGs of 256 x 256 x 3 ({size / 1e3:.0f} kB each), decoded once in "
        f"{decoding:.1f} s"
    )
    for kind, transform in (("uint8", PILToTensor()), ("float32", ToTensor())):
        subset = WILDSSubset(theirs, np.array(there), transform)
        loader = get_train_loader("standard", subset, batch_size=BATCH)

        def by_wilds(loader: Any = loader) -> None:
            for _ in loader:
                pass

        def by_cache(kind: str = kind) -> None:
            order = rng.permutation(n)
            for start in range(0, n, BATCH):
                x = torch.from_numpy(opened.source.read(order[start : start + BATCH]))
                if kind == "float32":
                    x.float().div_(255)

        a, b = in_turns(by_wilds, by_cache, 3)
        say(
            f"epochs: {kind}: {a:.2f} s through wilds, {b:.2f} s from the decoded array: ratio "
            f"{a / b:.1f}"
        )


def loop(root: Path) -> None:
    """Compare the training loop from the decoded array with one from memory."""
    import imagecodecs
    import pandas as pd
    import torch

    from bench.api import Access, Context, Opened
    from bench.core.registry import Registry
    from bench.data.image_ref import ImageRef
    from bench.data.pixel_cache import decoded
    from bench.data.views import make_partition
    from bench.runs.device import threads
    from bench.training import inputs
    from bench.training.recipes import resolve

    torch.set_num_threads(threads())
    rng = np.random.default_rng(0)
    n = 1500
    images = rng.integers(0, 255, (n, 64, 64, 2), dtype=np.uint8)
    pictures = []
    for i, image in enumerate(images):
        path = root / f"{i}.png"
        path.write_bytes(imagecodecs.png_encode(image))
        pictures.append(ImageRef((path,)))
    source = decoded(pictures, label="benchmark")
    index = pd.DataFrame(
        {
            "id": [f"{i:05d}" for i in range(n)],
            "label": rng.choice(list("abcdefg"), n),
            "control": False,
            "plate": "p",
        }
    )
    opened = Opened("benchmark", index, source, ("plate",), "plate", "real", source.digest)
    side = make_partition(opened, np.arange(n), tuple("abcdefg"), "plate", "benchmark", labels=True)
    cls = Registry().entry("method", "erm").load()

    def trained(preload: int, steps: int) -> None:
        inputs.PRELOAD_BYTES = preload
        recipe = resolve("default", "images", {"steps": steps})
        view = side.view(Access.NONE, batches=False, labels=True)
        cls(cls.Params()).fit(view, None, Context(seed=0, recipe=recipe))

    trained(0, 2)
    steps, pairs = 30, 9
    times = []
    for _ in range(pairs):
        for preload in (1 << 30, 0):
            started = time.process_time()
            wall = seconds(lambda preload=preload: trained(preload, steps))
            times.append((wall, time.process_time() - started))
    memory, cache = np.array(times[::2]), np.array(times[1::2])
    # of each pair, since what else runs on the machine changes from one to the next
    shares = 100 * memory / cache
    rates = [64 * steps / np.median(side[:, 0]) for side in (memory, cache)]
    low, high = np.quantile(shares[:, 0], [0.25, 0.75])
    say(
        f"loop: default network, 64 x 64 x 2, batches of 64, {threads()} threads: {rates[0]:.0f} "
        f"images a second from memory, {rates[1]:.0f} from the decoded array; median share of "
        f"{pairs} pairs {np.median(shares[:, 0]):.1f} % (quartiles {low:.1f} and {high:.1f} %), "
        f"by processor time {np.median(shares[:, 1]):.1f} %"
    )


def opening(root: Path) -> None:
    """Compare opening the kept index with the constructor of wilds, at the published size."""
    import imagecodecs
    import pandas as pd
    from bench.datasets import _rxrx1_fixture, _wilds
    from bench.datasets.rxrx1 import open_folder

    rows = []
    wells = [f"{row}{column:02d}" for row in "BCDEFGHIJKLMNO" for column in range(2, 24)]
    kinds = ["treatment"] * 277 + ["positive_control"] * 30 + ["negative_control"]
    for cell_type, counts in _rxrx1_fixture.EXPERIMENTS.items():
        sides = [s for s, k in zip(("train", "val", "test"), counts, strict=True) for _ in range(k)]
        for number, side in enumerate(sides, 1):
            name = f"{cell_type}-{number:02d}"
            for plate in range(1, 5):
                for k, (well, kind) in enumerate(zip(wells, kinds, strict=True)):
                    label = (plate - 1) * 277 + k if kind == "treatment" else 1108 + k - 277
                    where = f"{name}_{plate}_{well}"
                    told = (cell_type, side, name, plate, well)
                    rows += [
                        (f"{where}_{site}", where, *told, site, kind, f"s{label}", label)
                        for site in (1, 2)
                    ]
    del rows[1:309:2]  # 154 sites are missing, as published
    folder = root / "rxrx1_v1.0"
    table = pd.DataFrame(rows, columns=_rxrx1_fixture.COLUMNS)
    image = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    result: set[Path] = set()
    for i, (name, plate, well, site) in enumerate(
        table[["experiment", "plate", "well", "site"]].itertuples(index=False)
    ):
        place = folder / "images" / name / f"Plate{plate}"
        if place not in result:
            place.mkdir(parents=True)
            result.add(place)
        image[0, 0] = i % 256, i // 256 % 256, i // 65536
        (place / f"{well}_s{site}.png").write_bytes(imagecodecs.png_encode(image))
    table.to_csv(folder / "metadata.csv", index=False)
    (folder / "RELEASE_v1.0.txt").touch()
    cls = _wilds.wilds_class("rxrx1")
    once = seconds(lambda: open_folder(folder, "real"))
    a, b = in_turns(lambda: cls(root_dir=root), lambda: open_folder(folder, "real"), 3)
    say(
        f"opening: {len(table)} rows: {a:.2f} s by the constructor of wilds, {b:.2f} s from the "
        f"kept index ({once:.0f} s the first time): ratio {a / b:.1f}"
    )


def main(names: list[str]) -> None:
    """Measure what was named, or all."""
    known: dict[str, Callable[[Path], None]] = {"epochs": epochs, "loop": loop, "opening": opening}
    import os

    for name in names or known:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["BENCH_CACHE"] = str(Path(folder) / "cache")
            known[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
