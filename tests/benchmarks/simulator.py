"""How long the simulator takes, against writing the same bytes.

    python tests/benchmarks/simulator.py [--scale 1.0] [--workers N]

prints the seconds for the five files of COOS-7's simulated edition, the seconds for writing the
same arrays through HDF5, and their ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
from bench.datasets.simulator import layout, write
from bench.datasets.simulator.conditions import Conditions


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        start = time.perf_counter()
        folder = write.ensure(
            root, "coos7", layout.coos7(options.scale), Conditions(0), options.workers
        )
        simulated = time.perf_counter() - start

        arrays = {}
        for part in layout.PARTS:
            with h5py.File(folder / write.file_name(part)) as handle:
                arrays[part] = {key: handle[key][()] for key in handle}
        start = time.perf_counter()
        for part, columns in arrays.items():
            with h5py.File(root / f"{part}.hdf5", "w") as handle:
                for key, column in columns.items():
                    handle.create_dataset(key, data=column)
        written = time.perf_counter() - start
        images = sum(len(columns["labels"]) for columns in arrays.values())
        size = sum(path.stat().st_size for path in folder.glob("*.hdf5"))
    print(
        f"{images} images, {size / 1e6:.0f} MB: simulated in {simulated:.1f} s, the same bytes "
        f"written in {written:.2f} s: ratio {simulated / written:.0f}, "
        f"{1e3 * simulated / images:.2f} ms an image"
    )


if __name__ == "__main__":
    main()
