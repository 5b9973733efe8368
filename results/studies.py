"""Write ``STUDIES.md`` from the outputs of ``study`` in ``reference/studies/``.

Run as ``python results/studies.py`` from the root of a checkout; ``--from DIR`` first copies the
small files (``table.csv``, ``study.json``, some figures) of all studies in the results folder
DIR, those of the smoke recipe left out. ``--check`` compares instead of writing. Nothing is
trained: the command that made a study stands beside it.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.studies import known, markdown  # noqa: E402

KEPT = HERE / "reference" / "studies"
COMMANDS = {
    "jump-moa-stains/stains": "jump_moa_dye_batches/dataset.toml:stains",
    "jump-source3-statistics/batches": "jump_source3_image_stats/dataset.toml:batches",
    "bbbc021-ljosa2013/weeks": "bbbc021_ljosa2013/dataset.toml:weeks",
}
"""What was typed after ``--split``."""
DRAWN = (
    ("batch-size", "jump-source3-statistics/batches"),
    ("composition", "jump-source3-statistics/batches"),
    ("mechanism", "jump-source3-statistics/batches"),
)
"""Studies whose figure is kept here; the others' are drawn by their commands."""


def main() -> None:
    """Copy if asked to, then write or compare."""
    if "--from" in sys.argv:
        _copy(Path(sys.argv[sys.argv.index("--from") + 1]) / "studies")
    lines = [
        "# Studies",
        "",
        "Made by `python results/studies.py` from the outputs of `python -m bench study` in "
        "`results/reference/studies/`: table, figure and sentences are generated from the records, "
        "and the same records give the same bytes. Scores are means over seeds; brackets are 95 % "
        "intervals over seeds crossed with held-out batches, where there are at least 8 of these; "
        "± is the SD over seeds (n − 1). Differences are paired, and no correction is made for "
        "their number. What each study does is in the file of its name in `bench/studies/`.",
        "",
    ]
    for name in known():
        found = sorted(KEPT.glob(f"{name}/*/study.json"))
        for number, file in enumerate(found):
            if number == 0:
                lines += [f"## {name}: {known()[name]['question']}", ""]
            lines += _section(file)
    text = "\n".join(lines)
    path = HERE / "STUDIES.md"
    if "--check" in sys.argv:
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit("error: STUDIES.md is stale: run python results/studies.py")
        return
    path.write_text(text, encoding="utf-8")


def _copy(studies: Path) -> None:
    for file in sorted(studies.glob("*/*/study.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        if facts["recipe"] == "smoke":
            continue
        target = KEPT / file.parent.relative_to(studies)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.parent / "table.csv", target / "table.csv")
        if (facts["study"], facts["split"]) in DRAWN:
            name = f"{facts['study']}.png"
            shutil.copyfile(file.parent / name, target / name)
        del facts["runs"]  # the digest stands for them
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        (target / "study.json").write_text(text, encoding="utf-8")


def _section(file: Path) -> list[str]:
    facts = json.loads(file.read_text(encoding="utf-8"))
    with (file.parent / "table.csv").open(encoding="utf-8", newline="") as source:
        table = [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(source)]
    lines = markdown(facts, table)
    head = [f"### {facts['study']} on {facts['split']}", "", facts["title"], ""]
    figure = file.parent / f"{facts['study']}.png"
    shown = figure.is_file()
    picture = [f"![{facts['question']}]({figure.relative_to(HERE).as_posix()})", ""] * shown
    return [*head, "```", _command(facts), "```", "", *lines[4:6], *picture, *lines[6:]]


def _command(facts: dict[str, Any]) -> str:
    meta = known()[facts["study"]]
    words = ["python -m bench study", facts["study"]]
    words += ["--split", COMMANDS.get(facts["split"], facts["split"])]
    if facts["methods"] != meta["methods"]:
        words += ["--method", ",".join(facts["methods"])]
    if facts["points"] != [float(value) for value in meta["points"]]:
        words += ["--points", ",".join(f"{value:g}" for value in facts["points"])]
    return " ".join([*words, "--seeds", str(len(facts["seeds"]))])


def _number(text: str) -> Any:
    try:
        return float(text) if text else None
    except ValueError:
        return text


if __name__ == "__main__":
    main()
