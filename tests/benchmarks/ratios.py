"""Ratios to what somebody would use instead, measured in turns in one run.

    python -m tests.benchmarks.ratios [GROUP]...

``loop``      the training loop against a bare torch loop that does the same work, and against one
              on tensors that are ready, for a small network and ResNet-18
``end``       a run from PNG files to scores against a plain loop with a DataLoader
``neighbour`` a training next to a busy process, and next to one per core, against alone
``plate``     BEN on a whole plate against one forward pass
``whitening`` sphering and TVN against pycytominer and against one pass over memory
``harmony``   against harmonypy
``combat``    against scanpy
``metrics``   mAP against copairs, LISI against harmonypy
``start``     ``--help``, importing the package and a run that is on disk, against Python alone
``boards``    boards of 100 to 10,000 records against reading their index

Times are processor times on one thread, so that a busy machine matters little. Writes
``docs/benchmarks/ratios.json``; other groups in it are kept.
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks._measure import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
WARM = 3
"""Steps of a training that are not measured: caches, and the preparation of the data."""
BYTECODE = tempfile.TemporaryDirectory()
SIZES = {"small network": (2, 64, 64), "ResNet-18": (3, 96, 96)}


# --------------------------------------------------------------------------- training


def _images(shape: tuple[int, ...], n: int = 640) -> tuple[Any, Any]:
    from tests.helpers import trained

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (n, *shape), dtype=np.uint8)
    fields = trained._described(n, rng, 4, 2)
    fields |= {"y": rng.integers(3, size=n), "_controls": np.zeros(n, bool)}
    from bench.api import Samples
    from bench.core.samples import new_handle

    handle = new_handle(trained.Source(pixels), np.arange(n))
    return pixels, Samples(**fields, shape=shape, _handle=handle)


def _network(described: str, shape: tuple[int, ...], recipe: Any) -> Any:
    import torch
    from torch import nn

    from bench.training.architectures import build

    torch.manual_seed(0)
    body, head, _ = build(described, shape, 3, recipe, weights="none")
    return nn.Sequential(body, head).to(memory_format=torch.channels_last).train()


def loop(figures: Figures) -> None:
    """Compare the loop with a bare one that does the same work, and one on ready tensors."""
    import torch
    from torch.nn.functional import cross_entropy

    from bench.training.recipes import resolve
    from tests.helpers import trained

    for label, shape in SIZES.items():
        described = "small-resnet" if label == "small network" else "resnet18"
        steps, size = (20, 64) if described == "small-resnet" else (8, 32)
        recipe = resolve(
            "default",
            "images",
            {"steps": steps, "batch_size": size, "network": described, "weights": "none"},
        )
        pixels, samples = _images(shape)
        y = torch.from_numpy(samples.y)

        def ours(recipe: Any = recipe, samples: Any = samples) -> float:
            from bench.api import Context, make_params

            began = [0.0]

            def progress(done: int, total: int) -> None:
                if done == WARM:
                    began[0] = time.process_time()

            cls = trained.method_class("erm")
            method = cls(make_params("erm", cls.Params, {}))
            method.fit(samples, None, Context(seed=0, recipe=recipe, progress=progress))
            return time.process_time() - began[0]

        def batch(step: int, pixels: Any = pixels, size: int = size, y: Any = y) -> tuple[Any, Any]:
            idx = np.random.default_rng(step).permutation(len(pixels))[:size]
            x = torch.from_numpy(pixels[idx]).float()
            sd, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
            x = (x - mean) / sd
            for axis in (3, 2):
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(axis), x)
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.transpose(2, 3), x)
            return x.contiguous(memory_format=torch.channels_last), y[idx]

        def train(
            batches: Callable[[int], tuple[Any, Any]],
            described: str = described,
            shape: tuple[int, ...] = shape,
            recipe: Any = recipe,
            steps: int = steps,
        ) -> float:
            began = 0.0
            net = _network(described, shape, recipe)
            optimiser = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-5)
            for step in range(steps):
                if step == WARM:
                    began = time.process_time()
                x, labels = batches(step)
                loss = cross_entropy(net(x), labels)
                float(loss.detach())
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            return time.process_time() - began

        ready = [batch(k) for k in range(4)] * (steps // 4)

        def on_ready(train: Any = train, ready: Any = ready) -> float:
            return train(ready.__getitem__)

        ours()
        note = f"{steps} steps of {size} images {shape}, one thread"
        goal = 0.95
        figures.ratio(
            "loop",
            f"{label}: bare loop with the same work / labshift",
            ours,
            lambda train=train, batch=batch: train(batch),
            goal=goal,
            invert=True,
            note=note,
            repeats=3,
        )
        figures.ratio(
            "loop",
            f"{label}: loop on ready tensors / labshift",
            ours,
            on_ready,
            invert=True,
            note=note,
            repeats=3,
        )


def neighbour(figures: Figures) -> None:
    """Compare the rate of a training next to busy processes with its rate alone, by wall time."""
    from bench.api import Context, make_params
    from bench.training.recipes import resolve
    from tests.helpers import trained

    shape, steps, size = (2, 64, 64), 40, 64
    recipe = resolve("default", "images", {"steps": steps, "batch_size": size})
    _, samples = _images(shape)

    def train() -> float:
        began = [0.0]

        def progress(done: int, total: int) -> None:
            if done == WARM:
                began[0] = time.perf_counter()

        cls = trained.method_class("erm")
        method = cls(make_params("erm", cls.Params, {}))
        method.fit(samples, None, Context(seed=0, recipe=recipe, progress=progress))
        return time.perf_counter() - began[0]

    def next_to(n: int) -> float:
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(n)]
        try:
            time.sleep(0.5)
            return train()
        finally:
            for process in busy:
                process.kill()
                process.wait()

    train()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for n in dict.fromkeys((1, cores or 1)):
        figures.ratio(
            "neighbour",
            f"rate of a training next to {n} busy process{'es' * (n > 1)} / alone",
            lambda n=n: next_to(n),
            train,
            goal=0.5,
            invert=True,
            note=f"{steps} steps of {size} images {shape}, the default of one thread, wall time, "
            f"{cores} cores",
            clock=time.perf_counter,
        )


def plate(figures: Figures) -> None:
    """Compare inference with the statistics of a plate with one forward pass."""
    import torch

    from bench.api import Samples, make_params
    from bench.core.samples import new_handle
    from bench.training import streaming
    from tests.helpers import trained

    n, shape = 200, (3, 256, 256)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (n, *shape), dtype=np.uint8)
    small = {"network": "resnet18", "steps": 1, "batch_size": 4, "weights": "none"}
    _, few = _images(shape, 16)
    ben = trained.fitted("ben", few, small)
    cls = trained.method_class("erm")
    erm = cls.from_state(make_params("erm", cls.Params, {}), ben.state())
    fields = {
        "ids": np.array([f"i{k}" for k in range(n)]),
        "y": np.full(n, -1, np.int64),
        "batch": np.full(n, "p"),
        "n_classes": 3,
        "_controls": np.zeros(n, bool),
    }
    view = Samples(**fields, shape=shape, _handle=new_handle(trained.Source(pixels), np.arange(n)))
    torch.set_num_threads(1)

    def in_file() -> object:
        """Apply with as little memory as if no activation of a waiting piece fitted into it."""
        here, free = streaming.available_bytes, iter([1 << 50])
        streaming.available_bytes = lambda device: next(free, 0)
        try:
            return ben.apply(view)
        finally:
            streaming.available_bytes = here

    for what, call in (("", lambda: ben.apply(view)), (" beyond memory", in_file)):
        figures.ratio(
            "plate",
            f"BEN on a plate{what} / one forward pass",
            call,
            lambda: erm.apply(view),
            goal=2.5,
            repeats=2,
            note=f"{n} images {shape}, ResNet-18, one thread"
            + (", all waiting activations in a file" if what else ""),
        )


def end(figures: Figures) -> None:
    """Compare a run from PNG files to scores with a plain loop that trains and predicts."""
    import imagecodecs
    import pandas as pd
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader, Dataset

    from bench.training.recipes import resolve

    n, size, steps = 800, 128, 60
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for k in range(n):
            image = rng.integers(0, 200, (size, size, 3), dtype=np.uint8)
            (folder / f"{k}.png").write_bytes(imagecodecs.png_encode(image))
            plate = f"p{k % 4}"
            rows.append({"id": f"i{k}", "file": f"{k}.png", "label": "abc"[k % 3], "plate": plate})
        frame = pd.DataFrame(rows)
        frame.to_csv(folder / "index.csv", index=False)
        (folder / "dataset.toml").write_text(
            'name = "pngs"\nkind = "images"\ntable = "index.csv"\nid = ["id"]\nlabel = "label"\n'
            'images = ["file"]\nchannels = [0, 1, 2]\nbatches = ["plate"]\n\n'
            '[splits.p3]\ntest = { plate = ["p3"] }\n'
        )
        recipe = resolve("default", "images", {"steps": steps, "weights": "none"})
        train_rows = frame[frame["plate"] != "p3"].reset_index(drop=True)
        test_rows = frame[frame["plate"] == "p3"].reset_index(drop=True)

        class Files(Dataset):  # type: ignore[type-arg]
            def __init__(self, table: Any) -> None:
                self.table = table

            def __len__(self) -> int:
                return len(self.table)

            def __getitem__(self, k: int) -> tuple[Any, int]:
                data = (folder / self.table["file"][k]).read_bytes()
                x = torch.from_numpy(imagecodecs.png_decode(data)).permute(2, 0, 1).float()
                x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
                return x, "abc".index(self.table["label"][k])

        def plain() -> None:
            net = _network("small-resnet", (3, size, size), recipe)
            optimiser = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-5)
            done = 0
            while done < steps:
                for x, y in DataLoader(Files(train_rows), 64, shuffle=True, drop_last=True):
                    x = x.contiguous(memory_format=torch.channels_last)  # noqa: PLW2901 - another layout
                    loss = cross_entropy(net(x), y)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    float(loss.detach())
                    done += 1
                    if done == steps:
                        break
            net.eval()
            with torch.no_grad():
                for table in (train_rows, test_rows):
                    for x, _ in DataLoader(Files(table), 64):
                        net(x)

        def ours(cache: str = "cold") -> None:
            count[0] += cache == "cold"
            command = [
                *(sys.executable, "-m", "bench", "run", "-m", "erm", "--no-controls"),
                *("-s", f"{folder / 'dataset.toml'}:p3", "--seeds", "1", "--device", "cpu"),
                *("--set", f"recipe.steps={steps}", "--if-exists", "rerun"),
                *("--results", str(folder / "results")),
            ]
            _run(command, BENCH_CACHE=str(folder / f"cache-{count[0]}"))

        count = [0]
        note = (
            f"{n} PNGs of {size} x {size} x 3, {steps} steps of 64, then all images once. Ours "
            "also starts Python, checks the data, fits the probe and writes the record"
        )
        for cache in ("cold", "warm"):
            figures.ratio(
                "end",
                f"a run, {cache} cache / plain DataLoader loop",
                lambda cache=cache: ours(cache),
                plain,
                goal=1.0,
                repeats=2,
                note=note,
                clock=_processor_with_children,
            )


def _run(command: list[str], **variables: str) -> None:
    """Run a command with bytecode in a cache, as installed packages have it; show its errors."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": BYTECODE.name, **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=environment, capture_output=True, cwd=ROOT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")


