"""Network architectures: a small ResNet, an MLP, torchvision networks and custom networks.

Every network is split at its last ``nn.Linear``, the head. The input of the head is the features
``(n, d)``, its output the logits.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.errors import BenchError
from bench.training.recipes import TORCHVISION, factory_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.types import Recipe


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, arXiv 1512.03385, figure 2)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A residual network for small crops: ``(n, C, H, W)`` -> ``(n, 4 width)`` -> logits.

    A 5x5 convolution of stride 2 and pooling, followed by three residual blocks of ``width``, 2 and
    4 times ``width`` channels, and a mean over pixels. About 300,000 weights at width 32.
    """

    def __init__(self, n_channels: int, n_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(
            _Residual(width, width, 1),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 4 * width, 2),
        )
        self.head = nn.Linear(4 * width, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, n_classes)`` logits of ``(n, C, H, W)``."""
        pixels: Tensor = self.blocks(self.stem(x))
        logits: Tensor = self.head(pixels.mean((2, 3)))
        return logits


def mlp(n_features: int, n_classes: int, width: int, layers: int) -> nn.Sequential:
    """Return an MLP with BatchNorm and ReLU after each linear layer except the last, the head."""
    sizes = [n_features] + [width] * (layers - 1)
    parts: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        # BatchNorm subtracts the mean, so a bias would have no effect and no gradient.
        parts += [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], n_classes))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imagenet_weights(name: str) -> tuple[dict[str, Tensor], str]:
    """Return torchvision's ImageNet weights (version 1) and the SHA-256 of their file."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    begins = file.stem.rpartition("-")[2]
    where = f"{weights.url} (its sha256 begins {begins})"
    try:
        loaded = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, TimeoutError) as error:
        raise BenchError(
            f"the ImageNet weights of {name} cannot be fetched from {where}: {error}; put the file "
            f"into {file.parent} (a recipe can set weights=none instead)"
        ) from error
    except RuntimeError as error:
        raise BenchError(
            f"the ImageNet weights of {name} from {where} are damaged: {error}; delete {file}"
        ) from error
    return loaded, _sha256(file)


def _adapt_first_convolution(network: nn.Module, n_channels: int, *, pretrained: bool) -> None:
    """Change the number of input channels of the first convolution to ``n_channels``.

    Pretrained filters are averaged over their input channels and scaled, so that the response to
    equal channels is unchanged. Untrained filters are initialised again.
    """
    for path, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.in_channels == n_channels:
            return
        adapted = nn.Conv2d(
            n_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
        )
        with torch.no_grad():
            if pretrained:
                mean = layer.weight.mean(1, keepdim=True) * (layer.in_channels / n_channels)
                adapted.weight.copy_(mean.expand_as(adapted.weight))
                if layer.bias is not None and adapted.bias is not None:
                    adapted.bias.copy_(layer.bias)
            else:
                nn.init.kaiming_normal_(adapted.weight, mode="fan_out", nonlinearity="relu")
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, adapted)
        return


def _torchvision(name: str, n_channels: int, n_classes: int, weights: str) -> tuple[nn.Module, str]:
    import torchvision

    # Initialisation draws from the global generator, which the caller has seeded.
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    digest = ""
    if weights == "imagenet":
        loaded, digest = imagenet_weights(name)
        network.load_state_dict(loaded)
    _adapt_first_convolution(network, n_channels, pretrained=weights == "imagenet")
    path, head = last_linear(network, name)
    parent, _, last = path.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Linear(head.in_features, n_classes))
    return network, digest


