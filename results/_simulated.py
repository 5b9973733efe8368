"""Sections of ``FINDINGS.md`` on simulated data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.words import as_sentences
from results._tables import ARMS, boards_of, difference_of, row_of, score_of, table

if TYPE_CHECKING:
    from bench.boards.board import Row

DRAWS = (100, 101, 102, 103, 104)
STRENGTHS = (0.0, 0.5, 1.0, 2.0)


def draws(records: list[Any]) -> list[str]:
    table, summary = draw_lines(records)
    return [
        "## Simulated COOS-7: the 2x2 on five laboratories",
        "",
        "Each draw is another pair of laboratories and microscopes (`--set data.draw=N`). Test 1 "
        "shares the training plates; the other columns are Ottawa (test 4).",
        "",
        *table,
        *summary,
        *_earlier(records),
        "",
    ]


def _earlier(records: list[Any]) -> list[str]:
    """Return a line with the draws that an earlier version of the code scored."""
    versions: dict[int, int] = {}
    for record in records:
        spec = record.spec
        settings = dict(spec["dataset_settings"])
        draw = int(settings.pop("draw", DRAWS[0]))
        if spec["split_id"] == "coos7/test4" and not settings and not spec["recipe_overrides"]:
            versions[draw] = max(versions.get(draw, 0), int(spec.get("numerics", 1)))
    old = [str(draw) for draw in DRAWS if versions.get(draw, 0) < max(versions.values(), default=0)]
    if not old:
        return []
    return [f"- Draws {', '.join(old)} were scored by an earlier version of the shared probe."]


FEATURES = ("erm+combat", "erm+coral-to-train", "erm+coral-to-target", "erm+harmony")
"""Corrections of the features of ``erm``, in addition to the arms of the 2x2."""


def draw_lines(records: list[Any]) -> tuple[list[str], list[str]]:
    """Return the table of draws, and a line for each arm's difference to ERM over them."""
    compared = [*(method for method in ARMS if method != "erm"), *FEATURES]
    rows, differences = [], {method: [] for method in compared}
    for draw_number in DRAWS:
        settings = {} if draw_number == 100 else {"draw": draw_number}
        same, far = (
            boards_of(records, "coos7/test1", **settings),
            boards_of(records, "coos7/test4", **settings),
        )
        base = row_of(far, "erm")
        if base is None:
            continue
        cells = [str(draw_number), score_of(row_of(same, "erm"))]
        cells += [score_of(row_of(far, method)) for method in ARMS]
        for method, values in differences.items():
            row = row_of(far, method)
            if row is not None and row.diff_to_erm is not None:
                values.append(row.diff_to_erm)
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
    return table(head, rows), summary


def standardise(records: list[Any]) -> list[str]:
    rows = []
    for number in (100, 103):
        settings = {} if number == 100 else {"draw": number}
        for how in ("image", "none"):
            overrides = {} if how == "image" else {"standardise": "none"}
            far = boards_of(records, "coos7/test4", overrides, **settings)
            fitted = {method: row_of(far, method) for method in ARMS}
            if fitted["erm"] is not None:
                rows.append([str(number), how, *(score_of(fitted[method]) for method in ARMS)])
    return [
        "## Simulated COOS-7: why BEN gains little",
        "",
        "The published recipe standardises each image, which removes changes of gain and offset before "
        "the network. The remaining shift is mostly magnification (`pixel-size` in the last table), "
        "which channel statistics cannot correct. Without standardisation (`--standardise none`), "
        "on Ottawa:",
        "",
        *table(["draw", "standardise", *(f"{m} ({a})" for m, a in ARMS.items())], rows),
    ]


