"""Write ``FINDINGS.md``, and README's tables and figure, from the records in ``reference/``.

Run as ``python results/findings.py`` from the root of a checkout. Nothing is trained: the commands
that made the records stand in the tables. ``--check`` compares instead of writing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.boards.claims import judge, published  # noqa: E402
from bench.boards.select import boards  # noqa: E402
from bench.output.figures import draw  # noqa: E402
from bench.records.store import Store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.boards.board import Board, Row

ARMS = {
    "erm": "mixed / running",
    "adabn": "mixed / batch",
    "erm-plate": "plate / running",
    "ben": "plate / batch",
}
"""The 2x2 of the published contrast: training batches / statistics at test."""
BEGIN, END = "<!-- findings -->", "<!-- /findings -->"
REAL = (
    ("jump-moa-stains/stains", "4 staining variants, each held out once; 47 mechanisms"),
    ("jump-source3-statistics/batches", "9 batches, each held out once; 8 compounds"),
    ("bbbc021-ljosa2013/weeks", "10 weeks, each held out once; 10 mechanisms"),
)
COMMANDS = {
    "jump-moa-stains/stains": "jump_moa_dye_batches/dataset.toml:stains",
    "jump-source3-statistics/batches": "jump_source3_image_stats/dataset.toml:batches",
    "bbbc021-ljosa2013/weeks": "bbbc021_ljosa2013/dataset.toml:weeks",
}
"""What was typed after ``--split``."""
SOURCES = {
    "jump-moa-stains/stains": "github.com/broadinstitute/2022_09_07_New_phenotypic_dye_testing_CDoT"
    "_Broad, commit 6389ddc",
    "jump-source3-statistics/batches": "github.com/bscheuringer/cell-painting-domain-shift-"
    "baselines, commit 5b018d9, with labels of github.com/jump-cellpainting/datasets",
    "bbbc021-ljosa2013/weeks": "github.com/cytomining/cytominergallery, commit 05d496f (Ljosa et "
    "al. 2013)",
}
DRAWS = (100, 101, 102, 103, 104)
STRENGTHS = (0.0, 0.5, 1.0, 2.0)


def main() -> None:
    """Write, or with ``--check`` compare."""
    records = Store(HERE).load_reference()
    text = "\n".join(
        [
            "# Findings",
            "",
            "Made by `python results/findings.py` from the records in `results/reference/`. Scores "
            "are balanced accuracies of the methods' own heads, mean ± SD over seeds (n − 1); "
            "differences are to `erm`, paired by seed and held-out batch, with a 95 % interval over "
            "seeds crossed with batches where at least 8 batches were held out, else the lowest "
            "and highest batch.",
            "",
            *_real(records),
            *_weeks(records),
            *_retrieval(records),
            *_draws(records),
            *_standardise(records),
            *_strength(records),
            *_causes(records),
            *_lamp(records),
            *_knobs(records),
            *_precision(records),
        ]
    )
    readme = HERE.parent / "README.md"
    before = readme.read_text(encoding="utf-8")
    head, _, rest = before.partition(BEGIN)
    tail = rest.partition(END)[2]
    after = "".join([head, BEGIN, "\n", "\n".join(_readme(records)), END, tail])
    path = HERE / "FINDINGS.md"
    if "--check" in sys.argv:
        if path.read_text(encoding="utf-8") != text or before != after:
            sys.exit("error: FINDINGS.md or README.md is stale: run python results/findings.py")
        return
    path.write_text(text, encoding="utf-8")
    readme.write_text(after, encoding="utf-8")
    plain = ("dataset_settings", "recipe_overrides")
    default = [r for r in records if not any(r["spec"][key] for key in plain)]
    draw(default, ["degradation"], HERE / "reference" / "figures")


# --------------------------------------------------------------------------- tables


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _score(row: Row | None) -> str:
    if row is None or row.mean is None:
        return "–"
    return f"{row.mean:.3f} ± {row.sd:.3f}" if row.sd is not None else f"{row.mean:.3f}"


def _difference(row: Row) -> str:
    if row.diff_to_erm is None:
        return "–"
    text = f"{row.diff_to_erm:+.3f}"
    if row.diff_low is not None and row.diff_high is not None:
        text += f" [{row.diff_low:+.3f}, {row.diff_high:+.3f}]"
    return text


def _boards(
    records: list[Any], split: str, overrides: Mapping[str, Any] | None = None, **settings: Any
) -> list[Board]:
    made = boards(records, split=split, readout="head", recipe="default")
    wanted = dict(overrides or {})
    return [b for b in made if dict(b.settings) == settings and _plain(b.overrides) == wanted]


def _plain(overrides: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in overrides.items()}


def _row(made: list[Board], method: str, params: Mapping[str, Any] | None = None) -> Row | None:
    wanted = dict(params or {})
    for board in made:
        for row in board.rows:
            if row.method_id == method and dict(row.params.get(method, {})) == wanted:
                return row
    return None


def _real(records: list[Any]) -> list[str]:
    lines = ["## Real tables: which half of BEN does what?", ""]
    for split, what in REAL:
        made = _boards(records, split)
        rows = []
        for method, arm in ARMS.items():
            row = _row(made, method)
            if row is not None:
                rows.append([f"`{method}`", arm, _score(row), _difference(row), row.verdict or "–"])
        lines += [
            f"**{split}** ({what}; {SOURCES[split]})",
            "",
            f"`python -m bench run --method {','.join(ARMS)} --split {COMMANDS[split]} --seeds 3`",
            "",
        ]
        lines += _table(
            ["method", "training batch / statistics", "score", "difference to erm", "reading"], rows
        )
    return lines


def _readme(records: list[Any]) -> list[str]:
    """Return README's own lines: real tables first, then the simulation in a sentence or two."""
    rows = []
    for split, what in REAL:
        made = _boards(records, split)
        found = {method: _row(made, method) for method in ARMS}
        rows.append([f"{split} ({what})", *(_score(found[method]) for method in ARMS)])
    weeks = _boards(records, "bbbc021-ljosa2013/weeks")
    lines = [
        "**Real tables**, balanced accuracy on held-out batches, mean ± SD of 3 seeds "
        "(`python -m bench run --method erm,adabn,erm-plate,ben --split FILE.toml:NAME --seeds 3`):",
        "",
        *_table(["split", *(f"`{m}`: {a}" for m, a in ARMS.items())], rows),
    ]
    for split, _ in REAL:
        made = _boards(records, split)
        row = _row(made, "ben")
        if row is None or row.diff_to_erm is None:
            continue
        words = row.verdict or "no interval below 8 batches"
        lines.append(f"- {split}: `ben` − `erm` = {_difference(row)} ({words}).")
    treated = _row(weeks, "ben", {"level": "meta_plate", "rows": "treated"})
    control = _row(weeks, "ben", {"level": "meta_week", "rows": "controls"})
    base = _row(weeks, "erm")
    unscaled = _boards(records, "coos7/test4", {"standardise": "none"})
    plain = {method: _score(_row(unscaled, method)) for method in ARMS}
    lines += [
        "",
        "Where the batches share their classes (stains, source 3), the statistics of the test batch "
        "help, with BEN's training and without it. **Where each batch holds its own classes (BBBC021 "
        f"weeks), BEN destroys the biology**: `erm` {_score(base)}, BEN with the statistics of a "
        f"plate's treated wells {_score(treated)}; with the DMSO wells of the week, the mildest arm, "
        f"{_score(control)}.",
        "",
        "**Simulated COOS-7**, Ottawa (another laboratory and microscope), five draws of "
        "laboratories, 3 seeds each:",
        "",
        *_draw_lines(records)[1],
        "",
        "So on the simulation neither half of BEN gains anything with the published recipe, which "
        "standardises each image first. Without that step (`--standardise none`, draw 100) the "
        f"same four arms score {', '.join(f'`{m}` {t}' for m, t in plain.items())}: batch "
        "statistics do repair gain and offset, but so does each image's own standardisation, and "
        "what remains is mostly magnification, which neither touches.",
        "",
        "**One cause at a time** (simulated, draw 100, 3 seeds; `ben` − `erm` and whether the "
        "interval over seeds and held-out plates tells):",
        "",
    ]
    for split in CAUSES:
        row = _row(_boards(records, split), "ben")
        if row is not None:
            lines.append(f"- `{split}`: {_difference(row)} ({row.verdict}).")
    lines += [
        "",
        "So batch statistics repair what a microscope does to all cells of a plate, and destroy what "
        "a plate's own mixture of classes puts into them, at test (label shift) and above all where "
        "training plates hold classes of their own (nested).",
        "",
    ]
    return lines


