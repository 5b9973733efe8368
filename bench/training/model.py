"""A network with its head and scope, and everything needed to apply it after training."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.errors import BenchError, RunFailed
from bench.core.seeds import seed_for
from bench.training.architectures import build
from bench.training.batchnorm import Scope, convert, refuse_without_batch_norm
from bench.training.determinism import reproducible, seed_torch
from bench.training.inputs import Scaling
from bench.training.recipes import located

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from bench.core.types import Array, Arrays, Facts, JsonObject
    from bench.training.statistics import Statistics

__all__ = ["Fitted", "Model", "method_name", "restore", "untrained_model"]


NARROW = 16
"""Channels from which a 1x1 convolution with a stride is safe in ``channels_last``."""
LARGEST = 48
"""Input of such a convolution, in pixels, up to which fewer channels are safe, too."""


class BuildHooks(Protocol):
    """Method hooks that determine how its network is built."""

    needs_batch_norm: ClassVar[bool]
    has_head: ClassVar[bool]

    def modify(self, network: nn.Module) -> nn.Module: ...

    def extra_modules(
        self, n_features: int, n_classes: int, n_batches: int
    ) -> nn.Module | None: ...


class Model(nn.Module):
    """A network, its head, modules added by a method, and the scope of its normalisation.

    Attributes
    ----------
    network
        ``(n, ...)`` -> features ``(n, d)``.
    head
        The last linear layer.
    extra
        Result of ``extra_modules``; an empty module by default.
    channels_last
        Whether images have the memory format ``channels_last``.
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
        self.channels_last = False

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the head, ``(n, d)`` float32."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
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

    def using(self, statistics: Statistics) -> AbstractContextManager[None]:
        """Return a context in which BatchNorm uses these statistics."""
        return self.scope.using(statistics)


@dataclass
class Fitted:
    """A trained model with everything needed to apply it."""

    model: Model
    scaling: Scaling
    config: JsonObject
    device: str = "cpu"

    @property
    def steps(self) -> int:
        """Number of training steps."""
        return int(self.config["steps"])

    @property
    def rows_seen(self) -> int:
        """Number of rows passed through the network in training."""
        return int(self.config["rows_seen"])

    def to(self, device: str) -> None:
        """Move the model to a device."""
        self.model.to(device)
        self.device = device

    def state(self) -> Arrays:
        """Return all parts as arrays; ``config`` is JSON in bytes."""
        text = json.dumps(self.config, sort_keys=True).encode()
        arrays: Arrays = {
            "config": np.frombuffer(text, np.uint8).copy(),
            "scaling.mean": self.scaling.mean.copy(),
            "scaling.sd": self.scaling.sd.copy(),
        }
        for name, tensor in self.model.state_dict().items():
            # Copy, because arrays that share memory with the weights would change with them.
            arrays[f"model.{name}"] = np.array(tensor.detach().cpu().numpy(), order="C", copy=True)
        return arrays


def untrained_model(method: BuildHooks, config: Facts, *, weights: str) -> tuple[Model, str]:
    """Return the untrained model described by a config, and the SHA-256 of pretrained weights.

    Uses torch's global generator; call it inside :func:`reproducible`.
    """
    recipe, seed = config["recipe"], int(config["seed"])
    # Each part has its own seed, so that a method's modules do not change the network's
    # initial weights. All parts are created on the CPU.
    seed_torch(seed_for("network", seed))
    network, head, digest = build(
        located(recipe), tuple(config["shape"]), config["n_classes"], recipe, weights=weights
    )
    seed_torch(seed_for("modify", seed))
    network = method.modify(network)
    if method.needs_batch_norm:
        refuse_without_batch_norm(network, recipe["network"], method_name(method))
    seed_torch(seed_for("extra", seed))
    extra = method.extra_modules(head.in_features, config["n_classes"], config["n_batches"])
    if extra is not None:
        extra = convert(extra, Scope())
    shape = tuple(config["shape"])
    channels_last = recipe["channels_last"] and _safe_in_channels_last(network, shape)
    model = Model(network, head, extra, recipe["precision"])
    if not method.has_head:
        head.requires_grad_(False)
    model.channels_last = channels_last
    if channels_last:
        model.to(memory_format=torch.channels_last)
    return model, digest


def _safe_in_channels_last(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Return whether a network can be trained in the memory format ``channels_last``.

    oneDNN writes beyond its buffer in the gradient of the weights of a 1x1 convolution with a
    stride, fewer than :data:`NARROW` channels and an input of 56 pixels or more, which ends the
    process (torch 2.14).
    """
    narrow = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(int(step) for step in layer.stride) > 1
        and layer.in_channels // layer.groups < NARROW
    ]
    if not narrow:
        return True
    sizes: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: sizes.extend(given[0].shape[2:]))
        for layer in narrow
    ]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network.forward(torch.zeros(1, *shape))  # not __call__, which may compile
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return max(sizes, default=0) <= LARGEST


def method_name(method: BuildHooks) -> str:
    """Return the name in the ``META`` of the method's file, or else its class name."""
    meta = getattr(sys.modules.get(type(method).__module__), "META", {})
    if meta.get("class") == type(method).__name__:
        return str(meta["name"])
    return type(method).__name__


def restore(method: BuildHooks, state: Mapping[str, Array]) -> Fitted:
    """Rebuild the model from :meth:`Fitted.state`, on the CPU.

    Raises
    ------
    BenchError
        If the arrays are not from a network, or do not match the described network.
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
    with reproducible(0, "cpu", config["shape"]):
        model, _ = untrained_model(method, config, weights="none")
    weights = {
        name.removeprefix("model."): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith("model.")
    }
    if not any(True for _ in model.extra.state_dict()):
        # A method that shares this fit may not have the modules that only training uses.
        weights = {k: v for k, v in weights.items() if not k.startswith("extra.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BenchError(
            f"the stored weights do not fit network '{config['recipe']['network']}': {error}"
        ) from error
    model.eval()
    return Fitted(model, scaling, config)
