"""Simulated shifts: the parts of each side, their differences, and none at strength 0."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.datasets._crop_files import CLASSES
from bench.datasets._sim_experiments import EXPERIMENTS, LAMP, MANY_LEARNT, Design
from bench.datasets.sim import Settings, Simulated
from bench.datasets.simulator import layout, plate, write
from bench.datasets.simulator.conditions import Conditions
from bench.datasets.simulator.knobs import BY_NAME, NAMES
from click.testing import CliRunner

import bench
from bench.api import BenchError, make_params
from bench.cli.group import group
from bench.core.registry import Registry
from bench.core.split import current_name, identity_name
from bench.data.audit import audit
from bench.data.catalog import canonical_name, find_split, packaged_splits
from bench.data.folds import folds
from bench.data.opening import open_splits
from bench.runs.identity import run_id
from bench.testing.dataset import check_dataset
from tests.helpers.errors import mentions, raises

SPLITS = sorted(name for name in packaged_splits() if name.startswith("sim/"))
SMALL = {"draw": 0, "scale": 0.05}


def sides(name: str, **settings: Any) -> tuple[Any, Any, Any]:
    """Return what a split opens, and the index of its two sides."""
    split = find_split(name)
    opened = Simulated(make_params("data", Settings, {**SMALL, **settings})).open_split(
        "simulated", split
    )
    (fold,) = folds(split, opened)
    return opened, opened.index.iloc[fold.train], opened.index.iloc[fold.test]


def experiment(name: str, strength: float = 1.0, draw: int = 0) -> tuple[list[Any], Conditions]:
    item = EXPERIMENTS[name]
    plates = item.plates(Design(draw, strength, 0.2))
    return plates, item.conditions(draw, strength, frozenset())


def of_part(plates: list[Any], part: str) -> list[Any]:
    return [item for item in plates if part in item.parts]


def knobs(plate: Any, conditions: Conditions) -> dict[str, float]:
    return {name: float(conditions.value(name, plate.units, ["B02"])[0]) for name in NAMES}


def association(a: Any, b: Any) -> float:
    """Return Cramér's V of two columns: 0 unrelated, 1 when the one tells the other."""
    table = np.zeros((len(set(a)), len(set(b))))
    rows, columns = (np.unique(np.asarray(x, str), return_inverse=True)[1] for x in (a, b))
    np.add.at(table, (rows, columns), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / table.sum() / (min(table.shape) - 1)))


def imaged(plates: list[Any], conditions: Conditions, part: str) -> tuple[Any, Any, Any]:
    """Return plate, class and minute of every cell of some plates, without drawing them."""
    contents = [layout.populate(item, conditions, (part,)) for item in plates]
    return (
        np.repeat([item.number for item in plates], [len(c.classes) for c in contents]),
        np.concatenate([c.classes for c in contents]),
        np.concatenate([c.minutes for c in contents]),
    )


@pytest.mark.parametrize("name", SPLITS)
def test_each_side_has_plates_days_and_classes_enough(name: str) -> None:
    opened, train, test = sides(name)
    assert audit(find_split(name), opened, folds(find_split(name), opened)) == []
    assert set(train["label"]) == set(test["label"]) == set(CLASSES)
    assert train["plate"].nunique() >= 6
    assert test["plate"].nunique() >= 4
    assert test["date"].nunique() == 8  # the fewest clusters an interval is given for
    assert not set(train["plate"]) & set(test["plate"])
    assert not set(train["well"]) & set(test["well"])
    assert opened.edition == "simulated"
    for inner, outer in zip(opened.levels[:2], opened.levels[1:3], strict=True):
        assert (opened.index.groupby(inner)[outer].nunique() == 1).all()


@pytest.mark.parametrize(
    "name, laboratory, microscope",
    [
        ("laboratory", "B", "0"),
        ("microscope", "A", "1"),
        ("both", "B", "1"),
        ("no-shift", "A", "0"),
    ],
)
def test_laboratory_and_microscope_are_parted(name: str, laboratory: str, microscope: str) -> None:
    _, train, test = sides(f"sim/{name}")
    assert set(zip(train["laboratory"], train["microscope"], strict=True)) == {("A", "0")}
    assert set(zip(test["laboratory"], test["microscope"], strict=True)) == {
        (laboratory, microscope)
    }


