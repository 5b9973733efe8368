"""The report: its sentences from records made by hand, its methods from their files, its bytes."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bench.boards.select import boards
from bench.cli.main import main
from bench.core.canonical import pretty_json
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.output.canvas import writing
from bench.output.report import LIMIT, build
from bench.output.report import page as page_module
from bench.output.report.across import overview
from bench.output.report.methods import blocks_of, page_of, plain, plain_docstring
from bench.output.report.overview import groups, overall_context
from bench.output.report.page import inline
from bench.output.report.pictures import Drawn, Picture, _small, pictures
from bench.output.report.summary import biology_loss, finding
from bench.output.report.text import pieces
from bench.output.style import KNOWN
from bench.records.store import Store
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import as_records, make_record, plausible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.boards.board import Board

ROOT = Path(__file__).resolve().parents[2]
NASTY = "<script>alert(1)</script>"
N = 10


def matrix(method: str, table: Any, **more: Any) -> list[dict[str, Any]]:
    """Return a run for each line of ``table``, which has a score for each cluster."""
    return [
        make_record(method, seed, float(np.mean(values)), clusters=list(map(float, values)), **more)
        for seed, values in enumerate(table)
    ]


def noisy(centre: float, spread: float = 0.01, seed: int = 0) -> Any:
    return centre + np.random.default_rng(seed).normal(0, spread, (3, N))


def one_board(*groups: Sequence[Mapping[str, Any]]) -> Board:
    (board,) = boards(as_records([entry for group in groups for entry in group]))
    return board


def said(board: Board, kind: str) -> list[str]:
    return [str(line) for line in finding(board).sentences if line.kind == kind]


def test_who_won_and_by_how_much() -> None:
    board = one_board(matrix("erm", noisy(0.5)), matrix("ben", noisy(0.7, seed=1)))
    (best,) = said(board, "best")
    ben = next(row for row in board.rows if row.method == "ben")
    assert ben.diff_low is not None
    gap = f"{ben.diff_to_erm:+.3f} [{ben.diff_low:+.3f}, {ben.diff_high:+.3f}]"
    mentions(best, f"{ben.mean:.3f}", f"{ben.sd:.3f}", gap, "ben", "test-batch")
    (better,) = said(board, "better")
    mentions(better, "ben", gap)
    (tracks,) = said(board, "tracks")
    mentions(tracks, f"{board.rows[0].mean:.3f}", f"{ben.mean:.3f}", "erm", "ben")
    assert said(board, "lost") == []


def test_where_nothing_beats_erm_that_is_the_sentence() -> None:
    board = one_board(matrix("erm", noisy(0.7)), matrix("erm-plate", noisy(0.5, seed=1)))
    assert said(board, "best")
    assert said(board, "better") == []
    mentions(said(board, "worse")[0], "baseline", "erm-plate")


def test_what_cannot_be_told_apart() -> None:
    same = noisy(0.6, 0.05)
    shifted = same + np.tile([0.05, -0.05], N // 2) + 0.002
    board = one_board(
        matrix("erm", noisy(0.3, seed=3)), matrix("adabn", same), matrix("ben", shifted)
    )
    untold = said(board, "same")
    mentions(untold, "adabn", "2")
    assert not any("erm" in line for line in untold)
    # Against ERM too, where the interval contains 0.
    board = one_board(matrix("erm", same), matrix("ben", shifted))
    mentions(said(board, "same"), "baseline", "ben")
    assert len(said(board, "same")) == 2


def test_few_batches_give_no_verdict_and_a_reason() -> None:
    board = one_board(matrix("erm", noisy(0.3)[:, :4]), matrix("ben", noisy(0.8)[:, :4]))
    (same,) = said(board, "same")
    mentions(same, "4 held-out plates", "8")
    assert said(board, "better") == []


def test_nothing_is_concluded_of_rows_without_rank() -> None:
    board = one_board(matrix("erm", noisy(0.5)[:2]), matrix("ben", noisy(0.7)[:2]))
    (only,) = finding(board).sentences
    assert only.kind == "limits"
    mentions(str(only), "3 seeds")
    smoke = boards(as_records(matrix("erm", noisy(0.5), recipe="smoke")))
    assert [line.kind for line in overview(smoke)] == ["limits"]
    assert [line.kind for line in overview([])] == ["limits"]


def destroyed(losing: int, gaining: int = 0, **more: Any) -> Board:
    """Return a board on which BEN drops to chance in some batches and doubles others' margin."""
    chance = 1 / 7
    base = np.full((3, N), 0.5) + np.array([[0.0], [0.01], [-0.01]])
    table = base.copy()
    table[:, :losing] = chance + 0.01
    table[:, losing : losing + gaining] = 0.98
    return one_board(matrix("erm", base), matrix("ben", table, **more))


