"""Write ``docs/benchmarks.md`` and its figures from the JSON files of the benchmarks.

python -m tests.benchmarks._page
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from bench.output.style import OTHERS, PAGE
from tests.benchmarks._measure import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

STYLE = FOLDER.parents[1] / "bench" / "output" / "labshift.mplstyle"
OURS, GOAL = "#D55E00", "#7A7A7A"
INTRO = """# Benchmarks

`make bench` measures everything here and writes JSON to `docs/benchmarks/` and this page. Each \
ratio is measured in turns in one run, so that the machine and other work on it matter little. \
Times are processor times on one thread. GPU figures are on [their own page](gpu.md).
"""


def main() -> None:
    """Write the page."""
    parts = [INTRO]
    with style.context(STYLE):
        for name, write in (("ratios", ratios), ("growth", growth), ("sweep", sweep)):
            if (FOLDER / f"{name}.json").is_file():
                parts += write(_read(name))
        if (FOLDER / "cluster.json").is_file():
            parts += cluster(_read("cluster"))
    page = FOLDER.parent / "benchmarks.md"
    page.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def _machine(document: dict[str, Any]) -> str:
    about = document["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, load {about['load']}, Python {about['python']}; "
        f"{packages}."
    )


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _save(figure: Figure, name: str) -> str:
    path: Path = FOLDER / f"{name}.png"
    figure.savefig(path, metadata={"Software": None})
    return f"benchmarks/{name}.png"


# --------------------------------------------------------------------------- ratios


REASONS = {
    "a run, cold cache / plain DataLoader loop": "the plain loop has none of the following. "
    "Imports take 5 s: torch 1.7 s, its compiler in the first step of an optimiser 1.5 s, "
    "scikit-learn 1.5 s, pandas 0.6 s. Checks, the probe and the record are the rest. Decoding "
    "for the cache and the digest of the code take 0.4 s each. With 60 steps they are not made "
    "up for.",
    "a run, warm cache / plain DataLoader loop": "the same without decoding and the digest of the "
    "code.",
    "sphering / one float32 product of the table with itself": "56 % of the time is the product "
    "with the whitening matrix. It alone costs 1.7 to 2 products of the table with "
    "itself, which is symmetric and has half the operations. 18 % are standard deviations of all "
    "rows in float64, 9 % the check for NaN. 11 % are moments of the controls. Blocks of 128 rows "
    "would save 0.4 products, and would move the last digit of float64 sums.",
    "tvn / one float32 product of the table with itself": "36 % of the time are products of the "
    "table, 22 % decompositions of controls of 260 plates. 11 % are the matrix of each plate, "
    "11 % standard deviations in float64, 7 % the check for NaN.",
}
"""Why a goal is missed, from a profile or the figures."""


NOTHING = [
    "`run -m ben -s ottawa` with an empty cache misses its goal of 60 s. On one core at 2.5 GHz "
    "it took 126 s, of which 58 s were the training and 36 s the simulation. A profile with 0.3 "
    "times the images, in processor time at 2.8 GHz:",
    "",
    "- The simulation takes 13 s and uses all cores. 13 % of it are Fourier transforms, 11 % the "
    "settings of each block. The rest are array operations on 32 images at a time.",
    "- Eight control rows take 15 s. Their features are computed once, in 5 s. The rest are "
    "cross-validated logistic regressions.",
    "- Imports of torch, its compiler and scikit-learn take 5 s.",
    "",
    "With `--jobs 2` the control rows do not wait for the training.",
    "",
]
"""Where the time of a first run on simulated images goes."""


def met(row: dict[str, Any]) -> str:
    """Return whether the goal of a ratio is reached; empty without a goal."""
    if row["goal"] is None:
        return ""
    good = row["ratio"] >= row["goal"] if row["higher_is_better"] else row["ratio"] <= row["goal"]
    sign = "≥" if row["higher_is_better"] else "≤"
    return f"{sign} {row['goal']:g}{'' if good else ' **missed**'}"


def ratios(document: dict[str, Any]) -> list[str]:
    """Return the section on ratios."""
    rows = document["rows"]
    figure = Figure(figsize=(PAGE, 0.6 + 0.23 * len(rows)))
    axes = figure.subplots()
    for k, row in enumerate(rows):
        axes.plot([row["low"], row["high"]], [-k, -k], color=OURS, linewidth=1)
        axes.plot([row["ratio"]], [-k], "o", color=OURS)
        if row["goal"] is not None:
            axes.plot([row["goal"]], [-k], "|", color=GOAL, markersize=9)
    axes.set_xscale("log")
    axes.axvline(1, color=GOAL, linewidth=0.6)
    axes.set_yticks([-k for k in range(len(rows))], [row["what"] for row in rows], fontsize=7)
    axes.set_xlabel("ratio, median and range; grey mark: goal")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    cells = [
        [
            row["what"],
            f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            met(row),
            f"{row['ours_s']:.2f} s",
            f"{row['theirs_s']:.2f} s",
            row["note"],
        ]
        for row in rows
    ]
    heads = ["ratio of", "median [range]", "goal", "first", "second", "what was measured"]
    path = _save(figure, "ratios")
    return [
        "## Ratios to what one would use instead",
        "",
        "`python -m tests.benchmarks.ratios`. Where the name has *labshift* second, larger is "
        "better, otherwise smaller.",
        "",
        f"![Ratios with their range and goals]({path})",
        "",
        *_table(heads, cells),
        *_missed(rows),
        *NOTHING,
        *_processors(document),
        _machine(document),
        "",
    ]


def _processors(document: dict[str, Any]) -> list[str]:
    """Return which groups were measured on which processor, if there are several."""
    groups: dict[str, list[str]] = {}
    for row in document["rows"]:
        names = groups.setdefault(row.get("cpu", document["machine"]["cpu"]), [])
        if row["group"] not in names:
            names.append(row["group"])
    if len(groups) < 2:
        return []
    lines = [
        f"- {cpu}: {', '.join(f'`{name}`' for name in names)}" for cpu, names in groups.items()
    ]
    return ["Groups by the processor that they were measured on:", "", *lines, ""]


def _missed(rows: list[dict[str, Any]]) -> list[str]:
    """Return why goals are missed."""
    lines = [
        f"- {row['what']}: {REASONS[row['what']]}"
        for row in rows
        if "missed" in met(row) and row["what"] in REASONS
    ]
    return ["Missed goals, by a profile or the figures:", "", *lines, ""] if lines else []


# --------------------------------------------------------------------------- growth

LABELS = {"rows": "rows", "features": "features", "batches": "batches"}


def growth(document: dict[str, Any]) -> list[str]:
    """Return the section on growth."""
    axes_names = [name for name in LABELS if any(r["group"] == name for r in document["rows"])]
    methods = sorted({row["what"] for row in document["rows"]})
    figure = Figure(figsize=(PAGE, 3.2))
    panels = figure.subplots(1, len(axes_names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, axes_names, strict=True):
        ticks: set[int] = set()
        for row in document["rows"]:
            if row["group"] == name and row["x"]:
                number = methods.index(row["what"])
                axes.plot(
                    row["x"],
                    row["seconds"],
                    color=OTHERS[number % len(OTHERS)],
                    linestyle=("-", "--", ":")[number // len(OTHERS) % 3],
                    marker=".",
                    markersize=3,
                    label=row["what"],
                )
                ticks |= set(row["x"])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel(LABELS[name])
    panels[0].set_ylabel("seconds, fit and apply")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center",
        fontsize=6.5,
        handlelength=3,
    )
    path = _save(figure, "growth")
    cells, reasons = [], []
    for method in methods:
        row_of = {r["group"]: r for r in document["rows"] if r["what"] == method}
        cells.append(
            [f"`{method}`"]
            + [_exponents(row_of[name]) if name in row_of else "–" for name in axes_names]
        )
        reasons += [
            f"- `{method}` in {name}: {row_of[name]['reason']}."
            for name in axes_names
            if name in row_of and row_of[name]["reason"]
        ]
    settings = document["settings"]
    return [
        "## Growth",
        "",
        "`python -m tests.benchmarks.growth`. Exponents of time / memory: slope on logarithmic "
        f"axes over the last three points; 1 is linear. {settings['rows']:,} rows, "
        f"{settings['features']} features and {settings['batches']} batches where they are not "
        f"varied; curves end before a call of {settings['limit_s']:g} s.",
        "",
        f"![Time against rows, features and batches]({path})",
        "",
        *_table(["method", *(LABELS[name] for name in axes_names)], cells),
        "Steeper than linear in time, and why:",
        "",
        *(reasons or ["- none of the curves."]),
        "",
        "Where d^3 is too slow, reduce the table first: `components+tvn` corrects its leading "
        "principal components.",
        "",
        _machine(document),
        "",
    ]


def _exponents(row: dict[str, Any]) -> str:
    time, memory = row["time_exponent"], row["memory_exponent"]
    if time is None:
        return "–"
    return f"{time:.2f} / {memory:.2f} (to {row['x'][-1]:,})"


# --------------------------------------------------------------------------- sweeps


def sweep(document: dict[str, Any]) -> list[str]:
    """Return the section on Dask's overhead."""
    rows = [
        [
            f"{r['tasks']:,}",
            str(r["workers"]),
            f"{r['total_s']:.1f} s",
            f"{r['per_task_ms']:.1f} ms",
        ]
        for r in document["rows"]
    ]
    return [
        "## Overhead of a sweep",
        "",
        "`python -m tests.benchmarks.sweep`: empty tasks on local Dask workers, each fourth one "
        "with three parents. Goal: 50 ms per task.",
        "",
        *_table(["tasks", "workers", "in all", "per task"], rows),
        _machine(document),
        "",
    ]


