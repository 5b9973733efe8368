"""Commands, code and links of README and ``docs/``."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from bench.boards import release
from bench.cli.main import main
from bench.records.store import Store
from tests.helpers import tiny
from tests.helpers.factories import release_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [page.name for page in PAGES]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = {
    "report": ["--no-figures"],
    "run": ["--dry-run"],
    "recommend": ["--recipe", "smoke", "--seeds", "1", "--method", "identity,zscore"],
}
"""Options that make a command quick; it still opens its data and resolves its methods."""
SIMULATED = ("ottawa", "coos7/", "sim/")
"""Splits with images that are written on first use; a few are enough."""


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the code blocks of a page in a language; ``""`` is the shell."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match[1] == language:
            yield match[2]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every ``python -m bench`` in the shell blocks of a page."""
    for block in blocks(page, ""):
        for line in block.splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:3] == ["python", "-m", "bench"]:
                    yield words[3:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    return tmp_path


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for typed in commands(page):
        words = [*typed, *([] if "--dry-run" in typed else QUICK.get(typed[0], []))]
        if words[0] == "run" and any(name in " ".join(words) for name in SIMULATED):
            words += ["--set", "data.scale=0.02"]
        if "--reference" in words:
            words += ["--results", str(ROOT / "results")]
        if words[0] == "run" and page.name == "share.md":
            words.remove("--dry-run")  # the page goes on with the records
        if words[0] == "verify" and not any(word.endswith(".zip") for word in words):
            # Of one published file, since the folder has no runs.
            options = [word for word in words[1:] if word.startswith("-")]
            words = ["verify", str(ROOT / "results/reference/records/sim/no-shift.jsonl"), *options]
        if words[0] == "new" and "--from" in words:
            table = tiny.write_table(folder / "table", controls=4).with_name("table.parquet")
            words[words.index("--from") + 1] = str(table)
            words += ["--output", str(folder / "guessed.toml")]
        elif words[0] == "sweep":
            words = quick_sweep(words, page, folder)
        elif any(word.endswith(".toml") for word in words):
            # The template of `new dataset` describes a table that the user has.
            table = str(tiny.write_table(folder / "table", controls=4))
            tiny.write_outputs(Path(table), folder)
            words = [table if word.endswith(".toml") else word for word in words]
        if words[0] == "submit":
            records = Store(folder / "results").load_all()
            known = (release_with(records),)
            monkeypatch.setattr(release, "releases", partial(tuple, known))
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0, words


def quick_sweep(words: list[str], page: Path, folder: Path) -> list[str]:
    """Return the command for a suite of one run, which is only planned, with the page's profile."""
    table = tiny.write_table(folder / "table", controls=4)
    suite = f'[[block]]\nmethods = ["identity"]\nsplits = ["{table}:plates"]\nseeds = 1\n'
    (folder / "my_suite.toml").write_text(suite, encoding="utf-8")
    profile = next(block for block in blocks(page, "toml") if "walltime" in block)
    (folder / "slurm.toml").write_text(profile, encoding="utf-8")
    options = [word.replace("/shared", str(folder)) for word in words[2:]]
    planned = {"--dry-run", "--status"} & set(options)
    return ["sweep", "my_suite.toml", *options, *([] if planned else ["--dry-run"])]


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_python_block_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anndata

    import bench

    rng = np.random.default_rng(0)
    plates = np.repeat(["p0", "p1", "p2"], 12)
    names = {
        "X": rng.normal(size=(36, 4)),
        "plates": plates,
        "is_dmso": np.arange(36) % 12 < 8,
        "X_new": rng.normal(size=(12, 4)),
        "new_plates": np.repeat("p9", 12),
        "new_is_dmso": np.arange(12) < 8,
    }
    names["adata"] = anndata.AnnData(
        rng.normal(size=(72, 4)).astype(np.float32),
        obs=pd.DataFrame(
            {
                "Plate": np.repeat([f"p{i}" for i in range(6)], 12),
                "Week": np.repeat(["w0", "w1", "w2"], 24),
                "moa": np.tile(["a", "b"], 36),
                "is_dmso": np.arange(72) % 12 < 8,
            },
            index=[f"cell{i}" for i in range(72)],
        ),
    )
    recommend = functools.partial(bench.recommend, recipe="smoke", seeds=1, methods="zscore")
    monkeypatch.setattr(bench, "recommend", recommend)
    load_records, leaderboard = bench.load_records, bench.leaderboard
    published = str(ROOT / "results")
    monkeypatch.setattr(bench, "load_records", lambda **how: load_records(results=published, **how))
    monkeypatch.setattr(
        bench,
        "leaderboard",
        lambda split, **how: leaderboard(
            split, results=published if how.get("reference") else None, **how
        ),
    )
    for block in blocks(page, "python"):
        quick = block.replace("seeds=3", 'seeds=1, recipe="smoke"').replace("erm,adabn,ben", "erm")
        exec(compile(quick, str(page), "exec"), dict(names))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600


@pytest.mark.docs
@pytest.mark.parametrize("name", [file.name for file in (ROOT / "docs/tutorials").glob("*.md")])
def test_every_tutorial_runs(name: str) -> None:
    page = ROOT / "docs/tutorials" / name
    quick = page.read_text(encoding="utf-8").replace("--seeds 3", "--seeds 1")
    text = tutorials().with_outputs(quick.replace("seeds=3", "seeds=1"), page.name)
    assert text.count('title="Output"') >= 2


def test_a_failing_block_names_its_line() -> None:
    with pytest.raises(RuntimeError, match=r"page\.md:2: .*nowhere"):
        tutorials().with_outputs("# Page\n```\npython -m bench list nowhere\n```\n", "page.md")


def tutorials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorials", SITE / "tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("shift", "new"),
    [
        ("The slide scanner is new. Laboratory and stain are those of training.", {"microscope"}),
        ("The plates are new. Other plates of their laboratories train.", {"plate"}),
        (
            "The laboratory is new (stain, focus); the microscope is that of training.",
            {"laboratory"},
        ),
        ("All is new: laboratory, microscope and cell line.", {"laboratory", "microscope"}),
        ("Nothing is new: images of the training plates.", set()),
        ("each value of meta_week is the test set once; the rest trains", {"day"}),
    ],
)
def test_what_is_new_in_a_split(shift: str, new: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    indexes = importlib.import_module("indexes")
    assert {re.split("[ ,]", name)[0] for name in indexes.new_in(shift)} == new


@pytest.mark.docs
def test_the_site_builds_without_broken_links() -> None:
    for name in ("mkdocs", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra docs)")
    done = subprocess.run(
        [sys.executable, "docs/site", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = ROOT / "build" / "site"
    for method in (ROOT / "methods").glob("[a-z]*.py"):
        assert (built / "methods" / f"{method.stem.replace('_', '-')}.html").is_file()
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        # Scripts, styles and the search are files of the site: it is read without a network.
        assert not re.search(r'<script[^>]+src="(?:https?:)?//|rel="?stylesheet"? href="http', text)
        for address in re.findall(r'(?:href|src)="([^"#?]+)', text):
            if "//" not in address and not address.startswith(("data:", "mailto:", "/")):
                assert (page.parent / unquote(address)).exists(), (page.name, address)
    assert "<math" in (built / "methods" / "combat.html").read_text(encoding="utf-8")
