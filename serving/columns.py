"""Numbers of every row that ranking and facets read, as numpy arrays in gid order: about 60 bytes a row.

Static components are computed here once per snapshot; those that depend on the request are in `rank.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.contracts.taxonomy import NICHES, PLATFORMS, RISKS, TIER_EDGES
from serving.arrays import open_arrays, save_arrays
from serving.cache import Cache
from serving.catalog import FACET_SQL, IS_CREATOR, Catalog, Ids, Mask
from serving.predicates import GID
from serving.static import ORDERS_BYTES, ORDERS_CACHED, ORDERS_LEAST, NicheMembers, StaticOrder

Floats = npt.NDArray[np.float32]

NICHES_READ = 5
"""Niches of a creator that count, best first; more are never stored as strong ones."""

RECENCY_HALF_LIFE_DAYS = 90.0
"""A quarter without a post halves the worth of activity."""

LARGEST_AUDIENCE = 1e9
"""Followers that count as size 1: more than any account has."""

PROMINENCE_OF_ALL_UNKNOWN = 0.5
"""Prominence where a snapshot knows nobody's followers: names then count as half a perfect similarity."""

US_PER_DAY = 86_400_000_000

PLATFORM_LABELS = {"instagram": "Instagram", "tiktok": "TikTok", "youtube": "YouTube", "x": "X"}
NICHE_LABELS = {niche.code: niche.label for niche in NICHES}
RISK_LABELS = {risk.code: risk.label for risk in RISKS}
LABELS: dict[str, Mapping[str, str]] = {"platform": PLATFORM_LABELS, "niche": NICHE_LABELS, "risk": RISK_LABELS}

FACETS_SHOWN = ("platform", "niche", "country", "tier")
FACET_VALUES_SHOWN = 60
"""All niches and platforms; of the countries the most frequent."""


def _short(count: int) -> str:
    return f"{count // 1_000_000}M" if count >= 1_000_000 else f"{count // 1_000}K"


def _tier_codes() -> tuple[tuple[str, str], ...]:
    names = [_short(edge) for edge in TIER_EDGES]
    middle = [(f"{low}_{high}".lower(), f"{low}-{high}") for low, high in pairwise(names)]
    return (
        (f"lt_{names[0]}".lower(), f"under {names[0]}"),
        *middle,
        (f"ge_{names[-1]}".lower(), f"{names[-1]} and more"),
    )


TIERS = _tier_codes()
"""Code and label of each size tier, by followers of the largest profile."""

UNKNOWN_TIER = len(TIERS)


CODES = "codes.json"
STORED = (
    "creator_rank",
    "by_creator",
    "prominence",
    "followers",
    "engagement",
    "quality",
    "recency",
    "niche_ordinals",
    "niche_scores",
    "tiers",
)
"""Columns that are arrays of their own name."""


@dataclass(frozen=True, slots=True)
class FacetPairs:
    """Occurrences of codes: row and ordinal of the code."""

    gids: Ids
    ordinals: Ids
    codes: tuple[str, ...]

    def counts(self, mask: Mask | None) -> dict[str, int]:
        """Rows of `mask` per code, most frequent first; all rows for None."""
        chosen = self.ordinals if mask is None else self.ordinals[mask[self.gids]]
        counts = np.bincount(chosen, minlength=len(self.codes))
        order = sorted(range(len(self.codes)), key=lambda i: (-counts[i], self.codes[i]))
        return {self.codes[i]: int(counts[i]) for i in order if counts[i]}


