"""Run the tutorials: commands and Python blocks in order, in an empty folder.

A block without a language has commands, a block ``python`` is executed, and a block with
``title="FILE"`` is written to that file. The blocks of a tutorial share names and files.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing.process  # noqa: F401 - remembers the folder of the start, for workers
import os
import re
import shlex
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    *("first-comparison", "own-screen", "own-images"),
    *("write-a-method", "cluster-sweep", "read-a-board"),
)
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```\n', re.MULTILINE | re.DOTALL)
LONGEST = 60
"""Maximum lines of an output on the page."""


def with_outputs(text: str, name: str) -> str:
    """Return a tutorial with the output of each block below the block.

    Parameters
    ----------
    text, name
        The Markdown, and its file name for errors.

    Raises
    ------
    RuntimeError
        If a block fails.
    """
    names: dict[str, object] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder).resolve()) as here:

        def replace(match: re.Match[str]) -> str:
            language, file, code = match.groups()
            if file:
                (here / file).write_text(code, encoding="utf-8")
                return match[0]
            if language not in ("", "python"):
                return match[0]
            try:
                output = _python(code, names) if language else _commands(code, names)
            except Exception as error:
                line = text[: match.start()].count("\n") + 1
                raise RuntimeError(f"{name}:{line}: {error}") from error
            lines = output.replace(str(here), ".").rstrip().split("\n")
            lines = [*lines[:LONGEST], "…"] if len(lines) > LONGEST else lines
            shown = "\n".join(line.rstrip() for line in lines)
            return match[0] + (f'\n```text title="Output"\n{shown}\n```\n' if shown else "")

        return BLOCK.sub(replace, text)


@contextlib.contextmanager
def _inside(folder: Path):
    """Work in a folder that has the published records and no others."""
    variables = {"BENCH_RESULTS": str(folder / "results"), "COLUMNS": "100", "NO_COLOR": "1"}
    before = {key: os.environ.get(key) for key in variables}
    (folder / "results").mkdir()
    (folder / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    os.environ.update(variables)
    try:
        with contextlib.chdir(folder):
            yield folder
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _python(code: str, names: dict[str, object]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "tutorial", "exec"), names)
    return output.getvalue()


def _commands(code: str, names: dict[str, object]) -> str:
    """Run commands; ``$RUN`` is the id of the record ``run`` of a Python block."""
    from bench.cli.main import main

    output, errors = io.StringIO(), io.StringIO()
    for line in code.splitlines():
        run = getattr(names.get("run"), "run_id", "")
        words = shlex.split(line.replace("$RUN", run), comments=True)
        if words[:3] != ["python", "-m", "bench"]:
            raise ValueError(f"not a command of labshift: {line}")
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main(words[3:])
            except SystemExit as stop:
                if stop.code:
                    raise ValueError(f"{line}: {errors.getvalue().strip()}") from None
    return output.getvalue()
