"""Figures: files, what is in them, and that they never fail for want of records."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from bench.core.entry import Entry
from bench.core.errors import BenchError
from bench.core.meta import FIGURE_NEEDS
from bench.output.canvas import writing
from bench.output.figures import FigureInput, all_figures, draw
from bench.output.style import (
    APART,
    KNOWN,
    MARKERS,
    OTHERS,
    colour_of,
    fitted,
    legend_lines,
    marker_of,
    spread,
    within,
)
from tests.helpers.errors import raises
from tests.helpers.factories import as_records, make_record, plausible

ROOT = Path(__file__).resolve().parents[2]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


FROM_RECORDS = (
    "cost",
    "critical-difference",
    "degradation",
    "per-batch",
    "ranking",
    "tradeoff",
    "paper/strategies",
)


@pytest.mark.parametrize("name", FROM_RECORDS)
def test_each_figure_is_pdf_png_and_csv(tmp_path: Path, name: str) -> None:
    entries = plausible(splits=("coos7/test1", "coos7/test4"))
    for entry in entries:
        entry["metrics"]["batch_1nn"] = {"all": 0.3}
    files = draw(as_records(entries), [name], tmp_path)
    assert {file.suffix for file in files} == {".pdf", ".png", ".csv"}
    assert sorted(files) == sorted(file for file in tmp_path.rglob("*") if file.is_file())
    for file in files:
        assert str(file.relative_to(tmp_path)).startswith(name)
        if file.suffix == ".png":
            image = matplotlib.image.imread(file)
            assert image.std() > 0.02
        if file.suffix == ".csv":
            assert {row["method"] for row in rows(file)} <= {*KNOWN, ""}


@pytest.mark.slow
def test_without_records_a_sentence_stands_in_each_place(tmp_path: Path) -> None:
    with writing("csv"):
        files = draw([], [], tmp_path)
    names = [str(file.relative_to(tmp_path).with_suffix("")) for file in files]
    assert names == list(all_figures())  # all, since none is named
    for file in draw([], ["ranking", "paper/table-1", "paper/strategies"], tmp_path)[::3]:
        assert file.read_bytes().startswith(b"%PDF")
    for name in all_figures():
        table = rows(tmp_path / f"{name}.csv")
        if name.startswith("paper/table"):  # what the paper says needs no record of ours
            assert all(float(row["published"]) >= 0 and not row["measured"] for row in table)
            assert all(row["status"] in ("not run", "never compared") for row in table)
        elif name == "paper/strategies":
            assert "python -m bench run" in table[-1]["what"]
        else:
            (entry,) = table
            assert len(entry["note"].split()) > 6, name


def test_each_file_says_what_it_is() -> None:
    for name, figure in all_figures().items():
        assert figure.meta["title"], name
        assert figure.meta["summary"].endswith("."), name
        assert set(figure.meta["needs"]) <= set(FIGURE_NEEDS), name
        assert bool(figure.meta["paper"]) == name.startswith("paper/"), name
    wanted = {f"paper/table-{n}" for n in range(1, 7)} | {f"paper/fig-{n}" for n in range(1, 5)}
    assert wanted <= set(all_figures())


def test_a_name_that_ends_in_a_slash_stands_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def note(inputs: FigureInput) -> list[Path]:
        drawn.append(inputs.meta["name"])
        return []

    monkeypatch.setattr(Entry, "load", lambda entry: note)
    draw([], ["cost", "paper/"], tmp_path)
    assert drawn == ["cost", *[name for name in all_figures() if name.startswith("paper/")]]


@pytest.mark.parametrize("name", ["ranking", "tradeoff", "paper/strategies"])
def test_another_method_moves_no_number(tmp_path: Path, name: str) -> None:
    few = plausible(("coos7/test4",), ("erm", "ben"))
    more = plausible(("coos7/test4",), ("adabn", "ben", "ben-controls", "erm", "erm-plate"))
    result = []
    for k, entries in enumerate((few, more)):
        for entry in entries:
            entry["metrics"]["batch_1nn"] = {"all": 0.1 + 0.01 * entry["spec"]["seed"]}
        with writing("csv"):
            draw(as_records(entries), [name], tmp_path / str(k))
        (file,) = (tmp_path / str(k)).rglob("*.csv")
        result.append([row for row in rows(file) if row.get("method") in ("erm", "ben")])
    for row in (*result[0], *result[1]):
        row.pop("rank", None)  # a place among others is what it says
    assert result[0] == result[1] != []


def test_an_unknown_figure_suggests(tmp_path: Path) -> None:
    with raises(BenchError, "degredation", "degradation"):
        draw([], ["degredation"], tmp_path)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with raises(BenchError):
        draw([], ["cost"], tmp_path / "out")


@pytest.mark.parametrize("name", ["degradation", "cost"])
def test_equal_records_give_equal_bytes(tmp_path: Path, name: str) -> None:
    entries = plausible(n_clusters=9)
    draw(as_records(entries), [name], tmp_path / "one")
    draw(as_records(entries[::-1]), [name], tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    pdf = (tmp_path / "one" / f"{name}.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"/FontType 42" in pdf or b"/CIDFontType2" in pdf
    assert b"runs " in pdf


def test_degradation_holds_each_seed_and_leaves_gaps(tmp_path: Path) -> None:
    entries = plausible(splits=("coos7/test1", "coos7/test4"), methods=("erm", "ben"))
    with writing("csv"):
        draw(as_records(entries), ["degradation"], tmp_path)
    table = rows(tmp_path / "degradation.csv")
    wanted = {
        (e["spec"]["split_id"], e["method"], e["spec"]["seed"]): e["metrics"][
            "probe.balanced_accuracy"
        ]
        for e in entries
    }
    assert len(table) == len(wanted)
    for row in table:
        value = wanted[row["split"], row["method"], int(row["seed"])]["all"]
        assert float(row["value"]) == value
        assert row["edition"] == "simulated"
        assert row["readout"] == "probe"


def test_one_figure_holds_one_readout(tmp_path: Path) -> None:
    entries = plausible(splits=("coos7/test1", "coos7/test4"), methods=("erm", "ben"))
    entries += [make_record("zscore", s, 0.5, clusters=[0.4, 0.6]) for s in range(3)]
    with writing("csv"):
        draw(as_records(entries), ["degradation"], tmp_path)
    assert {row["readout"] for row in rows(tmp_path / "degradation.csv")} == {"probe"}


def test_editions_and_recipes_never_share_a_figure(tmp_path: Path) -> None:
    entries = plausible(splits=("coos7/test1", "coos7/test4"), methods=("erm", "ben"))
    for edition, recipe in (("real", "default"), ("simulated", "smoke")):
        entries += [
            make_record("erm", s, 0.4, edition=edition, recipe=recipe, clusters=[0.4, 0.4])
            for s in range(3)
        ]
    with writing("csv"):
        draw(as_records(entries), ["degradation", "ranking"], tmp_path)
    for file in tmp_path.glob("*.csv"):
        table = rows(file)
        assert len({(row["edition"], row["recipe"]) for row in table}) == 1, file.name
    assert len(list(tmp_path.glob("degradation*.csv"))) == 3


def test_odd_names_and_lone_values_are_drawn(tmp_path: Path) -> None:
    entries = [make_record(r"<script>$x_1$\n", 0, 0.5, split="own/$plate$")]
    entries += [make_record("erm", 0, 0.5, split="own/$plate$")]
    entries += [make_record("tvn", status="not-applicable", reason="x", split="other/one")]
    with writing("png"):
        assert draw(as_records(entries), list(FROM_RECORDS), tmp_path)


def test_figures_do_not_touch_pyplot_or_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport bench.output.figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"bench.output.figures.draw([], ['cost'], Path({str(tmp_path)!r}))\n"
        "print([m for m in ('matplotlib.pyplot', 'torch', 'bench.methods') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_method_has_one_colour_whoever_else_is_there() -> None:
    assert colour_of("ben") == colour_of("ben(level=week)") == colour_of("ben v2") == KNOWN["ben"]
    assert marker_of("ben") != marker_of("ben(level=week)")
    assert colour_of("identity+zscore") == colour_of("zscore") != colour_of("identity")
    assert marker_of("identity+zscore") == marker_of("zscore")
    assert not set(APART.values()) & {MARKERS[0]}
    twins = ("mixup", "mmd", "cs-arm-bn", "instance-norm", "tvn", "coral-to-target", "irm")
    assert len({(colour_of(name), marker_of(name)) for name in twins}) == len(twins)
    # Literal values: the colour of a name may never change between releases.
    assert colour_of("erm+tvn") == OTHERS[9]
    assert len(set(KNOWN.values()) | set(OTHERS)) == len(KNOWN) + len(OTHERS)


def _contrast(colour: str) -> float:
    """Contrast ratio to white (WCAG 2.1)."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def test_colours_are_visible_on_white() -> None:
    assert all(_contrast(colour) >= 2 for colour in [*KNOWN.values(), *OTHERS])
    assert all(_contrast(KNOWN[name]) >= 3 for name in ("erm", "ben", "adabn", "ben-controls"))


