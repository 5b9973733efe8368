"""Calls of the command line in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Caller:
    """Calls the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], results: Path) -> None:
        self.capsys, self.results = capsys, results

    def __call__(self, *arguments: object, results: Path | None = None) -> Said:
        words = [*map(str, arguments), "--results", str(results or self.results)]
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(words)
        said = self.capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Said(stopped.value.code, said.out, said.err)


def bench(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Call the command line in this process, in a folder and with variables of the environment."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd or Path.cwd()):
        for name, value in environment.items():
            patch.setenv(name, value)
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stopped,
        ):
            main(list(map(str, arguments)))
    return subprocess.CompletedProcess(
        arguments, int(stopped.value.code or 0), out.getvalue(), err.getvalue()
    )
