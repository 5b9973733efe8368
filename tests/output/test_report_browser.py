"""The report in a browser: what a colleague does with it, in headless Chromium without network."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.core.registry import Registry
from bench.output.report import build
from bench.output.report import page as page_module
from bench.output.report.pictures import pictures
from tests.helpers.factories import as_records, make_record, plausible
from tests.helpers.processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.docs,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page with"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NASTY = "<script>alert(1)</script>"


def _records() -> list[Any]:
    rng = np.random.default_rng(0)
    entries = plausible(n_clusters=10)
    for seed in range(3):
        params = {"ben": {"level": "meta_week", "rows": "controls"}}
        values = (0.6 + rng.normal(0, 0.05, 10)).tolist()
        more = {"clusters": values, "split": "own/weeks", "edition": "real"}
        entries += [
            make_record("erm", seed, 0.6, **more),
            make_record("ben", seed, 0.7, params=params, **more),
            make_record(NASTY, seed, 0.65, **more),
            make_record("label-oracle", seed, 1.0, **more),
        ]
        entries.append(make_record("erm", seed, 0.5, dataset_settings={"draw": 7}))
    return as_records(entries)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            page_module, "pictures", lambda *runs, **_: pictures(*runs, names=["degradation"])
        )
        report = build(_records(), Registry())
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Tab:
    """A page that counts what it asks for and what it complains of."""

    def __init__(self, context: Any, file: Path) -> None:
        self.file = file
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        context.route("**/*", self._asked)

    def _asked(self, route: Any) -> None:
        url = route.request.url
        if url.startswith("file:") and url.split("#")[0] == self.file.as_uri():
            route.continue_()
        else:
            self.requests.append(url)
            route.abort()

    def open(self, name: str = "") -> Tab:
        self.page.goto(f"{self.file.as_uri()}{name}")
        return self

    def board(self, split: str) -> Any:
        return self.page.locator(f'[id="board/{split}"]')

    def labels(self, split: str) -> list[str]:
        # Boards outside the viewport are not laid out; their text is read without layout.
        rows = self.board(split).locator("tbody tr:not(.detail):not([hidden]) .label")
        return rows.all_text_contents()


@pytest.fixture
def tab(browser: Any, file: Path) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    result = Tab(context, file)
    yield result.open()
    context.close()
    assert result.complaints == []
    assert [url for url in result.requests if not url.startswith("data:")] == []


def test_it_opens_from_disk_and_asks_nobody(tab: Tab) -> None:
    page = tab.page
    assert page.title() == "labshift report"
    assert page.locator("h1").inner_text() == "labshift report"
    assert page.locator("img").first.evaluate("image => image.complete && image.naturalWidth > 500")
    # The policy prevents what a changed page could try.
    asked = page.evaluate(
        "fetch('https://example.org/').then(() => 'answered', error => error.name)"
    )
    assert asked == "TypeError"
    tab.complaints.clear()  # the refusal, which the browser logs


def test_sorting(tab: Tab) -> None:
    board = tab.board("coos7/test4")
    original = tab.labels("coos7/test4")
    head = board.get_by_role("columnheader", name="mean")
    button = head.get_by_role("button")

    def means() -> list[float]:
        column = head.evaluate("node => node.cellIndex")
        cells = board.locator(f"tbody tr > :nth-child({column + 1})").all_text_contents()
        return [float(text.split()[0]) for text in cells]

    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert means() == sorted(means(), reverse=True)
    assert tab.page.locator("#status").inner_text() == "Sorted by mean ± SD, descending."
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert means() == sorted(means())
    button.click()
    assert head.get_attribute("aria-sort") is None
    assert tab.labels("coos7/test4") == original
    board.get_by_role("columnheader", name="method").get_by_role("button").click()
    assert tab.labels("coos7/test4") == sorted(original)
    # Rows without a number come last in either direction, and details move with their row.
    board.locator("button.open").first.click()
    gap = board.get_by_role("columnheader", name="vs baseline")
    for _ in range(2):
        gap.get_by_role("button").click()
        assert tab.labels("coos7/test4")[-1] == "erm"
    detail = board.locator("tr.detail")
    owner = detail.evaluate(
        "node => node.previousElementSibling.querySelector('.label').textContent"
    )
    assert owner == detail.locator("a").first.text_content()


def test_filtering(tab: Tab) -> None:
    page = tab.page
    shown = page.locator("#shown")
    everything = shown.inner_text()
    assert everything == "5 boards, 24 rows"
    page.locator("#f-data").select_option("own")
    assert shown.inner_text() == "1 board, 4 rows"
    page.get_by_role("button", name="Reset").click()
    playwright.expect(shown).to_have_text(re.compile("^5 boards"))
    page.get_by_label("Edition").select_option("simulated")
    assert not tab.board("own/weeks").is_visible()
    page.get_by_label("Edition").select_option("")
    page.get_by_label("Track").select_option("test-batch")
    assert set(tab.labels("coos7/test4")) == {"ben", "adabn"}
    page.get_by_label("Track").select_option("")
    page.get_by_role("searchbox").fill("BEN-c")
    assert tab.labels("coos7/test1") == ["ben-controls"]
    assert not tab.board("own/weeks").is_visible()
    page.get_by_role("searchbox").fill("nobody")
    assert page.locator("#none").is_visible()
    page.get_by_role("button", name="Reset").click()
    playwright.expect(shown).to_have_text(re.compile("^5 boards"))


def test_one_board_of_a_split_is_shown_and_the_others_are_chosen(tab: Tab) -> None:
    page = tab.page
    select = page.locator(".settings select:visible")
    shown = page.locator(".board:has(.settings):visible")
    first = shown.get_attribute("id")
    assert select.locator("option").count() == 2
    select.select_option(index=1)
    assert shown.get_attribute("id") != first
    assert select.evaluate("node => [node.selectedIndex, document.activeElement === node]") == [
        1,
        True,
    ]
    select.select_option(index=0)
    assert shown.get_attribute("id") == first


def test_a_row_opens_to_seeds_batches_and_its_command(tab: Tab) -> None:
    board = tab.board("own/weeks")
    button = board.get_by_role("button", name="ben(level=meta_week,rows=controls)")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    detail = board.locator(f"[id='{button.get_attribute('aria-controls')}']")
    text = detail.inner_text()
    assert (
        "python -m bench run --method ben --split own/weeks --edition real --set "
        "ben.level=meta_week --set ben.rows=controls --seeds 3"
    ) in text
    assert detail.locator("table").nth(0).locator("tbody tr").count() == 3
    assert detail.locator("table").nth(1).locator("tbody tr").count() == 10
    assert "plate 09" in text
    button.click()
    assert board.locator("tr.detail").count() == 0


def test_deep_links(tab: Tab) -> None:
    page = tab.open("#method/ben").page
    # A change of the address is heard a moment after it: what follows waits for it.
    expect = playwright.expect
    shown = page.locator("article.method:visible")
    expect(shown.locator("h2")).to_have_text(["ben"])
    expect(page.locator("#overview")).to_be_hidden()
    expect(page).to_have_title("ben · labshift report")
    assert page.evaluate("document.activeElement.tagName") == "H2"
    text = shown.inner_text()
    assert "Lin and Lu 2022" in text
    assert "control_share" in text
    page.get_by_role("link", name="own/weeks").click()
    expect(page.locator("#overview")).to_be_visible()
    expect(tab.board("own/weeks")).to_be_visible()
    page.go_back()
    expect(shown.locator("h2")).to_have_text(["ben"])
    page.get_by_role("link", name="Boards", exact=True).click()
    expect(shown).to_have_count(0)
    # A board that the filters hide is shown on request.
    name = page.locator(".board[hidden]").first.get_attribute("id")
    page.evaluate("id => { location.hash = id }", name)
    page.locator(f'[id="{name}"]').wait_for(state="visible")


def test_a_method_named_script_is_text(tab: Tab) -> None:
    page = tab.page
    assert NASTY in tab.labels("own/weeks")
    tab.board("own/weeks").get_by_role("button", name=NASTY).click()
    page.get_by_role("link", name=NASTY).first.click()
    playwright.expect(page.locator("article.method:visible h2")).to_have_text([NASTY])
    assert "not installed" in page.locator("article.method:visible").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["", "#method/tvn", "#method/ben"])
def test_nothing_is_wider_than_a_telephone(
    browser: Any, file: Path, name: str, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 380, "height": 800}, color_scheme=scheme)
    result = Tab(context, file).open(name)
    for button in result.page.locator("button.open:visible").all()[:3]:
        button.click()
    for details in result.page.locator("details > summary:visible").all():
        details.click()
    assert result.page.evaluate("document.documentElement.scrollWidth") == 380
    assert result.complaints == []
    context.close()


def test_the_keyboard_reaches_everything(tab: Tab) -> None:
    page = tab.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the summary"
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.seen ??= String(Math.random())"))
    wanted = "a[href], button, select, input, summary, [tabindex='0']"
    missed = page.evaluate(
        "wanted => [...document.querySelectorAll(wanted)]"
        ".filter(node => node.checkVisibility() && !node.dataset.seen)"
        ".map(node => node.outerHTML.slice(0, 80))",
        wanted,
    )
    assert missed == []
    assert len(reached) > 50
    # Enter opens a row, Space sorts, Escape closes a figure.
    row = tab.board("own/weeks").locator("button.open").first
    row.focus()
    page.keyboard.press("Enter")
    assert row.get_attribute("aria-expanded") == "true"
    head = tab.board("own/weeks").get_by_role("columnheader", name="mean")
    head.get_by_role("button").focus()
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"


def test_a_figure_is_enlarged_and_closed(tab: Tab) -> None:
    page = tab.page
    viewer = page.locator("#viewer")
    page.get_by_role("button", name="Enlarge the figure degradation").click()
    assert viewer.is_visible()
    image = viewer.locator("img")
    playwright.expect(image).to_have_attribute("style", re.compile("width"))
    before = image.bounding_box()["width"]
    viewer.get_by_role("button", name="Larger").click()
    assert image.bounding_box()["width"] > before * 1.3
    page.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_light_and_dark(browser: Any, file: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = Tab(context, file).open().page
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(20, 22, 26)"
    theme = page.locator("#theme")
    theme.click()
    assert theme.inner_text() == "Theme: light"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    theme.click()
    assert page.evaluate(back) == "rgb(20, 22, 26)"
    context.close()


def test_colours_can_be_read(browser: Any, file: Path) -> None:
    """Text has the contrast that WCAG 2.1 asks for, 4.5 to 1, in both schemes."""
    contrast = """() => {
      const parts = colour => {
        const canvas = document.createElement('canvas');
        const brush = canvas.getContext('2d');
        brush.fillStyle = colour;
        brush.fillRect(0, 0, 1, 1);
        return [...brush.getImageData(0, 0, 1, 1).data];
      };
      const light = rgb => rgb.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const back = node => {
        for (; node; node = node.parentElement) {
          const colour = parts(getComputedStyle(node).backgroundColor);
          if (colour[3] > 250) return colour;
        }
        return [255, 255, 255, 255];
      };
      const low = [];
      for (const node of document.querySelectorAll('p, li, td, th, a, b, dt, dd, button, small')) {
        if (!node.checkVisibility() || !node.textContent.trim()) continue;
        const a = light(parts(getComputedStyle(node).color)), b = light(back(node));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.push(node.tagName + ' ' + ratio.toFixed(2));
      }
      return low;
    }"""
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = Tab(context, file).open().page
        assert page.evaluate(contrast) == []
        context.close()


def test_on_paper(browser: Any, file: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = Tab(context, file).open().page
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert not page.locator("header.top").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    # A table with a column for each of many splits is not cut: 186 mm between the margins of A4.
    page.set_viewport_size({"width": 703, "height": 900})
    page.evaluate(
        "for (const row of document.querySelectorAll('table.card tr'))"
        " for (let k = 0; k < 14; k++) row.append(row.lastElementChild.cloneNode(true))"
    )
    assert page.evaluate("document.querySelectorAll('table.card tr').length") > 1
    card = "document.querySelector('table.card')"
    assert page.evaluate(f"{card}.getBoundingClientRect().right") <= 703
    assert page.evaluate(f"{card}.lastElementChild.getBoundingClientRect().right") <= 703
    context.close()
