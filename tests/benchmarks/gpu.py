"""Measure training and inference on a CUDA device.

``python -m tests.benchmarks.gpu [--json FILE]``, from the root of a checkout. Takes under 8
minutes, downloads nothing and writes only to a temporary folder. It measures

- how far logits of erm, ben, adabn and dann differ between CPU and CUDA, on simulated COOS-7,
  for weights trained on the CPU, and balanced accuracy after training on each device;
- whether two trainings on the device give the same bits;
- images per second of ResNet-50 on 256 x 256 x 6 images of the size of RxRx1's with the paper
  recipe: the training loop of labshift, a bare loop on batches that are already on the device, and
  a plain ``DataLoader`` loop with per-image scaling on the CPU and ``loss.item()`` in each step;
- inference on a plate of 5,000 images with the statistics of the plate, against one forward pass;
- the largest device memory of each.

Without CUDA it says so and ends with exit code 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.api import Context, Samples, make_params
from bench.core.samples import new_handle
from bench.training.determinism import reproducible
from bench.training.recipes import resolve

SHAPE = (6, 256, 256)
BATCH = 75
STEPS, WARM = 70, 20
N_CLASSES = 1139


class Mapped:
    """Rows of a memory-mapped array."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape[1:], pixels.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.pixels[rows]


def method_class(name: str) -> type:
    """Return the class of a packaged method."""
    import importlib

    module = importlib.import_module(f"bench.methods.{name.replace('-', '_')}")
    return getattr(module, module.META["class"])


def view(pixels: np.ndarray, y: np.ndarray, batch: np.ndarray, n_classes: int) -> Samples:
    """Return a view of images in memory or mapped from disk."""
    n = len(pixels)
    return Samples(
        ids=np.array([f"i{k}" for k in range(n)]),
        y=y.astype(np.int64),
        batch=batch,
        n_classes=n_classes,
        shape=tuple(pixels.shape[1:]),
        _controls=np.zeros(n, bool),
        _handle=new_handle(Mapped(pixels), np.arange(n)),
    )


def plates(folder: Path, n: int, per_plate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write noise with an offset for each plate, ``(n, 6, 256, 256)`` uint8, and map it."""
    rng = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(folder / f"{n}.npy", "w+", np.uint8, (n, *SHAPE))
    tile = rng.integers(0, 160, (64, *SHAPE), dtype=np.uint8)
    plate = np.arange(n) // per_plate
    for start in range(0, n, 64):
        stop = min(start + 64, n)
        offset = (plate[start:stop] * 7 % 60).astype(np.uint8)
        pixels[start:stop] = tile[: stop - start] + offset[:, None, None, None]
    return pixels, rng.integers(0, N_CLASSES, n), np.char.add("p", plate.astype(str))


def peak() -> int:
    """Return the largest device memory in bytes since the last call."""
    value = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return value


class Clock:
    """Images per second between two steps, from the progress calls of a training."""

    def __init__(self) -> None:
        self.began = 0.0

    def __call__(self, done: int, total: int) -> None:
        if done == WARM:
            torch.cuda.synchronize()
            self.began = time.perf_counter()

    def rate(self) -> float:
        torch.cuda.synchronize()
        return (STEPS - WARM) * BATCH / (time.perf_counter() - self.began)


def paper(**changed: object) -> dict[str, object]:
    """Return the paper recipe at ``STEPS`` steps, from random weights."""
    values = {"epochs": 0, "steps": STEPS, "batch_size": BATCH, "weights": "none", **changed}
    return resolve("paper", "images", values)


def ours(name: str, train: Samples, recipe: dict[str, object]) -> tuple[float, object]:
    """Train a method with labshift's loop."""
    cls = method_class(name)
    method, clock = cls(make_params(name, cls.Params, {})), Clock()
    context = Context(seed=0, recipe=recipe, device="cuda", progress=clock)
    method.fit(train, None, context)
    return clock.rate(), method


def network() -> nn.Module:
    """Return torchvision's ResNet-50 for six channels."""
    import torchvision

    net = torchvision.models.resnet50(num_classes=N_CLASSES)
    net.conv1 = nn.Conv2d(6, 64, 7, 2, 3, bias=False)
    return net.cuda().to(memory_format=torch.channels_last).train()


def step(net: nn.Module, optimiser: torch.optim.Optimizer, x, y, bfloat16: bool) -> torch.Tensor:
    """Run one training step and return the loss."""
    with torch.autocast("cuda", torch.bfloat16, enabled=bfloat16):
        out = net(x)
    loss = F.cross_entropy(out.float(), y)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss


def bare(bfloat16: bool, deterministic: bool) -> float:
    """Train on batches that are already on the device, scaled: images per second."""
    x = [torch.randn(BATCH, *SHAPE, device="cuda") for _ in range(8)]
    x = [part.contiguous(memory_format=torch.channels_last) for part in x]
    y = [torch.randint(N_CLASSES, (BATCH,), device="cuda") for _ in range(8)]

    def run() -> float:
        net = network()
        optimiser = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-5, fused=True)
        began = 0.0
        for k in range(STEPS):
            if k == WARM:
                torch.cuda.synchronize()
                began = time.perf_counter()
            step(net, optimiser, x[k % 8], y[k % 8], bfloat16)
        torch.cuda.synchronize()
        return (STEPS - WARM) * BATCH / (time.perf_counter() - began)

    if deterministic:
        with reproducible(0, "cuda", SHAPE):
            return run()
    torch.backends.cudnn.benchmark = True
    try:
        return run()
    finally:
        torch.backends.cudnn.benchmark = False


