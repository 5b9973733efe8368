"""The shared training loop.

Every network method is trained by :func:`fit` and differs in the hooks of
:class:`bench.network.NetworkMethod`. Each step is a function of the seed and the step number, so
interrupted training resumes from its checkpoint with bit-identical weights.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.core.access import Access
from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import seed_for
from bench.training.checkpoint import Checkpoint
from bench.training.curve import Curve
from bench.training.determinism import reproducible, seed_torch
from bench.training.finite import FiniteCheck
from bench.training.inputs import (
    RowReader,
    Scaling,
    as_float,
    augmented,
    channel_moments,
    laid_out,
    magnified,
    moved,
)
from bench.training.model import BuildHooks, Fitted, Model, method_name, untrained_model
from bench.training.samplers import codes
from bench.training.schedule import learning_rate, total_steps
from bench.training.statistics import Batch

if TYPE_CHECKING:
    from bench.core.method import Context
    from bench.core.samples import Samples
    from bench.core.types import JsonObject, Recipe
    from bench.training.samplers import Ints, Sampler

__all__ = ["fit", "untrained_parameters"]


SCALING_ROWS = 2048
"""Number of training images used for the constants of standardise=none."""


class TrainHooks(BuildHooks, Protocol):
    """Method hooks called by the training loop; see ``NetworkMethod``."""

    params: Any

    @classmethod
    def access(cls, params: Any) -> Access: ...

    def sampler(self, train: Samples, group: Ints, recipe: Recipe, seed: int) -> Sampler: ...

    def adapt_sampler(self, adapt: Samples, group: Ints, recipe: Recipe, seed: int) -> Sampler: ...

    def inputs(self, batch: Batch) -> Batch: ...

    def forward(self, model: Model, batch: Batch) -> None: ...

    def loss(self, model: Model, batch: Batch) -> Tensor | dict[str, Tensor]: ...

    def after_step(self, model: Model, batch: Batch) -> None: ...

    def remarks(self, train: Samples) -> list[str]: ...


@dataclass
class _Stream:
    """A source of training rows: the training view or the adaptation view."""

    samples: Samples
    rows: RowReader
    sampler: Sampler
    y: Tensor
    controls: Tensor | None
    first_code: int
    plates: tuple[Tensor, Tensor] | None = None
    seen: int = 0


class _Loop:
    """State of the training of one method."""

    def __init__(
        self, method: TrainHooks, train: Samples, adapt: Samples | None, ctx: Context
    ) -> None:
        recipe = dict(ctx.recipe)
        self.method, self.recipe, self.ctx = method, recipe, ctx
        self.device, self.channels_last = ctx.device, False
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
        self.config: JsonObject = {
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
        rows = RowReader(samples, expected, self.device)
        controls = samples.controls() if Access.CONTROLS in access else None
        stream = _Stream(
            samples,
            rows,
            hook(samples, group, self.recipe, seed),
            torch.from_numpy(samples.y.astype(np.int64)).to(self.device),
            None if controls is None else torch.from_numpy(controls.astype(bool)).to(self.device),
            first_code,
        )
        if self.recipe["standardise"] == "plate":
            parts = [
                channel_moments(rows.read, np.flatnonzero(group == g))
                for g in range(int(group.max(initial=-1)) + 1)
            ]
            stream.plates = (
                torch.from_numpy(np.stack([mean for mean, _ in parts])).to(self.device),
                torch.from_numpy(np.stack([sd for _, sd in parts])).to(self.device),
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
        code = moved(group, self.device)
        given = None
        if stream.plates is not None:
            mean, sd = stream.plates
            given = (mean[code], sd[code])
        x = self.scaling(as_float(native, self.device), given)
        if self.recipe["augment"] == "flips-rotations" and x.dim() == 4:
            x = augmented(x, rng)
        if (largest := self.recipe.get("scale_range", 1.0)) > 1 and x.dim() == 4:
            x = magnified(x, largest, rng)
        stream.seen += len(idx)
        where = moved(idx, self.device)
        return Batch(
            x=laid_out(x, self.channels_last),
            y=stream.y[where],
            group=code + stream.first_code,
            controls=None if stream.controls is None else stream.controls[where],
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


def _optimiser(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    kind = torch.optim.AdamW if recipe["optimiser"] == "adamw" else torch.optim.Adam
    fused = all(parameter.is_cuda for parameter in trained)
    return kind(trained, lr=recipe["lr"], weight_decay=recipe["weight_decay"], fused=fused or None)


def fit(method: TrainHooks, train: Samples, adapt: Samples | None, ctx: Context) -> Fitted:
    """Train a network with a method's hooks for a fixed number of steps; use the last weights.

    If ``ctx.scratch`` has a checkpoint of the same fit, training resumes from it with
    bit-identical results. Points logged before are logged again.

    Raises
    ------
    RunFailed
        If the loss is not finite.
    NotApplicable
        If there are no training rows, or too few batches for the method's sampler.
    BenchError
        If the network does not suit the method, or a checkpoint cannot be written.
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
    loop.channels_last = model.channels_last
    model.to(ctx.device)
    optimiser = _optimiser(model, recipe)
    identity = json.dumps([method_name(method), repr(method.params), loop.config], sort_keys=True)
    names = ["\x1f".join(stream.samples.ids.tolist()) for stream in loop.streams]
    rows = hashlib.sha256("\x1e".join(names).encode()).hexdigest()
    checkpoint = Checkpoint(ctx.scratch, hashlib.sha256((identity + rows).encode()).hexdigest())
    done = 0
    curve = Curve(ctx.log, ctx.device)
    if (saved := checkpoint.load(ctx.device)) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        done, curve = int(saved["step"]), Curve(ctx.log, ctx.device, saved["points"])
        for stream, seen in zip(loop.streams, saved["seen"], strict=True):
            stream.seen = int(seen)
    finite = FiniteCheck(method_name(method), ctx.device)
    log_every = max(total // 100, 1)
    model.train()
    for step in range(done, total):
        lr = learning_rate(step, total, recipe)
        for part in optimiser.param_groups:
            part["lr"] = lr
        seed_torch(seed_for("step", ctx.seed, step), ctx.device)
        batch = loop.batch(step)
        terms = loop.terms(model, batch)
        loss = finite.loss(terms, batch, lr)
        optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        method.after_step(model, batch)
        if step % log_every == 0 or step + 1 == total:
            curve.add(step, lr, {**(terms if len(terms) > 1 else {}), "loss": loss})
        if step + 1 < total and checkpoint.due():
            finite.check()
            curve.fetch()
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "points": curve.points,
                    "seen": [stream.seen for stream in loop.streams],
                }
            )
        ctx.progress(step + 1, total)
    finite.check()
    curve.fetch()
    model.eval()
    for parameter in model.parameters():
        parameter.grad = None
    loop.config["rows_seen"] = sum(stream.seen for stream in loop.streams)
    if remarks := method.remarks(loop.streams[0].samples):
        loop.config["remarks"] = list(remarks)
    checkpoint.remove()
    return Fitted(model, loop.scaling, loop.config, ctx.device)


def untrained_parameters(
    method: TrainHooks, train: Samples, adapt: Samples | None, ctx: Context
) -> list[str]:
    """Return the names of parameters without a gradient, or with zeros only, in the first step."""
    loop = _Loop(method, train, adapt, ctx)
    try:
        with reproducible(seed_for("training", ctx.seed), ctx.device, train.shape):
            model, _ = untrained_model(method, loop.config, weights="none")
            loop.channels_last = model.channels_last
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