def test_where_batch_statistics_destroy_biology() -> None:
    board = destroyed(4)
    (text,) = said(board, "lost")
    mentions(text, "4 of 10 plates", "ben", "ERM", "03", "0.500", "0.153")
    ben = next(row for row in board.rows if row.method == "ben")
    lost = biology_loss(board, ben)
    assert lost is not None
    assert (lost.n, len(lost.lost), lost.gained) == (10, 4, ())
    (across,) = [str(line) for line in overview([board]) if line.kind == "lost"]
    mentions(across, "coos7/test4")


@pytest.mark.parametrize(
    "board",
    [
        destroyed(1),  # one batch is no pattern
        destroyed(3, 2),  # nearly as many gain as much
        destroyed(4, track="inductive"),  # it takes no statistics of the test batch
    ],
)
def test_where_they_do_not_nothing_is_said(board: Board) -> None:
    assert said(board, "lost") == []


def test_batches_in_which_erm_is_at_chance_say_nothing() -> None:
    base = np.full((3, N), 1 / 7 + 0.05)
    board = one_board(matrix("erm", base), matrix("ben", base - 0.05))
    assert said(board, "lost") == []


def test_an_interval_that_holds_0_is_said_beside_the_loss() -> None:
    rng = np.random.default_rng(5)
    base = np.tile(rng.uniform(0.5, 0.9, N), (3, 1))
    table = base + rng.normal(0, 0.25, N)
    table[:, :3] = 0.16
    table[:, 3:] = np.clip(base[:, 3:] + 0.08, 0, 1)
    board = one_board(matrix("erm", base), matrix("ben", table))
    ben = next(row for row in board.rows if row.method == "ben")
    assert ben.diff_low < 0 < ben.diff_high
    # Batches that lose are named, but not as a finding: the mean difference is not significant.
    assert biology_loss(board, ben) is not None
    assert said(board, "lost") == []
    mentions(said(board, "limits"), "ben")
    assert not [line for line in overview([board]) if line.kind == "lost"]


def test_leaks_are_named() -> None:
    board = one_board(
        matrix("erm", noisy(0.5)), matrix("position-only", noisy(0.4), track="reference")
    )
    (text,) = said(board, "leaks")
    mentions(text, "position-only", "0.143")
    assert "0.39" in text or "0.40" in text


def test_real_and_simulated_are_counted_apart() -> None:
    real = [
        *matrix("erm", noisy(0.5), split="own/a", edition="real"),
        *matrix("ben", noisy(0.7, seed=1), split="own/a", edition="real"),
    ]
    simulated = [*matrix("erm", noisy(0.5)), *matrix("ben", noisy(0.3, seed=1))]
    both = boards(as_records([*real, *simulated]))
    tables = overall_context(both)
    assert [
        (t["title"].split(" · ")[1], [row["verdicts"] for row in t["rows"]]) for t in tables
    ] == [
        ("real data", ["1 / 0 of 1"]),
        ("simulated data", ["0 / 1 of 1"]),
    ]
    lines = [str(line) for line in overview(both)]
    mentions(lines, "coos7/test4", "simulated")
    alone = [str(line) for line in overview(boards(as_records(simulated)))]
    mentions(alone, "coos7/test4", "simulated")
    assert len([line for line in alone if "real" in line]) == 1  # no real data is a limit


def test_pictures_keep_the_colours_of_methods(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (80, 90, 1)), 3, axis=2).astype(np.uint8)  # greys
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in KNOWN.values() if colour != "#000000"]
    for k, colour in enumerate(colours):
        pixels[4 * k : 4 * k + 4, :4] = colour
    Image.fromarray(pixels).save(tmp_path / "a.png")
    png, *size = _small(tmp_path / "a.png")
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        flat = np.asarray(picture.convert("RGB"))
    assert size == [90, 80]
    vivid = [colour for colour in colours if np.ptp(colour) > 60]
    assert [tuple(flat[4 * colours.index(c), 0]) for c in vivid] == vivid
    assert np.abs(flat.astype(int) - pixels).max() < 32


