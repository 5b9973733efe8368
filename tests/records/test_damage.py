"""One damaged record never hides the others, whatever it contains."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.boards.render.dispatch import render
from bench.boards.select import boards
from bench.cli.group import group
from bench.core.canonical import canonical_json, pretty_json
from bench.records.published import packed_file
from bench.records.store import Store
from tests.helpers.factories import plausible

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPLIT = "coos7/test4"
RECORDS = plausible((SPLIT,), ("erm", "ben"), seeds=2, n_clusters=3)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "\x1b[31m\n", "=1+1", "\ud800", "/"])
    | st.text(max_size=5),
    lambda item: (
        st.lists(item, max_size=3) | st.dictionaries(st.text(max_size=5), item, max_size=3)
    ),
    max_leaves=4,
)


def places(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON document."""
    keys: Any = value.keys() if isinstance(value, dict) else ()
    keys = range(min(len(value), 2)) if isinstance(value, list) else keys
    inner = [place for key in keys for place in places(value[key], (*here, key))]  # type: ignore[index]
    return [here, *inner] if here else inner


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for record in RECORDS:
        folder = root / "runs" / record["run_id"][:2] / record["run_id"]
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(pretty_json(record))
    return root


def folder_of(root: Path, k: int = 0) -> Path:
    return Store(root).path_of(RECORDS[k]["run_id"])


def readable(store: Store) -> int:
    """Read all records, compute and print boards; return the number of records."""
    records = store.load_all()
    built = boards(records, failures=store.failures())
    for form in ("json", "table", "csv"):
        assert render(built, form)
    return len(records)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.sampled_from(places(RECORDS[0])), value=JSON, packed=st.booleans())
def test_any_json_in_a_record(results: Path, place: Any, value: Any, packed: bool) -> None:
    record: Any = copy.deepcopy(RECORDS[0])
    target = record
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    file = folder_of(results) / "run.json"
    text = json.dumps(record)
    if packed:
        counts = sorted((m, s) for m, values in RECORDS[0]["metrics"].items() for s in values)
        lines = [f'{{"n": {[1] * len(counts)}, "run": {text}}}\n']
        lines += [canonical_json({"n": [1] * len(counts), "run": r}) + "\n" for r in RECORDS[1:]]
        file = packed_file(results / "reference", SPLIT)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
        store = Store(results, warn=lambda line: None)
        assert len(store.load_reference()) >= len(RECORDS) - 1
        return
    try:
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        said: list[str] = []
        n = readable(Store(results, warn=said.append))
        assert n == len(RECORDS) - len(said) >= len(RECORDS) - 1
        assert all(str(file.parent) in line for line in said)
    finally:
        file.write_bytes(pretty_json(RECORDS[0]))


def _deep(file: Path) -> None:
    file.write_text("[" * 100_000)


def _later(file: Path) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 2}))


def _null(file: Path) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": None}))


def _infinite(file: Path) -> None:
    file.write_text(file.read_text().replace('"chance": 0.14285714285714285', '"chance": 1e999'))


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


DAMAGE = [_deep, _later, _null, _infinite, _pipe, _folder, _link]


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_command_goes_on_without_a_damaged_record(
    results: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    root = tmp_path / "results"
    for k in range(len(RECORDS)):
        folder_of(root, k).mkdir(parents=True)
        (folder_of(root, k) / "run.json").write_bytes(pretty_json(RECORDS[k]))
    bad, good = folder_of(root), RECORDS[1]["run_id"]
    damage(bad / "run.json")
    (root / "failed" / ("ab" * 6)).mkdir(parents=True)
    (root / "failed" / ("cd" * 6)).mkdir(parents=True)
    (root / "failed" / ("cd" * 6) / "environment.json").write_text("[" * 100_000)
    for command in (
        ["leaderboard"],
        ["compare"],
        ["list", "runs"],
        ["show", "run", good],
        ["show", "failed"],
        ["report", "--no-figures"],
        ["verify"],
    ):
        call = [*command, "--results", str(root), "--json"]
        run = CliRunner().invoke(group, call, standalone_mode=False)
        assert run.exception is None, (command, run.exception)
        assert run.return_value in ((1,) if command == ["verify"] else (None, 0))
        named = root / "failed" / ("cd" * 6) if command == ["show", "failed"] else bad
        assert str(named) in (run.stdout if command == ["verify"] else run.stderr), command
