"""Vectors of one kind of content, such as short-form: a set of shards of its own whose rows are some of the snapshot's.

Only creators with such content have a vector there. Where each row is among those of the whole is found once (`tables.py`) and then
memory-mapped; a filter is carried over by a look-up for each row, 8 ms a million.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from index_build.bitmaps import WordArray, pack_mask, unpack_mask
from index_build.manifest import Domain, Manifest
from index_build.probe import ShardIndex
from serving.arrays import open_arrays, save_arrays
from serving.catalog import Catalog, Ids
from serving.shards import ShardSet, open_shards

NONE = -1
"""Gid of a row whose creator is gone, and row of a gid that has no vector in a domain."""

Places = npt.NDArray[np.int32]


class DomainShards(ShardSet):
    """The shards of a domain, by the gids of the whole."""

    has_all = False

    def __init__(
        self, shards: list[ShardIndex], manifest: Manifest, *, threads: int, gids: Places, rows: Places
    ) -> None:
        """Wrap opened shards; `gids` (rows of the domain,) and `rows` (rows of the whole,) are each other's inverse."""
        super().__init__(shards, manifest, threads=threads)
        self._gids = gids
        self._rows = rows
        self.present = pack_mask(rows != NONE)

    @classmethod
    def open_domain(cls, folder: Path, domain: Domain, tables: Path, *, threads: int) -> DomainShards:
        """Open a domain of a verified snapshot folder with the `tables` that `write_places` made.

        Raises:
            IntegrityError: a shard is not what the manifest says.
            ValueError: the tables are not of this domain.
        """
        places = open_arrays(tables)
        shards = open_shards(folder / domain.folder, domain.manifest)
        if len(places["gids"]) != sum(shard.rows for shard in shards):
            raise ValueError(f"the places of domain {domain.name} are of another one")
        return cls(shards, domain.manifest, threads=threads, gids=places["gids"], rows=places["rows"])

    def own_words(self, words: WordArray) -> WordArray:
        """A set of gids as a set of own rows."""
        chosen = unpack_mask(words, len(self._rows))[self._gids]
        return pack_mask(chosen & (self._gids != NONE))

    def rows_of(self, gids: Ids) -> Ids:
        """Own rows of gids, `NONE` where one has no vector here."""
        return self._rows[gids].astype(np.int64)

    def gids_of(self, rows: Ids) -> Ids:
        """Gids of own rows."""
        return self._gids[rows].astype(np.int64)


def write_places(target: Path, folder: Path, domain: Domain, catalog: Catalog) -> None:
    """Write into `target` where each row of a domain is among the rows of `catalog`, and the other way round.

    Raises:
        ValueError: a creator of the domain is not among the documents.
    """
    shards = domain.manifest.shards
    found = [catalog.gids_in(folder / domain.folder / shard.docs.path, unknown=NONE) for shard in shards]
    gids = np.concatenate(found).astype(np.int32)
    rows = np.full(catalog.rows, NONE, dtype=np.int32)
    held = np.flatnonzero(gids != NONE)
    rows[gids[held]] = held
    if len(held) != domain.manifest.creators_count:
        raise ValueError(f"domain {domain.name} has creators that are not among the documents")
    save_arrays(target, {"gids": gids, "rows": rows})