def test_boards_are_grouped_by_evidence() -> None:
    shown = boards(as_records([*matrix("erm", noisy(0.5), split="own/a", edition="real"),
                              *matrix("erm", noisy(0.5), split="own/b", edition="real"),
                              *matrix("erm", noisy(0.5))]))  # fmt: skip
    sections = groups(shown, {"own/b"}, {board.title: board.title for board in shown})
    names = {g["title"]: [result["board"].split for result in g["findings"]] for g in sections}
    assert names == {
        "Real images": ["own/a"],
        "Real tables": ["own/b"],
        "Simulated causes": ["coos7/test4"],
    }


def test_adding_a_method_moves_nobody_elses_numbers_in_the_page() -> None:
    entries = [*matrix("erm", noisy(0.5)), *matrix("ben", noisy(0.7, seed=1))]
    more = [*entries, *matrix("adabn", noisy(0.6, seed=2))]
    before, after = (
        cells(build(as_records(e), Registry(), figures=False).html) for e in (entries, more)
    )
    assert set(before) == {"erm", "ben"}
    assert set(after) == {"erm", "ben", "adabn"}
    for method, result in before.items():
        # All but the rank, which is a place among others, and the drawing of the bar.
        assert after[method][2:] == result[2:]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.inside:
            self.rows[-1][-1] += data


def parsed(text: str) -> _Page:
    result = _Page()
    result.feed(text)
    return result


def cells(text: str) -> dict[str, list[str]]:
    """Return the cells of the boards' rows by method."""
    body = text[text.index('id="boards"') : text.index('id="methods"')]
    return {
        row[1].strip(): row
        for row in parsed(body).rows
        if len(row) > 6 and row[1].strip() != "method"
    }


@pytest.fixture(scope="module")
def page() -> str:
    entries = [*plausible(n_clusters=10), *matrix(NASTY, noisy(0.5), split="coos7/test4")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            page_module, "pictures", lambda *runs, **_: pictures(*runs, names=["degradation"])
        )
        return build(as_records(entries), Registry()).html


