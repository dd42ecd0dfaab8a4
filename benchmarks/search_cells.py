"""Cells of the search benchmark: selectivity x correlation of the filter with the query x form of the filter.

A cell has a few filters and many queries for each, as traffic has: clauses come again, queries do not. Queries are held-out
texts, and as many of them moved towards another topic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.peers.protocol import Cell, Clause, Filter
from benchmarks.search_data import MILLION, REGIONS, SEED, TOPICS, Base, Floats, Ints, derived

SELECTIVITIES = (0.1, 0.01, 0.001, 0.0001)
INDEPENDENT, CORRELATED, ANTI = "independent", "correlated", "anti-correlated"
ONE_FIELD, CONJUNCTION = "one field", "conjunction"
FILTERS = 20
"""Filters of a cell."""
COARSE = 100
"""Regions among which the farthest from a query is looked for."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a conjunction comes to its selectivity: topics and regions that pass, and the share of each range."""

    topics: int
    regions: int
    place: float
    ranges: tuple[float, ...]

    @property
    def selectivity(self) -> float:
        """Share of rows that pass."""
        return float(self.topics / TOPICS * self.regions / REGIONS * self.place * np.prod(self.ranges))


INDEPENDENT_SHARES: dict[float, Shares] = {
    0.1: Shares(6, 10, 1.0, (1 / 3,)),
    0.01: Shares(3, 5, 1.0, (0.3651, 0.3651)),
    0.001: Shares(1, 2, 1.0, (0.3162, 0.3162)),
    0.0001: Shares(1, 1, 1.0, (0.1414, 0.1414)),
}
REGIONAL_SHARES: dict[float, Shares] = {
    0.1: Shares(6, REGIONS, 0.3, (0.5556,)),
    0.01: Shares(3, 10, 0.1, (0.6667,)),
    0.001: Shares(2, 5, 0.05, (0.4,)),
    0.0001: Shares(1, 5, 0.02, (0.5, 0.4)),
}
"""With a region of meaning among the fields."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the filters of a cell have in common."""

    selectivity: float
    correlation: str
    form: str

    @property
    def name(self) -> str:
        """Name of the cell."""
        return f"{100 * self.selectivity:g}% {self.correlation}, {self.form}"


@dataclass(frozen=True, slots=True)
class World:
    """What cells are made of: queries, the place of each in the order of meaning (0-1), the middles of regions."""

    queries: Floats
    places: npt.NDArray[np.float64]
    middles: Floats

    def far_from(self, query: int, share: float) -> float:
        """Place of the middle of the region of a size that is farthest from a query."""
        wide = max(1, round(share * COARSE))
        sums = np.cumsum(np.concatenate([[0.0], self.middles @ self.queries[query]]))
        return float(np.argmin(sums[wide:] - sums[:-wide]) + wide / 2) / COARSE


