"""Every fenced block of the documents: executed elsewhere, or its commands and keys are checked.

Shell blocks without a language and Python blocks are executed by ``test_documents``, also those of
tutorials, and ``sh`` blocks by ``test_shell_blocks`` with other names. Here the options of all
commands are parsed, and the keys of ``toml`` blocks are checked.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from packaging.requirements import Requirement

from bench.cli.group import group
from bench.data.own.spec import Spec
from bench.runs.sweeps import clusters, suite

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OTHERS = {"python", "pip", "export", "dask", "."}
"""Programs in blocks, besides labshift."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of all blocks of a page."""
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield match[2].strip(), match[3]


def lines(page: Path, *languages: str) -> Iterator[list[str]]:
    """Yield the words of each command in the blocks of some languages."""
    for language, text in blocks(page):
        if language in languages:
            for line in text.replace("\\\n", " ").splitlines():
                for command in line.split("&&"):
                    if words := shlex.split(command, comments=True):
                        yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_fences_of_a_page_are_closed_and_of_a_known_kind(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^ *```", text, flags=re.MULTILINE)) == 2 * len(list(blocks(page)))
    tutorial = page.parent.name == "tutorials"
    for language, block in blocks(page):
        kind, _, title = language.partition(" ")
        assert kind in ("", "python", "toml", "sh", "text"), language
        assert not title or tutorial, "only blocks of tutorials are written to files"
        assert kind != "text" or "python -m bench" not in block, "write the block as sh"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_and_take_their_options(page: Path) -> None:
    """Nothing is run; the words are those that the command line accepts."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = extras["project"]["optional-dependencies"]
    for words in lines(page, "", "sh"):
        if words[:3] == ["python", "-m", "bench"]:
            context = click.Context(group, resilient_parsing=True)
            command = group.get_command(context, words[3])
            assert command is not None, words
            command.make_context(words[3], words[4:], parent=context)
        elif "install" in words:
            for word in words[words.index("install") + 1 :]:
                if word.startswith("labshift["):
                    assert set(Requirement(word).extras) <= set(extras), words
        elif words[0] == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            for target in words[1:]:
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), words
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words
        else:
            assert words[0] in OTHERS or "=" in words[0], words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_of_files_are_known(page: Path, tmp_path: Path) -> None:
    for language, text in blocks(page):
        if language.partition(" ")[0] != "toml":
            continue
        data = tomllib.loads(text)
        if "block" in data:
            suite.parse(data, "a suite", str(page))
        elif "walltime" in data:
            (tmp_path / "profile.toml").write_text(text, encoding="utf-8")
            clusters.read_profile(str(tmp_path / "profile.toml"))
        elif "project" in data:
            assert set(data["project"]) == {"entry-points"}
        else:
            known = {field.alias or name for name, field in Spec.model_fields.items()}
            assert set(data) <= known, page.name