def _weeks(records: list[Any]) -> list[str]:
    made = _boards(records, "bbbc021-ljosa2013/weeks")
    rows = []
    for level in ("meta_plate", "meta_week"):
        cells = [level.removeprefix("meta_")]
        for which in ("treated", "all", "controls"):
            params: dict[str, Any] = {"level": level}
            if which != "all":
                params["rows"] = which
            row = _row(made, "ben", params)
            cells.append("–" if row is None else f"{_score(row)} ({_difference(row)})")
        rows.append(cells)
    base = _row(made, "erm")
    return [
        "## Where BEN destroys the biology: BBBC021 weeks",
        "",
        "Each compound lies in one week, and many plates hold one mechanism: the statistics of a "
        f"batch are then biology too. `erm` scores {_score(base)}; BEN, by the level and the rows "
        "that give its statistics (difference to `erm` in brackets):",
        "",
        *_table(["one batch is a", "treated rows", "all rows", "DMSO rows"], rows),
    ]


RETRIEVAL = ("identity", "zscore", "robust", "sphering", "sphering-all", "tvn")


def _retrieval(records: list[Any]) -> list[str]:
    """Return the retrieval of mechanisms on BBBC021, beside the published number it comes near."""
    split = "bbbc021-profiles/profile"
    rows = []
    for method in RETRIEVAL:
        chain = method if method == "identity" else f"identity+{method}"
        found = [r for r in records if (r["method_id"], r["spec"]["split_id"]) == (chain, split)]
        if found:
            values = [
                f"{np.mean([r['metrics'][m]['all'] for r in found]):.3f}" for m in ("nscb", "nsc")
            ]
            rows.append([f"`{method}`", found[0]["track"], *values])
    judged = [one for one in judge(published(), records) if "caicedo" in one.claim.name]
    return [
        "## BBBC021: which correction finds the mechanism again?",
        "",
        "1-nearest neighbour by cosine among treatment profiles (mean over wells) of the CellProfiler "
        "features of Ljosa et al. 2013, same compound excluded (NSC, 103 treatments), and same week "
        "too (NSCB, 92). No training set: every correction is fitted on the rows that are scored. "
        "Each compound lies in one week, so NSC rewards whoever keeps the weeks apart.",
        "",
        f"`python -m bench run --method {','.join(RETRIEVAL)} --split {split} --seeds 3`",
        "",
        *_table(["correction", "told", "NSCB", "NSC"], rows),
        *(f"- {one.reading}" for one in judged),
        "",
    ]