def world_of(real: Base, rng: np.random.Generator) -> World:
    """Queries: the held-out texts, and as many of them moved."""
    count = len(real.held_out)
    moved = derived(real.held_out, np.arange(count), rng, keeps=np.zeros(count, dtype=bool))
    parts = np.array_split(real.held_out, max(1, count // 250))
    nearest = np.concatenate([np.argmax(part @ real.vectors.T, axis=1) for part in parts])
    places = real.places[nearest] / len(real.vectors)
    middles = [real.vectors[rows].mean(axis=0) for rows in np.array_split(real.order, COARSE)]
    return World(np.concatenate([real.held_out, moved]), np.concatenate([places, places]), np.stack(middles))


def make_cells(real: Base, per_cell: int) -> tuple[Floats, list[Cell]]:
    """Queries and all cells."""
    rng = np.random.default_rng(SEED)
    world = world_of(real, rng)
    any_queries = tuple(rng.permutation(len(world.queries))[:per_cell].tolist())
    cells = [Cell("100%", 1.0, "none", "none", ((),), (0,) * len(any_queries), any_queries)]
    kinds = [
        Kind(selectivity, correlation, form)
        for selectivity in SELECTIVITIES
        for correlation in (INDEPENDENT, CORRELATED, ANTI)
        for form in (ONE_FIELD, CONJUNCTION)
    ]
    return world.queries, [*cells, *(_cell(world, kind, per_cell, rng) for kind in kinds)]


def _cell(world: World, kind: Kind, per_cell: int, rng: np.random.Generator) -> Cell:
    """Filters of a kind, each made for one query and asked with those nearest to it, or with any where independent."""
    filters: list[Filter] = []
    asked: list[tuple[int, int]] = []
    for number, seed in enumerate(rng.choice(len(world.places), FILTERS, replace=False).tolist()):
        filters.append(_filter(world, kind, seed, is_range=bool(number % 2), rng=rng))
        asked += [(number, query) for query in _group(world, kind, seed, per_cell // FILTERS, rng)]
    order = rng.permutation(len(asked))
    return Cell(
        kind.name,
        kind.selectivity,
        kind.correlation,
        kind.form,
        tuple(filters),
        tuple(asked[at][0] for at in order),
        tuple(asked[at][1] for at in order),
    )


def _group(world: World, kind: Kind, seed: int, count: int, rng: np.random.Generator) -> list[int]:
    if kind.correlation == INDEPENDENT:
        return list(rng.choice(len(world.queries), count, replace=False).tolist())
    return list(np.argsort(-(world.queries @ world.queries[seed]), kind="stable")[:count].tolist())


def _filter(world: World, kind: Kind, seed: int, *, is_range: bool, rng: np.random.Generator) -> Filter:
    """Clauses of one filter."""
    key = "pick" if kind.correlation == INDEPENDENT else "place"
    if kind.form == ONE_FIELD:
        at = _middle(world, kind, seed, kind.selectivity, rng)
        return (range_of(key, at, kind.selectivity),) if is_range else (bucket_of(key, at, kind.selectivity),)
    shares = (INDEPENDENT_SHARES if key == "pick" else REGIONAL_SHARES)[kind.selectivity]
    clauses = [_some("topic", shares.topics, TOPICS, rng), _some("region", shares.regions, REGIONS, rng)]
    if shares.place < 1.0:
        clauses.append(range_of("place", _middle(world, kind, seed, shares.place, rng), shares.place))
    clauses += [
        range_of(column, float(rng.random()), share)
        for column, share in zip(("size", "age"), shares.ranges, strict=False)
    ]
    return tuple(clause for clause in clauses if len(clause.values) < REGIONS)


def _middle(world: World, kind: Kind, seed: int, share: float, rng: np.random.Generator) -> float:
    """Where a filter is, 0-1: anywhere, around its query, or as far from it as can be."""
    match kind.correlation:
        case "independent":
            return float(rng.random())
        case "correlated":
            return float(world.places[seed])
        case _:
            return world.far_from(seed, share)


def range_of(column: str, middle: float, share: float) -> Clause:
    """A range of a column in millionths, moved inside where it would reach over an end."""
    width = max(1, round(share * MILLION))
    least = min(max(0, round(middle * MILLION) - width // 2), MILLION - width)
    return Clause(column, least=least, most=least + width - 1)


def bucket_of(key: str, middle: float, share: float) -> Clause:
    """The bucket of a column that a place falls into."""
    parts = round(1 / share)
    return Clause(f"{key}_{parts}", values=(min(parts - 1, int(middle * parts)),))


def _some(column: str, count: int, known: int, rng: np.random.Generator) -> Clause:
    return Clause(column, values=tuple(f"{column}{value}" for value in sorted(rng.choice(known, count, replace=False))))


def rows_of(clauses: Filter, columns: dict[str, npt.NDArray[np.generic]]) -> Ints | None:
    """Rows that pass a filter, None for all."""
    if not clauses:
        return None
    mask = np.logical_and.reduce([clause.passes(columns[clause.column]) for clause in clauses])
    return np.flatnonzero(mask)
