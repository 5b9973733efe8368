"""Sentences of a page or a document, and their numbers of words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS = frozenset(
    "article button cite dd div dt figcaption h1 h2 h3 h4 h5 label li option p section small "
    "summary td th title tr".split()
)
_SILENT = frozenset(["script", "style", "pre", "svg", "math", "cite"])
_ABBREVIATION = re.compile(r"\b(et al|e\.g|i\.e|cf|vs|Fig)\.")
_SENTENCE = re.compile(r"(?<=[.!?])[\")]*\s+(?=[-A-Z0-9(\"'`])")


class _Blocks(HTMLParser):
    """Collects the text of blocks; code is one symbol."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._text: list[str] = []
        self._silent = self._code = 0

    def flush(self) -> None:
        text = " ".join("".join(self._text).split())
        self._text = []
        if text:
            self.blocks.append(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent += tag in _SILENT
        if tag == "code":
            self._code += 1
            self._text.append(" `x` ")
        if tag in _BLOCKS or tag == "br":
            self.flush()

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in _SILENT
        self._code -= tag == "code"
        if tag in _BLOCKS:
            self.flush()

    def handle_data(self, data: str) -> None:
        if not self._silent and not self._code:
            self._text.append(data)


def html_sentences(html: str) -> Iterator[str]:
    """Yield the sentences of a page; lists of labels with ``·`` between them are none."""
    parser = _Blocks()
    parser.feed(html)
    parser.flush()
    for block in parser.blocks:
        if " · " not in block:
            yield from _split(block)


def markdown_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a document: paragraphs, items and cells, without code."""
    text = re.sub(r"```.*?```|<!--.*?-->|^---$.*?^---$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "`x`", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*#|>]|\s*\d+\.\s)|\|", text):
        block = " ".join(paragraph.replace("*", "").split())
        if block and " · " not in block:
            yield from _split(block.lstrip("#->").strip())


def _split(block: str) -> list[str]:
    return _SENTENCE.split(_ABBREVIATION.sub(r"\1", block))


def n_words(sentence: str, names: frozenset[str] = frozenset()) -> int:
    """Return the number of words; symbols, numbers, identifiers and ``names`` are none.

    A word has letters, and no digits or signs of formulas. Text in square brackets is an interval.
    """
    words = re.sub(r"`x`|\[[^\]]*\]", " ", sentence).split()
    plain = (word.strip(".,;:()'\"*≈…") for word in words)
    return sum(
        bool(re.search("[A-Za-z]", word))
        and not re.search(r"[\d_+=/^{}\\|<>]", word)
        and word not in names
        and (len(word) > 1 or word in "aAI")
        for word in plain
    )