class Plain(torch.utils.data.Dataset):
    """Images one at a time, scaled and flipped on the CPU."""

    def __init__(self, pixels: np.ndarray, y: np.ndarray) -> None:
        self.pixels, self.y = pixels, y

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        x = torch.from_numpy(np.array(self.pixels[k])).float()
        x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
        x = torch.rot90(x, int(torch.randint(4, ())), (1, 2))
        return (x.flip(2) if torch.rand(()) < 0.5 else x), int(self.y[k])


def loader(pixels: np.ndarray, y: np.ndarray, bfloat16: bool) -> float:
    """Train as research code commonly does: images per second."""
    workers = min(os.cpu_count() or 1, 8)
    data = torch.utils.data.DataLoader(
        Plain(pixels, y), BATCH, shuffle=True, num_workers=workers, pin_memory=True, drop_last=True
    )
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-5)
    done, began = 0, 0.0
    while True:
        for x, y_batch in data:
            x = x.cuda(non_blocking=True).contiguous(memory_format=torch.channels_last)  # noqa: PLW2901 - the copy replaces the batch
            step(net, optimiser, x, y_batch.cuda(non_blocking=True), bfloat16).item()
            done += 1
            if done == WARM:
                torch.cuda.synchronize()
                began = time.perf_counter()
            if done == STEPS:
                torch.cuda.synchronize()
                return (STEPS - WARM) * BATCH / (time.perf_counter() - began)


def throughput(folder: Path, repeats: int) -> dict[str, object]:
    """Compare the three loops, interleaved."""
    pixels, y, batch = plates(folder, 4500, 300)
    train = view(pixels, y, batch, N_CLASSES)
    result: dict[str, object] = {}
    for precision in ("float32", "bfloat16"):
        half = precision == "bfloat16"
        rates: dict[str, list[float]] = {}
        for _ in range(repeats):
            for name in ("erm", "ben"):
                rates.setdefault(name, []).append(ours(name, train, paper(precision=precision))[0])
            rates.setdefault("bare loop", []).append(bare(half, deterministic=True))
            rates.setdefault("bare loop, any kernel", []).append(bare(half, deterministic=False))
        rates["DataLoader loop"] = [loader(pixels, y, half)]
        medians = {name: statistics.median(values) for name, values in rates.items()}
        result[precision] = {
            "images_per_second": {name: [round(v, 1) for v in r] for name, r in rates.items()},
            "ben_to_bare": medians["ben"] / medians["bare loop"],
            "erm_to_bare": medians["erm"] / medians["bare loop"],
            "ben_to_dataloader": medians["ben"] / medians["DataLoader loop"],
            "peak_bytes": peak(),
        }
        print(precision, json.dumps(result[precision]), flush=True)
    return result


def same_bits(folder: Path) -> dict[str, bool]:
    """Train twice and compare the weights."""
    pixels, y, batch = plates(folder, 600, 150)
    train = view(pixels, y, batch, N_CLASSES)
    result = {}
    for precision in ("float32", "bfloat16"):
        states = []
        for _ in range(2):
            cls = method_class("ben")
            method = cls(make_params("ben", cls.Params, {}))
            recipe = paper(steps=12, precision=precision)
            method.fit(train, None, Context(seed=0, recipe=recipe, device="cuda"))
            states.append(method.state())
        result[precision] = all(np.array_equal(states[0][k], states[1][k]) for k in states[0])
    print("same bits in two trainings:", result, flush=True)
    return result