def _draws(records: list[Any]) -> list[str]:
    table, summary = _draw_lines(records)
    return [
        "## Simulated COOS-7: the 2x2 on five laboratories",
        "",
        "Each draw is another pair of laboratories and microscopes (`--set data.draw=N`). Test 1 "
        "shares the training plates; the other columns are Ottawa (test 4).",
        "",
        *table,
        *summary,
        "",
    ]


def _draw_lines(records: list[Any]) -> tuple[list[str], list[str]]:
    """Return the table of draws, and a line for each arm's difference to ERM over them."""
    rows, differences = [], {method: [] for method in ARMS if method != "erm"}
    for draw_number in DRAWS:
        settings = {} if draw_number == 100 else {"draw": draw_number}
        same, far = (
            _boards(records, "coos7/test1", **settings),
            _boards(records, "coos7/test4", **settings),
        )
        base = _row(far, "erm")
        if base is None:
            continue
        cells = [str(draw_number), _score(_row(same, "erm"))]
        for method in ARMS:
            row = _row(far, method)
            cells.append(_score(row))
            if method != "erm" and row is not None and row.diff_to_erm is not None:
                differences[method].append(row.diff_to_erm)
        rows.append(cells)
    summary = []
    for method, values in differences.items():
        if values:
            better = sum(v > 0 for v in values)
            summary.append(
                f"- `{method}` − `erm`: mean {np.mean(values):+.3f} over {len(values)} draws "
                f"(from {min(values):+.3f} to {max(values):+.3f}; above zero in {better})."
            )
    head = ["draw", "erm on test 1", *(f"{m} ({a})" for m, a in ARMS.items())]
    return _table(head, rows), summary


