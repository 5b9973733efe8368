"""The simulator: closed forms of its physics, knobs one at a time, format, determinism, cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from bench.datasets.simulator import camera, cells, layout, optics, plate, textures, write
from bench.datasets.simulator.conditions import Conditions, Units
from bench.datasets.simulator.knobs import GROUPS, KNOBS, NAMES, expand
from scipy import stats

from bench.core.errors import BenchError
from tests.helpers.errors import mentions, raises
from tests.helpers.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
UNITS = Units("A", "0", "20170306", "0")
WELLS = ["B02", "B03", "C07"]


def small(scale: float = 0.03, draw: int = 0, **kwargs: object) -> tuple[list, Conditions]:
    return layout.coos7(scale), Conditions(draw, **kwargs)  # type: ignore[arg-type]


def only(*names: str) -> frozenset[str]:
    """Return what must be off so that only these knobs are on."""
    return frozenset(NAMES) - set(names)


def read(folder: Path, part: str) -> dict[str, np.ndarray]:
    with h5py.File(folder / write.file_name(part)) as handle:
        return {key: handle[key][()] for key in handle}


def test_strength_zero_is_the_reference_condition_everywhere() -> None:
    for knob in KNOBS:
        values = Conditions(3, strength=0).value(knob.name, UNITS, WELLS)
        assert values == pytest.approx(np.full(3, knob.reference), rel=1e-12), knob.name


def test_deviations_are_proportional_to_strength() -> None:
    for name in ("gain", "stain-protein", "read-noise"):
        reference = next(k.reference for k in KNOBS if k.name == name)
        once = np.log(Conditions(1, 0.5).value(name, UNITS, WELLS) / reference)
        twice = np.log(Conditions(1, 1.0).value(name, UNITS, WELLS) / reference)
        assert twice == pytest.approx(2 * once)
    odds = [
        v / (1 - v)
        for v in (Conditions(1, s).value("confluence", UNITS, WELLS) for s in (0.0, 0.5, 1.0))
    ]
    assert np.log(odds[2] / odds[0]) == pytest.approx(2 * np.log(odds[1] / odds[0]))


def test_a_knob_that_is_off_moves_no_other() -> None:
    everything = Conditions(5)
    for name in NAMES:
        without = Conditions(5, off=frozenset({name}))
        assert without.value(name, UNITS, WELLS) == pytest.approx(
            Conditions(5, 0).value(name, UNITS, WELLS)
        )
        for other in set(NAMES) - {name}:
            assert np.array_equal(
                everything.value(other, UNITS, WELLS), without.value(other, UNITS, WELLS)
            )


def test_values_vary_at_their_levels_only() -> None:
    day = Units("A", "0", "20170308", "1")
    other = Units("B", "1", "20180604", "9")
    conditions = Conditions(2)
    for knob in KNOBS:
        here, there, away = (conditions.value(knob.name, u, WELLS) for u in (UNITS, day, other))
        within = bool({"plate", "day", "well"} & set(knob.sd))
        assert np.array_equal(here, there) != within, knob.name
        assert not np.array_equal(here, away), knob.name
        assert (np.ptp(here) > 0) == ("well" in knob.sd), knob.name


def test_standard_deviations_are_those_stated() -> None:
    draws = [Conditions(i).value("gain", UNITS, ["B02"])[0] for i in range(400)]
    log = np.log(np.array(draws) / 0.5)
    stated = next(k.sd["microscope"] for k in KNOBS if k.name == "gain")
    # the standard error of a standard deviation is sd / sqrt(2 n)
    assert log.std(ddof=1) == pytest.approx(stated, abs=4 * stated / np.sqrt(800))
    assert log.mean() == pytest.approx(0, abs=4 * stated / 20)


def test_groups_part_the_knobs() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(NAMES)
    assert expand(frozenset({"staining", "lamp"})) == {*GROUPS["staining"], "lamp"}
    assert not set(GROUPS) & set(NAMES)


def test_shares_of_classes() -> None:
    shares = Conditions(0).shares(UNITS, layout.CLASSES)
    assert shares.sum() == pytest.approx(1)
    assert np.ptp(shares) > 0.02
    even = Conditions(0, off=frozenset({"composition"})).shares(UNITS, layout.CLASSES)
    assert even == pytest.approx(np.full(7, 1 / 7))


COUNTING = frozenset({"composition", "layout", "edge"})


@pytest.mark.parametrize("name", sorted(set(NAMES) - COUNTING - {"full-well"}))
def test_every_knob_reaches_the_pixels(name: str) -> None:
    assert changes_pixels(name, 0, 2.0)


def test_a_shallow_full_well_reaches_the_pixels() -> None:
    units = layout.coos7()[-1].units
    shallow = min(
        range(200), key=lambda i: Conditions(i, 3.0).value("full-well", units, ["B02"])[0]
    )
    assert changes_pixels("full-well", shallow, 3.0)


def changes_pixels(name: str, draw: int, strength: float) -> bool:
    last = layout.coos7(0.2)[-1]
    contents = layout.populate(last, Conditions(draw, strength, COUNTING))
    for label in range(len(layout.CLASSES)):
        rows, images = plate.render(last, label, contents, Conditions(draw, strength, COUNTING))
        _, without = plate.render(
            last, label, contents, Conditions(draw, strength, COUNTING | {name})
        )
        if len(rows) and not np.array_equal(images, without):
            return True
    return False


@pytest.mark.parametrize("mean", [3.0, 40.0, 900.0])
def test_noise_of_the_camera(mean: float) -> None:
    n, gain, offset, read_noise = 60_000, 0.7, 100.0, 2.0
    item = np.ones(1, np.float32)
    counts = camera.expose(
        np.random.default_rng(0),
        np.full((1, n), mean, np.float32),
        gain * item,
        offset * item,
        read_noise * item,
        1e6 * item,
    ).astype(float)
    variance = (mean + 1 / 8 + read_noise**2) / gain**2 + 1 / 12  # photons, read-out, rounding
    assert counts.mean() == pytest.approx(mean / gain + offset, abs=4.5 * np.sqrt(variance / n))
    assert counts.var() == pytest.approx(variance, rel=0.04)
    assert stats.skew(counts.ravel()) > -0.05


def test_saturation_and_bounds_of_counts() -> None:
    item = np.ones(1, np.float32)
    rng = np.random.default_rng(0)
    full = camera.expose(
        rng, np.full((1, 50), 9e4, np.float32), item, 100 * item, 0 * item, 3e4 * item
    )
    assert set(full.ravel().tolist()) == {30100}
    high = camera.expose(
        rng, np.full((1, 50), 9e4, np.float32), 0.1 * item, item, 0 * item, 1e6 * item
    )
    assert set(high.ravel().tolist()) == {65535}
    low = camera.expose(rng, np.zeros((1, 500), np.float32), item, 0 * item, 5 * item, 1e6 * item)
    assert low.min() == 0


def light_path(**changes: float) -> optics.Optics:
    values = {
        "pixel": 0.32,
        "aperture": 0.9,
        "stray": 0.0,
        "defocus": 0.0,
        "shift_x": 0.0,
        "shift_y": 0.0,
    } | changes
    return optics.Optics(**{k: np.array([v], np.float32) for k, v in values.items()})


def moments(image: np.ndarray) -> tuple[float, float, float]:
    side = image.shape[-1]
    axis = np.arange(side) - side // 2
    weight = image / image.sum()
    x, y = (weight.sum(0) * axis).sum(), (weight.sum(1) * axis).sum()
    return x, y, (weight.sum(0) * (axis - x) ** 2).sum()


def test_point_spread_has_the_width_of_the_formula() -> None:
    point = np.zeros((1, 80, 80), np.float32)
    point[0, 40, 40] = 1000
    slope = 0.9 / np.sqrt(1.33**2 - 0.9**2)
    for defocus in (0.0, 1.0, -1.0):
        image = optics.form_image(point, 0, light_path(defocus=defocus, pixel=0.08))[0]
        variance = (0.21 * 0.52 / 0.9) ** 2 + (defocus * slope / 2) ** 2 + 0.08**2 / 12
        assert image.sum() == pytest.approx(1000, rel=1e-3)
        assert moments(image)[2] == pytest.approx(variance / 0.08**2, rel=0.01)


def test_registration_moves_the_second_channel() -> None:
    point = np.zeros((1, 80, 80), np.float32)
    point[0, 40, 40] = 1
    path = light_path(shift_x=0.64, shift_y=-0.32, defocus=1.0)
    assert moments(optics.form_image(point, 1, path)[0])[:2] == pytest.approx((2, -1), abs=0.02)
    assert moments(optics.form_image(point, 0, path)[0])[:2] == pytest.approx((0, 0), abs=0.02)


def test_stray_light_goes_into_the_wide_part_only() -> None:
    point = np.zeros((1, 80, 80), np.float32)
    point[0, 40, 40] = 1
    path = light_path(stray=0.4, pixel=0.2, defocus=1.0)
    core, wide = (float(w[0]) / 0.2 for w in optics.widths(0, path))
    assert moments(optics.form_image(point, 0, path)[0])[2] == pytest.approx(
        0.6 * core**2 + 0.4 * wide**2, rel=0.02
    )


def test_illumination_at_the_middle_and_the_corner() -> None:
    flat = np.ones((2, 64, 64))
    place = np.array([[0.0, 0.0], [0.9, -0.9]])
    lit = optics.illuminate(flat, np.array([0.2, 0.2]), place, np.zeros((2, 2)))
    step = 1 / 1024  # the middle of 64 pixels is between two of them
    assert lit[0, 32, 32] == pytest.approx(1 - 0.1 * 2 * step**2, abs=1e-6)
    expected = 1 - 0.1 * ((0.9 + step) ** 2 + (-0.9 + step) ** 2)
    assert lit[1, 32, 32] == pytest.approx(expected, abs=1e-6)
    moved = optics.illuminate(flat, np.array([0.2, 0.2]), place, place)
    assert np.allclose(moved[0], moved[1])


def test_random_fields_have_unit_variance_and_the_stated_length() -> None:
    length = np.full(300, 3.0)
    field = textures.noise(np.random.default_rng(1), 300, 48, length)
    assert field.var() == pytest.approx(1, rel=0.05)
    for lag in (2, 4, 6):
        correlation = (field[:, :, :-lag] * field[:, :, lag:]).mean()
        # white noise smoothed with sd s has correlation exp(-d^2 / 4 s^2)
        assert correlation == pytest.approx(np.exp(-(lag**2) / 36), abs=0.05)


def test_a_nucleus_sends_the_light_of_its_genomes() -> None:
    n = 60
    same = np.ones(n, np.float32)
    culture = cells.Culture(
        0.4 * same, 0.9 * same, 1.1 * same, 0 * same, same, same, same, 0 * same
    )
    _, dna = cells.draw_crops(np.random.default_rng(0), 5, culture, 80)
    genomes = dna.sum(axis=(1, 2)) / cells.DNA
    assert genomes.min() > 0.93
    assert genomes.max() < 2.05
    assert genomes.mean() == pytest.approx(1.375, abs=0.25)  # half G1, a quarter S, a quarter G2


def test_a_cold_lamp_warms_up() -> None:
    item = layout.coos7(1.0)[20]
    conditions = Conditions(4, strength=4, off=only("lamp"))
    loss = float(np.abs(conditions.value("lamp", item.units, ["B02"])[0]))
    assert loss > 0.2
    contents = layout.populate(item, conditions)
    light, dark = [], []
    for label in range(7):
        rows, images = plate.render(item, label, contents, conditions)
        dark.append(np.percentile(images[:, 0], 10, axis=(1, 2)) - 100)
        light.append(1 - loss * np.exp(-contents.minutes[rows] / 20))
    # the background is 35 electrons, 70 counts, at most a few of them lost by the illumination
    fit = stats.linregress(np.concatenate(light), np.concatenate(dark))
    assert fit.slope > 8 * fit.stderr
    assert fit.intercept == pytest.approx(0, abs=4 * fit.intercept_stderr)


def test_rim_wells_have_fewer_cells() -> None:
    plates, conditions = small(1.0, strength=2, off=only("edge"))
    rim = inner = 0.0
    for item in plates:
        contents = layout.populate(item, conditions)
        counts = np.bincount(contents.wells, minlength=len(contents.names))
        rim += counts[contents.edge].mean()
        inner += counts[~contents.edge].mean()
    assert rim < 0.8 * inner


def test_strength_zero_leaves_plates_alike() -> None:
    def p_value(strength: float) -> float:
        plates, conditions = small(0.1, strength=strength)
        groups = []
        for item in plates[-6:] + plates[:2]:
            contents = layout.populate(item, conditions)
            _, images = plate.render(item, 5, contents, conditions)
            groups.append(np.log(images[:, 1].mean(axis=(1, 2)) - 90))
        return float(stats.f_oneway(*[g for g in groups if len(g) > 1]).pvalue)

    assert p_value(0) > 0.01
    assert p_value(1) < 1e-6


def test_parts_share_what_they_should() -> None:
    plates, conditions = small(1.0)
    wells: dict[str, set] = {part: set() for part in layout.PARTS}
    days: dict[str, set] = {part: set() for part in layout.PARTS}
    sizes = dict.fromkeys(layout.PARTS, 0)
    for item in plates:
        contents = layout.populate(item, conditions)
        assert (np.diff(contents.minutes) >= 0).all()
        for i, part in enumerate(layout.PARTS):
            rows = contents.part == i
            sizes[part] += int(rows.sum())
            wells[part] |= {(item.number, int(w)) for w in contents.wells[rows]}
            if rows.any():
                days[part].add(item.date)
    assert wells["test1"] <= wells["training"]
    assert not wells["test2"] & wells["training"]
    assert {p for p, _ in wells["test2"]} == {p for p, _ in wells["training"]}
    assert not (days["test3"] | days["test4"]) & days["training"]
    assert len(days["test4"]) == len(days["test3"]) == len(days["training"]) == 8
    assert sizes["test1"] / (sizes["test1"] + sizes["training"]) == pytest.approx(0.2, abs=0.02)
    assert sum(sizes.values()) == 12_600
    assert {(p.laboratory, p.microscope) for p in plates} == {("A", "0"), ("B", "1")}


def test_a_laboratory_keeps_its_plate_map_unless_switched_off() -> None:
    plates, conditions = small()
    maps = [layout.well_map(item, conditions) for item in plates]
    assert maps[0] == maps[1] == maps[15]
    assert maps[0] != maps[-1]
    free = Conditions(0, off=frozenset({"layout"}))
    assert layout.well_map(plates[0], free) != layout.well_map(plates[1], free)
    for wells in (maps[0], layout.well_map(plates[0], free)):
        assert len({(row, column) for row, column, _ in wells}) == 42
        assert sorted(kind for _, _, kind in wells) == sorted(list(range(7)) * 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write.ensure(tmp_path_factory.mktemp("cache"), "coos7", *small(), workers=1)


def test_files_have_the_published_layout(folder: Path) -> None:
    total = 0
    for part in layout.PARTS:
        content = read(folder, part)
        assert set(content) == {
            "data",
            "labels",
            "dateIDs",
            "microscopeIDs",
            "plateIDs",
            "wellIDs",
        }
        n = len(content["labels"])
        total += n
        assert content["data"].shape == (n, 2, 64, 64)
        assert content["data"].dtype == np.uint16
        assert content["data"].min() > 0
        assert set(content["labels"].tolist()) <= set(range(7))
        for key in ("labels", "dateIDs", "microscopeIDs", "plateIDs", "wellIDs"):
            assert content[key].shape == (n,)
        with h5py.File(folder / write.file_name(part)) as handle:
            assert handle["data"].chunks is None
    assert total == sum(item.cells for item in layout.coos7(0.03))


def test_no_image_was_left_empty(folder: Path) -> None:
    for part in layout.PARTS:
        data = read(folder, part)["data"]
        # the middle is a nucleus
        middle = data[:, 1, 24:40, 24:40].mean(axis=(1, 2))
        rim = np.percentile(data[:, 1], 20, axis=(1, 2))
        assert (middle > rim).all()


def test_files_do_not_depend_on_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    other = write.ensure(tmp_path, "coos7", *small(), workers=3)
    assert other.name == folder.name
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_draws_differ(folder: Path, tmp_path: Path) -> None:
    other = write.ensure(tmp_path, "coos7", *small(draw=1))
    assert other.name != folder.name
    mine, theirs = read(folder, "test4")["data"], read(other, "test4")["data"]
    assert not np.array_equal(mine, theirs)


def test_parameters_lie_beside_the_data(folder: Path) -> None:
    document = json.loads((folder / "parameters.json").read_text())
    assert document["version"] == 1
    assert document["draw"] == 0
    assert [knob["name"] for knob in document["knobs"]] == list(NAMES)
    assert all(knob["source"] and knob["what"] for knob in document["knobs"])
    assert len(document["plates"]) == len(document["experiment"]) == 30
    for name, fact in document["files"].items():
        assert write.sha256(folder / name) == fact["sha256"]
    first = document["plates"][0]
    assert first["knobs"]["gain"] == pytest.approx(
        Conditions(0).value("gain", UNITS, ["B02"])[0], rel=1e-4
    )


def test_parameters_name_the_folder() -> None:
    plates, _ = small()
    names = {
        write.digest(write.parameters("coos7", p, c))
        for p, c in [
            (plates, Conditions(0)),
            (plates, Conditions(1)),
            (plates, Conditions(0, 0.5)),
            (plates, Conditions(0, off=frozenset({"lamp"}))),
            (layout.coos7(0.05), Conditions(0)),
        ]
    }
    assert len(names) == 5


def test_the_distributions_are_frozen(folder: Path) -> None:
    """Change these numbers only together with ``VERSION`` and the tables in CHANGELOG."""
    means = {part: read(folder, part)["data"].mean((0, 2, 3)) for part in layout.PARTS}
    for part, mean in means.items():
        # other processors round other last digits
        assert mean == pytest.approx(FROZEN[part], rel=1e-3), part


FROZEN = {
    "training": (270.7, 229.4),
    "test1": (273.8, 228.8),
    "test2": (263.5, 231.3),
    "test3": (276.9, 230.1),
    "test4": (608.6, 375.6),
}


def test_a_second_call_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "write", lambda *_: pytest.fail("written again"))
    assert write.ensure(folder.parent, "coos7", *small()) == folder


def test_a_damaged_folder_is_made_again(tmp_path: Path) -> None:
    folder = write.ensure(tmp_path, "coos7", *small(0.01))
    path = folder / write.file_name("test4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert write.ensure(tmp_path, "coos7", *small(0.01)) == folder
    assert path.read_bytes() == whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_nothing(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = plate.render, []

    def fail(*args: object) -> object:
        calls.append(1)
        if len(calls) > 40:
            raise error
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(plate, "render", fail)
    with pytest.raises(error):
        write.ensure(tmp_path, "coos7", *small(0.01))
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


SCRIPT = """
import sys
from pathlib import Path
from bench.datasets.simulator import layout, write
from bench.datasets.simulator.conditions import Conditions
{limit}
print(write.ensure(Path(sys.argv[1]), "coos7", layout.coos7(0.05), Conditions(0)))
"""


def start(tmp_path: Path, limit: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(limit=limit), str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_at_once_make_one_folder(tmp_path: Path) -> None:
    both = [start(tmp_path), start(tmp_path)]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


@pytest.mark.slow
def test_a_full_disk_is_said_on_one_line(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))"
    process = start(tmp_path, limit)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    last = error.strip().splitlines()[-1]
    mentions(last, "bench.core.errors.BenchError")
    assert "BENCH_CACHE" in last
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with raises(BenchError, "BENCH_CACHE"):
        write.ensure(tmp_path / "cache" / "simulated", "coos7", *small(0.01))


@pytest.mark.slow
def test_classes_can_be_told_apart_by_simple_features(tmp_path: Path) -> None:
    folder = write.ensure(tmp_path, "coos7", *small(0.15))

    def features(part: str) -> tuple[np.ndarray, np.ndarray]:
        content = read(folder, part)
        z = content["data"].astype(float)
        z = (z - z.mean((2, 3), keepdims=True)) / z.std((2, 3), keepdims=True)
        grid = np.hypot(*(np.mgrid[:64, :64] - 31.5))
        rings = [z[:, 0][:, (grid >= r) & (grid < r + 4)].mean(1) for r in range(0, 32, 4)]
        detail = np.abs(np.diff(z[:, 0], axis=2)).mean((1, 2))
        peak = np.percentile(z[:, 0], 99, axis=(1, 2))
        return np.stack([*rings, detail, peak], 1), content["labels"]

    x, y = features("training")
    centre, spread = x.mean(0), x.std(0)
    means = np.stack([((x - centre) / spread)[y == k].mean(0) for k in range(7)])
    tested, truth = features("test1")
    distance = ((((tested - centre) / spread)[:, None] - means) ** 2).sum(2)
    accuracy = (distance.argmin(1) == truth).mean()
    assert 0.45 < accuracy < 0.95
