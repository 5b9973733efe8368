r"""Recovery of annotated relationships by the similarity of entities.

Entities (genes, compounds) have one profile each, the mean of their rows. Two definitions:

*Recall* (Celik et al. 2024, doi:10.1371/journal.pcbi.1012463, as in EFAAR_benchmarking): the share
of related pairs with a cosine similarity in the lowest :math:`t` or the highest :math:`1 - t` of
all pairs of entities. A random map has a recall of about :math:`2t`.

*Enrichment* (MorphoHELM, arXiv:2605.15383): an entity ranks all others; relations among the nearest
1 % are compared with those among the rest by the odds ratio, with 1/2 added to all four counts if
one of them is 0. P values are exact (hypergeometric). Only entities with a relation count.

Both are computed on the mean profiles (restriction ``none``), and for each batch level without
comparisons within a batch: there, the similarity of two entities is the mean cosine between their
profiles in different batches, :math:`s_{ij} = \mathrm{mean}_{a \ne b} \cos(x_i^a, x_j^b)`, over
entities in two or more batches. (MorphoHELM takes the largest instead of the mean.)

The null distribution of the recall exchanges the names of all entities, which keeps how many
relations each has. Intervals are percentiles of a bootstrap over entities: a pair is drawn as often
as the product of its two entities. The limits of the tails are fixed, and draws are the same for
all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import NotApplicable
from bench.core.seeds import generator
from bench.data.relationships import codes_of, pairs_of_sets, read_relationships
from bench.data.views import column_of
from bench.metrics._core import codes, unit_rows
from bench.scoring.profiles.activity import treatments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.types import Array, Bools, Floats, Ints, Strings

TAILS = (0.05, 0.1)
"""Shares of all pairs in each tail."""
NEAREST = 0.01
"""Share of the other entities that are the nearest ones, for the enrichment."""
SIGNIFICANT = 0.05
"""Largest p value of an enriched entity."""
DRAWS = 1000
"""Bootstrap draws, and permutations of the null distribution."""
FEWEST = 10
"""Fewest entities of a map."""
BLOCK = 4_000_000
"""Numbers of a block of draws x pairs."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Related pairs of one source.

    Attributes
    ----------
    source
        Name of the file without its ending, or of the column that entities share.
    pairs
        ``(k, 2)`` positions of the entities, each pair once.
    """

    source: str
    pairs: Ints


@dataclass(frozen=True, eq=False)
class Recovery:
    """Recovery of the relationships of one source.

    Attributes
    ----------
    source, restriction, n_entities, n_pairs
        The source, the batch level within which nothing is compared (or ``none``), entities of the
        map and related pairs.
    recall
        Tail -> recall.
    low, high
        Tail -> share of related pairs in the lower and in the upper tail.
    expected, p
        Tail -> mean recall of exchanged names, and the p value.
    odds
        ``(e,)`` odds ratio of each entity with a relation.
    p_entity
        ``(e,)`` p value of each entity.
    entities
        ``(e,)`` positions of these entities.
    drawn
        Tail -> ``(DRAWS,)`` recall of each bootstrap draw; ``odds``: geometric mean odds ratio.
    """

    source: str
    restriction: str
    n_entities: int
    n_pairs: int
    recall: dict[float, float]
    low: dict[float, float]
    high: dict[float, float]
    expected: dict[float, float]
    p: dict[float, float]
    odds: Array
    p_entity: Array
    entities: Ints
    drawn: dict[float | str, Array] = field(repr=False)

    @property
    def mean_odds(self) -> float:
        """Geometric mean of the odds ratios; NaN without an entity."""
        return float(np.exp(np.log(self.odds).mean())) if len(self.odds) else float("nan")

    @property
    def enriched(self) -> float:
        """Share of entities with p < :data:`SIGNIFICANT`."""
        return float((self.p_entity < SIGNIFICANT).mean()) if len(self.odds) else float("nan")

    def interval(self, key: float | str, other: Recovery | None = None) -> tuple[float, float]:
        """Return 95 % limits of a value, or of its difference to another method's."""
        values = self.drawn[key]
        if other is not None:
            values = values - other.drawn[key]
        low, high = np.nanpercentile(values, [2.5, 97.5])
        return float(low), float(high)