def test_spread_keeps_the_order_and_the_gap() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(12).tolist()
    placed = spread(values, 0.1)
    order = np.argsort(values)
    gaps = np.diff(np.array(placed)[order])
    assert (gaps >= 0.1 - 1e-12).all()
    assert np.mean(placed) == pytest.approx(np.mean(values))
    assert spread([0.0, 1.0, 2.0], 0.5) == [0.0, 1.0, 2.0]
    assert spread([0.0, 0.0], 1.0) == [-0.5, 0.5]


def test_places_are_moved_into_limits_if_they_fit() -> None:
    rng = np.random.default_rng(1)
    places = spread(rng.normal(0.95, 0.02, 20).tolist(), 0.04)
    moved = within(places, 0.04, 0.0, 1.0)
    assert min(moved) >= 0
    assert max(moved) <= 1 + 1e-12
    assert (np.argsort(moved) == np.argsort(places)).all()
    assert np.diff(np.sort(moved)).min() >= 0.04 - 1e-12
    assert within([0.2, 0.4], 0.1, 0.0, 1.0) == [0.2, 0.4]
    assert within([0.0, 2.0], 2.0, 0.0, 1.0) == [0.0, 2.0]


def test_long_names_share_the_room_of_a_legend() -> None:
    short = [f"method-{k}" for k in range(30)]
    assert legend_lines(short) == 8
    assert legend_lines([*short, "x" * 60]) <= 11  # one long name costs its own lines alone
    assert fitted("x" * 60, 20, 2) == "x" * 20 + "\n" + "x" * 19 + "…"
    assert fitted("ben", 20) == "ben"