def import_factory(described: str) -> Callable[..., nn.Module]:
    """Import ``module:factory`` or ``file.py:factory``."""
    source = factory_source(described)
    module_name, _, name = described.rpartition(":")
    try:
        if module_name.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"labshift_network_{source.stem}", source)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            here = str(Path.cwd())
            added = here not in sys.path and "" not in sys.path
            if added:
                sys.path.append(here)
            try:
                module = importlib.import_module(module_name)
            finally:
                if added:
                    sys.path.remove(here)
    except Exception as error:
        raise BenchError(
            f"network '{described}': importing {module_name} failed with "
            f"{type(error).__name__}: {error}"
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise BenchError(f"network '{described}': {module_name} has no function '{name}'")
    return factory  # type: ignore[no-any-return]


def last_linear(network: nn.Module, described: str) -> tuple[str, nn.Linear]:
    """Return the path and the module of the last ``nn.Linear`` of a network."""
    layers = [(path, m) for path, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise BenchError(
            f"network '{described}' has no nn.Linear, and the last one is the head whose input is "
            "the embedding"
        )
    return layers[-1]


def _probe(network: nn.Module, shape: tuple[int, ...], described: str) -> Tensor:
    """Apply a network to two rows in evaluation mode, without changing buffers."""
    rows = torch.linspace(-1, 1, 2 * int(torch.tensor(shape).prod())).reshape(2, *shape)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            out = network(rows)
    except Exception as error:
        raise BenchError(
            f"network '{described}' fails on inputs of shape {shape}: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        network.train(training)
    if not isinstance(out, Tensor) or out.shape[0] != 2:
        raise BenchError(f"network '{described}' must return one row of a tensor for each input")
    return out


def build(
    described: str, shape: tuple[int, ...], n_classes: int, recipe: Recipe, *, weights: str
) -> tuple[nn.Module, nn.Linear, str]:
    """Return the network without its head, the head, and the SHA-256 of pretrained weights.

    Parameters
    ----------
    described
        ``small-resnet``, ``mlp``, a torchvision name, or ``module:factory``, where
        ``factory(n_channels, n_classes)`` (features instead of channels for profiles) returns an
        ``nn.Module`` from rows to logits. Its last layer must be its last ``nn.Linear``.
    shape
        Shape of one row.
    recipe
        For ``width`` and ``layers``.
    weights
        ``none`` or ``imagenet``.

    Raises
    ------
    BenchError
        If the network cannot be built, does not run on such rows, or its output is not that of its
        last linear layer; or if weights cannot be downloaded.

    Notes
    -----
    Initial weights come from torch's global generator, which the caller seeds and restores.
    """
    digest = ""
    if described == "small-resnet":
        network: nn.Module = SmallResNet(shape[0], n_classes, recipe["width"])
    elif described == "mlp":
        network = mlp(shape[0], n_classes, recipe["width"], recipe["layers"])
    elif described in TORCHVISION:
        network, digest = _torchvision(described, shape[0], n_classes, weights)
    else:
        factory = import_factory(described)
        try:
            network = factory(shape[0], n_classes)
        except Exception as error:
            raise BenchError(
                f"network '{described}': the factory failed on ({shape[0]}, {n_classes}) with "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(network, nn.Module):
            raise BenchError(f"network '{described}': the factory must return an nn.Module")
    logits = _probe(network, shape, described)
    path, head = last_linear(network, described)
    if logits.shape != (2, n_classes):
        raise BenchError(
            f"network '{described}' must return logits of shape (n, {n_classes}), "
            f"not (n, {', '.join(map(str, logits.shape[1:]))})"
        )
    if not path:
        network = nn.Sequential(nn.Flatten())
    else:
        parent, _, last = path.rpartition(".")
        setattr(network.get_submodule(parent), last, nn.Identity())
    features = _probe(network, shape, described)
    fits = features.dim() == 2 and features.shape[1] == head.in_features
    with torch.no_grad():
        if not fits or not torch.allclose(head(features), logits, rtol=1e-4, atol=1e-5):
            raise BenchError(
                f"network '{described}': its last nn.Linear ('{path}') is not its last step, so "
                "there is no embedding that the head reads; let the factory end with it"
            )
    return network, head, digest