def whole_plate(folder: Path, n: int) -> dict[str, object]:
    """Apply BEN to one plate of ``n`` images; compare with one forward pass over the same rows."""
    pixels, y, batch = plates(folder, 600, 150)
    _, method = ours("ben", view(pixels, y, batch, N_CLASSES), paper())
    erm_cls = method_class("erm")
    plain = erm_cls.from_state(make_params("erm", erm_cls.Params, {}), method.state())
    method.to("cuda")
    plain.to("cuda")
    pixels, y, _ = plates(folder, n, n)
    plate = view(pixels, y, np.full(n, "p0"), N_CLASSES)
    plate = plate.take(np.arange(n))
    peak()
    seconds = {}
    for name, fitted in (("one forward pass", plain), ("ben", method)):
        began = time.perf_counter()
        fitted.apply(plate)
        torch.cuda.synchronize()
        seconds[name] = round(time.perf_counter() - began, 2)
    result = {
        "images": n,
        "seconds": seconds,
        "ratio": seconds["ben"] / seconds["one forward pass"],
        "peak_bytes": peak(),
    }
    print("whole plate:", json.dumps(result), flush=True)
    return result


def agreement(folder: Path) -> dict[str, object]:
    """Compare CPU and CUDA on simulated COOS-7, small network, 60 steps."""
    os.environ.setdefault("BENCH_CACHE", str(folder / "cache"))
    from bench.core.registry import Registry
    from bench.data.opening import open_splits

    opened = open_splits(["coos7/test1"], Registry(), "simulated", {}, lambda line: None)[0].opened
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(opened.index), 3000, replace=False))
    pixels = opened.source.read(rows)
    index = opened.index.iloc[rows]
    label = next(c for c in ("label", "y", "class") if c in index)
    y = np.unique(index[label].astype(str), return_inverse=True)[1]
    batch = index["plate"].astype(str).to_numpy(str)
    n_classes = int(y.max()) + 1
    train = view(pixels[:2000], y[:2000], batch[:2000], n_classes)
    chosen = batch[2000] == batch[2000:]
    test = view(pixels[2000:][chosen], y[2000:][chosen], batch[2000:][chosen], n_classes)
    recipe = resolve("default", "images", {"steps": 60})
    result: dict[str, object] = {}
    for name in ("erm", "ben", "adabn", "dann"):
        cls = method_class(name)
        params = make_params(name, cls.Params, {})
        logits, accuracy = {}, {}
        for device in ("cpu", "cuda"):
            method = cls(params)
            method.fit(train, None, Context(seed=0, recipe=recipe, device=device))
            out = method.apply(test)
            accuracy[device] = float((out.logits.argmax(1) == test.y).mean())
            logits[f"trained on {device}"] = out.logits
            if device == "cpu":
                other = cls.from_state(params, method.state())
                other.to("cuda")
                logits["same weights on cuda"] = other.apply(test).logits
        reference = logits["trained on cpu"]
        scale = float(np.abs(reference).max())
        result[name] = {
            "same_weights_max_difference": float(
                np.abs(logits["same weights on cuda"] - reference).max() / scale
            ),
            "trained_max_difference": float(
                np.abs(logits["trained on cuda"] - reference).max() / scale
            ),
            "accuracy": accuracy,
        }
        print(name, json.dumps(result[name]), flush=True)
    return result


def main() -> None:
    """Run all parts and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="images of the plate")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device here")
        return
    began = time.perf_counter()
    figures: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "same_bits": lambda: same_bits(Path(folder)),
            "throughput": lambda: throughput(Path(folder), chosen.repeats),
            "agreement": lambda: agreement(Path(folder)),
            "whole_plate": lambda: whole_plate(Path(folder), chosen.images),
        }
        for name, part in parts.items():
            start = time.perf_counter()
            try:
                figures[name] = part()
            except Exception as error:  # noqa: BLE001 - the failure is a line of the table
                figures[name] = {"error": f"{type(error).__name__}: {error}"}
                print(name, "failed:", figures[name], flush=True)
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
            figures["seconds"] = round(time.perf_counter() - began, 1)
            if chosen.json:
                chosen.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