def cluster(document: dict[str, Any]) -> list[str]:
    """Return the section on a simulated cluster."""
    rows = document["rows"]
    workers = [row["workers"] for row in rows]
    figure = Figure(figsize=(PAGE / 2, 2.4))
    axes = figure.subplots()
    axes.plot(workers, [row["hours"] for row in rows], "o-", color=OURS, label="simulated")
    axes.plot(workers, [row["bound_hours"] for row in rows], "--", color=GOAL, label="lower bound")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(workers, [str(n) for n in workers])
    axes.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("workers")
    axes.set_ylabel("hours")
    axes.legend()
    path = _save(figure, "cluster")
    tasks = ", ".join(f"{n:,} {kind}" for kind, n in document["tasks"].items())
    path_text = "; then ".join(document["critical_path"])
    cells = [
        [str(r["workers"]), f"{r['hours']:.2f}", f"{100 * r['efficiency']:.0f} %"] for r in rows
    ]
    return [
        f"## The suite `{rows[0]['group']}` on a simulated cluster",
        "",
        f"`python -m tests.benchmarks.cluster`: tasks of the suite ({tasks}), "
        f"{document['core_hours']:.0f} core-hours in all. Times are those of the published "
        f"records, and {document['score_s']:g} s per run for scoring. Networks on real images were "
        "recorded on an H200 and would take longer on a CPU. Nothing was run.",
        "",
        f"![Hours against workers]({path})",
        "",
        *_table(["workers", "hours", "efficiency"], cells),
        f"Critical path, {document['critical_path_hours']:.2f} h: {path_text}. Trials of one fold "
        "follow each other, because each depends on the ones before.",
        "",
    ]


if __name__ == "__main__":
    main()
