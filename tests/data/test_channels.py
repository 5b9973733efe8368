"""Splits with other channels in test images, and the network that treats channels alike."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.channels import Slots, in_slots, with_slots
from bench.data.folds import folds
from bench.data.opening import open_splits
from bench.data.rules import check_split
from bench.data.task import open_task
from bench.training.architectures import build
from bench.training.batchnorm import Scope, convert
from bench.training.per_channel import PerChannelResNet
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.dataset import Opened

NETWORK = "bench.training.per_channel:network"


def images() -> Opened:
    """Return the tiny images with three named channels."""
    data = tiny.opened(images=True)
    pixels = data.source.read(np.arange(len(data.index)))
    three = np.concatenate([pixels, pixels[:, :1] // 2 + 7], axis=1)
    return dataclasses.replace(
        data, source=tiny.Images(three), channels=("DNA", "ER", "actin"), content=None
    )


def slotted(data: Opened, train: tuple[str, ...], test: tuple[str, ...]) -> Any:
    split = tiny.split(train_channels=train, test_channels=test)
    [fold] = folds(check_split(split), data)
    return with_slots(data, split, fold.test), fold, split


def test_test_rows_lose_a_channel_and_training_rows_do_not() -> None:
    data = images()
    names = ("DNA", "ER", "actin")
    changed, fold, _ = slotted(data, names, ("DNA", "none", "actin"))
    before, after = (d.source.read(np.arange(len(d.index))) for d in (data, changed))
    np.testing.assert_array_equal(after[fold.train], before[fold.train])
    np.testing.assert_array_equal(after[fold.test][:, [0, 2]], before[fold.test][:, [0, 2]])
    assert not after[fold.test][:, 1].any()
    assert before[fold.test][:, 1].any()
    assert changed.digest != data.digest
    assert any("ER" in note for note in changed.notes)
    other, _, _ = slotted(data, names, ("none", "ER", "actin"))
    assert other.digest != changed.digest


def test_a_marker_takes_the_place_of_another() -> None:
    data = images()
    changed, fold, _ = slotted(data, ("DNA", "ER"), ("DNA", "actin"))
    assert changed.source.shape == (2, *data.source.shape[1:])
    before = data.source.read(np.arange(len(data.index)))
    rows = np.random.default_rng(0).permutation(len(data.index))  # in any order
    after = changed.source.read(rows)
    for row, image in zip(rows, after, strict=True):
        wanted = before[row][[0, 2 if row in fold.test else 1]]
        np.testing.assert_array_equal(image, wanted)


def test_slots_keep_the_type_of_the_images() -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 2, 2)
    source = Slots(tiny.Images(pixels), [2, -1], [1, 0], np.array([False, True]))
    result = source.read(np.array([1, 0, 1]))
    assert result.dtype == source.dtype == np.uint16
    np.testing.assert_array_equal(result[1], np.stack([pixels[0, 2], 0 * pixels[0, 2]]))
    np.testing.assert_array_equal(result[0], pixels[1, [1, 0]])
    np.testing.assert_array_equal(result[2], result[0])


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"train_channels": ("a",), "test_channels": ("a", "b")}, ["none"]),
        ({"train_channels": ("a",)}, ["test_channels"]),
        (
            {"train_channels": ("a",), "test_channels": ("b",), "hold_out": "plate"},
            ["hold_out", "train"],
        ),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], names: list[str]) -> None:
    with raises(BenchError, "tiny/last", *names):
        check_split(tiny.split(**fields))


def test_unknown_channels_and_tables_are_refused() -> None:
    with raises(BenchError, "actinn", "actin"):
        slotted(images(), ("DNA",), ("actinn",))
    with raises(BenchError, "tiny", "train_channels"):
        slotted(tiny.opened(), ("DNA",), ("none",))
    with raises(BenchError, "tiny", "2 channels"):
        slotted(tiny.opened(images=True), ("DNA",), ("none",))


def test_a_data_set_in_its_own_channels_is_unchanged() -> None:
    data = images()
    assert in_slots(data, data.channels, data.channels, "x") is data
    renamed = in_slots(data, ("DNA", "none"), ("nucleus", "ER"), "x")
    assert renamed.channels == ("nucleus", "ER")
    assert not renamed.source.read(np.arange(3))[:, 1].any()


@pytest.mark.parametrize("name", ["channel-dropped", "marker-never-seen"])
def test_the_splits_of_rxrx1(name: str) -> None:
    plain, changed = open_splits(
        ["rxrx1/test", f"rxrx1/{name}"], Registry(), "fixture", {}, lambda line: None
    )
    [fold] = changed.folds
    assert np.array_equal(fold.train, plain.folds[0].train)
    train, test = fold.train[:4], fold.test[:4]
    before, after = plain.opened.source, changed.opened.source
    n = after.shape[0]
    np.testing.assert_array_equal(after.read(train), before.read(train)[:, :n])
    if name == "channel-dropped":
        assert (n, bool(after.read(test)[:, 1].any())) == (3, False)
    else:
        np.testing.assert_array_equal(after.read(test), before.read(test)[:, [0, 2]])


def test_a_transfer_with_unequal_channels() -> None:
    names = ["transfer/rxrx1-bbbc021", "transfer/rxrx1-bbbc021-two-markers"]
    plain, unequal = open_splits(names, Registry(), "fixture", {}, lambda line: None)
    assert plain.source_domain is not None
    assert unequal.source_domain is not None
    # The same encoder: its training data are those of the other transfer.
    assert unequal.source_domain.opened.digest == plain.source_domain.opened.digest
    rows = np.arange(3)
    before, after = (task.opened.source.read(rows) for task in (plain, unequal))
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    assert not after[:, 1].any()


def network(n_classes: int = 3) -> PerChannelResNet:
    torch.manual_seed(0)
    return PerChannelResNet(n_classes, width=4).eval()


def test_channels_are_treated_alike_and_absent_ones_are_left_out() -> None:
    x = torch.randn(5, 3, 16, 16)
    net = network()
    with torch.no_grad():
        logits = net(x)
        torch.testing.assert_close(net(x[:, [2, 0, 1]]), logits, rtol=1e-4, atol=1e-5)
        without = x.clone()
        without[:2, 1] = 0
        torch.testing.assert_close(net(without)[:2], net(x[:2][:, [0, 2]]), rtol=1e-4, atol=1e-5)
        # A row does not depend on the others.
        torch.testing.assert_close(net(without)[2:], logits[2:], rtol=1e-4, atol=1e-5)
        assert torch.isfinite(net(torch.zeros(2, 3, 16, 16))).all()
        mean = torch.stack([net(x[:, [k]]) for k in range(3)]).mean(0)
        torch.testing.assert_close(logits, mean, rtol=1e-4, atol=1e-5)  # the head is linear


def test_statistics_are_over_rows_channels_and_pixels() -> None:
    net = network().train()
    x = torch.randn(6, 2, 16, 16)
    seen: list[torch.Tensor] = []
    net.conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    scope = Scope()
    convert(net, scope)
    net.bn.momentum = 1.0
    net(x)
    expected = seen[0].transpose(0, 1).flatten(1).mean(1)
    torch.testing.assert_close(net.bn.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_it_is_a_network_of_the_recipe() -> None:
    body, head, _ = build(NETWORK, (3, 16, 16), 5, {}, weights="none")
    assert (head.in_features, head.out_features) == (64, 5)
    assert body(torch.randn(2, 3, 16, 16)).shape == (2, 64)


@pytest.mark.parametrize("method", ["erm", "ben", "adabn"])
def test_it_is_trained_by_methods_on_batch_norm(tmp_path: Path, method: str) -> None:
    data, _, split = slotted(images(), ("DNA", "ER"), ("DNA", "actin"))
    [record] = tiny.Bench(tmp_path).run(method, open_task("x", split, data), network=NETWORK)
    assert record["status"] == "ok", record["reason"]
    assert record.data["undeclared_adaptation"] is None
    assert any("ER" in note for note in record.notes)
