"""Recovery of annotated relationships: against published code, naive loops and invariances."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import fisher_exact

from bench.api import BenchError, NotApplicable
from bench.cli.main import main
from bench.data.relationships import pairs_of_sets, read_relationships
from bench.scoring.profiles.relationships import (
    Annotation,
    across,
    among,
    annotated_pairs,
    cosines,
    entity_profiles,
    limits,
    recoveries,
)
from tests.helpers import tiny
from tests.helpers.errors import raises
from tests.scoring.test_profiles import screen, table

if TYPE_CHECKING:
    from pathlib import Path


def map_of_genes(g: int = 250, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return profiles of genes in complexes of five, and annotated pairs, some of them wrong."""
    rng = np.random.default_rng(7)
    latent = rng.normal(size=(50, d))
    X = latent[np.arange(g) % 50] * 0.6 + rng.normal(size=(g, d))
    pairs = {
        (i, j) for i, j in combinations(range(g), 2) if i % 50 == j % 50 and rng.random() < 0.5
    }
    wrong = rng.choice(g, (60, 2), replace=True).tolist()
    pairs |= {(min(p), max(p)) for p in wrong if p[0] != p[1]}
    return X, np.array(sorted(pairs))


def test_equals_the_published_code_on_the_same_map() -> None:
    """Numbers of EFAAR_benchmarking 2248f40 and MorphoHELM d79d2cf on this map."""
    X, pairs = map_of_genes()
    [result] = recoveries(cosines(X), [Annotation("complexes", pairs)])
    assert (result.n_pairs, result.n_entities, len(result.odds)) == (336, 250, 247)
    assert result.recall[0.05] == pytest.approx(0.16369, abs=5e-6)
    assert result.recall[0.1] == pytest.approx(0.291667, abs=5e-7)
    assert result.mean_odds == pytest.approx(18.143552890963157, rel=1e-12)
    assert result.enriched == pytest.approx(0.05263157894736842, rel=1e-12)


def test_recall_against_a_loop() -> None:
    X, pairs = map_of_genes(g=40)
    [result] = recoveries(cosines(X), [Annotation("complexes", pairs)])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    every = [unit[i] @ unit[j] for i, j in combinations(range(40), 2)]
    for tail in (0.05, 0.1):
        low = high = 0
        for i, j in pairs:
            value = unit[i] @ unit[j]
            low += sum(v <= value for v in every) / len(every) <= tail
            high += sum(v < value for v in every) / len(every) >= 1 - tail
        assert result.low[tail] == pytest.approx(low / len(pairs))
        assert result.high[tail] == pytest.approx(high / len(pairs))
        assert result.recall[tail] == pytest.approx((low + high) / len(pairs))
        bottom, top = result.interval(tail)
        assert bottom < result.recall[tail] < top
        assert result.interval(tail, result) == (0, 0)


def test_ties_are_not_recalled() -> None:
    every = np.array([0.0] * 10 + [1.0] * 80 + [2.0] * 10)
    assert limits(every, 0.1) == (1.0, 1.0)
    assert limits(np.ones(100), 0.1) == (1.0, 1.0)


def test_enrichment_against_a_loop() -> None:
    X, pairs = map_of_genes()
    [result] = recoveries(cosines(X), [Annotation("complexes", pairs)])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    related = {frozenset(pair) for pair in pairs.tolist()}
    for place in range(0, len(result.odds), 10):
        gene = result.entities[place]
        others = sorted(set(range(250)) - {gene}, key=lambda j: -(unit[gene] @ unit[j]))
        hits = np.array([frozenset((gene, j)) in related for j in others])
        near, rest = hits[:2], hits[2:]
        counts = np.array([[near.sum(), 2 - near.sum()], [rest.sum(), len(rest) - rest.sum()]])
        p = fisher_exact(counts, alternative="greater").pvalue
        assert result.p_entity[place] == pytest.approx(p)
        if (counts == 0).any():
            counts = counts + 0.5
        expected = counts[0, 0] * counts[1, 1] / (counts[0, 1] * counts[1, 0])
        assert result.odds[place] == pytest.approx(expected)


def test_without_relationships_names_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    p = []
    for _ in range(8):
        pairs = np.sort(rng.permutation(60)[:40].reshape(20, 2), axis=1)
        [result] = recoveries(cosines(X), [Annotation("random", pairs)])
        assert 0.08 < result.expected[0.05] < 0.12
        p.append(result.p[0.05])
    assert 0.2 < np.mean(p) < 0.9