def _processor_with_children() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


# --------------------------------------------------------------------------- profiles


def whitening(figures: Figures) -> None:
    """Compare sphering and TVN with pycytominer and with passes over memory."""
    import pandas as pd
    from pycytominer.operations.transform import Spherize

    from tests.benchmarks.profile_methods import data, whole

    samples = data(1, 1.0, 8000, 300)
    table = pd.DataFrame(samples.X.astype(np.float64))

    def theirs() -> None:
        Spherize(epsilon=1e-6, method="ZCA-cor", return_numpy=True).fit(table).transform(table)

    ours = whole("sphering", samples, regularisation=0)
    figures.ratio("whitening", "sphering / pycytominer's Spherize", ours, theirs, goal=1.0)
    figures.rows[-1]["note"] = "8,000 x 300, all rows are controls"
    samples = data(260, 32 / 384, 100_000, 300)

    out = np.empty_like(samples.X)

    def one_pass() -> None:
        np.multiply(samples.X, np.float32(2), out=out)

    def product() -> None:
        samples.X.T @ samples.X

    square = np.eye(300, dtype=np.float32)

    def multiplied() -> None:
        np.matmul(samples.X, square, out=out)

    for name, params in (("sphering", {}), ("tvn", {})):
        call = whole(name, samples, **params)
        figures.ratio(
            "whitening",
            f"{name} / reading and writing the table once",
            call,
            one_pass,
            note="100,000 x 300, 260 plates, 32 of 384 wells are controls",
        )
        figures.ratio(
            "whitening",
            f"{name} / one float32 product of the table with itself",
            call,
            product,
            goal=3.5,
            note="100,000 x 300, 260 plates, 32 of 384 wells are controls",
        )
        figures.ratio(
            "whitening",
            f"{name} / multiplying the table by a 300 x 300 matrix",
            call,
            multiplied,
            note="the part that no whitening can leave out",
        )


