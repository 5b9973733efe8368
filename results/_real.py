"""Sections of ``FINDINGS.md`` on real data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.baselines import BASELINES
from bench.boards.claims import judge, published
from bench.boards.units import level_name
from bench.core.words import count
from bench.output.report.regimes import conditions
from results._tables import ARMS, boards_of, difference_of, row_of, score_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Row


@dataclass(frozen=True)
class Published:
    """A published split of real data: its argument of ``--split``, task and source."""

    split: str
    argument: str
    task: str
    source: str


IMAGES = (
    Published(
        "mitosis-scanners/phase",
        "mitosis-scanners/phase",
        "mitotic figures on slides of three scanners, 4 phases",
        "AMi-Br, Bertram et al. 2025; MIDOG++, Aubreville et al. 2023",
    ),
    Published(
        "blood-objects/laboratories",
        "blood-objects/laboratories",
        "blood cells from three laboratories, 3 classes",
        "Gan and Li 2024, arXiv:2407.13214",
    ),
    Published(
        "mitocheck-cells/periods",
        "mitocheck-cells/periods",
        "nuclei of a fluorescence screen of 43 days in 6 blocks, 6 classes",
        "MitoCheck, Neumann et al. 2010",
    ),
)
TABLES = (
    Published(
        "jump-moa-stains/stains",
        "jump_moa_dye_batches/dataset.toml:stains",
        "4 staining variants, each held out once; 47 mechanisms",
        "github.com/broadinstitute/2022_09_07_New_phenotypic_dye_testing_CDoT_Broad, commit "
        "6389ddc",
    ),
    Published(
        "jump-source3-statistics/batches",
        "jump_source3_image_stats/dataset.toml:batches",
        "9 batches, each held out once; 8 compounds",
        "github.com/bscheuringer/cell-painting-domain-shift-baselines, commit 5b018d9, with labels "
        "of github.com/jump-cellpainting/datasets",
    ),
    Published(
        "bbbc021-ljosa2013/weeks",
        "bbbc021_ljosa2013/dataset.toml:weeks",
        "10 weeks, each held out once; 10 mechanisms",
        "github.com/cytomining/cytominergallery, commit 05d496f (Ljosa et al. 2013)",
    ),
    Published(
        "cpjump1-compounds/times",
        "cpjump1_compound_plates/dataset.toml:times",
        "24 and 48 hours, each held out once; 302 compounds",
        "CPJUMP1, Chandrasekaran et al. 2024",
    ),
)
NEW_WELLS = (
    ("jump-source3-statistics/batches", "jump-source3/batches-and-wells"),
    ("jump-moa-stains/stains", "jump-stains/stains-and-wells"),
)
"""A split, and the same with new well positions in the test set."""
AT_NEW_WELLS = (
    "position-only",
    "identity",
    "sphering-all",
    "combat",
    "coral-to-train",
    "harmony",
    "tvn",
    *ARMS,
)
APART = 0.1
"""Difference between readouts from which a method is named."""
RETRIEVAL = ("identity", "zscore", "robust", "sphering", "sphering-all", "tvn")


def scored(records: list[Any], split: str) -> list[Row]:
    """Return the rows with a score and default parameters, highest first, control rows last."""
    rows = [row for board in boards_of(records, split) for row in board.rows]
    rows = [row for row in rows if row.mean is not None and not any(row.params.values())]
    return sorted(rows, key=lambda row: (row.track == "reference", -(row.mean or 0.0), row.method))


def _heading(item: Published) -> list[str]:
    """Return split, task, source and command."""
    return [
        f"**{item.split}** ({item.task}; {item.source})",
        "",
        f"`python -m bench run --method {','.join(ARMS)} --split {item.argument} --seeds 3`",
        "",
    ]


def images(records: list[Any]) -> list[str]:
    """Return the tables of all methods on real images."""
    lines = [
        "## Real images: a new scanner, laboratory or period",
        "",
        "Each unit is the test set once. Three to six units are too few for intervals or verdicts "
        "about new ones. The range is that of the held-out units, mean over seeds. Differences are "
        "to `erm`. Rows without a number of seeds have three.",
        "",
    ]
    return lines + [line for item in IMAGES for line in _images_of(records, item)]


def _images_of(records: list[Any], item: Published) -> list[str]:
    rows = scored(records, item.split)
    if not rows:
        return []
    cells = []
    for row in rows:
        seeds = (
            "" if len(row.seeds) in {0, 3} or row.track == "reference" else f" ({len(row.seeds)})"
        )
        low, high = min(row.points.values()), max(row.points.values())
        gap = f"{row.diff_to_erm:+.3f}" if row.diff_to_erm is not None else "–"
        cells.append(
            [f"`{row.method}`{seeds}", row.track, score_of(row), gap, f"{low:.3f} – {high:.3f}"]
        )
    return [
        *_heading(item),
        *table(["method (seeds)", "track", "score", "difference to erm", "held-out units"], cells),
    ]


def self_supervised(records: list[Any]) -> list[str]:
    """Return self-supervised training with and without BEN on real images."""
    cells = []
    for item in IMAGES:
        boards = boards_of(records, item.split)
        for base in ("simclr", "minclr"):
            plain, ben = row_of(boards, base), row_of(boards, f"{base}-ben")
            if plain is None or ben is None or ben.difference is None:
                continue
            seeds = str(min(len(plain.seeds), len(ben.seeds)))
            gap = f"{ben.difference:+.3f}"
            cells.append([item.split, f"`{base}`", score_of(plain), score_of(ben), gap, seeds])
    return [
        "## Self-supervised training with BEN",
        "",
        "The probe is trained on embeddings of the training images. `minclr` needs wells, which only "
        "MitoCheck has. Differences are paired by seed.",
        "",
        *table(["split", "method", "mixed batches", "with BEN", "difference", "seeds"], cells),
    ]


def causes(records: list[Any]) -> list[str]:
    """Return batch statistics against the conditions of each real split."""
    measured = conditions()
    cells = []
    for item in (*IMAGES, *TABLES):
        where = measured.get(item.split)
        boards = boards_of(records, item.split)
        gaps = [row_of(boards, method) for method in ("adabn", "ben")]
        if where is None or None in gaps:
            continue
        cells.append(
            [
                item.split,
                f"{where.composition:.2f}",
                f"{where.rows_median:.0f}",
                *(difference_of(row) for row in gaps if row is not None),
            ]
        )
    cells.sort(key=lambda row: float(row[1]))
    return [
        "## When statistics of the new batch help",
        "",
        "Composition: distance between the class mixtures of batches, 0 (equal) to 1 (no class in "
        "common). Rows: median size of a batch. Both are measured by the functions of `check-data` "
        "on the batches that give the statistics. Where mixtures differ, the statistics of a batch "
        "contain biology. The splits with the largest distances also have the smallest batches; "
        "`study confounding` separates the two.",
        "",
        *table(["split", "composition", "rows", "adabn − erm", "ben − erm"], cells),
    ]


def readouts(records: list[Any]) -> list[str]:
    """Return probe and head of the methods with batch statistics on real and simulated splits."""
    splits = [item.split for item in (*IMAGES, *TABLES)] + ["coos7/test4", "sim/confounded"]
    cells, apart = [], []
    for split in splits:
        boards = boards_of(records, split), boards_of(records, split, readout="head")
        row = [split]
        for method in ARMS:
            means = [result.mean if (result := row_of(b, method)) else None for b in boards]
            if means[0] is None or means[1] is None:
                break
            row.append(f"{means[0]:.3f} / {means[1]:.3f}")
            if abs(means[0] - means[1]) > APART:
                apart.append(f"`{method}` on {split}")
        else:
            cells.append(row)
    if not cells:
        return []
    return [
        "## Probe and head",
        "",
        "Probe / head, mean over seeds. The probe is trained on embeddings of the training rows, with "
        "the statistics of their own batches. Where a training batch has one class, these embeddings "
        "have lost the class. The head of `adabn` was trained on mixed batches. More than "
        f"{APART:g} apart: {', '.join(apart) or 'none'}.",
        "",
        *table(["split", *(f"`{m}`" for m in ARMS)], cells),
    ]


def levels(records: list[Any]) -> list[str]:
    """Return MitoCheck by the level of the statistics."""
    split = "mitocheck-cells/periods"
    boards = boards_of(records, split)
    cells = []
    for method in ("adabn", "ben"):
        fine, coarse = row_of(boards, method), row_of(boards, method, {"level": "block"})
        if fine is not None and coarse is not None:
            seeds = f"{len(fine.seeds)}, {len(coarse.seeds)}"
            cells.append([f"`{method}`", score_of(fine), score_of(coarse), seeds])
    if not cells:
        return []
    return [
        "## MitoCheck by the level of the statistics",
        "",
        "A day has a median of 51 nuclei of few phenotypes; a block of days has more of both. `erm` "
        f"scores {score_of(row_of(boards, 'erm'))}.",
        "",
        f"`python -m bench run --method adabn --split {split} --set adabn.level=block`",
        "",
        *table(["method", "statistics of the day", "of the block", "seeds"], cells),
    ]


def tables(records: list[Any]) -> list[str]:
    """Return the tables of all methods on real tables."""
    lines = [
        "## Real tables: all methods",
        "",
        "Differences are to the baseline of the row: `identity` or `pca` for corrections of "
        "profiles, `erm` for networks and corrections of its features. Readings are adjusted for "
        "all rows of the board (Holm). Without a reading there are fewer than 8 held-out batches.",
        "",
    ]
    for item in TABLES:
        rows = scored(records, item.split)
        if not rows:
            continue
        lines += [
            *_heading(item),
            *table(
                ["method", "track", "score", "baseline", "difference", "reading"],
                [_against_baseline(row) for row in rows],
            ),
        ]
    return lines


def _against_baseline(row: Row) -> list[str]:
    gap = "–"
    if row.difference is not None:
        gap = f"{row.difference:+.3f}"
        if row.difference_low is not None and row.difference_high is not None:
            gap += f" [{row.difference_low:+.3f}, {row.difference_high:+.3f}]"
    name = row.method.removeprefix("identity+")
    base = f"`{row.baseline}`" if row.baseline else "–"
    return [f"`{name}`", row.track, score_of(row), base, gap, row.verdict or "–"]


def summary(records: list[Any]) -> list[str]:
    """Return the tables of ``docs/results.md`` on real data."""
    lines = [
        "![Real images: scores per held-out scanner, laboratory and period](../results/reference/"
        "figures/real-images.png)",
        "",
    ]
    for title, items in (("Real images", IMAGES), ("Real tables", TABLES)):
        cells = []
        for item in items:
            boards = boards_of(records, item.split)
            rows = {method: row_of(boards, method) for method in ARMS}
            if rows["erm"] is not None:
                cells.append(
                    [f"{item.split} ({item.task})", *(score_of(rows[method]) for method in ARMS)]
                )
        lines += [
            f"**{title}**, balanced accuracy on held-out batches, mean ± SD of 3 seeds:",
            "",
            *table(["split", *(f"`{m}`: {a}" for m, a in ARMS.items())], cells),
        ]
        lines += _sentences(records, items)
    _, _, *rest = causes(records)
    return [*lines, "**When statistics of the new batch help**", "", *rest]


def _sentences(records: list[Any], items: Sequence[Published]) -> list[str]:
    """Return the difference of BEN to ERM on each split, with the reading of the board."""
    lines = []
    for item in items:
        row = row_of(boards_of(records, item.split), "ben")
        if row is not None and row.diff_to_erm is not None:
            units = count(row.n_clusters, level_name(row.cluster_level))
            reading = row.verdict or f"{units}: no test"
            lines.append(f"- {item.split}: `ben` − `erm` = {difference_of(row)} ({reading}).")
    return [*lines, ""]


def position(records: list[Any]) -> list[str]:
    """Return scores at the well positions of training against scores at new ones."""
    lines = [
        "## Well positions",
        "",
        "Layouts repeat: `position-only` predicts the class from the well position alone. In the "
        "splits `…-and-wells`, the test rows are at new well positions as well as in new batches. "
        "There are fewer training rows.",
        "",
    ]
    cells = []
    for same, new in NEW_WELLS:
        here, there = boards_of(records, same), boards_of(records, new)
        for method in AT_NEW_WELLS:
            chain = (
                method if method in (*BASELINES, *ARMS, "position-only") else f"identity+{method}"
            )
            rows = row_of(here, chain), row_of(there, chain)
            if None not in rows:
                cells.append([same, f"`{method}`", *map(score_of, rows)])
    return [*lines, *table(["split", "method", "same wells", "new wells"], cells)] if cells else []


def weeks(records: list[Any]) -> list[str]:
    """Return BEN on BBBC021 weeks by the level and the rows of its statistics."""
    boards = boards_of(records, "bbbc021-ljosa2013/weeks")
    rows = []
    for level in ("meta_plate", "meta_week"):
        cells = [level_name(level)]
        for which in ("treated", "all", "controls"):
            params: dict[str, Any] = {"level": level}
            if which != "all":
                params["rows"] = which
            row = row_of(boards, "ben", params)
            cells.append("–" if row is None else f"{score_of(row)} ({difference_of(row)})")
        rows.append(cells)
    return [
        "## BEN on confounded batches: BBBC021 weeks",
        "",
        "Each compound occurs in one week, and many plates have a single mechanism. The statistics "
        f"of a batch then contain biology. `erm` scores {score_of(row_of(boards, 'erm'))}. BEN, by the "
        "level and the rows of its statistics (difference to `erm` in brackets):",
        "",
        *table(["batch", "treated rows", "all rows", "DMSO rows"], rows),
    ]


def retrieval(records: list[Any]) -> list[str]:
    """Return the retrieval of mechanisms on BBBC021, with the nearest published number."""
    split = "bbbc021-profiles/profile"
    rows = []
    for method in RETRIEVAL:
        chain = method if method == "identity" else f"identity+{method}"
        runs = [r for r in records if (r.method_id, r.split_id) == (chain, split)]
        for shrinkage in ("", "none"):
            same = [
                r
                for r in runs
                if str(r["params"].get(method, {}).get("shrinkage", "")) == shrinkage
            ]
            if same:
                values = [
                    f"{np.mean([r['metrics'][m]['all'] for r in same]):.3f}"
                    for m in ("nscb", "nsc")
                ]
                label = f"`{method}`" + (f" (`shrinkage={shrinkage}`)" if shrinkage else "")
                rows.append([label, same[0]["track"], *values])
    judged = [result for result in judge(published(), records) if "caicedo" in result.claim.name]
    return [
        "## BBBC021: retrieval of mechanisms",
        "",
        "1-nearest neighbour by cosine among treatment profiles (mean over wells) of the CellProfiler "
        "features of Ljosa et al. 2013. The same compound is excluded (NSC, 103 treatments), and the "
        "same week too (NSCB, 92). No training set: every correction is fitted on the scored rows. "
        "Each compound occurs in one week, so NSC rewards profiles that separate the weeks.",
        "",
        f"`python -m bench run --method {','.join(RETRIEVAL)} --split {split} --seeds 3`",
        "",
        *table(["correction", "track", "NSCB", "NSC"], rows),
        *(f"- {result.reading}" for result in judged),
        "",
    ]
