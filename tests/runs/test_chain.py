"""Chains: default parents, orders that make no sense, levels, and the union of access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.api import Access, BenchError
from bench.core.registry import Registry
from bench.runs.chain import parse_chain
from bench.training import encoders
from bench.training.recipes import resolve
from tests.helpers import tiny
from tests.helpers.errors import raises

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs.chain import Chain


def chain(
    typed: str,
    *,
    images: bool = False,
    registry: Registry | None = None,
    standardise: str = "none",
    **values: dict[str, Any],
) -> Chain:
    data = tiny.opened(images=images)
    recipe = resolve("smoke", "images" if images else "profiles", {"standardise": standardise})
    named = {name.replace("_", "-"): passed for name, passed in values.items()}
    return parse_chain(typed, registry or Registry(), data, named, recipe)


@pytest.mark.parametrize(
    "typed, images, method_id, kinds",
    [
        ("zscore", False, "identity+zscore", ["reference", "profile"]),
        ("zscore", True, "erm+zscore", ["network", "profile"]),
        ("erm+zscore", False, "erm+zscore", ["network", "profile"]),
        ("ben", True, "ben", ["network"]),
        ("ben + zscore+robust", True, "ben+zscore+robust", ["network", "profile", "profile"]),
        ("identity+zscore", True, "identity+zscore", ["reference", "profile"]),
        ("shuffle", False, "shuffle", ["reference"]),
    ],
)
def test_parents(typed: str, images: bool, method_id: str, kinds: list[str]) -> None:
    result = chain(typed, images=images)
    assert result.method_id == method_id
    assert [stage.kind for stage in result.stages] == kinds
    assert result.typed == typed


@pytest.mark.parametrize(
    "typed, words",
    [
        ("zscore+erm", ("erm",)),
        ("erm+ben", ("ben",)),
        ("erm+identity", ("identity",)),
        ("shuffle+zscore", ("shuffle",)),
        ("label-oracle+zscore", ()),
        ("erm+zscor", ("zscore",)),
        ("erm+", ()),
    ],
)
def test_orders_that_make_no_sense(typed: str, words: str) -> None:
    with raises(BenchError, *words):
        chain(typed)


@pytest.mark.parametrize(
    "typed, access, track",
    [
        ("erm", [], "inductive"),
        ("ben", ["train-batch", "test-batch"], "test-batch"),
        ("erm+zscore", ["controls", "test-controls"], "test-controls"),
        (
            "ben+zscore",
            ["train-batch", "controls", "test-controls", "test-batch"],
            "test-batch",
        ),
        ("erm-plate", ["train-batch"], "inductive"),
        ("identity+zscore", ["controls", "test-controls"], "test-controls"),
        ("identity", [], "reference"),
    ],
)
def test_access_is_the_union_of_the_stages(typed: str, access: list[str], track: str) -> None:
    result = chain(typed)
    assert result.access.words == access
    assert result.track == track


def test_access_follows_the_parameters() -> None:
    assert chain("zscore", zscore={"rows": "all"}).track == "test-batch"
    controls = chain("adabn", adabn={"rows": "controls"})
    assert controls.track == "test-controls"
    assert Access.TEST_BATCH not in controls.access


@pytest.mark.parametrize("images", [True, False])
def test_standardising_by_plate_is_an_access(images: bool) -> None:
    result = chain("erm+zscore", images=images, standardise="plate")
    network, profile = result.stages
    assert network.access == Access.TRAIN_BATCH | Access.TEST_BATCH
    assert network.per_batch
    assert profile.access == Access.CONTROLS | Access.TEST_CONTROLS
    assert result.track == "test-batch"
    assert chain("erm", images=images).track == "inductive"
    assert not chain("erm", images=images).stages[0].per_batch


def test_training_controls_are_a_badge(tmp_path: Path) -> None:
    plugin = tiny.write_method(
        tmp_path, "sees-controls", "class M(Profile):\n    ACCESS = Access.CONTROLS\n"
    )
    result = chain("sees-controls", registry=Registry((plugin,)))
    assert (result.track, result.badges) == ("inductive", ["training controls"])
    assert chain("zscore").badges == []


@pytest.mark.parametrize(
    "typed, readout",
    [("erm", "head"), ("ben", "head"), ("erm+zscore", "probe"), ("zscore", "probe")],
)
def test_readout(typed: str, readout: str) -> None:
    assert chain(typed).readout == readout
    assert chain("identity").readout == "probe"


def test_levels() -> None:
    assert [s.level for s in chain("ben+zscore").stages] == ["plate", "plate"]
    mixed = chain("ben+zscore", ben={"level": "week"})
    assert [s.level for s in mixed.stages] == ["week", "plate"]
    with raises(BenchError, "ben.level", "month", "plate", "week"):
        chain("ben", ben={"level": "month"})


def test_parameters_are_told_apart_by_phase() -> None:
    stage = chain("ben", ben={"inference": "16", "per_batch": "2", "rows": "all"}).stages[0]
    assert stage.changed() == {"inference": "16", "per_batch": 2}
    assert stage.changed("fit") == {"per_batch": 2}
    assert stage.changed("apply") == {"inference": "16"}


def test_controls_of_the_test_batch_need_the_mask(tmp_path: Path) -> None:
    plugin = tiny.write_method(
        tmp_path, "blind", "class M(Profile):\n    ACCESS = Access.TEST_CONTROLS\n"
    )
    with raises(BenchError):
        chain("blind", registry=Registry((plugin,)))


def test_an_encoder_takes_its_network_after_a_colon(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    named = chain("encoder:efficientnet-lite0+zscore", images=True)
    assert named.method_id == "encoder:efficientnet-lite0+zscore"
    assert named.stages[0].params.name == "efficientnet-lite0"
    assert chain("encoder + zscore", images=True).method_id == named.method_id
    assert named.stages[0].changed() == {}
    assert chain("encoder:efficientnet-lite0", images=True).readout == "probe"
    pinned = named.stages[0].pinned
    assert set(pinned) == {"revision", "weights_sha256"}
    assert named.stages[1].pinned == {}
    for weight in (1.0, 2.0):
        (tmp_path / "nets.py").write_text(
            "from torch import nn, tensor\n"
            "class Net(nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            f"        self.weight = nn.Parameter(tensor({weight}))\n"
            "    def forward(self, x):\n"
            "        return self.weight * x.mean((2, 3))\n"
        )
        encoders._load.cache_clear()
        encoders._file_sha256.cache_clear()
        stage = chain(f"encoder:{tmp_path / 'nets.py'}:Net", images=True).stages[0]
        assert stage.pinned != pinned
        pinned = stage.pinned
    with raises(BenchError, "zscore"):
        chain("erm+zscore:x", images=True)
    with raises(BenchError, "resnet999", "timm"):
        _ = chain("encoder:resnet999", images=True).stages[0].pinned


def test_weights_are_part_of_the_identity_of_a_run(tmp_path: Path, monkeypatch: Any) -> None:
    bench = tiny.Bench(tmp_path)
    task = tiny.task(tiny.opened(images=True))
    facts = {"revision": "1", "weights_sha256": "a"}
    monkeypatch.setattr("bench.methods.encoder.pinned", lambda name: facts)
    monkeypatch.setattr(
        "bench.methods.encoder.encode", lambda images, *rest: images.mean((2, 3), np.float32)
    )
    [first] = bench.run("encoder", task)
    assert first["status"] == "ok", first["reason"]
    assert first["spec"]["folds"][0]["stages"][0]["pinned"] == facts
    assert first["metrics"].keys() == bench.run("identity", task)[0]["metrics"].keys()
    [again] = bench.run("encoder", task)
    assert again["run_id"] == first["run_id"]
    monkeypatch.setattr("bench.methods.encoder.pinned", lambda name: facts | {"revision": "2"})
    [other] = bench.run("encoder", task)
    assert other["run_id"] != first["run_id"]
    [table] = bench.run("encoder", tiny.task())
    assert table["status"] == "not-applicable"
