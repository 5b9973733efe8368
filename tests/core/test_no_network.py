"""Opening and running data sets opens no socket."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bench.core.registry import Registry
from bench.data.catalog import known_splits

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import socket, sys
asked = []
def hook(event, args):
    # host names and connections; a socket pair within the process is allowed
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
                 "socket.bind", "urllib.Request"):
        asked.append((event, args))
        raise RuntimeError(f"a socket: {event}")
sys.addaudithook(hook)
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except RuntimeError:
    asked.clear()
else:
    sys.exit("the hook does not hold")
from bench.cli.main import main
words = sys.argv[1:]
try:
    main(words)
except SystemExit as end:
    code = end.code
else:
    code = 0
import threading
for thread in threading.enumerate():
    if thread is not threading.main_thread() and not thread.daemon:
        thread.join(20)
if asked:
    sys.exit(f"asked: {asked}")
sys.exit(code)
"""


def without_network(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.slow
def test_no_socket_is_opened_over_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without a cache: fixtures are written, wilds is imported and used, images are decoded
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    registry = Registry()
    first: dict[str, str] = {}
    for name, split in sorted(known_splits(registry).items()):
        meta = registry.entry("dataset", split.dataset).meta
        if "fixture" in meta["editions"] and split.protocol == "supervised":
            first.setdefault(split.dataset, name)
    assert {"rxrx1", "camelyon17"} <= set(first)
    done = without_network(
        *("run", "--method", "erm", "--split", ",".join(first.values()), "--recipe", "smoke"),
        *("--edition", "fixture", "--set", "recipe.steps=2"),
        *("--results", str(tmp_path / "results"), "--json"),
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert {(run["split_id"], run["status"]) for run in runs} == {
        (name, "ok") for name in first.values()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("list", "splits"), ("show", "dataset", "rxrx1"), ("show", "split", "ottawa")]
)
def test_no_socket_is_opened_by_looking(words: tuple[str, ...]) -> None:
    done = without_network(*words)
    assert done.returncode == 0, done.stderr


def test_show_says_where_files_go_under_which_licence_and_how_large(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from bench.cli.commands.show import command

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    for name, output in {
        "rxrx1": ("CC BY-NC-SA 4.0", "7,413,123,845 bytes", "rxrx1_v1.0/"),
        "camelyon17": ("CC0 1.0", "10,658,709,504 bytes", "camelyon17_v1.0/"),
    }.items():
        shown = CliRunner().invoke(command, ["dataset", name], catch_exceptions=False)
        assert shown.exit_code == 0
        for words in (*output, str(tmp_path / name)):
            assert words in shown.output


def test_show_tells_of_each_data_set_what_one_must_know_before_fetching_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from bench.cli.commands.show import command

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    registry = Registry()
    splits = known_splits(registry).values()
    for entry in registry.entries("dataset"):
        shown = CliRunner().invoke(command, ["dataset", entry.name, "--json"])
        assert shown.exit_code == 0, entry.name
        facts = json.loads(shown.output)
        own = {split.name: split.shift for split in splits if split.dataset == entry.name}
        assert own, entry.name
        assert {line["name"]: line["doc"] for line in facts["splits"]} == own
        assert facts["licence"], entry.name
        if "real" in facts["editions"]:
            assert facts["size"], entry.name
            assert facts["folder of the real files"] == str(tmp_path / entry.name)
            assert facts["to get the real files"].endswith(f"data fetch {entry.name}")