def harmony(figures: Figures) -> None:
    """Compare Harmony with a direct call of harmonypy.

    The call of scanpy 1.11 fails with harmonypy 2, which returns the transposed matrix.
    """
    import harmonypy
    from bench.methods._harmony import HarmonyParams, canonical, run_harmony

    from bench.core.moments import Components
    from tests.benchmarks.profile_methods import data

    samples = data(6, 0.1, 8000, 300)
    order = canonical(samples.X, samples.batch)
    Z = Components.of(samples.X, 50, "harmony").scores(samples.X[order.rows])
    codes = {"batch": order.codes}

    def direct() -> None:
        harmonypy.run_harmony(Z.T, codes, "batch", verbose=False, random_state=0, ncores=1)

    def ours() -> None:
        run_harmony(Z, order.codes, HarmonyParams(), 0)

    note = "8,000 x 50 components, 6 batches"
    figures.ratio("harmony", "harmony / harmonypy", ours, direct, goal=1.1, note=note, repeats=3)


def combat(figures: Figures) -> None:
    """Compare ComBat with scanpy's."""
    import anndata
    import scanpy as sc

    from tests.benchmarks.profile_methods import data, whole

    samples = data(8, 0.1, 10_000, 300)

    def theirs() -> None:
        adata = anndata.AnnData(samples.X.astype(np.float64))
        adata.obs["batch"] = samples.batch
        sc.pp.combat(adata, "batch")

    figures.ratio(
        "combat",
        "combat / scanpy's",
        whole("combat", samples),
        theirs,
        goal=1.0,
        repeats=3,
        note="10,000 x 300, 8 batches; ours fits on all rows and is applied batch by batch",
    )


