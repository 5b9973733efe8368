"""Sentences for readers have at most 20 words: the report, README and the generated documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.registry import Registry
from bench.core.words import LONGEST, as_sentences
from bench.output.report import build
from bench.records.store import Store
from tests.helpers.prose import html_sentences, markdown_sentences, n_words

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "methods/README.md",
    "datasets/README.md",
    "results/FINDINGS.md",
    "results/STUDIES.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
]
"""All pages of the site, except the changelog, which is a list of short notes."""
STORED = (
    "Upstream preprocessing: intensities scaled by the source",  # cautions and reasons in records
    "not applicable: training on 4 batches",
    "The shares of the classes differ between the test plates",
    "Support is as many as one plate had",  # a parameter: its text is in the digest of the code
)
"""Beginnings of the longer sentences, with the reason."""


@pytest.fixture(scope="module")
def names() -> frozenset[str]:
    """Names of methods, which are no words of a sentence."""
    return frozenset(Registry().names("method"))


def longer(sentences: list[str], names: frozenset[str]) -> list[str]:
    counted = {s: n_words(s, names) for s in sentences if not s.strip().startswith(STORED)}
    return [f"{n}: {text}" for text, n in counted.items() if n > LONGEST]


@pytest.mark.slow
def test_the_report_has_short_sentences(names: frozenset[str]) -> None:
    store = Store(ROOT / "results")
    page = build(store.load_all(reference=True), Registry(), figures=False)
    sentences = list(html_sentences(page.html))
    assert len(sentences) > 1000
    assert longer(sentences, names) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_have_short_sentences(name: str, names: frozenset[str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert longer(list(markdown_sentences(text)), names) == []


def test_words_are_counted_without_symbols_and_code() -> None:
    assert n_words("The mean of x_i is 0.5 (SD 0.1), as in `erm`; [0.1, 0.2].") == 8
    [first, second] = html_sentences("<p>One two. Three <code>a b c</code> four</p><pre>five</pre>")
    assert (n_words(first), n_words(second)) == (2, 2)
    assert list(markdown_sentences("# A b\n\n```\nno\n```\n- c d. E f\n")) == ["A b", "c d.", "E f"]


def test_clauses_become_sentences() -> None:
    assert as_sentences("one; two (a; b); `c; d`") == "one. Two (a; b). `c; d`"
    long = "word " * LONGEST
    assert as_sentences(f"{long}end: it; a") == f"{long}end: it. A"
    assert as_sentences(f"{long}end: it", colons=True) == f"{long}end. It"
    assert as_sentences("short: the rest", colons=True) == "short: the rest"