def annotated_pairs(opened: Opened) -> tuple[Strings, list[Annotation]]:
    """Return the entities and the related pairs of each source.

    Sources are the files of the key ``relationships``. Without that key, entities are compounds or
    treatments, and those that share a label are related.

    Raises
    ------
    NotApplicable
        If there are too few entities, or no key and no label that entities share.
    BenchError
        If a file cannot be used.
    """
    rows = ~opened.index["control"].to_numpy(bool)
    column = _entity(opened)
    names = np.unique(column[rows & (column != "")])
    if len(names) < FEWEST:
        raise NotApplicable(f"relationships need {FEWEST} entities, not {len(names)}")
    listed = names.tolist()
    if opened.relationships:
        return names, [
            Annotation(path.stem, codes_of(read_relationships(path, listed), listed))
            for path in opened.relationships
        ]
    sets = [
        np.unique(column[rows & (column_of(opened, "label") == label)])
        for label in np.unique(column_of(opened, "label")[rows])
    ]
    pairs = pairs_of_sets((members.tolist() for members in sets), listed)
    if not pairs:
        raise NotApplicable(
            "no two entities share a label: name a file of pairs or sets in the key relationships"
        )
    return names, [Annotation("same label", codes_of(pairs, listed))]


def _entity(opened: Opened) -> Strings:
    for role in ("entity", "compound"):
        if role in opened.columns:
            return column_of(opened, opened.columns[role])
    return treatments(opened)


def entity_profiles(opened: Opened, X: Floats, names: Strings) -> Array:
    """Return the mean profile of each entity, ``(g, d)`` float64; negative controls are left out.

    Parameters
    ----------
    opened, X
        The data set and the ``(n, d)`` profiles of all rows.
    names
        ``(g,)`` sorted entities.
    """
    column = _entity(opened)
    rows = np.flatnonzero(~opened.index["control"].to_numpy(bool) & np.isin(column, names))
    place = np.searchsorted(names, column[rows])
    sums = np.zeros((len(names), X.shape[1]))
    np.add.at(sums, place, X[rows].astype(np.float64))
    means: Array = sums / np.bincount(place, minlength=len(names))[:, None]
    return means


