"""The one training loop.

Every network method goes through :func:`fit`; what makes it different are the hooks of
:class:`bench.network.NetworkMethod`. Each step is a function of the seed and its number, so
training that was interrupted goes on from its checkpoint to bit-identical weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import Access, Samples
from bench.errors import BenchError, NotApplicable, RunFailed
from bench.fitted import (
    Fitted,
    Model,
    method_name,
    reproducible,
    seed_torch,
    untrained_model,
)
from bench.inputs import RowReader, Scaling, as_float, augmented, channel_moments, laid_out
from bench.network import Batch, NetworkMethod
from bench.samplers import codes
from bench.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.api import Context
    from bench.samplers import Ints, Sampler

__all__ = [
    "classification_loss",
    "fit",
    "learning_rate",
    "reverse_gradient",
    "total_steps",
    "untrained_parameters",
]

CHECKPOINT_SECONDS = 5.0
"""Least time between two checkpoints; also at least 20 times what writing one takes."""

SCALING_ROWS = 2048
"""Training images that the constants of standardise=none are computed from."""


# --------------------------------------------------------------------------- losses


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
    return _Reverse.apply(x, scale)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- the schedule


def learning_rate(step: int, total: int, recipe: Mapping[str, Any]) -> float:
    """Return the rate of a step: a linear warm-up from 0, then a half cosine down to 0.

    With w warm-up steps of T, ``lr s / w`` for s < w and
    ``lr (1 + cos(pi (s - w) / (T - w))) / 2`` after; ``constant`` stays at lr. This is the
    schedule that BEN was published with, whose first warm-up step has rate 0.
    """
    lr = float(recipe["lr"])
    warm = round(float(recipe["warmup"]) * total)
    if step < warm:
        return lr * step / warm
    if recipe["schedule"] == "constant":
        return lr
    share = (step - warm) / max(total - warm, 1)
    return lr * 0.5 * (1.0 + math.cos(math.pi * share))


def total_steps(recipe: Mapping[str, Any], n: int) -> int:
    """Return the number of steps; an epoch is ``n // batch_size`` of them, at least one."""
    if recipe["steps"]:
        return int(recipe["steps"])
    return int(recipe["epochs"]) * max(n // int(recipe["batch_size"]), 1)


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
        # Forked processes have main threads of one number, hence the process too.
        temporary = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(buffer.getbuffer())
            temporary.replace(self._path)
        except FileNotFoundError:
            # Another process ended the same fit just now and cleared the folder: go on without.
            pass
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
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
    rows: RowReader
    sampler: Sampler
    y: Tensor
    controls: Tensor | None
    first_code: int
    plates: tuple[Tensor, Tensor] | None = None
    seen: int = 0


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
            declared, needed = (
                ("no ADAPT", "takes no") if adapt is not None else ("ADAPT", "needs an")
            )
            raise BenchError(
                f"{method_name(method)} declares {declared}, so fit {needed} evaluation view"
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
            mean, sd = channel_moments(first.rows.read, idx)
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
        rows = RowReader(samples, expected)
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
                channel_moments(rows.read, np.flatnonzero(group == g))
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
        x = self.scaling(as_float(native, self.device), given)
        if self.recipe["augment"] == "flips-rotations" and x.dim() == 4:
            x = augmented(x, rng)
        stream.seen += len(idx)
        where = torch.from_numpy(idx)
        return Batch(
            x=laid_out(x, self.recipe["channels_last"]),
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
    kind = torch.optim.AdamW if recipe["optimiser"] == "adamw" else torch.optim.Adam
    return kind(trained, lr=recipe["lr"], weight_decay=recipe["weight_decay"])


def _checked(terms: dict[str, Tensor], batch: Batch, method: str, lr: float) -> Tensor:
    """Return the sum of the terms, or stop with the step and what to do."""
    loss = torch.stack([term.reshape(()) for term in terms.values()]).sum()
    if not bool(torch.isfinite(loss)):
        values = ", ".join(f"{name} = {float(term.detach()):g}" for name, term in terms.items())
        cure = f"lower lr (now {lr:g}), lengthen warmup, or take precision=float32"
        if not bool(torch.isfinite(batch.x).all()):
            cure = "the rows themselves hold values that are not finite: look at the data"
        raise RunFailed(
            f"{method}: the loss is not finite at step {batch.step} of {batch.total} ({values}); "
            f"{cure}"
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
        with reproducible(seed_for("training", ctx.seed), ctx.device, train.shape):
            return _train(loop)
    finally:
        loop.close()


def _train(loop: _Loop) -> Fitted:
    method, recipe, ctx, total = loop.method, loop.recipe, loop.ctx, loop.total
    model, digest = untrained_model(method, loop.config, weights=recipe["weights"])
    loop.config["weights_sha256"] = digest
    model.to(ctx.device)
    optimiser = _optimiser(model, recipe)
    identity = json.dumps([method_name(method), repr(method.params), loop.config], sort_keys=True)
    names = ["\x1f".join(stream.samples.ids.tolist()) for stream in loop.streams]
    rows = hashlib.sha256("\x1e".join(names).encode()).hexdigest()
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
        seed_torch(seed_for("step", ctx.seed, step), ctx.device)
        batch = loop.batch(step)
        terms = loop.terms(model, batch)
        loss = _checked(terms, batch, method_name(method), lr)
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
    if remarks := method.remarks(loop.streams[0].samples):
        loop.config["remarks"] = list(remarks)
    checkpoint.remove()
    return Fitted(model, loop.scaling, loop.config, ctx.device)


def untrained_parameters(
    method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context
) -> list[str]:
    """Return the names of parameters that get no gradient, or only zeros, in the first step."""
    loop = _Loop(method, train, adapt, ctx)
    try:
        with reproducible(seed_for("training", ctx.seed), ctx.device, train.shape):
            model, _ = untrained_model(method, loop.config, weights="none")
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