def _standardise(records: list[Any]) -> list[str]:
    rows = []
    for number in (100, 103):
        settings = {} if number == 100 else {"draw": number}
        for how in ("image", "none"):
            overrides = {} if how == "image" else {"standardise": "none"}
            far = _boards(records, "coos7/test4", overrides, **settings)
            found = {method: _row(far, method) for method in ARMS}
            if found["erm"] is not None:
                rows.append([str(number), how, *(_score(found[method]) for method in ARMS)])
    return [
        "## Simulated COOS-7: why BEN gains so little there",
        "",
        "The published recipe standardises each image by itself, which removes every change of "
        "gain and offset before the network sees it; what is left is above all magnification "
        "(`pixel-size` in the last table), which no statistic of a channel removes. Without it "
        "(`--standardise none`), on Ottawa:",
        "",
        *_table(["draw", "standardise", *(f"{m} ({a})" for m, a in ARMS.items())], rows),
    ]


def _strength(records: list[Any]) -> list[str]:
    rows = []
    for strength in STRENGTHS:
        settings = {} if strength == 1.0 else {"strength": strength}
        same = _row(_boards(records, "coos7/test1", **settings), "erm")
        far = _boards(records, "coos7/test4", **settings)
        base = _row(far, "erm")
        if same is None or base is None or same.mean is None or base.mean is None:
            continue
        rows.append(
            [
                f"{strength:g}",
                _score(same),
                _score(base),
                f"{100 * (same.mean - base.mean):.1f}",
                _score(_row(far, "adabn")),
            ]
        )
    return [
        "## Simulated COOS-7: strength of all technical effects",
        "",
        "Draw 100, 3 seeds, `--set data.strength=S`.",
        "",
        *_table(
            ["strength", "erm, test 1", "erm, Ottawa", "drop in points", "adabn, Ottawa"],
            rows,
        ),
    ]


CAUSES = (
    "sim/no-shift",
    "sim/laboratory",
    "sim/microscope",
    "sim/both",
    "sim/new-markers",
    "sim/label-shift",
    "sim/nested",
)
LAMP = ("sim/warm-lamp-kept", "sim/warm-lamp")
SHOWN = ("erm", "adabn", "ben")


def _causes(records: list[Any]) -> list[str]:
    """Return the table of the simulated shifts with one cause each."""
    rows = []
    for split in CAUSES:
        made = _boards(records, split)
        found = {method: _row(made, method) for method in SHOWN}
        cells = [_score(found["erm"])]
        for method in SHOWN[1:]:
            row = found[method]
            words = f" ({row.verdict})" if row is not None and row.verdict else ""
            cells.append("–" if row is None else f"{_score(row)}; {_difference(row)}{words}")
        rows.append([f"`{split}`", made[0].shift if made else "–", *cells])
    return [
        "## Simulated shifts, one cause at a time",
        "",
        "Draw 100, the published recipe; after each score of a correction its difference to `erm`.",
        "",
        f"`python -m bench run --method erm,ben,adabn --split {','.join((*CAUSES, LAMP[1]))} --seeds 3`",
        "",
        *_table(["split", "what differs", *(f"{m} ({ARMS[m]})" for m in SHOWN)], rows),
    ]


