"""The one training loop, and the one way a trained network is applied.

Every network method goes through :func:`fit` and :func:`apply`; what makes it different are the
hooks of :class:`bench.network.NetworkMethod`. Each step is a function of the seed and its number,
so training that was interrupted goes on from its checkpoint to bit-identical weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Access, Output, Samples
from bench.errors import BenchError, NotApplicable, RunFailed
from bench.network import Batch, NetworkMethod, Statistics
from bench.networks import build
from bench.normalisation import Scope, convert, refuse_without_batch_norm, streamed
from bench.samplers import codes
from bench.seeds import generator, seed_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from bench.api import Context
    from bench.samplers import Ints, Sampler

__all__ = [
    "Fitted",
    "Model",
    "TestBatch",
    "apply",
    "classification_loss",
    "fit",
    "learning_rate",
    "restore",
    "reverse_gradient",
    "untrained_parameters",
]

CHECKPOINT_SECONDS = 5.0
"""Least time between two checkpoints; also at least 20 times what writing one takes."""

APPLY_ROWS = 256
"""Rows in one forward pass where rows do not share statistics."""

WHOLE_VALUES = 1 << 24
"""A test batch with more input values than this is normalised layer by layer, in pieces."""

PRELOAD_BYTES = 1 << 30
"""Training images up to this size are read once and kept."""

SCALING_ROWS = 2048
"""Training images that the constants of standardise=none are computed from."""


# --------------------------------------------------------------------------- the model


class Model(nn.Module):
    """A network, its head, what a method added, and the scope of its normalisation.

    Attributes
    ----------
    network
        ``(n, ...)`` -> features ``(n, d)``.
    head
        The last linear layer.
    extra
        What ``extra_modules`` returned; an empty module otherwise.
    """

    def __init__(
        self, network: nn.Module, head: nn.Linear, extra: nn.Module | None, precision: str
    ) -> None:
        super().__init__()
        self.scope = Scope()
        self.network = convert(network, self.scope)
        self.head = head
        self.extra = nn.Module() if extra is None else extra
        self.precision = precision

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the head, ``(n, d)`` float32."""
        with torch.autocast(
            x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            out = self.network(x)
        if not isinstance(out, Tensor):
            raise RunFailed(
                f"the network returned a {type(out).__name__} while training, not a tensor"
            )
        return out.float()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``(n, d)`` and logits ``(n, n_classes)``, float32."""
        features = self.features(x)
        return features, self.head(features)

    def using(self, statistics: Statistics) -> Any:
        """Return a context in which BatchNorm uses these statistics."""
        return self.scope.using(statistics)


def classification_loss(batch: Batch) -> Tensor:
    """Return the mean cross-entropy over the rows with a class; 0 if there are none."""
    assert batch.logits is not None
    labelled = batch.y >= 0
    if not bool(labelled.any()):
        return batch.logits.sum() * 0.0
    return F.cross_entropy(batch.logits[labelled], batch.y[labelled])


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * grads[0], None


def reverse_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x``; its gradient is multiplied by ``-scale`` (Ganin et al. 2016, JMLR 17:59)."""
    return _Reverse.apply(x, scale)  # type: ignore[no-any-return, no-untyped-call]


# --------------------------------------------------------------------------- rows to tensors


@dataclass
class Scaling:
    """How native rows become float32 inputs.

    Attributes
    ----------
    standardise
        ``image``: each image and channel by its own mean and standard deviation (n - 1 in the
        denominator, as published). ``plate``: by those of all rows of the row's batch. ``none``:
        by constants of the training set. A deviation of 0 counts as 1. Profiles are scaled per
        feature where images are per channel, with n in the denominator.
    mean, sd
        ``(C,)`` or ``(d,)`` float32 constants of the training set; used with ``none``.
    """

    standardise: str
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    def __call__(self, x: Tensor, given: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return ``x`` standardised; ``given`` are ``(k or 1, C)`` statistics for ``plate``."""
        tail = (1,) * (x.dim() - 2)
        if self.standardise == "image" and x.dim() == 4:
            sd, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
            return (x - mean) / torch.where(sd > 0, sd, torch.ones_like(sd))
        if self.standardise == "plate":
            if given is None:
                raise RunFailed("standardise=plate was given no statistics of the plate")
            mean, sd = given
        else:
            mean = torch.from_numpy(self.mean).to(x.device)[None]
            sd = torch.from_numpy(self.sd).to(x.device)[None]
        return (x - mean.view(*mean.shape, *tail)) / sd.view(*sd.shape, *tail)


def _as_float(rows: NDArray[Any], device: str) -> Tensor:
    """Move native rows to the device and make them float32 there."""
    if rows.dtype == np.uint16:  # not every build of torch converts it
        rows = rows.astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device).float()


def _channel_moments(
    read: Callable[[Ints], NDArray[Any]], idx: Ints, chunk: int = 512
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation per channel or feature over the rows, 0 -> 1."""
    count, mean, m2 = 0.0, np.zeros(1), np.zeros(1)
    for start in range(0, len(idx), chunk):
        rows = read(idx[start : start + chunk]).astype(np.float64)
        flat = np.moveaxis(rows, 1, 0).reshape(rows.shape[1], -1)
        n, part = flat.shape[1], flat.mean(1)
        spread = np.square(flat - part[:, None]).sum(1)
        gap = part - mean
        m2 = m2 + spread + gap**2 * (count * n / (count + n))
        mean = mean + gap * (n / (count + n))
        count += n
    sd = np.sqrt(m2 / count)
    # A constant column leaves a spread of rounding size; dividing by that would blow it up.
    sd = np.where(sd > 1e-6 * np.abs(mean), sd, 1.0)
    return mean.astype(np.float32), sd.astype(np.float32)


class _Rows:
    """Reads rows of a view: from memory if they fit, else ahead of need in one thread."""

    def __init__(self, samples: Samples, expected: int) -> None:
        self._samples = samples
        self._kept: NDArray[Any] | None = samples.X
        self._ahead: dict[int, Future[NDArray[Any]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        n = len(samples)
        if samples.X is None and n and n <= 2 * expected:
            first = samples.images(np.zeros(1, np.int64))
            if first.nbytes * n <= PRELOAD_BYTES:
                self._kept = np.empty((n, *first.shape[1:]), first.dtype)
                for start in range(0, n, 1024):
                    part = np.arange(start, min(start + 1024, n))
                    self._kept[part] = samples.images(part)

    def read(self, idx: Ints) -> NDArray[Any]:
        """Return rows in their native dtype."""
        if self._kept is not None:
            return self._kept[idx]
        return self._samples.images(idx)

    def step(self, step: int, sampler: Sampler, total: int) -> tuple[Ints, Ints, NDArray[Any]]:
        """Return positions, codes and rows of a step, and begin to read the next."""
        idx, group = sampler(step)
        if self._kept is not None:
            return idx, group, self._kept[idx]
        waiting = self._ahead.pop(step, None)
        rows = self._samples.images(idx) if waiting is None else waiting.result()
        if step + 1 < total:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "rows")
            self._ahead[step + 1] = self._pool.submit(self._samples.images, sampler(step + 1)[0])
        return idx, group, rows

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Return each image under one of the eight symmetries of the square, drawn uniformly.

    Mirrorings of both axes and, where the image is square, transposition, each with probability
    1/2: their products are the flips and right-angle rotations, each once.
    """
    draws = torch.rand((3, x.shape[0], 1, 1, 1), generator=rng).to(x.device) < 0.5
    x = torch.where(draws[0], x.flip(3), x)
    x = torch.where(draws[1], x.flip(2), x)
    if x.shape[2] == x.shape[3]:
        x = torch.where(draws[2], x.transpose(2, 3), x)
    return x


def _ready(x: Tensor, channels_last: bool) -> Tensor:
    if channels_last and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()


# --------------------------------------------------------------------------- the schedule


def learning_rate(step: int, total: int, recipe: Mapping[str, Any]) -> float:
    """Return the rate of a step: a linear warm-up from 0, then a half cosine down to 0.

    With w warm-up steps of T, ``lr s / w`` for s < w and
    ``lr (1 + cos(pi (s - w) / (T - w))) / 2`` after; ``constant`` stays at lr. This is the
    schedule that BEN was published with, whose first warm-up step has rate 0.
    """
    lr = float(recipe["lr"])
    warm = round(recipe["warmup"] * total)
    if step < warm:
        return lr * step / warm
    if recipe["schedule"] == "constant":
        return lr
    return lr * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(total - warm, 1)))


def total_steps(recipe: Mapping[str, Any], n: int) -> int:
    """Return the number of steps; an epoch is ``n // batch_size`` of them, at least one."""
    if recipe["steps"]:
        return int(recipe["steps"])
    return int(recipe["epochs"]) * max(n // int(recipe["batch_size"]), 1)


# --------------------------------------------------------------------------- what is left behind


@dataclass
class Fitted:
    """A trained model with all that is needed to apply it."""

    model: Model
    scaling: Scaling
    config: dict[str, Any]
    device: str = "cpu"

    @property
    def steps(self) -> int:
        """Steps of the training."""
        return int(self.config["steps"])

    @property
    def rows_seen(self) -> int:
        """Rows that went into the network while training."""
        return int(self.config["rows_seen"])

    def to(self, device: str) -> None:
        """Move the model to a device."""
        self.model.to(device)
        self.device = device

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays: ``config`` is JSON in bytes."""
        text = json.dumps(self.config, sort_keys=True).encode()
        arrays: dict[str, NDArray[Any]] = {
            "config": np.frombuffer(text, np.uint8).copy(),
            "scaling.mean": self.scaling.mean,
            "scaling.sd": self.scaling.sd,
        }
        for name, tensor in self.model.state_dict().items():
            # A copy in plain memory order: arrays that alias live weights would move with them.
            arrays[f"model.{name}"] = np.array(tensor.detach().cpu().numpy(), order="C", copy=True)
        return arrays


@contextmanager
def _reproducible(seed: int, device: str) -> Iterator[None]:
    """Deterministic kernels and a seeded global generator, both put back afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    cuda = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark


def _model(method: NetworkMethod, config: Mapping[str, Any], *, weights: str) -> tuple[Model, str]:
    """Build the untrained model that a config describes; the caller seeds and restores."""
    recipe, seed = config["recipe"], int(config["seed"])
    # Each part has a seed of its own, so that a method's additions leave the network's start alone.
    torch.manual_seed(seed_for("network", seed))
    network, head, digest = build(
        recipe["network"], tuple(config["shape"]), config["n_classes"], recipe, weights=weights
    )
    torch.manual_seed(seed_for("modify", seed))
    network = method.modify(network)
    if method.needs_batch_norm:
        refuse_without_batch_norm(network, recipe["network"], _name(method))
    torch.manual_seed(seed_for("extra", seed))
    extra = method.extra_modules(head.in_features, config["n_classes"], config["n_batches"])
    if extra is not None:
        extra = convert(extra, Scope())
    model = Model(network, head, extra, recipe["precision"])
    if not method.has_head:
        head.requires_grad_(False)
    if recipe["channels_last"]:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, digest


def _name(method: NetworkMethod) -> str:
    return type(method).__name__


def restore(method: NetworkMethod, state: Mapping[str, NDArray[Any]]) -> Fitted:
    """Rebuild what :meth:`Fitted.state` returned, on the CPU.

    Raises
    ------
    BenchError
        If the arrays are not a network's, or do not fit the network that they describe.
    """
    try:
        config = json.loads(bytes(np.asarray(state["config"], np.uint8)).decode())
        scaling = Scaling(
            config["recipe"]["standardise"],
            np.asarray(state["scaling.mean"], np.float32),
            np.asarray(state["scaling.sd"], np.float32),
        )
    except (KeyError, ValueError) as error:
        raise BenchError(f"this is not the state of a trained network: {error}") from error
    with _reproducible(0, "cpu"):
        model, _ = _model(method, config, weights="none")
    weights = {
        name.removeprefix("model."): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith("model.")
    }
    if not any(True for _ in model.extra.state_dict()):
        # A method that shares this fit may do without the modules that only training used.
        weights = {k: v for k, v in weights.items() if not k.startswith("extra.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BenchError(
            f"the stored weights do not fit network '{config['recipe']['network']}': {error}"
        ) from error
    model.eval()
    return Fitted(model, scaling, config)


# --------------------------------------------------------------------------- checkpoints


class _Checkpoint:
    """One file in the scratch folder, replaced atomically, and read only if it is of this fit."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._path = None if folder is None else Path(folder) / "training.pt"
        self._fingerprint = fingerprint
        self._last = time.monotonic()
        self._took = 0.0

    def due(self) -> bool:
        wait = max(CHECKPOINT_SECONDS, 20 * self._took)
        return self._path is not None and time.monotonic() - self._last >= wait

    def save(self, content: dict[str, Any]) -> None:
        if self._path is None:
            return
        began = time.monotonic()
        buffer = io.BytesIO()
        torch.save({**content, "fingerprint": self._fingerprint}, buffer)
        temporary = self._path.with_suffix(f".{threading.get_ident()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(buffer.getbuffer())
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BenchError(
                f"the checkpoint {self._path} cannot be written: {error.strerror or error}; free "
                "space or choose another folder for results"
            ) from error
        self._last = time.monotonic()
        self._took = self._last - began

    def load(self, device: str) -> dict[str, Any] | None:
        if self._path is None or not self._path.is_file():
            return None
        try:
            content = torch.load(self._path, map_location=device, weights_only=True)
            matches = content["fingerprint"] == self._fingerprint
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, TypeError):
            return None  # damaged: training from the start gives the same weights
        except pickle.UnpicklingError:
            return None
        return dict(content) if matches else None

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


# --------------------------------------------------------------------------- the loop


@dataclass
class _Stream:
    """One source of training rows: the training view, or the adaptation view."""

    samples: Samples
    rows: _Rows
    sampler: Sampler
    y: Tensor
    controls: Tensor | None
    first_code: int
    plates: tuple[Tensor, Tensor] | None = None
    seen: int = field(default=0)


class _Loop:
    """Training of one method: everything that a step needs."""

    def __init__(
        self, method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context
    ) -> None:
        recipe = dict(ctx.recipe)
        self.method, self.recipe, self.ctx = method, recipe, ctx
        self.device = ctx.device
        access = method.access(method.params)
        if len(train) == 0:
            raise NotApplicable("there are no rows to train on")
        if (Access.ADAPT in access) != (adapt is not None):
            raise BenchError(
                f"{_name(method)} declares {'ADAPT' if adapt is None else 'no ADAPT'}, so fit "
                f"{'needs' if adapt is None else 'takes no'} evaluation view"
            )
        if method.has_head and not bool((train.y >= 0).any()):
            raise NotApplicable("no training row has a class")
        group, names = codes(train.batch)
        self.n_batches = len(names)
        self.total = total_steps(recipe, len(train))
        expected = self.total * int(recipe["batch_size"])
        self.streams = [self._stream(train, group, access, expected, 0)]
        if adapt is not None:
            other, _ = codes(adapt.batch)
            self.streams.append(self._stream(adapt, other, access, expected, self.n_batches))
        first = self.streams[0]
        idx = np.arange(min(len(train), SCALING_ROWS) if train.is_images else len(train))
        if recipe["standardise"] == "none":
            mean, sd = _channel_moments(first.rows.read, idx)
        else:
            mean, sd = np.zeros(train.shape[0], np.float32), np.ones(train.shape[0], np.float32)
        self.scaling = Scaling(recipe["standardise"], mean, sd)
        self.config: dict[str, Any] = {
            "recipe": recipe,
            "seed": ctx.seed,
            "shape": list(train.shape),
            "n_classes": train.n_classes,
            "n_batches": self.n_batches,
            "steps": self.total,
        }

    def _stream(
        self, samples: Samples, group: Ints, access: Access, expected: int, first_code: int
    ) -> _Stream:
        hook = self.method.adapt_sampler if first_code else self.method.sampler
        seed = seed_for("adapt" if first_code else "train", self.ctx.seed)
        rows = _Rows(samples, expected)
        controls = samples.controls() if Access.CONTROLS in access else None
        stream = _Stream(
            samples,
            rows,
            hook(samples, group, self.recipe, seed),
            torch.from_numpy(samples.y.astype(np.int64)),
            None if controls is None else torch.from_numpy(controls.astype(bool)),
            first_code,
        )
        if self.recipe["standardise"] == "plate":
            parts = [
                _channel_moments(rows.read, np.flatnonzero(group == g))
                for g in range(int(group.max(initial=-1)) + 1)
            ]
            stream.plates = (
                torch.from_numpy(np.stack([mean for mean, _ in parts])),
                torch.from_numpy(np.stack([sd for _, sd in parts])),
            )
        return stream

    def batch(self, step: int) -> Batch:
        """Return the rows of a step on the device, scaled and augmented."""
        parts = [self._part(stream, step) for stream in self.streams]
        batch = parts[0]
        batch.adapt = parts[1] if len(parts) > 1 else None
        return self.method.inputs(batch)

    def _part(self, stream: _Stream, step: int) -> Batch:
        idx, group, native = stream.rows.step(step, stream.sampler, self.total)
        kind = "adapt" if stream.first_code else "train"
        rng = torch.Generator().manual_seed(seed_for("augment", kind, self.ctx.seed, step))
        given = None
        if stream.plates is not None:
            code = torch.from_numpy(group)
            mean, sd = stream.plates
            given = (mean[code].to(self.device), sd[code].to(self.device))
        x = self.scaling(_as_float(native, self.device), given)
        if self.recipe["augment"] == "flips-rotations" and x.dim() == 4:
            x = _augment(x, rng)
        stream.seen += len(idx)
        where = torch.from_numpy(idx)
        return Batch(
            x=_ready(x, self.recipe["channels_last"]),
            y=stream.y[where].to(self.device),
            group=(torch.from_numpy(group) + stream.first_code).to(self.device),
            controls=None if stream.controls is None else stream.controls[where].to(self.device),
            idx=idx,
            step=step,
            total=self.total,
            n_classes=stream.samples.n_classes,
            n_batches=self.n_batches,
            generator=rng,
        )

    def terms(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        """Run the forward pass and return the named terms of the loss."""
        self.method.forward(model, batch)
        loss = self.method.loss(model, batch)
        return loss if isinstance(loss, dict) else {"loss": loss}

    def close(self) -> None:
        for stream in self.streams:
            stream.rows.close()


def _optimiser(model: Model, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe["optimiser"]]
    return kind(trained, lr=recipe["lr"], weight_decay=recipe["weight_decay"])


def _checked(terms: dict[str, Tensor], method: str, step: int, total: int, lr: float) -> Tensor:
    loss = torch.stack([term.reshape(()) for term in terms.values()]).sum()
    if not bool(torch.isfinite(loss)):
        values = ", ".join(f"{name} = {float(term):g}" for name, term in terms.items())
        raise RunFailed(
            f"{method}: the loss is not finite at step {step} of {total} ({values}); lower lr (now "
            f"{lr:g}), lengthen warmup, or take precision=float32"
        )
    return loss


def fit(method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context) -> Fitted:
    """Train a network with a method's hooks; fixed steps, last weights.

    If ``ctx.scratch`` holds a checkpoint of the same fit, training goes on from there and ends in
    the same bits; points logged before are logged again.

    Raises
    ------
    RunFailed
        If the loss is not finite.
    NotApplicable
        If there is nothing to train on, or too few batches for the method's sampler.
    BenchError
        If the network does not suit, or a checkpoint cannot be written.
    """
    loop = _Loop(method, train, adapt, ctx)
    try:
        with _reproducible(seed_for("training", ctx.seed), ctx.device):
            return _train(loop)
    finally:
        loop.close()


def _train(loop: _Loop) -> Fitted:
    method, recipe, ctx, total = loop.method, loop.recipe, loop.ctx, loop.total
    model, digest = _model(method, loop.config, weights=recipe["weights"])
    loop.config["weights_sha256"] = digest
    model.to(ctx.device)
    optimiser = _optimiser(model, recipe)
    identity = json.dumps([_name(method), repr(method.params), loop.config], sort_keys=True)
    rows = hashlib.sha256("\x1f".join(loop.streams[0].samples.ids.tolist()).encode()).hexdigest()
    checkpoint = _Checkpoint(ctx.scratch, hashlib.sha256((identity + rows).encode()).hexdigest())
    done, points = 0, []
    if (saved := checkpoint.load(ctx.device)) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        done, points = int(saved["step"]), list(saved["points"])
        for stream, seen in zip(loop.streams, saved["seen"], strict=True):
            stream.seen = int(seen)
        for step, values in points:
            ctx.log(step, **values)
    log_every = max(total // 100, 1)
    model.train()
    for step in range(done, total):
        lr = learning_rate(step, total, recipe)
        for part in optimiser.param_groups:
            part["lr"] = lr
        torch.manual_seed(seed_for("step", ctx.seed, step))
        batch = loop.batch(step)
        terms = loop.terms(model, batch)
        loss = _checked(terms, _name(method), step, total, lr)
        optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        method.after_step(model, batch)
        if step % log_every == 0 or step + 1 == total:
            values = {"loss": float(loss.detach()), "lr": lr}
            if len(terms) > 1:
                values |= {name: float(term.detach()) for name, term in terms.items()}
            points.append((step, values))
            ctx.log(step, **values)
        if step + 1 < total and checkpoint.due():
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "points": points,
                    "seen": [stream.seen for stream in loop.streams],
                }
            )
        ctx.progress(step + 1, total)
    model.eval()
    for parameter in model.parameters():
        parameter.grad = None
    loop.config["rows_seen"] = sum(stream.seen for stream in loop.streams)
    checkpoint.remove()
    return Fitted(model, loop.scaling, loop.config, ctx.device)


def untrained_parameters(
    method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context
) -> list[str]:
    """Return the names of parameters that get no gradient, or only zeros, in the first step."""
    loop = _Loop(method, train, adapt, ctx)
    try:
        with _reproducible(seed_for("training", ctx.seed), ctx.device):
            model, _ = _model(method, loop.config, weights="none")
            model.to(ctx.device)
            model.train()
            terms = loop.terms(model, loop.batch(0))
            torch.stack([term.reshape(()) for term in terms.values()]).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        loop.close()
    return [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not bool((p.grad != 0).any()))
    ]


# --------------------------------------------------------------------------- applying


class TestBatch:
    """The rows of one call of ``apply``, for methods that adapt a copy of the model to them."""

    __test__ = False  # not a test, whatever its name

    def __init__(self, fitted: Fitted, samples: Samples) -> None:
        self._fitted = fitted
        self._samples = samples
        self._plate: tuple[Tensor, Tensor] | None = None
        if fitted.scaling.standardise == "plate":
            mean, sd = _channel_moments(self._read, np.arange(len(samples)))
            device = fitted.device
            self._plate = (
                torch.from_numpy(mean)[None].to(device),
                torch.from_numpy(sd)[None].to(device),
            )

    def __len__(self) -> int:
        return len(self._samples)

    def _read(self, idx: Ints) -> NDArray[Any]:
        X = self._samples.X
        return self._samples.images(idx) if X is None else X[idx]

    def x(self, idx: Ints) -> Tensor:
        """Return rows as the network takes them, ``(k, ...)`` float32; no augmentation."""
        native = _as_float(self._read(idx), self._fitted.device)
        scaled = self._fitted.scaling(native, self._plate)
        return _ready(scaled, bool(self._fitted.config["recipe"]["channels_last"]))

    def keys(self) -> NDArray[np.uint64]:
        """Return ``(n,)`` numbers that depend on the content of each row alone.

        They order rows at random, in the same way whatever the order of the view or the names of
        its rows.
        """
        found = np.empty(len(self), np.uint64)
        for start in range(0, len(self), APPLY_ROWS):
            idx = np.arange(start, min(start + APPLY_ROWS, len(self)))
            for k, row in zip(idx, np.ascontiguousarray(self._read(idx)), strict=True):
                found[k] = int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest())
        return found


def chunked_rows(
    gives: NDArray[np.bool_], keys: NDArray[np.uint64], k: int
) -> list[tuple[Ints, Ints]]:
    """Split a test batch into pieces whose statistics come from exactly ``k`` rows each.

    Parameters
    ----------
    gives
        ``(n,)`` bool: the m rows that give statistics.
    keys
        ``(n,)`` content keys that order the rows at random.
    k
        Rows that give the statistics of a piece; ``k >= m`` makes one piece.

    Returns
    -------
    list of (idx, kept)
        ``idx`` are positions of the rows in a piece, the ``min(k, m)`` that give statistics first;
        ``kept`` are the positions within ``idx`` of the rows that this piece answers for. The last
        piece is filled up with giving rows answered for elsewhere. A row that gives nothing goes
        to a piece that its own key decides, so it does not depend on other such rows.
    """
    giving = np.flatnonzero(gives)
    giving = giving[np.argsort(keys[giving], kind="stable")]
    k = min(k, len(giving))
    starts = list(range(0, len(giving), k))
    others = np.flatnonzero(~gives)
    home = (keys[others] % np.uint64(len(starts))).astype(np.int64)
    pieces = []
    for number, start in enumerate(starts):
        begin = min(start, len(giving) - k)
        mine = others[home == number]
        idx = np.concatenate([giving[begin : begin + k], mine]).astype(np.int64)
        kept = np.arange(start - begin, len(idx))
        pieces.append((idx, kept))
    return pieces


def apply(method: NetworkMethod, fitted: Fitted, samples: Samples) -> Output:
    """Return features and logits of a view, with the statistics that the method asks for.

    Neither method nor model is changed. Where rows give the statistics of a test batch, all of
    them are used at once, in one forward pass or, for large batches, layer by layer.
    """
    n, model = len(samples), fitted.model
    if tuple(samples.shape) != tuple(fitted.config["shape"]):
        raise BenchError(
            f"the network was trained on rows of shape {tuple(fitted.config['shape'])}, and these "
            f"have {tuple(samples.shape)}"
        )
    if n == 0:
        return Output(
            np.empty((0, model.head.in_features), np.float32),
            np.empty((0, model.head.out_features), np.float32) if method.has_head else None,
        )
    rows = TestBatch(fitted, samples)
    wanted = method.apply_statistics(samples)
    fallbacks = 0
    if wanted is not None and np.count_nonzero(wanted.gives) < max(wanted.min_rows, 1):
        wanted, fallbacks = None, 1
    X = np.empty((n, model.head.in_features), np.float32)
    logits = np.empty((n, model.head.out_features), np.float32)

    def put(idx: Ints, kept: Ints | slice, out: tuple[Tensor, Tensor]) -> None:
        X[idx[kept]] = out[0][kept].cpu().numpy()
        logits[idx[kept]] = out[1][kept].cpu().numpy()

    with _reproducible(0, fitted.device):
        model = method.adapt_model(model, rows)
        with torch.no_grad():
            if wanted is None:
                for start in range(0, n, APPLY_ROWS):
                    idx = np.arange(start, min(start + APPLY_ROWS, n))
                    put(idx, slice(None), model(rows.x(idx)))
            else:
                given = wanted.gives
                pieces = [(np.arange(n), np.arange(n))]
                if 0 < wanted.chunk < np.count_nonzero(given):
                    pieces = chunked_rows(given, rows.keys(), wanted.chunk)
                for idx, kept in pieces:
                    put(idx, kept, _by_rows(model, rows, idx, given[idx]))
    notes = ()
    if fallbacks:
        notes = (
            "a batch with fewer rows for its statistics than min_rows took the running averages",
        )
    return Output(X, logits if method.has_head else None, fallbacks=fallbacks, notes=notes)


def _by_rows(
    model: Model, rows: TestBatch, idx: Ints, gives: NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
    """Apply the model to rows whose statistics come from those of them that give some."""
    device = next(model.parameters()).device
    values = math.prod(rows.x(idx[:1]).shape)
    mask = None if gives.all() else torch.from_numpy(gives).to(device)
    if len(idx) * values <= WHOLE_VALUES or len(idx) <= 2:
        with model.using(Statistics("rows", mask=mask)):
            features, logits = model(rows.x(idx))
        return features, logits
    size = max(WHOLE_VALUES // (4 * values), 1)

    def pieces() -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(idx), size):
            part = slice(start, start + size)
            yield rows.x(idx[part]), None if mask is None else mask[part]

    parts = streamed(model.scope, model, pieces)
    return torch.cat([f for f, _ in parts]), torch.cat([g for _, g in parts])
