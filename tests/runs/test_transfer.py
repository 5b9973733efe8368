"""Transfer: crops of one extent, one order of channels, what is trained where, and identities."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.api import Opened, Split
from bench.cli.group import group
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.data.catalog import find_split, read_split
from bench.data.opening import open_splits
from bench.data.rules import check_split
from bench.data.transfer import fitted_to
from bench.records.store import Store
from bench.runs.job import Options
from bench.runs.plan import plan
from bench.runs.runner import Runner
from bench.scoring.retrieval import aggregated
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises

if TYPE_CHECKING:
    from pathlib import Path

MAP = {"DNA": "nucleus", "tubulin": "ER", "actin": "actin"}


def opened(
    pixels: np.ndarray, channels: tuple[str, ...], pixel: float, name: str = "made-up"
) -> Opened:
    n = len(pixels)
    index = pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(n)],
            "label": [f"m{i % 3}" for i in range(n)],
            "control": np.zeros(n, bool),
            "plate": [f"p{i % 2}" for i in range(n)],
        }
    )
    return Opened(
        name=name,
        index=index,
        source=tiny.Images(pixels),
        levels=("plate",),
        level="plate",
        edition="fixture",
        digest=f"{name} {pixels.sum()}",
        channels=channels,
        pixel=pixel,
    )


def fields(shape: tuple[int, int] = (40, 70), n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 60000, (n, 3, *shape)).astype(np.uint16)


def learnt(size: int = 16, pixel: float = 1.0) -> Opened:
    return opened(np.zeros((2, 3, size, size), np.uint8), ("nucleus", "ER", "actin"), pixel, "old")


def test_at_one_pixel_size_pieces_are_cut_and_nothing_else() -> None:
    pixels = fields()
    task = opened(pixels, ("DNA", "tubulin", "actin"), 1.0)
    fitted = fitted_to(task, learnt(), MAP, "s")
    assert fitted.source.shape == (3, 16, 16)
    assert fitted.source.dtype == np.uint16
    # 2 x 4 pieces of 16 pixels in the middle of 40 x 70
    assert len(fitted.index) == 4 * 8
    rows = np.array([9, 8, 31, 9])
    for row, piece in zip(rows, fitted.source.read(rows), strict=True):
        image, k = divmod(int(row), 8)
        top, left = 4 + 16 * (k // 4), 3 + 16 * (k % 4)
        assert np.array_equal(piece, pixels[image, :, top : top + 16, left : left + 16])
    assert fitted.index["image"][9] == "f1"
    assert fitted.index["id"].is_unique
    assert fitted.columns["image"] == "image"
    assert len(fitted.source.read(rows[:0])) == 0


def test_structures_keep_their_size_in_the_sample() -> None:
    # A disc of 6 um radius, in pixels of 0.25 um and of 0.5 um: resampled to 1 um they agree.
    result = []
    for pixel in (0.25, 0.5):
        n = round(32 / pixel)
        axis = (np.arange(n) - (n - 1) / 2) * pixel
        disc = 1000.0 * (np.hypot(axis[:, None], axis[None]) < 6)
        images = np.broadcast_to(disc, (1, 3, n, n)).astype(np.uint16)
        task = opened(images, ("DNA", "tubulin", "actin"), pixel)
        fitted = fitted_to(task, learnt(32, 1.0), MAP, "s")
        result.append(fitted.source.read(np.array([0]))[0, 0].astype(float))
    assert result[0].shape == (32, 32)
    for image in result:
        # area of the disc in pixels of 1 um2, and its brightness
        assert image.sum() / 1000 == pytest.approx(np.pi * 36, rel=0.02)
        assert image[16, 16] == 1000
    assert np.abs(result[0] - result[1]).mean() < 20


def test_a_ramp_stays_a_ramp_and_a_constant_a_constant() -> None:
    ramp = np.broadcast_to(np.arange(64) * 100, (1, 3, 64, 64)).astype(np.uint16).copy()
    ramp[:, 1] = 777
    fitted = fitted_to(opened(ramp, ("DNA", "tubulin", "actin"), 0.5), learnt(32), MAP, "s")
    piece = fitted.source.read(np.array([0]))[0]
    assert (piece[1] == 777).all()
    inner = piece[0, 5, 2:-2].astype(float)
    assert np.diff(inner) == pytest.approx(200, abs=1)


def test_channels_stand_where_the_network_learned_them() -> None:
    pixels = fields((16, 16))
    for channels, expected in (
        (("actin", "nucleus", "ER"), [1, 2, 0]),
        (("nucleus", "ER", "actin"), [0, 1, 2]),
    ):
        fitted = fitted_to(opened(pixels, channels, 1.0), learnt(), None, "s")
        assert np.array_equal(fitted.source.read(np.arange(4)), pixels[:, expected])
        assert fitted.channels == ("nucleus", "ER", "actin")


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        (None, ("DNA", "tubulin", "actin", "nucleus", "ER")),
        ({"DNA": "nucleus", "tubulin": "ER"}, ("actin",)),
        ({**MAP, "actin": "ER"}, ("actin",)),
        ({**MAP, "DMA": "nucleus"}, ("DMA", "channels")),
        ({"DNA": "nucleus", "tubulin": "mito", "actin": "actin"}, ("mito", "channels")),
    ],
)
def test_unequal_channels_are_refused_without_a_whole_map(channels: Any, says: str) -> None:
    task = opened(fields(), ("DNA", "tubulin", "actin"), 1.0)
    with raises(BenchError, *says) as caught:
        fitted_to(task, learnt(), channels, "transfer/x")
    assert "transfer/x" in str(caught.value)


def test_what_is_not_known_or_too_small_is_refused() -> None:
    task = opened(fields(), ("DNA", "tubulin", "actin"), 1.0)
    with raises(BenchError, "--set"):
        fitted_to(task, learnt(64), MAP, "s")
    with raises(BenchError, "pixel"):
        fitted_to(dataclasses.replace(task, pixel=0.0), learnt(), MAP, "s")
    with raises(BenchError, "3", "channels"):
        fitted_to(dataclasses.replace(task, channels=()), learnt(), MAP, "s")


def test_another_scale_or_order_is_other_data() -> None:
    task = opened(fields((48, 64)), ("DNA", "tubulin", "actin"), 0.5)
    swapped = {"DNA": "ER", "tubulin": "nucleus", "actin": "actin"}
    digests = {
        fitted_to(task, learnt(), MAP, "s").digest,
        fitted_to(task, learnt(pixel=0.75), MAP, "s").digest,
        fitted_to(task, learnt(), swapped, "s").digest,
        task.digest,
    }
    assert len(digests) == 4


def test_crops_to_images_to_treatments_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    n = 60
    image = rng.integers(0, 15, n)
    treatment = image % 4
    X = rng.normal(size=(n, 3)).astype(np.float32)
    rows = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(n)],
            "fold": "all",
            "y_true": treatment % 2,
            "role:treatment": [f"t{k}" for k in treatment],
            "role:compound": [f"c{k}" for k in treatment],
            "role:nscb_batch": [f"w{k % 2}" for k in treatment],
            "step:image": [f"i{k}" for k in image],
            "step:treatment": [f"t{k}" for k in treatment],
        }
    )
    result, kept = aggregated(X, rows, ("image=mean", "treatment=median"))
    assert kept["id"].tolist() == ["t0", "t1", "t2", "t3"]
    for k in range(4):
        means = [X[image == i].mean(0) for i in np.unique(image[treatment == k])]
        assert result[k] == pytest.approx(np.median(means, axis=0), rel=1e-5)
        assert kept["y_true"][k] == k % 2


BARE = {"name": "transfer/x", "dataset": "d", "shift": "all", "protocol": "transfer"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({**BARE, "test": "all"}, ()),
        ({**BARE, "source": "a/b", "test": {"part": ["x"]}}, ()),
        ({**BARE, "source": "a/b", "test": "all", "name": "d/x"}, ("transfer/…",)),
        ({**BARE, "source": "a/b", "test": "all", "channels": ["x"]}, ()),
        ({**BARE, "source": "a/b", "test": "all", "aggregate": ["image"]}, ()),
        (
            {"name": "d/x", "dataset": "d", "shift": "s", "hold_out": "week", "source": "a/b"},
            (),
        ),
        (
            {"name": "d/x", "dataset": "d", "shift": "s", "hold_out": "w", "aggregate": ["a=mean"]},
            ("score_unit",),
        ),
    ],
)
def test_a_split_that_contradicts_itself(table: dict[str, Any], says: str) -> None:
    with raises(BenchError, *says):
        read_split("somewhere", table)


def test_the_packaged_transfer() -> None:
    split = find_split("bbbc021")
    assert split.name == "transfer/rxrx1-bbbc021"
    assert split.channels == MAP
    assert split.aggregate == ("image=mean", "treatment=median")
    assert (split.metric, split.metrics) == ("nscb", ("nsc",))
    assert check_split(dataclasses.replace(split, channels=None)).channels is None


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def task_of(registry: Registry, **settings: Any) -> Any:
    said: list[str] = []
    [task] = open_splits(["bbbc021"], registry, "auto", settings, said.append)
    assert [line.partition(":")[0] for line in said] == ["rxrx1", "bbbc021"]
    assert all("FIXTURE" in line for line in said)
    return task


def test_the_encoder_is_the_one_of_its_own_split(registry: Registry) -> None:
    task = task_of(registry)
    [own] = open_splits(["rxrx1/test"], registry, "auto", {}, lambda line: None)
    options = Options("smoke")
    [here] = plan(["ben+tvn"], [task], [0], options, registry)
    [there] = plan(["ben"], [own], [0], options, registry)
    stages = here.spec()["folds"][0]["stages"]
    assert stages[0]["fit_id"] == there.spec()["folds"][0]["stages"][0]["fit_id"]
    assert here.spec()["source"]["split_id"] == "rxrx1/test"
    # Another scale changes what is looked at, and not what was learned.
    other = task_of(registry, pixel=0.3)
    [moved] = plan(["ben+tvn"], [other], [0], options, registry)
    after = moved.spec()["folds"][0]["stages"]
    assert after[0]["fit_id"] == stages[0]["fit_id"]
    assert after[0]["apply_id"] != stages[0]["apply_id"]
    assert after[1]["fit_id"] != stages[1]["fit_id"]


def test_a_source_has_settings_of_its_own(registry: Registry) -> None:
    task = task_of(registry, **{"source.pixel": 0.5})
    assert task.source_domain.opened.pixel == 0.5
    mentions(task.opened.upstream, "0.5")
    with raises(BenchError, "piksel", "pixel"):
        task_of(registry, **{"source.piksel": 0.5})


def test_what_cannot_be_taken_along_is_said_before_anything_runs(registry: Registry) -> None:
    task = task_of(registry)
    methods = ["dann-da", "position-only", "batch-only", "erm", "minclr"]
    jobs = plan(methods, [task], [0], Options("smoke"), registry)
    reasons = {job.chain.typed: job.not_applicable for job in jobs}
    mentions(reasons["dann-da"], "dann-da", "transfer/rxrx1-bbbc021")
    assert "not those of bbbc021" in reasons["position-only"]
    assert "not those of bbbc021" in reasons["batch-only"]
    assert reasons["erm"] == reasons["minclr"] == ""
    weeks = Options("smoke", values={"ben": {"level": "week"}})
    [job] = plan(["ben"], [task], [0], weeks, registry)
    mentions(job.not_applicable, "ben", "rxrx1", "week")
    with raises(BenchError, "transfer/rxrx1-bbbc021", "--standardise"):
        plan(["erm"], [task], [0], Options("smoke", {"standardise": "none"}), registry)


@pytest.mark.slow
def test_runs(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.methods.tvn import TVN

    seen: list[Any] = []
    fit = TVN.fit

    def watched(self: Any, train: Any, adapt: Any, ctx: Any) -> None:
        seen.append(train)
        fit(self, train, adapt, ctx)

    monkeypatch.setattr(TVN, "fit", watched)
    task = task_of(registry)
    options = Options("smoke", {"steps": 2})
    methods = ["erm", "tvn", "ben", "identity", "label-oracle", "shuffle", "dann-da"]
    runner = Runner(Store(tmp_path), options)
    records = {
        job.chain.typed: runner.run(job) for job in plan(methods, [task], [0], options, registry)
    }
    status = {name: record["status"] for name, record in records.items()}
    assert status == {**dict.fromkeys(methods, "ok"), "dann-da": "not-applicable"}
    tracks = {name: record["track"] for name, record in records.items()}
    assert tracks["erm"] == "inductive"
    assert tracks["ben"] == "test-batch"
    assert tracks["tvn"] == "transductive"
    assert tracks["identity"] == "reference"
    assert records["label-oracle"]["metrics"]["nscb"]["all"] == 1.0
    assert records["erm"]["undeclared_adaptation"] is None
    # Two labels are in one week: 26 of 30 treatments count for NSCB, all for NSC.
    assert records["erm"]["n_eval"] == 26
    mentions(records["erm"]["notes"], "30")
    mentions(records["tvn"]["notes"], "trained", "rxrx1/test")
    assert not records["erm"]["ranked"]
    # TVN was fitted on the rows of BBBC021, its DMSO among them, without a label.
    [train] = seen
    assert len(train) == len(task.opened.index)
    assert train.controls().sum() == task.opened.index["control"].sum()
    assert (train.y == -1).all()
    # The same training serves its own split.
    [own] = open_splits(["rxrx1/test"], registry, "auto", {}, lambda line: None)
    [job] = plan(["erm"], [own], [0], options, registry)
    monkeypatch.setattr("bench.methods.erm.ERM.fit", lambda *_: pytest.fail("trained again"))
    assert runner.run(job)["status"] == "ok"
    [again] = plan(["erm"], [task], [0], options, registry)
    verified = Runner(Store(tmp_path), dataclasses.replace(options, if_exists="skip")).run(again)
    assert verified["run_id"] == records["erm"]["run_id"]


def test_the_command_line_takes_the_settings_of_both(tmp_path: Path) -> None:
    arguments = ["run", "-m", "erm", "-s", "bbbc021", "--recipe", "smoke", "--dry-run", "--json"]
    arguments += ["--set", "data.pixel=0.3", "--set", "data.source.pixel=0.6"]
    done = CliRunner().invoke(
        group, [*arguments, "--results", str(tmp_path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    [run] = json.loads(done.stdout)["runs"]
    assert run["split_id"] == "transfer/rxrx1-bbbc021"
    assert run["state"] == "to run"


def test_identities_without_an_origin_are_what_they_were(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runs.identity.NUMERICS", 1)
    from bench.runs.chain import parse_chain
    from bench.testing.synthetic import synthetic_data
    from bench.training.recipes import resolve

    data = synthetic_data("profiles")
    recipe = resolve("smoke", "profiles")
    chain = parse_chain("erm+zscore", registry, data, {}, recipe)
    rows = np.arange(len(data.index))
    ids = tiny.stage_ids(
        chain, registry, data, recipe, ("a", "b"), rows[:90], rows[90:], 0, supervised=True
    )
    assert [(item.fit, item.apply_train, item.apply_test) for item in ids] == FROZEN
    assert Split("a/b", "a", "s").source == ""


FROZEN = [
    ("50c6ed28ac27b3daf5408d99", "1c7fced340caff25794e0d52", "ab647c7731132370fa4bca71"),
    ("d2d5a12eab826c52d75bba13", "89a6dc8737a27e6526a937de", "1eeed4d3503c1521b70b4250"),
]
"""Of erm before there was a transfer, with numerics 1; of zscore since its version 2."""


def test_a_table_of_ones_own_is_no_target(tmp_path: Path) -> None:
    from bench.data.own.table import load
    from tests.data.test_tables import TOML, write

    path = write(tmp_path, toml=TOML.replace('protocol = "unsupervised"', 'protocol = "transfer"'))
    with raises(BenchError, "profile", "mine.toml"):
        load(path)


def test_each_stage_knows_its_rows(registry: Registry) -> None:
    task = task_of(registry)
    first, later = (task.stage_rows(stage, task.folds[0]) for stage in (0, 1))
    assert first.opened is task.source_domain.opened
    assert len(first.rows) == len(task.source_domain.train) > 0
    assert first.classes == task.source_domain.classes
    assert later.opened is task.opened
    assert len(later.rows) == len(task.opened.index)
    assert later.classes == ()