def test_order_of_entities_and_scale_do_not_matter() -> None:
    X, pairs = map_of_genes(g=60)
    [result] = recoveries(cosines(X), [Annotation("a", pairs)])
    order = np.random.default_rng(1).permutation(60)
    place = np.argsort(order)
    [moved] = recoveries(cosines(7 * X[order]), [Annotation("a", place[pairs])])
    assert moved.recall == result.recall
    assert moved.mean_odds == pytest.approx(result.mean_odds)


def test_pairs_and_sets_of_a_file(tmp_path: Path) -> None:
    names = ["A", "B", "C", "D"]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("entity1,entity2\nA,B\nB,A\nA,A\nC,D\nA,X\n")
    assert read_relationships(pairs, names) == [("A", "B"), ("C", "D")]
    sets = tmp_path / "sets.tsv"
    sets.write_text("set\tentity\ns1\tA\ns1\tB\ns1\tX\ns2\tC\ns2\tB\ns2\tA\n")
    expected = [("A", "B"), ("A", "C"), ("B", "C")]
    assert read_relationships(sets, names) == expected
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("s1\tsource\tA\tB\tX\n\ns2\tsource\tC\tB\tA\n")
    assert read_relationships(gmt, names) == expected
    assert pairs_of_sets([["D"], ["D", "D"]], names) == []


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("none.csv", None, "none.csv"),
        ("none.gmt", None, "none.gmt"),
        ("other.csv", "a,b\n1,2\n", "entity1"),
        ("unknown.csv", "entity1,entity2\nX,Y\n", "entity"),
        ("bytes.gmt", b"\xff\xfe\x00", "bytes.gmt"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, file: str, text: str | bytes | None, word: str
) -> None:
    path = tmp_path / file
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with raises(BenchError, word):
        read_relationships(path, ["A", "B"])


def test_compounds_of_one_label_are_related_by_default() -> None:
    opened = screen(treatments=12)
    names, [annotated] = annotated_pairs(opened)
    assert names.tolist() == sorted(f"t{k}" for k in range(12))
    assert {tuple(names[pair]) for pair in annotated.pairs} == {
        tuple(sorted((f"t{k}", f"t{k + 1}"))) for k in range(0, 12, 2)
    }
    means = entity_profiles(opened, table(opened), names)
    own = (opened.index["treatment"] == "t3").to_numpy()
    assert means[names == "t3"][0] == pytest.approx(table(opened)[own].mean(axis=0), rel=1e-5)
    with pytest.raises(NotApplicable):
        annotated_pairs(screen(treatments=4))


@pytest.mark.parametrize("level", ["plate", "week"])
def test_similarities_across_batches_against_a_loop(level: str) -> None:
    opened = screen(plates=4, treatments=12)
    index = opened.index
    lone = (index["treatment"] == "t3") & (index["plate"] != "p0")
    index.loc[lone, "control"] = True  # t3 is in one batch only
    names, annotated = annotated_pairs(opened)
    kept, similarity = across(opened, table(opened), names, level)
    assert kept.tolist() == sorted(f"t{k}" for k in range(12) if k != 3)
    means = {}
    for key, rows in index[~index["control"]].groupby(["treatment", level]):
        mean = table(opened)[rows.index].astype(float).mean(axis=0)
        means[key] = mean / np.linalg.norm(mean)
    for i, a in enumerate(kept):
        for j, b in enumerate(kept):
            values = [
                means[first] @ means[other]
                for first in means
                for other in means
                if first[0] == a and other[0] == b and first[1] != other[1]
            ]
            assert similarity[i, j] == pytest.approx(np.mean(values), abs=1e-6)
    [pairs] = among(annotated, names, kept)
    related = {tuple(kept[pair]) for pair in pairs.pairs}
    assert related == {tuple(sorted((f"t{k}", f"t{k + 1}"))) for k in range(0, 12, 2) if k != 2}


def test_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    (tmp_path / "complexes.csv").write_text("entity1,entity2\nA00,A01\nA05,A06\nA00,A10\n")
    keys = 'entity = "position"\nrelationships = ["complexes.csv"]\n'
    toml = tiny.write_table(tmp_path, keys=keys)
    with pytest.raises(SystemExit) as stop:
        main(["study", "relationships", "-s", str(toml), "-m", "center", "--json"])
    assert not stop.value.code
    out = json.loads(capsys.readouterr().out)
    assert [(row["excluded"], row["method"]) for row in out["rows"]] == [
        (excluded, method)
        for excluded in ("none", "plate", "week")
        for method in ("identity", "center")
    ]
    assert {row["source"] for row in out["rows"]} == {"complexes"}
    assert {row["n_pairs"] for row in out["rows"]} == {3}
    (tmp_path / "complexes.csv").unlink()
    with pytest.raises(SystemExit) as stop:
        main(["study", "relationships", "-s", str(toml), "-m", "center"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