def strength(records: list[Any]) -> list[str]:
    rows = []
    for strength in STRENGTHS:
        settings = {} if strength == 1.0 else {"strength": strength}
        same = row_of(boards_of(records, "coos7/test1", **settings), "erm")
        far = boards_of(records, "coos7/test4", **settings)
        base = row_of(far, "erm")
        if same is None or base is None or same.mean is None or base.mean is None:
            continue
        rows.append(
            [
                f"{strength:g}",
                score_of(same),
                score_of(base),
                f"{100 * (same.mean - base.mean):.1f}",
                score_of(row_of(far, "adabn")),
            ]
        )
    return [
        "## Simulated COOS-7: strength of all technical effects",
        "",
        "Draw 100, 3 seeds, `--set data.strength=S`.",
        "",
        *table(
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
    "sim/confounded",
)
MANY = "sim/many-laboratories"
LAMP = ("sim/warm-lamp-kept", "sim/warm-lamp")
SHOWN = ("erm", "adabn", "ben")


def safe_sentence(records: list[Any]) -> str:
    """Return which methods improve on a simulated cause, and which of them never worsen."""
    verdicts: dict[str, set[str]] = {}
    for split in (*CAUSES, MANY):
        for board in boards_of(records, split):
            for row in board.rows:
                if row.verdict:
                    verdicts.setdefault(row.method, set()).add(row.verdict)
    gains = sorted(m for m, seen in verdicts.items() if "improves" in seen)
    safe = [m for m in gains if "worsens" not in verdicts[m]]
    if not gains:
        return "No method improves on a cause."
    names = ", ".join(f"`{m}`" for m in gains)
    text = f"Significant gains on at least one cause: {names}. "
    if not safe:
        return text + "Each of them is significantly worse on another."
    only = ", ".join(f"`{m}`" for m in safe)
    return text + f"Without a significant loss on another: {only}."


def causes(records: list[Any]) -> list[str]:
    """Return the table of the simulated shifts with one cause each."""
    rows = []
    for split in CAUSES:
        board = boards_of(records, split)
        fitted = {method: row_of(board, method) for method in SHOWN}
        cells = [score_of(fitted["erm"])]
        for method in SHOWN[1:]:
            row = fitted[method]
            verdict = f" ({row.verdict})" if row is not None and row.verdict else ""
            cells.append("–" if row is None else f"{score_of(row)}; {difference_of(row)}{verdict}")
        shift = as_sentences(board[0].shift, colons=True) if board else "–"
        rows.append([f"`{split}`", shift, *cells])
    return [
        "## Simulated shifts, one cause at a time",
        "",
        "Draw 100, the published recipe; each correction with its difference to `erm`. "
        f"{safe_sentence(records)}",
        "",
        "![Simulated causes: difference to erm of fifteen methods on eight shifts]"
        "(reference/figures/simulated-causes.png)",
        "",
        f"`python -m bench run --method erm,ben,adabn --split {','.join((*CAUSES, LAMP[1]))} --seeds 3`",
        "",
        *table(["split", "what differs", *(f"{m} ({ARMS[m]})" for m in SHOWN)], rows),
    ]


def lamp(records: list[Any]) -> list[str]:
    """Return the effect of a warming lamp if the order of acquisition predicts the class."""
    rows = []
    for how in ("image", "none"):
        overrides = {} if how == "image" else {"standardise": "none"}
        kept, scrambled = (boards_of(records, split, overrides) for split in LAMP)
        for method in SHOWN:
            item, other = row_of(kept, method), row_of(scrambled, method)
            if item is None or other is None:
                continue
            theirs = dict(zip(other.seeds, other.values, strict=True))
            drops = [v - theirs[s] for s, v in zip(item.seeds, item.values, strict=True)]
            mean, sd = float(np.mean(drops)), float(np.std(drops, ddof=1))
            arm = f"`{method}` ({ARMS[method]})"
            rows.append([how, arm, score_of(item), score_of(other), f"{mean:+.3f} ± {sd:.3f}"])
    return [
        "## Simulated warm lamp: learning from the order of acquisition",
        "",
        "In training, the order of acquisition correlates with the class while the lamp warms up. The "
        "same cells are tested in the same order and in scrambled order. The drop is what the model "
        "learned from the lamp. Standardising each image removes the gain of the lamp "
        "(`--standardise none` for the other rows).",
        "",
        *table(["standardise", "method", "order kept", "order scrambled", "drop"], rows),
    ]


def knobs(records: list[Any]) -> list[str]:
    shorter = {"steps": "250"}

    def row(split: str, off: str, method: str) -> Row | None:
        settings = {"off": off} if off else {}
        return row_of(boards_of(records, split, shorter, **settings), method)

    def first(off: str) -> tuple[float, float, float] | None:
        result = [
            row("coos7/test1", off, "erm"),
            row("coos7/test4", off, "erm"),
            row("coos7/test4", off, "adabn"),
        ]
        values = [r.values[r.seeds.index(0)] for r in result if r is not None and 0 in r.seeds]
        return (values[0], values[1], values[2]) if len(values) == 3 else None

    base = first("")
    names = {str(r.dataset_settings["off"]) for r in records if set(r.dataset_settings) == {"off"}}
    if base is None or not names:
        return []
    rows = []
    for name in names:
        result = first(name)
        if result is not None:
            rows.append(((base[0] - base[1]) - (result[0] - result[1]), name, result))
    rows.sort(key=lambda item: (-item[0], item[1]))
    seeds = [score_of(row("coos7/test4", "", method)) for method in ("erm", "adabn")]
    return [
        "## Simulated COOS-7: causes of the drop",
        "",
        "Effects switched off one at a time, and by group (`culture`, `staining`, `optics`, "
        "`camera`, `plate-map`; draw 100, seed 0, one training each, 250 steps: "
        "`--set recipe.steps=250 --set data.off=NAME`). With all effects on, seed 0 of `erm` "
        f"scores {base[0]:.3f} on test 1 and {base[1]:.3f} on Ottawa. Over three seeds Ottawa is "
        f"{seeds[0]} for `erm` and {seeds[1]} for `adabn`. Differences below about twice that SD are "
        "noise of the training.",
        "",
        *table(
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


def precision(records: list[Any]) -> list[str]:
    rows = []
    for training, overrides in (
        ("float32, channels last (the default)", {}),
        ("bfloat16, channels last", {"precision": "bfloat16"}),
        ("float32, channels first", {"channels_last": "False"}),
    ):
        cells = [
            row_of(boards_of(records, split, overrides), "erm")
            for split in ("coos7/test1", "coos7/test4")
        ]
        if all(cell is not None for cell in cells):
            rows.append([training, *(score_of(cell) for cell in cells)])
    return [
        "## Simulated COOS-7: number format and memory layout",
        "",
        "`erm`, draw 100, 3 seeds (`--set recipe.precision=bfloat16`, "
        "`--set recipe.channels_last=false`):",
        "",
        *table(["training", "test 1", "Ottawa"], rows),
    ]