def cosines(means: Array) -> Array:
    """Return the cosine similarities of profiles ``(g, d)``, ``(g, g)``."""
    unit = unit_rows(means)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def across(opened: Opened, X: Floats, names: Strings, level: str) -> tuple[Strings, Array]:
    """Return the entities in two or more batches, and their similarities across batches.

    Parameters
    ----------
    opened, X
        The data set and the ``(n, d)`` profiles of all rows.
    names
        ``(g,)`` sorted entities.
    level
        Batch level, a column of the index.

    Returns
    -------
    tuple
        ``(e,)`` entities, and ``(e, e)`` mean cosines between profiles in different batches.
    """
    column = _entity(opened)
    rows = np.flatnonzero(~opened.index["control"].to_numpy(bool) & np.isin(column, names))
    entity = np.searchsorted(names, column[rows])
    batch = codes(column_of(opened, level)[rows])[0]
    keys, place = np.unique(np.stack([batch, entity]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    sums = np.zeros((keys.shape[1], X.shape[1]))
    np.add.at(sums, place, X[rows].astype(np.float64))
    unit = unit_rows(sums)
    g, n_batches = len(names), int(batch.max()) + 1
    present = np.zeros((n_batches, g))
    present[keys[0], keys[1]] = 1.0
    total = np.zeros((g, X.shape[1]))
    np.add.at(total, keys[1], unit)
    similarity = total @ total.T
    for k in range(n_batches):
        own = keys[0] == k
        similarity[np.ix_(keys[1][own], keys[1][own])] -= unit[own] @ unit[own].T
    several = np.flatnonzero(present.sum(axis=0) > 1)
    counts = np.outer(present.sum(axis=0), present.sum(axis=0)) - present.T @ present
    kept = np.ix_(several, several)
    return names[several], similarity[kept] / counts[kept]


def recoveries(
    similarity: Array, annotated: Sequence[Annotation], *address: str, restriction: str = "none"
) -> list[Recovery]:
    """Score the relationships of each source on one map.

    Parameters
    ----------
    similarity
        ``(g, g)`` similarities of the entities, symmetric.
    annotated
        Related pairs of each source.
    address
        Seeds the draws; the same for all methods.
    restriction
        For the result.
    """
    g = len(similarity)
    every = similarity[np.triu_indices(g, k=1)]
    tails = {tail: limits(every, tail) for tail in TAILS}
    del every
    draws = generator("relationships", *address).multinomial(g, np.full(g, 1 / g), DRAWS)
    rng = generator("names", *address)
    names = [rng.permutation(g) for _ in range(DRAWS)]
    similarity = similarity.copy()
    np.fill_diagonal(similarity, -np.inf)
    nearest = max(1, int((g - 1) * NEAREST))
    near = np.argpartition(similarity, g - nearest, axis=1)[:, g - nearest :]
    return [_recovery(own, restriction, similarity, near, tails, draws, names) for own in annotated]


def among(annotated: Sequence[Annotation], names: Strings, kept: Strings) -> list[Annotation]:
    """Return the annotations with the pairs of the kept entities only, in their positions."""
    place = np.full(len(names), -1, np.int64)
    place[np.searchsorted(names, kept)] = np.arange(len(kept))
    return [
        Annotation(own.source, pairs[(pairs >= 0).all(axis=1)])
        for own in annotated
        for pairs in [place[own.pairs]]
    ]


def limits(every: Array, tail: float) -> tuple[float, float]:
    """Return the limits of both tails: pairs below the first or above the second are recalled.

    A value is recalled if at most a share ``tail`` of all pairs is as low or lower, or at least a
    share ``1 - tail`` is lower.

    Parameters
    ----------
    every
        ``(m,)`` similarities of all pairs.
    tail
        Share of the pairs in each tail.
    """
    n = len(every)
    # Ranks are compared after division, as in EFAAR_benchmarking.
    lowest, highest = int(tail * n) + 1, int((1 - tail) * n) - 1
    while lowest / n > tail:
        lowest -= 1
    while highest / n < 1 - tail:
        highest += 1
    placed = np.partition(every, [lowest, highest - 1])
    return float(placed[lowest]), float(placed[highest - 1])


def _recovery(
    own: Annotation,
    restriction: str,
    similarity: Array,
    near: Ints,
    tails: dict[float, tuple[float, float]],
    draws: Ints,
    names: list[Ints],
) -> Recovery:
    a, b = own.pairs.T
    values = similarity[a, b]
    recall, low, high, expected, p = {}, {}, {}, {}, {}
    drawn: dict[float | str, Array] = {}
    for tail, (below, above) in tails.items():
        inside: Bools = (similarity < below) | (similarity > above)
        hit = inside[a, b]
        recall[tail] = float(hit.mean())
        low[tail], high[tail] = float((values < below).mean()), float((values > above).mean())
        null = np.array([inside[name[a], name[b]].mean() for name in names])
        expected[tail] = float(null.mean())
        p[tail] = float((1 + (null >= recall[tail] - 1e-12).sum()) / (1 + len(null)))
        drawn[tail] = _weighted(draws, a, b, hit)
    entities, odds, p_entity = enrichment(near, own.pairs)
    weights = draws[:, entities]
    totals = weights.sum(axis=1)
    drawn["odds"] = np.exp(weights @ np.log(odds) / np.where(totals > 0, totals, np.nan))
    return Recovery(
        own.source,
        restriction,
        len(similarity),
        len(own.pairs),
        recall,
        low,
        high,
        expected,
        p,
        odds,
        p_entity,
        entities,
        drawn,
    )


def _weighted(draws: Ints, a: Ints, b: Ints, hit: Bools) -> Array:
    """Return the recall of each draw; NaN if no related pair is drawn."""
    result = np.full(len(draws), np.nan)
    size = max(1, BLOCK // len(a))
    for start in range(0, len(draws), size):
        part = draws[start : start + size]
        weight = part[:, a] * part[:, b]
        total = weight.sum(axis=1)
        result[start : start + size] = (weight @ hit) / np.where(total > 0, total, np.nan)
    return result


def enrichment(near: Ints, pairs: Ints) -> tuple[Ints, Array, Array]:
    """Return the entities with a relation, and their odds ratios and p values.

    Parameters
    ----------
    near
        ``(g, c)`` the nearest others of each entity, in any order.
    pairs
        ``(k, 2)`` related pairs.
    """
    from scipy.stats import hypergeom

    g, nearest = near.shape
    related = np.zeros((g, g), bool)
    related[pairs[:, 0], pairs[:, 1]] = related[pairs[:, 1], pairs[:, 0]] = True
    total = related.sum(axis=1)
    entities = np.flatnonzero(total)
    total = total[entities]
    hits = related[entities[:, None], near[entities]].sum(axis=1)
    rest = g - 1 - nearest
    table = [hits, nearest - hits, total - hits, rest - (total - hits)]
    counts = np.stack(table).astype(np.float64)
    counts += 0.5 * (counts == 0).any(axis=0)
    odds = counts[0] * counts[3] / (counts[1] * counts[2])
    return entities, odds, hypergeom.sf(hits - 1, g - 1, total, nearest)