def _lamp(records: list[Any]) -> list[str]:
    """Return what a lamp that warms up does where the order of acquisition tells the class."""
    rows = []
    for how in ("image", "none"):
        overrides = {} if how == "image" else {"standardise": "none"}
        kept, scrambled = (_boards(records, split, overrides) for split in LAMP)
        for method in SHOWN:
            one, other = _row(kept, method), _row(scrambled, method)
            if one is None or other is None:
                continue
            theirs = dict(zip(other.seeds, other.values, strict=True))
            drops = [v - theirs[s] for s, v in zip(one.seeds, one.values, strict=True)]
            mean, sd = float(np.mean(drops)), float(np.std(drops, ddof=1))
            arm = f"`{method}` ({ARMS[method]})"
            rows.append([how, arm, _score(one), _score(other), f"{mean:+.3f} ± {sd:.3f}"])
    return [
        "## Simulated warm lamp: what was learned from the order of acquisition",
        "",
        "In training the order of acquisition goes with the class while the lamp warms up. The same "
        "cells are tested with that order kept and with it scrambled; the drop is what the model had "
        "learned from the lamp. Standardising each image by itself removes a lamp's gain before any "
        "model sees it (`--standardise none` for the other rows).",
        "",
        *_table(["standardise", "method", "order kept", "order scrambled", "drop"], rows),
    ]


def _knobs(records: list[Any]) -> list[str]:
    shorter = {"steps": "250"}

    def row(split: str, off: str, method: str) -> Row | None:
        settings = {"off": off} if off else {}
        return _row(_boards(records, split, shorter, **settings), method)

    def first(off: str) -> tuple[float, float, float] | None:
        found = [
            row("coos7/test1", off, "erm"),
            row("coos7/test4", off, "erm"),
            row("coos7/test4", off, "adabn"),
        ]
        values = [r.values[r.seeds.index(0)] for r in found if r is not None and 0 in r.seeds]
        return (values[0], values[1], values[2]) if len(values) == 3 else None

    base = first("")
    names = {
        str(r["spec"]["dataset_settings"]["off"])
        for r in records
        if set(r["spec"]["dataset_settings"]) == {"off"}
    }
    if base is None or not names:
        return []
    rows = []
    for name in names:
        found = first(name)
        if found is not None:
            rows.append(((base[0] - base[1]) - (found[0] - found[1]), name, found))
    rows.sort(key=lambda item: (-item[0], item[1]))
    seeds = [_score(row("coos7/test4", "", method)) for method in ("erm", "adabn")]
    return [
        "## Simulated COOS-7: which effect causes the drop?",
        "",
        "Effects switched off one at a time, and by group (`culture`, `staining`, `optics`, "
        "`camera`, `plate-map`; draw 100, seed 0, one training each, 250 steps: "
        "`--set recipe.steps=250 --set data.off=NAME`). With all effects on, seed 0 of `erm` "
        f"scores {base[0]:.3f} on test 1 and {base[1]:.3f} on Ottawa; over three seeds Ottawa is "
        f"{seeds[0]} for `erm` and {seeds[1]} for `adabn`: gains below about twice that SD are "
        "noise of the training.",
        "",
        *_table(
            [
                "switched off",
                "erm, test 1",
                "erm, Ottawa",
                "drop removed (points)",
                "adabn, Ottawa",
            ],
            (
                [f"`{name}`", f"{f[0]:.3f}", f"{f[1]:.3f}", f"{100 * gain:+.1f}", f"{f[2]:.3f}"]
                for gain, name, f in rows
            ),
        ),
    ]


def _precision(records: list[Any]) -> list[str]:
    rows = []
    for words, overrides in (
        ("float32, channels last (the default)", {}),
        ("bfloat16, channels last", {"precision": "bfloat16"}),
        ("float32, channels first", {"channels_last": "False"}),
    ):
        cells = [
            _row(_boards(records, split, overrides), "erm")
            for split in ("coos7/test1", "coos7/test4")
        ]
        if all(cell is not None for cell in cells):
            rows.append([words, *(_score(cell) for cell in cells)])
    return [
        "## Simulated COOS-7: number format and memory layout",
        "",
        "`erm`, draw 100, 3 seeds (`--set recipe.precision=bfloat16`, "
        "`--set recipe.channels_last=false`):",
        "",
        *_table(["training", "test 1", "Ottawa"], rows),
    ]


if __name__ == "__main__":
    main()
