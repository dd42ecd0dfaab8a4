"""Filters as bitmaps: each condition is found once, kept as a set of rows, and combined with the others.

Conditions on creators are ANDed over creators; those on profiles over profiles, so that they hold on the same profile,
and then every creator with such a profile passes. Two requests that share a condition share its set. What a filter means
is in `filters.py`. Plain conditions are found in `code_columns.py`, all others by DuckDB; `Catalog.match` finds the same rows in
one query and is the oracle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from index_build.bitmaps import IdArray, WordArray, all_rows, count_rows, pack_ids, pack_mask, unpack_mask
from serving.cache import Cache
from serving.catalog import Catalog
from serving.code_columns import CodeColumns
from serving.filters import FilterSet, Scope
from serving.predicates import Predicate

SETS_CACHED = 4_096
SETS_BYTES = 256 * 1024 * 1024
"""Sets kept, and room for them: 1.25 MB each at 10 million rows, so some 200 of them there."""

Part = tuple[Scope, Predicate]


class Matcher:
    """Finds the rows of filters in one snapshot, and remembers those of their conditions."""

    def __init__(self, catalog: Catalog, columns: CodeColumns, creators: npt.NDArray[np.int32]) -> None:
        """Wrap an opened catalog and its plain columns; `creators` are the rows that were not removed."""
        self._catalog = catalog
        self._all = pack_ids(creators.astype(np.int64), catalog.rows) if catalog.has_removed else all_rows(catalog.rows)
        self._columns = columns
        self._owners = None if catalog.is_own_profile else ProfileOwners(catalog.profile_owners(), catalog.rows)
        self._sets: Cache[WordArray] = Cache(SETS_CACHED, max_bytes=SETS_BYTES, bytes_of=lambda words: words.nbytes)

    def rows(self, filters: FilterSet) -> WordArray:
        """Creators that pass all clauses."""
        return self._all_of([part for clause in filters.clauses for part in clause.parts])

    def clause_counts(self, filters: FilterSet) -> dict[str, int]:
        """How many creators each clause passes on its own."""
        return {clause.label: count_rows(self._all_of(clause.parts)) for clause in filters.clauses}

    def _all_of(self, parts: Iterable[Part]) -> WordArray:
        listed = sorted(parts, key=_key)
        on_profile = tuple(part for part in listed if part[0] == "profile")
        sets = [self._found(part) for part in listed if part[0] == "creator"]
        if on_profile:
            key = ("owners", *map(_key, on_profile))
            sets.append(self._sets.get(key, lambda: self._with_profile(on_profile)))
        if not sets or self._catalog.has_removed:
            sets.append(self._all)
        return reduce(np.bitwise_and, sets)

    def _with_profile(self, parts: tuple[Part, ...]) -> WordArray:
        """Creators with a profile on which all conditions hold."""
        profiles = reduce(np.bitwise_and, [self._found(part) for part in parts])
        return profiles if self._owners is None else self._owners.creators(profiles)

    def _found(self, part: Part) -> WordArray:
        return self._sets.get(_key(part), lambda: self._find(*part))

    def _find(self, scope: Scope, predicate: Predicate) -> WordArray:
        mask = self._columns.mask(self._scope(scope), predicate.test) if predicate.test else None
        if mask is not None:
            return pack_mask(mask)
        rows = self._catalog.rows if scope == "creator" else self._catalog.profiles_count
        return pack_ids(self._catalog.rows_where(scope, predicate), rows)

    def _scope(self, scope: Scope) -> Scope:
        """Where the columns are kept: those of a foreign document are its profile's too."""
        return "creator" if self._owners is None else scope


class ProfileOwners:
    """Which creator each profile belongs to; profiles are in the order of their creators."""

    def __init__(self, gids: IdArray, rows: int) -> None:
        """Take the creator of every profile, ascending."""
        self._profiles = len(gids)
        self._rows = rows
        self._gids, self._starts = np.unique(gids, return_index=True)

    def creators(self, profiles: WordArray) -> WordArray:
        """Creators of a set of profiles."""
        mask = np.zeros(self._rows, dtype=bool)
        if len(self._gids):
            passing = unpack_mask(profiles, self._profiles)
            mask[self._gids] = np.logical_or.reduceat(passing, self._starts)
        return pack_mask(mask)


def _key(part: Part) -> tuple[str, str, str]:
    scope, predicate = part
    return (scope, predicate.sql, repr(predicate.values))