def metrics(figures: Figures) -> None:
    """Compare mAP with copairs and LISI with harmonypy."""
    import pandas as pd
    from copairs import map as copairs_map
    from harmonypy import compute_lisi

    from bench.metrics.ilisi import ilisi
    from bench.metrics.map import average_precisions

    rng = np.random.default_rng(0)
    n = 2000
    X = rng.normal(size=(n, 100)).astype(np.float32)
    label, batch = np.arange(n) // 10, np.arange(n) % 5
    meta = pd.DataFrame({"what": label.astype(str), "where": batch.astype(str)})

    def copairs() -> None:
        copairs_map.average_precision(
            meta,
            X.astype(np.float64),
            pos_sameby=["what"],
            pos_diffby=["where"],
            neg_sameby=[],
            neg_diffby=["what"],
            progress_bar=False,
        )

    figures.ratio(
        "metrics",
        "mAP / copairs",
        lambda: average_precisions(X, label=label.astype(str), batch=batch.astype(str)),
        copairs,
        goal=1.0,
        repeats=3,
        note="2,000 x 100, 200 treatments of 10 rows",
    )
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    figures.ratio(
        "metrics",
        "iLISI / harmonypy",
        lambda: ilisi(X, batch=batch.astype(str)),
        lambda: compute_lisi(unit, meta, ["where"]),
        goal=1.0,
        repeats=3,
        note="2,000 x 100, 5 batches; both find the neighbours",
    )


# --------------------------------------------------------------------------- the command


def start(figures: Figures) -> None:
    """Compare starting the command with starting Python and importing NumPy."""
    with tempfile.TemporaryDirectory() as folder:
        from tests.helpers import tiny

        table = tiny.write_table(Path(folder) / "data")
        run = ["-m", "bench", "run", "-m", "identity", "-s", f"{table}:plates", "--no-controls"]
        run += ["--results", f"{folder}/results"]

        def python(*arguments: str) -> Callable[[], None]:
            def call() -> None:
                _run([sys.executable, *arguments], BENCH_CACHE=f"{folder}/cache")

            return call

        python(*run)()
        python("-m", "bench", "list", "methods")()
        python(*run)()  # files that are older than a second are relied on
        for what, arguments, base in (
            ("--help / Python", ["-m", "bench", "--help"], ["-c", "pass"]),
            ("list methods / Python", ["-m", "bench", "list", "methods"], ["-c", "pass"]),
            ("import bench / Python", ["-c", "import bench"], ["-c", "pass"]),
            ("a run on disk / import pandas", run, ["-c", "import pandas"]),
        ):
            figures.ratio(
                "start", what, python(*arguments), python(*base), clock=_processor_with_children
            )


def boards(figures: Figures) -> None:
    """Compare boards and the report with reading the index of the same records."""
    from tests.benchmarks.leaderboard import BOARDS, PANDAS, REPORT, fill

    for n in (100, 1000, 10_000):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            fill(root, n)

            def call(code: str, root: Path = root) -> Callable[[], None]:
                def run() -> None:
                    _run([sys.executable, "-c", code, str(root)])

                return run

            call(BOARDS)()
            for what, code, goal in (
                ("boards / reading the index with pandas", BOARDS, 3.0),
                ("report / reading the index with pandas", REPORT, None),
            ):
                figures.ratio(
                    "boards",
                    f"{n:,} records: {what}",
                    call(code),
                    call(PANDAS),
                    repeats=1 if code is REPORT else 3,
                    goal=goal,
                    note="start of Python and imports included",
                    clock=_processor_with_children,
                )


GROUPS = {
    function.__name__: function
    for function in (
        loop,
        neighbour,
        end,
        plate,
        whitening,
        harmony,
        combat,
        metrics,
        start,
        boards,
    )
}


def main(names: list[str]) -> None:
    """Measure the named groups, or all."""
    importlib.import_module("torch").set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in names or GROUPS:
        figures = Figures("ratios")
        GROUPS[name](figures)
        figures.write()


if __name__ == "__main__":
    main(sys.argv[1:])