def test_the_laboratories_are_those_of_simulated_coos7() -> None:
    plates, conditions = experiment("shifts")
    ottawa = layout.coos7()[-1]
    item = of_part(plates, "both")[0]
    moved = dataclasses.replace(ottawa, number=item.number, date=item.date)
    assert knobs(moved, Conditions(0)) == knobs(item, conditions)


@pytest.mark.parametrize("other", ["microscope", "both", "no-shift", "label-shift", "new-markers"])
def test_tests_share_the_draws_of_day_plate_and_well(other: str) -> None:
    plates, conditions = experiment("shifts")
    item, two = (of_part(plates, part)[3] for part in ("laboratory", other))
    assert (item.number, item.date, item.slot) == (two.number, two.date, two.slot)
    # A knob without a spread over laboratories or microscopes is the same to the last bit.
    assert conditions.value("composition", item.units, ["ER"]) == conditions.value(
        "composition", two.units, ["ER"]
    )


def test_new_markers_change_stains_and_nothing_else() -> None:
    plates, conditions = experiment("shifts")
    stains = {
        "stain-protein",
        "stain-nucleus",
        "background-protein",
        "background-nucleus",
        "bleed-protein",
        "bleed-nucleus",
        "localisation",
    }
    for item, plain in zip(
        of_part(plates, "new-markers"), of_part(plates, "no-shift"), strict=True
    ):
        before, after = knobs(plain, conditions), knobs(item, conditions)
        assert {name for name in NAMES if before[name] != after[name]} == stains
    _, train, test = sides("sim/new-markers")
    assert set(train["marker"]) == {""}
    assert test["marker"].nunique() == 8


def test_shares_of_classes_spread_in_the_label_shift_alone() -> None:
    def spread(part: str) -> float:
        logs = []
        for draw in range(4):
            plates, conditions = experiment("shifts", draw=draw)
            for item in of_part(plates, part):
                logs.append(np.log(layout.shares_of(item, conditions)))
        return float(np.std(logs))

    assert spread("no-shift") == pytest.approx(0.5, abs=0.1)
    # variances add: 0.5 of any plate, 1.5 of the shift
    assert spread("label-shift") == pytest.approx(np.sqrt(0.5**2 + 1.5**2), abs=0.25)
    plates, conditions = experiment("shifts")
    associations = {
        part: association(*imaged(of_part(plates, part), conditions, part)[:2])
        for part in ("no-shift", "label-shift")
    }
    assert associations["label-shift"] > 1.5 * associations["no-shift"]


def test_classes_are_confounded_with_days_in_training_only() -> None:
    _, train, test = sides("sim/confounded")
    assert (train.groupby("label")["date"].nunique() == 1).all()
    assert train["date"].nunique() == 4
    assert association(train["date"], train["label"]) == pytest.approx(1)
    assert association(test["date"], test["label"]) < 0.6
    assert (test.groupby("label")["date"].nunique() > 1).all()


def test_the_former_name_is_an_alias_with_the_same_ids() -> None:
    split = find_split("sim/nested")
    assert (split.name, split.alias) == ("sim/confounded", "sim/nested")
    assert canonical_name("sim/nested") == "sim/confounded"
    results = Path(__file__).parents[2] / "results"
    records = bench.load_records(results, reference=True)
    published = [record for record in records if record.split_id == split.name]
    assert len(published) >= 9
    assert all(run_id(record.spec) == record.run_id for record in published)
    assert {record.split for record in published} == {split.name}
    assert current_name("sim/nested~id-val.1") == "sim/confounded~id-val.1"
    assert identity_name("sim/confounded~id-val.1") == "sim/nested~id-val.1"


def test_half_the_strength_confounds_half() -> None:
    plates, conditions = experiment("nested", 0.5)
    for item in of_part(plates, "nested-training"):
        weights = np.array(item.weights)
        assert set(weights) == {0.5, 1.0}
        plain = dataclasses.replace(item, weights=())
        expected = layout.shares_of(plain, conditions) * weights
        assert layout.shares_of(item, conditions) == pytest.approx(expected / expected.sum())