def test_the_page_asks_no_other_computer(page: str) -> None:
    assert len(page.encode()) < LIMIT
    result = parsed(page)
    for tag, attributes in result.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|EventSource", page)
    (policy,) = [
        a["content"] for t, a in result.tags if t == "meta" and "content" in a and "http-equiv" in a
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_a_method_named_script_is_text(page: str) -> None:
    result = parsed(page)
    assert NASTY in result.text
    assert [tag for tag, _ in result.tags].count("script") == 3
    assert f"method/{NASTY}" in [attributes.get("id") for _, attributes in result.tags]
    links = {attributes.get("href") for tag, attributes in result.tags if tag == "a"}
    assert "#method/%3Cscript%3Ealert%281%29%3C/script%3E" in links


def test_the_page_is_described_for_search_engines(page: str) -> None:
    text = page[page.index('"application/ld+json">') + len('"application/ld+json">') :]
    facts = json.loads(text[: text.index("</script>")])
    assert (facts["@context"], facts["@type"]) == ("https://schema.org", "Dataset")
    assert facts["variableMeasured"] == ["balanced_accuracy"]
    assert "coos7/test4" in facts["measurementTechnique"]
    assert facts["identifier"] in page[page.index("<body>") :]


def test_the_data_is_json_that_holds_what_the_rows_show(page: str) -> None:
    text = page[page.index('id="data">') + len('id="data">') :]
    data = json.loads(text[: text.index("</script>")])
    board = data["boards"][-1]
    assert board["erm"] is not None
    row = board["rows"][board["erm"]]
    assert row["c"].startswith("python -m bench run --method erm --split coos7/test4")
    assert len(row["v"]) == len(row["s"]) == 3
    assert len(row["p"]) == len(board["names"]) == 10


def test_every_id_is_there_once_and_every_link_inside_the_page_leads_somewhere(page: str) -> None:
    from urllib.parse import unquote

    result = parsed(page)
    ids = [attributes["id"] for _, attributes in result.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [
        a["href"] for t, a in result.tags if t == "a" and (a.get("href") or "").startswith("#")
    ]
    assert targets
    for target in targets:
        assert unquote(str(target)[1:]) in ids, target
    for tag, attributes in result.tags:
        if tag == "img" and "src" in attributes:
            assert attributes["alt"]
        named = attributes.get("aria-labelledby")
        assert named is None or named in ids


def test_every_title_says_edition_recipe_and_selection(page: str) -> None:
    heads = re.findall(r'<h3 id="h-b\d+">(.*?)</h3>', page)
    assert len(heads) == 4
    for head in heads:
        assert "simulated data · recipe default · last step, no selection" in head


def test_without_records_the_page_says_so() -> None:
    result = build([], Registry())
    assert (result.n_runs, result.n_boards, result.n_pictures) == (0, 0, 0)
    assert "There are no records yet." in result.html
    assert "method/ben" in result.html


def test_fixtures_are_on_no_page() -> None:
    result = build(as_records(matrix("erm", noisy(0.5), edition="fixture")), Registry())
    assert result.n_boards == 0
    assert "coos7/test4" not in result.html


def test_one_split_alone(page: str) -> None:
    result = build(
        as_records(plausible(n_clusters=10)), Registry(), split="coos7/test1", figures=False
    )
    assert result.n_boards == 1
    with raises(BenchError, "coos7/test1"):
        build(as_records(plausible()), Registry(), split="coos7/tset1")


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [Picture("cost", f"cost-{k}", "Cost.", png="A" * 10_000) for k in range(5)]
    monkeypatch.setattr(page_module, "pictures", lambda *_, **__: drawn)
    entries = as_records(plausible(n_clusters=10))
    whole = build(entries, Registry())
    assert whole.n_pictures == 5
    size = len(whole.html.encode())
    monkeypatch.setattr(page_module, "LIMIT", size - 15_000)
    less = build(entries, Registry())
    assert less.n_pictures == 3
    assert len(less.html.encode()) < size - 15_000
    monkeypatch.setattr(page_module, "BOARDS_LIMIT", 10_000)
    few = build(entries, Registry())
    assert few.n_boards < 4


def test_overview_figures_see_the_boards_that_other_figures_leave_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_module, "DRAWN", 1)
    monkeypatch.setattr(
        page_module, "pictures", lambda *runs, **_: pictures(*runs, names=["real-images"])
    )
    images = matrix("erm", noisy(0.5), split="mitosis-scanners/phase", edition="real")
    larger = plausible(n_clusters=10)
    result = build(as_records([*larger, *images]), Registry())
    assert [picture.stem for picture in result.pictures] == ["real-images"]


def test_a_figure_that_cannot_be_drawn_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.output.figures

    (missing,) = pictures(Drawn(as_records(plausible(("own/a",)))), names=["degradation"])
    assert missing.png == ""
    mentions(missing.note, "COOS-7")

    def broken(*_: Any, **__: Any) -> list[Path]:
        raise BenchError("the disk is full")

    monkeypatch.setattr(bench.output.figures, "draw", broken)
    (cost,) = pictures(Drawn([]), names=["cost"])
    assert cost.note.endswith("the disk is full.")


def test_a_figure_without_room_is_not_drawn() -> None:
    runs = Drawn(as_records(plausible()))
    drawn = list(pictures(runs, names=["mechanism", "cost", "confusion"], room=10))
    assert [picture.stem for picture in drawn] == ["mechanism", "cost"]
    assert [(picture.png, picture.left_out) for picture in drawn] == [("", False), ("", True)]


def test_figures_of_embeddings_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (result,) = pictures(Drawn(as_records(plausible())), names=["umap"], results=tmp_path)
    assert result.png == ""
    mentions(result.note, "python -m bench figures umap")
    folder = tmp_path / "reference" / "figures"
    folder.mkdir(parents=True)
    for split in ("coos7-test4", "own-other"):
        Image.new("RGB", (4, 3), "#0072B2").save(folder / f"umap_{split}_ben.png")
        (folder / f"umap_{split}_ben.csv").write_text("fold,x,y\nb7,1,2\n", encoding="utf-8")
    (published,) = pictures(Drawn(as_records(plausible())), names=["umap"], results=tmp_path)
    assert (published.stem, published.width, published.table) == ("umap_coos7-test4_ben", 4, "")
    assert "b7" in published.summary


def test_runs_of_studies_are_drawn_where_the_others_give_nothing() -> None:
    other = as_records(plausible(("own/a",)))
    coos = as_records(plausible())
    (drawn,) = pictures(Drawn(other), Drawn([*other, *coos]), names=["degradation"])
    assert drawn.png
    assert drawn.note == ""
    assert isinstance(drawn, Picture)


def test_a_page_is_written_without_pdf(tmp_path: Path) -> None:
    from bench.output.figures import draw

    with writing("png", "csv"):
        files = draw(as_records(plausible()), ["cost"], tmp_path)
    assert sorted(file.suffix for file in files) == [".csv", ".png"]
    assert len(draw(as_records(plausible()), ["cost"], tmp_path)) == 3


@pytest.mark.slow
def test_another_day_place_and_hash_give_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for entry in plausible(("own/b",), n_clusters=10):
        folder = store.path_of(entry["run_id"])
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(pretty_json(entry))
    code = (
        "import sys, time\n"
        "shift = float(sys.argv.pop(1))\n"
        "real = time.time\n"
        "time.time = lambda: real() + shift\n"
        "from bench.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    here, there = tmp_path / "here.html", tmp_path / "there.html"
    arguments = ["report", "--results", str(store.root), "--output"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, str(here)])
    assert stopped.value.code == 0
    zone = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", code, "4e7", *arguments, str(there)],
        cwd=ROOT,
        env={**os.environ, **zone},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert here.read_bytes() == there.read_bytes()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "from bench.core.registry import Registry\nfrom bench.output.report import build\n"
        "from tests.helpers.factories import as_records, plausible\n"
        "build(as_records(plausible(('coos7/test4',), seeds=3)), Registry())\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'torchvision', 'sklearn', 'scanpy', 'datasets') "
        "or m.startswith(('bench.datasets.', 'bench.runs.device'))]\n"
        "print(bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_what_is_read_of_a_file_is_what_the_class_says() -> None:
    registry = Registry()
    looked_at = 0
    for entry in registry.entries("method"):
        page = page_of(entry)
        assert page.summary == entry.meta["summary"]
        if entry.meta["level"] == "reference":
            assert page.track == "reference"
            continue
        assert page.blocks, entry.name
        fields = dataclasses.fields(entry.load().Params)
        assert [p.name for p in page.parameters] == [f.name for f in fields], entry.name
        for read, field in zip(page.parameters, fields, strict=True):
            default, meta = field.default, field.metadata
            wanted = str(default).lower() if isinstance(default, bool) else str(default)
            assert read.default == wanted
            assert (read.doc, read.unit) == (meta["doc"], meta["unit"])
            assert read.phase == meta["phase"]
            if meta["choices"]:
                assert read.allowed == " | ".join(map(str, meta["choices"]))
            elif meta["low"] is not None and meta["high"] is not None:
                assert read.allowed == f"{meta['low']} to {meta['high']}"
            looked_at += 1
    assert looked_at > 100


def test_docstrings_become_paragraphs_terms_and_formulas() -> None:
    text = (
        "First\nline.\n\n    y = x / s\n\n``one``\n    What it is,\n    in short.\n\n"
        ".. math::\n\n    z"
    )
    assert [(b.kind, b.head, b.text) for b in blocks_of(text)] == [
        ("text", "", "First line."),
        ("verbatim", "", "y = x / s"),
        ("term", "``one``", "What it is, in short."),
        ("verbatim", "", "z"),
    ]
    assert inline("a ``b`` :math:`\\mu` `c`.") == [
        (False, "a "),
        (True, "b"),
        (False, " "),
        (True, "μ"),
        (False, " "),
        (True, "c"),
        (False, "."),
    ]
    assert plain(r"\frac{x - \mu}{\sqrt{s}} V^\top \unknown") == "(x - μ) / (√(s)) V^T \\unknown"
    assert plain(r"\frac{\exp s_{ip}}{\sum_{a \neq i} z}") == "(exp s_ip) / (∑_{a ≠ i} z)"
    text = "With :math:`\\mu`\n\n.. math:: y =\n    \\frac12 x,\n\nwhere"
    assert plain_docstring(text) == "With μ\n\n    y = 1/2 x,\n\nwhere"
    assert plain(r"\omega\sigma\tau") == "ωστ"
    assert plain(r"\bar\gamma \hat{x}_i \tfrac12 \tfrac{a}{b}") == "γ\u0304 x\u0302_i 1/2 a / b"


def test_labels_break_at_brackets_commas_and_plus() -> None:
    assert pieces("erm+tvn(a=1,b=2)") == ["erm+", "tvn(", "a=1,", "b=2)"]
    assert pieces("ben") == ["ben"]
    assert "".join(pieces(NASTY)) == NASTY


def test_the_templates_hold_no_inline_handler_and_no_address() -> None:
    for file in (ROOT / "bench" / "output" / "report" / "templates").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://|\bon[a-z]+=\"|innerHTML|\beval\(", text), file


def test_a_method_without_params_is_described(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        'META = {"kind": "method", "name": "odd", "class": "Odd", "version": 1, '
        '"level": "profile", "access": []}\nclass Odd:\n    Params = 3\n'
    )
    page = page_of(Registry([file]).entry("method", "odd"))
    assert page.parameters == ()
    assert page.problem
