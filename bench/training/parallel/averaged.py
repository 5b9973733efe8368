"""Steps with the mean gradient of several batches, each with its own BatchNorm statistics.

With ``recipe.batches_per_step`` n, step s computes the batches ``s n`` to ``s n + n - 1`` of the
sampler. Each passes through the network alone: for ``ben`` that is one plate at a time, and batch
statistics never mix two of them. The gradients are averaged, and so are the running averages of
BatchNorm, which all batches of a step update from the same values. n processes that compute one
batch each give the result of one process that computes all of them, up to the order of the sum.

The first batch of each step is augmented as in :mod:`bench.training.loop`; the others have seeds of
their own. With one batch per step the weights are those of that loop.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from bench.core.errors import BenchError
from bench.core.seeds import seed_for
from bench.training.checkpoint import Checkpoint
from bench.training.curve import Curve
from bench.training.determinism import reproducible, seed_torch
from bench.training.finite import FiniteCheck
from bench.training.loop import _Loop, _optimiser
from bench.training.method import NetworkMethod
from bench.training.model import Fitted, method_name, untrained_model
from bench.training.parallel.group import Group, current
from bench.training.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from bench.core.method import Context
    from bench.core.samples import Samples
    from bench.training.model import Model
    from bench.training.samplers import Ints, Sampler

__all__ = ["averaged", "fit"]


@functools.cache
def averaged(cls: type) -> type:
    """Return a network method that trains with the batches per step of its recipe.

    Raises
    ------
    BenchError
        If the method has a training of its own, or a state that it changes after each step.
    """
    hooks = ("fit", "after_step")
    own = [name for name in hooks if getattr(cls, name, None) is not getattr(NetworkMethod, name)]
    if own:
        raise BenchError(
            f"recipe.batches_per_step cannot be used with {cls.__name__}, which has its own "
            f"{own[0]}: leave it and --devices out"
        )

    def train(method: Any, train: Samples, adapt: Samples | None, ctx: Context) -> None:  # noqa: ANN401 - an instance of any class
        method._fitted = fit(method, train, adapt, ctx, current())

    names = {"fit": train, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), names)


def fit(
    method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context, group: Group
) -> Fitted:
    """Train a network; see :func:`bench.training.loop.fit`, of which arguments and errors are.

    Parameters
    ----------
    group
        The processes of the training. All of them call this function with equal arguments.
    """
    group.begin()
    n = int(ctx.recipe.get("batches_per_step", 1))
    loops = [_slot(method, train, adapt, ctx, k, n) for k in group.slots(n)]
    try:
        with reproducible(seed_for("training", ctx.seed), ctx.device, train.shape):
            return _train(loops, ctx, group, n)
    finally:
        for loop in loops:
            loop.close()


def _slot(
    method: NetworkMethod, train: Samples, adapt: Samples | None, ctx: Context, k: int, n: int
) -> _Loop:
    """Return the loop that reads every n-th batch, from the k-th."""
    loop = _Loop(method, train, adapt, ctx)
    if not loop.recipe["steps"]:  # epochs count rows, whatever the number of batches per step
        loop.total = max(loop.total // n, 1)
        loop.config["steps"] = loop.total
    for stream in loop.streams:
        stream.sampler = _every(stream.sampler, k, n)
    if k:
        loop.ctx = dataclasses.replace(ctx, seed=seed_for("slot", ctx.seed, k))
    return loop


def _every(sampler: Sampler, k: int, n: int) -> Sampler:
    def sample(step: int) -> tuple[Ints, Ints]:
        return sampler(step * n + k)

    return sample


def _train(loops: Sequence[_Loop], ctx: Context, group: Group, n: int) -> Fitted:
    first = loops[0]
    method, recipe, total = first.method, first.recipe, first.total
    model, digest = untrained_model(method, first.config, weights=recipe["weights"])
    first.config["weights_sha256"] = digest
    for loop in loops:
        loop.channels_last = model.channels_last
    model.to(ctx.device)
    optimiser = _optimiser(model, recipe)
    checkpoint = Checkpoint(ctx.scratch, _fingerprint(first))
    seen = torch.zeros(1, dtype=torch.float64)
    done, curve = 0, Curve(ctx.log, ctx.device)
    if (saved := group.shared(checkpoint.load("cpu"))) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        done, curve = int(saved["step"]), Curve(ctx.log, ctx.device, saved["points"])
        seen += int(saved["seen"]) / group.size
    finite = FiniteCheck(method_name(method), ctx.device)
    log_every = max(total // 100, 1)
    model.train()
    for step in range(done, total):
        lr = learning_rate(step, total, recipe)
        for part in optimiser.param_groups:
            part["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        terms, batch = _gradients(model, loops, step, group, n)
        loss = finite.loss(terms, batch, lr)
        optimiser.step()
        if step % log_every == 0 or step + 1 == total:
            curve.add(step, lr, {**(terms if len(terms) > 1 else {}), "loss": loss})
        if step + 1 < total and group.shared(checkpoint.due()):
            finite.check()
            curve.fetch()
            rows = _rows_seen(loops, group) + int(seen * group.size)
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "points": curve.points,
                    "seen": rows,
                }
            )
        ctx.progress(step + 1, total)
    finite.check()
    curve.fetch()
    model.eval()
    for parameter in model.parameters():
        parameter.grad = None
    first.config["rows_seen"] = _rows_seen(loops, group) + int(seen * group.size)
    if remarks := method.remarks(first.streams[0].samples):
        first.config["remarks"] = list(remarks)
    checkpoint.remove()
    return Fitted(model, first.scaling, first.config, ctx.device)


def _gradients(
    model: Model, loops: Sequence[_Loop], step: int, group: Group, n: int
) -> tuple[dict[str, Tensor], Any]:
    """Set the mean gradient and the mean running averages of all batches of a step.

    Returns
    -------
    tuple
        The mean terms of the loss, and the first batch of this process.
    """
    buffers = list(model.buffers())
    before = [buffer.clone() for buffer in buffers]
    averages = [buffer for buffer in buffers if buffer.is_floating_point()]
    sums = [torch.zeros_like(buffer) for buffer in averages]
    totals: dict[str, Tensor] = {}
    batches = []
    for loop in loops:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        seed_torch(seed_for("step", loop.ctx.seed, step), loop.ctx.device)
        batches.append(loop.batch(step))
        terms = loop.terms(model, batches[-1])
        loss = torch.stack([term.reshape(()) for term in terms.values()]).sum() / n
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        for name, term in terms.items():
            totals[name] = totals.get(name, 0) + term.detach().reshape(()) / n
        for total, buffer in zip(sums, averages, strict=True):
            total.add_(buffer / n)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    mine = [*gradients, *sums, *totals.values()]
    if mine:
        flat = group.sum(torch.cat([part.reshape(-1).float() for part in mine]))
        parts = torch.split(flat, [part.numel() for part in mine])
        values = [new.view_as(old) for new, old in zip(parts, mine, strict=True)]
        with torch.no_grad():
            for old, new in zip([*gradients, *averages], values, strict=False):
                old.copy_(new)
        totals = dict(zip(totals, values[len(values) - len(totals) :], strict=True))
    return totals, batches[0]


def _rows_seen(loops: Sequence[_Loop], group: Group) -> int:
    rows = sum(stream.seen for loop in loops for stream in loop.streams)
    return int(group.sum(torch.tensor([float(rows)], dtype=torch.float64)))


def _fingerprint(loop: _Loop) -> str:
    """Return the identity of the training, so that only its own checkpoint is read."""
    method = loop.method
    identity = json.dumps(["averaged", method_name(method), repr(method.params), loop.config])
    names = ["\x1f".join(stream.samples.ids.tolist()) for stream in loop.streams]
    return hashlib.sha256("\x1e".join([identity, *names]).encode()).hexdigest()