def test_training_and_test_experiments_are_draws_of_one_distribution() -> None:
    _, train, test = sides("sim/many-laboratories")
    for side, n in ((train, 12), (test, 8)):
        for level in ("laboratory", "microscope", "date"):
            assert side[level].nunique() == n
        pairs = side.groupby("laboratory")["microscope"].nunique()
        assert (pairs == 1).all()
    for level in ("laboratory", "microscope", "date", "plate"):
        assert not set(train[level]) & set(test[level])
    # A knob's draws over laboratories or microscopes are standard normal in both parts.
    for part in ("many-training", "many-test"):
        for name, level in (("stain-protein", "laboratory"), ("gain", "microscope")):
            values = []
            for draw in range(25):
                plates, conditions = experiment(part, draw=draw)
                first = [item for item in plates if item.slot == 0]
                values += [np.log(conditions.value(name, p.units, ["C04"])[0]) for p in first]
            knob = BY_NAME[name]
            sd = np.sqrt(sum(spread**2 for spread in knob.sd.values()))
            assert np.std(values) == pytest.approx(sd, rel=0.2)
            assert np.mean(values) == pytest.approx(np.log(knob.reference), abs=0.2 * sd)
            assert knob.sd[level] == max(knob.sd.values())


@pytest.mark.parametrize("experiments, plates", [(2, 2), (8, 2), (4, 1), (4, 8)])
def test_fewer_experiments_or_more_plates_keep_the_images_and_the_first_ones(
    experiments: int, plates: int
) -> None:
    design = Design(0, experiments=experiments, plates=plates)
    chosen = EXPERIMENTS["many-training"].plates(design)
    assert sum(item.cells for item in chosen) == MANY_LEARNT
    assert len(chosen) == experiments * plates
    usual = {item.number: item for item in EXPERIMENTS["many-training"].plates(Design(0))}
    for item in chosen:
        if item.number in usual:
            assert dataclasses.replace(item, cells=100) == usual[item.number]
    assert len({item.laboratory for item in chosen} & {p.laboratory for p in usual.values()}) == (
        experiments
    )
    assert EXPERIMENTS["many-test"].plates(design) == EXPERIMENTS["many-test"].plates(Design(0))


def test_strength_zero_makes_all_laboratories_the_same() -> None:
    plates, conditions = experiment("many-training", 0.0)
    other, _ = experiment("many-test", 0.0)
    levels = {"laboratory", "microscope"}
    fixed = [name for name in NAMES if set(BY_NAME[name].sd) <= levels]
    assert len(fixed) >= 8
    for item in (*plates, *other):
        values = knobs(item, conditions)
        assert all(values[name] == knobs(plates[0], conditions)[name] for name in fixed)
    maps = [layout.well_map(item, conditions) for item in (*plates, *other)]
    assert all(wells == maps[0] for wells in maps)


