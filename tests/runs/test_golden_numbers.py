"""Numbers do not move unless a version says so.

``golden_numbers.json`` has a few numbers of the harness (samplers, training loop, inference,
probe), by ``NUMERICS``, and of every method, by its ``version``. A number that moves by more than
:data:`TOLERANCE` fails here: raise ``bench.core.version.NUMERICS`` if the harness's numbers move on
purpose, or the ``version`` in a method's ``META``, and write the file again::

    GOLDEN=write python -m pytest tests/runs/test_golden_numbers.py
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch.optim import SGD

from bench.core.access import Access
from bench.core.registry import Registry
from bench.core.version import NUMERICS
from bench.data.views import make_partition
from bench.scoring.probe import fit_probe
from bench.training import samplers
from tests.helpers import tiny
from tests.helpers.extras import skip_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from bench.api import Opened

FILE = Path(__file__).with_name("golden_numbers.json")
TOLERANCE = 1e-3
"""Absolute, and relative to the largest number of a list: processors and BLAS libraries differ in
the last digits of float32, which six steps of training enlarge to about 1e-5."""
WRITE = os.environ.get("GOLDEN") == "write"
METHODS = [entry.name for entry in Registry().entries("method")]

Numbers = dict[str, list[float]]


def spread(X: ArrayLike) -> list[float]:
    """Return numbers that neither the sign nor the order of features changes."""
    matrix = np.asarray(X, dtype=np.float64)
    sd = np.sort(matrix.std(axis=0))[::-1]
    return [float(v) for v in (np.sqrt((matrix**2).mean()), *sd[:3], sd.mean())]


def of_samplers(folder: Path) -> Numbers:
    group = np.repeat(np.arange(3), [5, 9, 17]).astype(np.int64)
    controls = np.arange(31) % 4 == 0

    def rows(sampler: samplers.Sampler) -> list[float]:
        return [float(row) for step in (0, 1, 5) for row in sampler(step)[0]]

    return {
        "mixed": rows(samplers.mixed(group, 7, 3)),
        "independent": rows(samplers.batchwise(group, 6, 3, per_batch=2)),
        "covering": rows(samplers.batchwise(group, 6, 3, how="covering")),
        "controls": rows(
            samplers.batchwise(group, 6, 3, rows="controls", controls=controls, per_batch=2)
        ),
    }


def of_loop(folder: Path) -> Numbers:
    numbers: Numbers = {}
    for name, images in (("table", False), ("images", True)):
        bench = tiny.Bench(folder / name)
        where = tiny.task(tiny.opened(images=images))
        [record] = bench.run("erm", where, augment="none" if not images else "flips-rotations")
        result = bench.store.find(record["run_id"])
        assert result is not None
        curves = result.curves()
        assert curves is not None
        numbers[f"{name} loss"] = curves[curves["name"] == "loss"]["value"].tolist()
        weights = bench.artifacts("weights.safetensors")
        fit = bench.store.read_artifact("fit", weights[0].parent.name)
        assert fit is not None
        sums = [
            np.abs(v.astype(np.float64)).mean() for _, v in sorted(fit.arrays.items()) if v.size
        ]
        numbers[f"{name} weights"] = [float(v) for v in sums]
    return numbers


def of_inference(folder: Path) -> Numbers:
    numbers: Numbers = {}
    for name, images in (("table", False), ("images", True)):
        bench = tiny.Bench(folder / name)
        bench.run("erm,adabn", tiny.task(tiny.opened(images=images)))
        for file in bench.artifacts("logits.npy"):
            key = json.loads((file.parent / "meta.json").read_text())["train"]
            if key is not None:
                numbers.setdefault(f"{name} logits", []).extend(spread(np.load(file)))
                numbers.setdefault(f"{name} profiles", []).extend(
                    spread(np.load(file.with_name("embeddings.npy")))
                )
    return {key: sorted(values) for key, values in numbers.items()}


def of_probe(folder: Path) -> Numbers:
    task = tiny.task()
    [fold] = task.folds
    data = task.opened
    partition = make_partition(data, fold.train, task.classes, "plate", "train", 0, labels=True)
    view = partition.view(Access.NONE, batches=True, labels=True)
    known = view.y >= 0
    assert view.X is not None
    probe = fit_probe(view.X[known], view.y[known], partition.batch[known], len(task.classes), 0)
    scores = probe.scores(view.X)
    return {"C": [probe.C], "scores": [float(v) for v in scores[:8].ravel()]}


HARNESS: dict[str, Callable[[Path], Numbers]] = {
    "samplers": of_samplers,
    "loop": of_loop,
    "inference": of_inference,
    "probe": of_probe,
}


VALUES: dict[str, dict[str, Any]] = {
    "arm-bn": {"per_batch": 2},
    "ben-multi": {"per_batch": 2},
    "plate-position": {"min_rows": 4},
    "scanorama": {"knn": 5},
}
"""Parameters of methods that the tiny data set is too small for."""
EXPOSED = {"regress-out": ("count",), "plate-position": ("position",)}
"""Columns of the split that a method needs."""


def data(images: bool) -> Opened:
    """Return the tiny data set with two rows per well, its images enlarged."""
    index, X = tiny.frame(per_class=6)
    number = index["position"].str[1:].astype(int) // 2
    index["well"] = index["plate"] + "/" + number.astype(str)
    opened = tiny.opened(images=images, index=index, X=X)
    opened = dataclasses.replace(opened, columns={**opened.columns, "cell_count": "count"})
    if not images:
        return opened
    pixels = opened.source.read(np.arange(len(index)))
    return dataclasses.replace(
        opened, source=tiny.Images(pixels.repeat(3, axis=2).repeat(3, axis=3))
    )


def of_method(name: str, folder: Path) -> Numbers:
    """Return numbers of a method on the tiny table, or on the tiny images if it needs images."""
    bench = tiny.Bench(folder)
    for images in (False, True):
        values = {name: VALUES[name]} if name in VALUES else {}
        task = tiny.task(data(images), expose=EXPOSED.get(name, ()))
        [record] = bench.run(name, task, values=values)
        if record["status"] == "ok":
            break
    assert record["status"] == "ok", record["reason"]
    assert record["undeclared_adaptation"] is None  # packaged methods repeat their bits
    result = bench.store.find(record["run_id"])
    assert result is not None
    predictions = result.predictions()
    assert predictions is not None
    scores = np.stack(predictions["scores"].to_list()).astype(np.float64)
    numbers = {"scores": [float(v) for v in (*scores.mean(axis=0), (scores**2).mean())]}
    last = record["spec"]["folds"][0]["stages"][-1]
    artifact = bench.store.read_artifact("apply", last["apply_id"])
    if artifact is not None:
        numbers["profiles"] = spread(artifact.arrays["embeddings"])
    return numbers


def compare(group: str, key: str, numbers: Numbers, bump: str) -> None:
    """Compare numbers with those on file, or write them."""
    golden: dict[str, dict[str, Numbers]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    if WRITE:
        golden.setdefault(group, {})[key] = {
            name: [float(f"{v:.6g}") for v in values] for name, values in numbers.items()
        }
        FILE.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return
    assert key in golden[group], f"no golden numbers of {key}: see the top of {__file__}"
    wanted = golden[group][key]
    assert numbers.keys() == wanted.keys()
    for name, values in numbers.items():
        scale = max(1.0, *map(abs, wanted[name]))
        np.testing.assert_allclose(
            values, wanted[name], rtol=0, atol=TOLERANCE * scale, err_msg=f"{key}, {name}: {bump}"
        )


@pytest.mark.parametrize("what", HARNESS)
def test_numbers_of_the_harness(what: str, tmp_path: Path) -> None:
    compare("harness", f"{what} {NUMERICS}", HARNESS[what](tmp_path), "raise NUMERICS if meant")


@pytest.mark.skipif(WRITE, reason="the file is being written")
@pytest.mark.parametrize(
    "where, broken",
    [
        ("loop.learning_rate", lambda step, total, recipe: 0.5 * recipe["lr"]),
        ("loop._optimiser", lambda model, recipe: SGD(model.parameters(), lr=0.0)),
    ],
)
def test_a_broken_loop_moves_the_golden_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, broken: Callable[..., Any]
) -> None:
    monkeypatch.setattr(f"bench.training.{where}", broken)
    with pytest.raises(AssertionError):
        compare("harness", f"loop {NUMERICS}", of_loop(tmp_path), "as it must")


@pytest.mark.parametrize("name", METHODS)
def test_numbers_of_a_method(name: str, tmp_path: Path) -> None:
    if name in ("harmony2", "mnn", "scvi", "seurat-rpca", "sysvi"):
        pytest.skip("numbers of other libraries are compared with them in test_joint.py")
    skip_without(name)
    version = Registry().entry("method", name).meta["version"]
    compare(
        "methods",
        f"{name} {version}",
        of_method(name, tmp_path),
        "raise its version if it is meant",
    )