@dataclass(frozen=True, slots=True)
class Columns:
    """Ranking columns of all rows. A value that is not known is nan; a column that the snapshot lacks is None.

    `by_creator` are the rows in creator_id order, without removed ones; `creator_rank` the place of each row among them.
    """

    creator_rank: npt.NDArray[np.int32]
    by_creator: npt.NDArray[np.int32]
    prominence: Floats
    followers: npt.NDArray[np.float64] | None
    engagement: Floats | None
    quality: Floats | None
    recency: Floats | None
    niche_ordinals: npt.NDArray[np.int16] | None
    niche_scores: Floats | None
    niche_codes: tuple[str, ...]
    tiers: npt.NDArray[np.uint8] | None
    facets: dict[str, FacetPairs]
    orders: Cache[StaticOrder] = field(
        default_factory=lambda: Cache(
            ORDERS_CACHED, max_bytes=ORDERS_BYTES, bytes_of=lambda order: order.nbytes, least=ORDERS_LEAST
        )
    )

    @property
    def rows(self) -> int:
        """Rows of the snapshot."""
        return len(self.creator_rank)

    def niche_members(self, code: str) -> NicheMembers:
        """Rows that have a niche, ascending; none where the snapshot has no niches."""
        if self.niche_ordinals is None or self.niche_scores is None or code not in self.niche_codes:
            return NicheMembers(np.empty(0, np.int64), np.empty(0, np.float32))
        gids, places = np.nonzero((self.niche_ordinals == self.niche_codes.index(code)) & (self.niche_scores > 0))
        return NicheMembers(gids, self.niche_scores[gids, places])

    @classmethod
    def load(cls, catalog: Catalog, *, as_of: datetime) -> Columns:
        """Read them from the catalog; `as_of` is the clock of recency."""
        followers = _numbers(catalog, "followers_max_count")
        ordinals, scores, codes = _niches(catalog)
        rank, by_creator = _creator_order(catalog)
        return cls(
            creator_rank=rank,
            by_creator=by_creator,
            prominence=prominence_of(np.full(catalog.rows, np.nan) if followers is None else followers),
            followers=followers,
            engagement=_engagement(catalog, followers),
            quality=_share(_numbers(catalog, "quality_score")),
            recency=_recency(catalog, as_of),
            niche_ordinals=ordinals,
            niche_scores=scores,
            niche_codes=codes,
            tiers=None if followers is None else tiers_of(followers),
            facets={facet: _pairs(catalog, facet) for facet in ("platform", "niche", "country")},
        )

    def save(self, folder: Path) -> None:
        """Write the columns into a new folder."""
        pairs = {f"facet_{name}": np.stack([p.gids, p.ordinals]) for name, p in self.facets.items()}
        save_arrays(folder, {name: getattr(self, name) for name in STORED} | pairs)
        codes = {"niche_codes": self.niche_codes, "facets": {name: pairs.codes for name, pairs in self.facets.items()}}
        (folder / CODES).write_text(json.dumps(codes), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Columns:
        """Map what `save` wrote.

        Raises:
            ValueError: it is not that.
        """
        arrays = open_arrays(folder)
        codes = json.loads((folder / CODES).read_text(encoding="utf-8"))
        facets = {
            name: FacetPairs(arrays[f"facet_{name}"][0], arrays[f"facet_{name}"][1], tuple(listed))
            for name, listed in codes["facets"].items()
        }
        stored = {name: arrays.get(name) for name in STORED}
        return cls(**stored, niche_codes=tuple(codes["niche_codes"]), facets=facets)  # type: ignore[arg-type]

    def facet_counts(self, mask: Mask | None) -> dict[str, list[dict[str, Any]]]:
        """Counts of every facet within the rows of `mask`."""
        found = {name: _labelled(name, pairs.counts(mask)) for name, pairs in self.facets.items() if pairs.codes}
        if self.tiers is not None:
            counts = np.bincount(self.tiers if mask is None else self.tiers[mask], minlength=UNKNOWN_TIER + 1)
            found["tier"] = [
                {"code": code, "label": label, "count": int(counts[ordinal])}
                for ordinal, (code, label) in enumerate(TIERS)
                if counts[ordinal]
            ]
        return {name: found.get(name, []) for name in FACETS_SHOWN}


def tiers_of(followers: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Ordinals in `TIERS`; `UNKNOWN_TIER` where the count is not known."""
    tiers = np.searchsorted(np.asarray(TIER_EDGES, dtype=np.float64), followers, side="right")
    return np.where(np.isnan(followers), UNKNOWN_TIER, tiers).astype(np.uint8)


def tier_code(followers: int | None) -> str | None:
    """Code of a creator's size tier."""
    return None if followers is None else TIERS[int(tiers_of(np.asarray([followers], dtype=np.float64))[0])][0]


def platform_order(code: str) -> tuple[int, str]:
    """Key that lists our platforms first, in their usual order."""
    return (PLATFORMS.index(code) if code in PLATFORMS else len(PLATFORMS), code)


def _labelled(facet: str, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    labels = LABELS.get(facet, {})
    shown = list(counts.items())[:FACET_VALUES_SHOWN]
    return [{"code": code, "label": labels.get(code, code), "count": count} for code, count in shown]


def _filled(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    plain = np.ma.asarray(values).astype(np.float64)
    return np.asarray(np.ma.filled(plain, np.nan), dtype=np.float64)


def _numbers(catalog: Catalog, column: str) -> npt.NDArray[np.float64] | None:
    if column not in catalog.docs:
        return None
    return _filled(catalog.arrays(f"SELECT {column}::DOUBLE AS v FROM docs ORDER BY {GID}")["v"])


def _as_float32(values: npt.NDArray[np.float64] | None) -> Floats | None:
    return None if values is None else values.astype(np.float32)


def _share(values: npt.NDArray[np.float64] | None) -> Floats | None:
    """Values as a component takes them, 0-1: anybody's snapshot may have others under that name."""
    return None if values is None else np.clip(values, 0.0, 1.0).astype(np.float32)


def _creator_order(catalog: Catalog) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Position of each row when rows are ordered by creator_id, and the rows in that order; removed rows are in none."""
    query = f"SELECT {GID} FROM docs WHERE {IS_CREATOR} ORDER BY creator_id"
    order = catalog.arrays(query)[GID].astype(np.int32)
    rank = np.full(catalog.rows, len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank, order


def _engagement(catalog: Catalog, followers: npt.NDArray[np.float64] | None) -> Floats | None:
    """Share of rows of the same tier with a lower rate: by followers, and by views where only that is known."""
    tiers = np.zeros(catalog.rows, np.uint8) if followers is None else tiers_of(followers)
    found: npt.NDArray[np.float64] | None = None
    for column in ("er_followers_ratio", "er_views_ratio"):
        rates = _numbers(catalog, column)
        if rates is not None:
            shares = lower_share(rates, tiers)
            found = shares if found is None else np.where(np.isnan(found), shares, found)
    return _as_float32(found)


def audience_size(followers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Size on a log scale, 0-1."""
    return np.clip(np.log10(1.0 + np.maximum(followers, 0.0)) / math.log10(LARGEST_AUDIENCE), 0.0, 1.0)


def prominence_of(followers: npt.NDArray[np.float64]) -> Floats:
    """Size of every audience; where it is not known the median of those that are, or `PROMINENCE_OF_ALL_UNKNOWN`."""
    sizes = audience_size(followers)
    known = sizes[~np.isnan(sizes)]
    middle = float(np.median(known)) if len(known) else PROMINENCE_OF_ALL_UNKNOWN
    return np.where(np.isnan(sizes), middle, sizes).astype(np.float32)


def lower_share(values: npt.NDArray[np.float64], groups: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """For each value the share of the other known values of its group that are lower, nan where it is not known.

    A value alone in its group has share 0.5: nothing to compare with.
    """
    out = np.full(len(values), np.nan)
    for group in np.unique(groups):
        rows = np.flatnonzero((groups == group) & ~np.isnan(values))
        ordered = np.sort(values[rows])
        lower = np.searchsorted(ordered, values[rows], side="left")
        out[rows] = lower / (len(rows) - 1) if len(rows) > 1 else 0.5
    return out


def _recency(catalog: Catalog, as_of: datetime) -> Floats | None:
    if "last_post_at" not in catalog.docs:
        return None
    micros = _filled(catalog.arrays(f"SELECT epoch_us(last_post_at) AS v FROM docs ORDER BY {GID}")["v"])
    days = np.maximum((as_of.timestamp() * 1e6 - micros) / US_PER_DAY, 0.0)
    return np.exp2(-days / RECENCY_HALF_LIFE_DAYS).astype(np.float32)


def _niches(catalog: Catalog) -> tuple[npt.NDArray[np.int16] | None, Floats | None, tuple[str, ...]]:
    """Ordinals and scores of each row's niches, (rows, NICHES_READ), zero score where there are fewer."""
    if "niches" not in catalog.docs:
        return None, None, ()
    codes = tuple(sorted(catalog.facet_codes("niche").keys() | NICHE_LABELS.keys()))
    first = f"niches[1:{NICHES_READ}]"
    found = catalog.arrays(
        f"SELECT {GID}, i, list_position(?, n.code) - 1 AS code, n.score AS score FROM "
        f"(SELECT {GID}, unnest({first}) AS n, unnest(range(len({first}))) AS i FROM docs) WHERE n.code IS NOT NULL",
        [list(codes)],
    )
    ordinals = np.zeros((catalog.rows, NICHES_READ), dtype=np.int16)
    scores = np.zeros((catalog.rows, NICHES_READ), dtype=np.float32)
    place = (found[GID].astype(np.int64), found["i"].astype(np.int64))
    ordinals[place] = np.ma.filled(found["code"], 0)
    scores[place] = np.clip(np.nan_to_num(_filled(found["score"])), 0.0, 1.0)
    return ordinals, scores, codes


def _pairs(catalog: Catalog, facet: str) -> FacetPairs:
    codes = tuple(sorted(catalog.facet_codes(facet)))
    if not codes:
        return FacetPairs(np.empty(0, np.int64), np.empty(0, np.int64), ())
    values = FACET_SQL[facet][1]
    found = catalog.arrays(
        f"SELECT DISTINCT {GID}, list_position(?, code) - 1 AS o FROM (SELECT {GID}, {values} AS code FROM docs) "
        "WHERE code IS NOT NULL",
        [list(codes)],
    )
    return FacetPairs(found[GID].astype(np.int64), found["o"].astype(np.int64), codes)