def test_order_of_imaging_tells_the_class_in_training_and_not_when_scrambled() -> None:
    plates, conditions = experiment("lamp")

    # Minutes are cut to thirds of an hour: with one level a well the table would be full of holes.
    def strength(part: str) -> float:
        _, classes, minutes = imaged(of_part(plates, part), conditions, part)
        return association(minutes // 20, classes)

    assert strength("lamp-training") > 0.75
    assert strength("lamp-kept") > 0.75
    assert strength("lamp-scrambled") < 0.25
    # Each class is imaged in one run of wells, in the same turn on every plate.
    train, other = sides("sim/warm-lamp")[1], sides("sim/warm-lamp-kept")[1]
    assert train.equals(other)
    when = {name: set(rows["minute"].astype(int)) for name, rows in train.groupby("label")}
    turns = sorted((min(minutes), max(minutes)) for minutes in when.values())
    assert all(last <= first for (_, last), (first, _) in pairwise(turns))


def test_kept_and_scrambled_are_the_same_cells_in_other_light() -> None:
    plates, conditions = experiment("lamp")
    kept, scrambled = of_part(plates, "lamp-kept")[0], of_part(plates, "lamp-scrambled")[0]
    assert dataclasses.replace(kept, parts=(), order="") == dataclasses.replace(
        scrambled, parts=(), order=""
    )
    parts = EXPERIMENTS["lamp"].parts
    item, two = (layout.populate(p, conditions, parts) for p in (kept, scrambled))
    assert np.array_equal(item.classes, two.classes)
    assert np.array_equal(item.wells, two.wells)
    assert not np.array_equal(item.minutes, two.minutes)
    assert sorted(set(item.minutes)) == sorted(set(two.minutes)) or len(set(item.wells)) < 42
    label = 5
    rows, a = plate.render(kept, label, item, conditions)
    _, b = plate.render(scrambled, label, two, conditions)
    # Without offset and noise the light differs by the two lamps' ratio, one number an image.
    offset = conditions.value("offset", kept.units, ["B02"])[0]
    lamp = abs(conditions.value("lamp", kept.units, ["B02"])[0])
    light = [1 - lamp * np.exp(-c.minutes[rows] / plate.WARM_UP) for c in (item, two)]
    measured = [(x - offset).mean(axis=(1, 2, 3)) for x in (a, b)]
    assert measured[0] / measured[1] == pytest.approx(light[0] / light[1], rel=0.01)
    # Drawn with the lamp off, they are the same bits.
    dark = dataclasses.replace(conditions, off=frozenset({"lamp"}))
    assert np.array_equal(
        plate.render(kept, label, item, dark)[1], plate.render(scrambled, label, two, dark)[1]
    )


def test_the_lamp_is_as_cold_as_the_strength_says() -> None:
    for strength in (0.5, 1.0, 2.0):
        plates, conditions = experiment("lamp", strength)
        values = [conditions.value("lamp", item.units, ["B02"])[0] for item in plates[:8]]
        frozen = [Conditions(0).value("lamp", replaced(item), ["B02"])[0] for item in plates[:8]]
        expected = strength * (LAMP + np.array(frozen))
        assert values == pytest.approx(np.clip(expected, -0.6, 0.6).tolist())


def replaced(plate: Any) -> Any:
    return dataclasses.replace(plate, moves=()).units


@pytest.mark.parametrize("part", ["laboratory", "microscope", "both", "new-markers", "label-shift"])
def test_strength_zero_is_no_shift(part: str) -> None:
    plates, conditions = experiment("shifts", 0.0)
    parts = EXPERIMENTS["shifts"].parts
    for item, plain in zip(of_part(plates, part), of_part(plates, "no-shift"), strict=True):
        assert knobs(item, conditions) == knobs(plain, conditions)
        a, b = (layout.populate(p, conditions, parts) for p in (item, plain))
        assert np.array_equal(a.classes, b.classes)
        assert a.names == b.names
    _, a = plate.render(item, 2, a, conditions)
    _, b = plate.render(plain, 2, b, conditions)
    assert np.array_equal(a, b)


def test_strength_zero_leaves_the_lamp_warm_and_the_days_mixed() -> None:
    opened, _, kept = sides("sim/warm-lamp-kept", strength=0)
    _, _, scrambled = sides("sim/warm-lamp", strength=0)
    assert np.array_equal(
        opened.source.read(kept.index.to_numpy()), opened.source.read(scrambled.index.to_numpy())
    )
    _, train, _ = sides("sim/confounded", strength=0)
    assert (train.groupby("label")["date"].nunique() > 1).all()


def test_the_shift_grows_with_the_strength_and_the_plates_do_not() -> None:
    def gap(strength: float) -> tuple[float, float]:
        plates, conditions = experiment("shifts", strength)
        away, home = of_part(plates, "laboratory"), of_part(plates, "no-shift")
        stain = [
            np.log([conditions.value("stain-protein", p.units, ["B02"])[0] for p in side])
            for side in (away, home)
        ]
        return float(stain[0].mean() - stain[1].mean()), float(stain[1].std())

    item, plates_once = gap(1.0)
    two, plates_twice = gap(2.0)
    assert two == pytest.approx(2 * item)
    assert plates_twice == pytest.approx(plates_once)


def test_a_split_opens_the_files_of_its_own_experiment() -> None:
    tasks = open_splits(
        ["sim/laboratory", "sim/confounded", "sim/no-shift", "sim/warm-lamp", "sim/warm-lamp-kept"],
        Registry(),
        "auto",
        SMALL,
        lambda line: None,
    )
    laboratory, confounded, no_shift, lamp, kept = [task.opened for task in tasks]
    assert laboratory is no_shift
    assert lamp is kept
    assert set(confounded.index["part"]) == {"nested-training", "nested-test"}
    assert set(lamp.index["part"]) == {"lamp-training", "lamp-kept", "lamp-scrambled"}
    assert len({laboratory.digest, confounded.digest, lamp.digest}) == 3


def test_the_whole_set_holds_every_part_and_keeps_the_contract() -> None:
    whole = Simulated(Settings(**SMALL)).open("simulated")
    parts = [part for item in EXPERIMENTS.values() for part in item.parts]
    assert list(whole.index["part"].unique()) == parts
    opened, train, _ = sides("sim/confounded")
    rows = whole.index["part"].to_numpy() == "nested-training"
    assert whole.index["id"][rows].tolist() == train["id"].tolist()
    assert np.array_equal(
        whole.source.read(np.flatnonzero(rows)[:9]), opened.source.read(np.arange(9))
    )
    check_dataset("sim", settings=SMALL)


def test_the_same_settings_give_the_same_files_and_another_draw_others() -> None:
    item = sides("sim/confounded")[0].digest
    assert sides("sim/confounded")[0].digest == item
    assert sides("sim/confounded", draw=1)[0].digest != item
    assert sides("sim/confounded", strength=2)[0].settings == {**SMALL, "strength": 2.0}
    assert Simulated().settings == Settings(draw=100)


def test_what_it_cannot_do_is_said() -> None:
    with raises(BenchError, "lampe", "lamp"):
        Simulated(Settings(off="lampe"))
    with raises(BenchError, "real"):
        Simulated().open("real")
    item = dataclasses.replace(layout.coos7()[0], order="spiral")
    wells = layout.well_map(item, Conditions(0))
    with raises(ValueError, "spiral"):
        layout.minutes_of(item, wells, Conditions(0))


@pytest.mark.slow
def test_run_prints_the_drop(tmp_path: Any) -> None:
    arguments = ["run", "-m", "erm", "-s", "sim/warm-lamp", "--recipe", "smoke"]
    arguments += ["--set", "recipe.steps=2", "--set", "data.draw=0", "--set", "data.scale=0.05"]
    done = CliRunner().invoke(
        group, [*arguments, "--results", str(tmp_path)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "companion" in done.output
    mentions(done.output, "erm", "0")
    mentions(done.output, "sim/warm-lamp-kept", "0")
    mentions(done.output, "0")


def test_simulated_coos7_has_the_pixels_it_had() -> None:
    """Numbers of the simulator before it knew other experiments."""
    folder_plates, conditions = layout.coos7(0.03), Conditions(0)
    values = write.parameters("coos7", folder_plates, conditions)
    assert set(values["experiment"][0]) == {
        "number",
        "parts",
        "laboratory",
        "microscope",
        "date",
        "slot",
        "cells",
    }
    assert "factors" not in values
    item = folder_plates[7]
    contents = layout.populate(item, conditions)
    rows, images = plate.render(item, 3, contents, conditions)
    assert (rows.tolist(), contents.wells.sum(), contents.part.tolist()) == FROZEN_ROWS
    assert contents.minutes.sum() == pytest.approx(FROZEN_MINUTES)
    # another processor may round a count or two the other way
    assert np.abs(images[0, :, 30, 28:36].astype(int) - FROZEN_COUNTS).max() <= 1
    assert images.sum(dtype=np.int64) == pytest.approx(FROZEN_SUM, rel=1e-6)


FROZEN_ROWS = ([15], 360, [0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0])
FROZEN_MINUTES = 1654.2857142857142
FROZEN_COUNTS = np.array(
    [[248, 270, 221, 236, 235, 245, 227, 228], [690, 572, 566, 507, 484, 433, 401, 389]]
)
FROZEN_SUM = 2174034
