"""One opened snapshot, and where snapshots come from: a folder, or a lake whose `CURRENT` names one.

Opening distrusts: every byte is checked against the manifest (once, see `tables.py`), then each shard must find its own rows. What is refused
raises; keeping the old one is the business of `holder.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
from pydantic_core import PydanticSerializationError

from index_build.bitmaps import unpack_mask
from index_build.manifest import MANIFEST_NAME, Band, Manifest
from index_build.publish import read_current, read_stored_manifest
from index_build.verify import read_manifest
from lakehouse.contracts.layout import snapshot_key
from lakehouse.errors import ContractError, IntegrityError, NotFoundError
from lakehouse.storage.objects import ObjectStore, sha256_file
from lakehouse.storage.scratch import alone
from serving.cache import Cache
from serving.catalog import Catalog
from serving.code_columns import CodeColumns
from serving.columns import Columns
from serving.documents import Documents
from serving.domains import DomainShards
from serving.encoder import QueryEncoder, encoder_for
from serving.filters import FilterSet, Vocabulary, compile_filters
from serving.lexical import WordIndex
from serving.matching import Matcher
from serving.models import Filters
from serving.requests import require_known
from serving.settings import ServingSettings
from serving.shards import Matches, ShardSet
from serving.tables import CATALOG, CODES, COLUMNS, DOCUMENTS, PLACES, WORDS, discard, prepared

CANARY_ROWS = 3
"""Rows of a shard that must find themselves before it serves."""

CANARY_BAND = Band.of(2_048, 256)
"""Rows in the lists that are looked into, and those compared exactly: enough in any crowd of near-equal rows."""

CANARY_SIMILARITY = 0.98
"""Least similarity of a stored row with what it finds, as a share of its similarity with itself: another row may be as near."""

FILTERS_CACHED = 256
"""Filters whose clauses, facets, and where they fit, whose rows are kept."""

COMPILED_CHARS = 10_000
"""Length of filters up to which their clauses are kept: lists of thousands of handles take megabytes."""

MATCHES_BYTES = 256 * 1024 * 1024
"""Room for rows of filters: 2.5 MB each at 10 million rows, so about 100 of them there."""

UNREADABLE = (duckdb.Error, ValueError, RuntimeError)
"""What DuckDB, NumPy, Arrow and FAISS raise over content that they cannot use."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that answers a request. Read-only; close it when no request uses it any more."""

    manifest: Manifest
    catalog: Catalog
    documents: Documents
    shards: ShardSet
    columns: Columns
    words: WordIndex
    matcher: Matcher
    vocabulary: Vocabulary
    encoder: QueryEncoder | None
    domains: Mapping[str, DomainShards] = field(default_factory=dict)
    turns: int = 1
    matches: Cache[Matches] = field(
        default_factory=lambda: Cache(FILTERS_CACHED, max_bytes=MATCHES_BYTES, bytes_of=lambda kept: kept.max_bytes)
    )
    facets: Cache[dict[str, list[dict[str, Any]]]] = field(default_factory=lambda: Cache(FILTERS_CACHED))
    compiled: Cache[FilterSet] = field(default_factory=lambda: Cache(FILTERS_CACHED))
    dictionaries: Cache[dict[str, Any]] = field(default_factory=lambda: Cache(1))

    @property
    def id(self) -> str:
        """Snapshot id."""
        return self.manifest.snapshot_id

    @classmethod
    def open(cls, folder: Path, settings: ServingSettings, *, encoder: QueryEncoder | None = None) -> Snapshot:
        """Check and open a snapshot folder.

        Args:
            folder: the snapshot.
            settings: threads, memory and encoder settings.
            encoder: used instead of the one that the manifest names.

        Raises:
            NotFoundError: there is no snapshot.
            ContractError: it is damaged, of another format, or of an encoder that is not installed.
        """
        try:
            manifest, tables = prepared(folder, settings.lake.cache_dir / "tables", threads=settings.threads)
        except UNREADABLE as error:
            raise IntegrityError(f"The snapshot in {folder} cannot be loaded: {error}") from error
        chosen = encoder or encoder_for(
            manifest,
            preferred=settings.lake.encoder_model,
            device=settings.lake.encoder_device,
        )
        with ExitStack() as opened:
            try:
                snapshot = cls._load(folder, tables, manifest, settings, chosen, opened)
            except UNREADABLE as error:
                discard(tables)
                raise IntegrityError(f"Snapshot {manifest.snapshot_id} cannot be loaded: {error}") from error
            opened.pop_all()
        return snapshot

    @classmethod
    def _load(
        cls,
        folder: Path,
        tables: Path,
        manifest: Manifest,
        settings: ServingSettings,
        encoder: QueryEncoder | None,
        opened: ExitStack,
    ) -> Snapshot:
        """Open every part; `opened` closes those that need it."""
        shards = ShardSet.open(folder, manifest, threads=settings.threads)
        opened.callback(shards.close)
        _require_canaries(shards)
        domains: dict[str, DomainShards] = {}
        for domain in manifest.domains:
            places = tables / PLACES / domain.name
            domains[domain.name] = DomainShards.open_domain(folder, domain, places, threads=settings.threads)
            opened.callback(domains[domain.name].close)
            _require_canaries(domains[domain.name])
        catalog = Catalog.open(tables / CATALOG, manifest, threads=settings.threads)
        opened.callback(catalog.close)
        columns = Columns.open(tables / COLUMNS)
        return cls(
            manifest,
            catalog,
            Documents.open(tables / DOCUMENTS, columns.by_creator),
            shards,
            columns,
            WordIndex.open(tables / WORDS, rows=manifest.creators_count),
            Matcher(catalog, CodeColumns.open(tables / CODES), columns.by_creator),
            catalog.vocabulary(manifest),
            encoder,
            domains,
            settings.turns,
        )

    def compile(self, filters: Filters, today: date) -> FilterSet:
        """Clauses of validated filters on a UTC day, remembered.

        Raises:
            RequestError: a code or field does not exist, or the snapshot lacks the column that a filter needs.
        """

        def compiled() -> FilterSet:
            return compile_filters(filters, self.vocabulary, today=today)

        try:
            text = filters.model_dump_json()
        except PydanticSerializationError:  # a text that is no Unicode, which is refused by name
            return compiled()
        return compiled() if len(text) > COMPILED_CHARS else self.compiled.get((text, today), compiled)

    def vectors(self, domain: str | None) -> ShardSet:
        """Vectors of a domain, of the whole creators for None.

        Raises:
            RequestError: there is no such domain.
        """
        if domain is None:
            return self.shards
        require_known((domain,), self.domains, field="domain", what="domain")
        return self.domains[domain]

    def matching(self, filters: FilterSet, domain: str | None = None) -> Matches:
        """Rows that pass a filter and have a vector in the domain, remembered."""

        def found() -> Matches:
            passing = self.matcher.rows(filters)
            if domain is None:
                return Matches(passing, self.shards)
            shards = self.domains[domain]
            return Matches(passing & shards.present, shards)

        return self.matches.get((filters.key, domain), found)

    def facet_counts(self, filters: FilterSet, domain: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Facets of the rows that `matching` finds, remembered."""
        found = self.matching(filters, domain)
        return self.facets.get(
            (filters.key, domain),
            lambda: self.columns.facet_counts(
                None if found.is_all and found.shards.has_all else unpack_mask(found.words, self.catalog.rows)
            ),
        )

    def close(self) -> None:
        """Free tables and threads."""
        for shards in (self.shards, *self.domains.values()):
            shards.close()
        self.catalog.close()


class Source(Protocol):
    """Where snapshots come from."""

    def current_id(self) -> str | None:
        """Id of the snapshot that should be served, None when there is none yet."""

    def previous_id(self) -> str | None:
        """Id of the one before."""

    def fetch(self, snapshot_id: str) -> Path:
        """Local folder of a snapshot, complete but not yet checked."""

    def forget(self, snapshot_id: str) -> None:
        """Drop a local copy that turned out to be damaged."""


class FolderSource:
    """One snapshot folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder."""
        self._folder = folder

    def current_id(self) -> str | None:
        """Id in its manifest."""
        return read_manifest(self._folder).snapshot_id

    def previous_id(self) -> str | None:
        """None: a folder has no history."""
        return None

    def fetch(self, snapshot_id: str) -> Path:  # noqa: ARG002
        """The folder itself."""
        return self._folder

    def forget(self, snapshot_id: str) -> None:
        """Nothing: the folder is not a copy."""


class LakeSource:
    """A lake: a local one is read in place, a remote one is copied into the cache."""

    def __init__(self, store: ObjectStore, cache: Path) -> None:
        """Wrap an opened store; `cache` is a local folder."""
        self._store = store
        self._cache = cache / "snapshots"

    def current_id(self) -> str | None:
        """Id in `CURRENT`."""
        current = read_current(self._store)
        return None if current is None else current.snapshot_id

    def previous_id(self) -> str | None:
        """Id that a rollback would return to."""
        current = read_current(self._store)
        return None if current is None else current.previous

    def fetch(self, snapshot_id: str) -> Path:
        """Folder in the lake, or a copy in the cache; files that are there already, also as another snapshot's, are not copied again."""
        if not self._store.layout.is_s3:
            return Path(self._store.layout.root) / snapshot_key(snapshot_id, "")
        folder = self._cache / snapshot_id
        with alone(self._cache):  # the other workers of the service fetch the same
            if not (folder / MANIFEST_NAME).is_file():
                self._copy(snapshot_id, folder)
        return folder

    def _copy(self, snapshot_id: str, folder: Path) -> None:
        manifest = read_stored_manifest(self._store, snapshot_id)
        held = self._held()
        for entry in manifest.files():
            target = folder / entry.path
            if target.is_file() and target.stat().st_size == entry.size_bytes:
                continue
            if not _is_linked(held.get(entry.sha256), target, sha256=entry.sha256):
                self._store.download(snapshot_key(snapshot_id, entry.path), target, sha256=entry.sha256)
        draft = folder / f"{MANIFEST_NAME}.draft"
        draft.write_bytes(manifest.to_json())
        draft.rename(folder / MANIFEST_NAME)
        self._prune({snapshot_id, self.previous_id()})

    def _held(self) -> dict[str, Path]:
        """Files of the copies in the cache by checksum: a renewed snapshot has most of those of the one before."""
        held: dict[str, Path] = {}
        for folder in self._cache.iterdir() if self._cache.is_dir() else ():
            with suppress(NotFoundError, ContractError):
                held |= {entry.sha256: folder / entry.path for entry in read_manifest(folder).files()}
        return held

    def _prune(self, kept: Collection[str | None]) -> None:
        """Remove copies of other snapshots; files that are still mapped stay readable until they are closed."""
        for folder in self._cache.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def forget(self, snapshot_id: str) -> None:
        """Remove the copy in the cache, so that it is fetched anew."""
        if self._store.layout.is_s3:
            with alone(self._cache):
                shutil.rmtree(self._cache / snapshot_id, ignore_errors=True)


def _is_linked(held: Path | None, target: Path, *, sha256: str) -> bool:
    """Whether `target` became another name of a file that is there and has the bytes that it should have."""
    if held is None or not held.is_file() or sha256_file(held) != sha256:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(held)
    except OSError:
        return False
    return True


def open_source(path_or_uri: str | Path, settings: ServingSettings) -> Source:
    """Source behind a snapshot folder, a lake folder or `s3://bucket/prefix`.

    Raises:
        NotFoundError: a local path does not exist.
    """
    text = str(path_or_uri)
    if "://" not in text:
        folder = Path(text).expanduser().resolve()
        if (folder / MANIFEST_NAME).is_file():
            return FolderSource(folder)
        if not folder.is_dir():
            raise NotFoundError(f"{folder} does not exist.")
        text = str(folder)
    lake = settings.lake.model_copy(update={"lake": text})
    return LakeSource(ObjectStore.open(lake), settings.lake.cache_dir)


def _require_canaries(shards: ShardSet) -> None:
    """Some rows of every shard must find themselves.

    Raises:
        IntegrityError: a shard answers wrongly.
    """
    for shard, first in zip(shards.shards, shards.firsts, strict=True):
        for row_id in np.unique(np.linspace(0, shard.rows - 1, CANARY_ROWS).astype(np.int64)):
            query = shards.stored(np.array([first + row_id]))[0]
            length = np.linalg.norm(query)
            found = shard.probe(query / length, k=1, band=CANARY_BAND)
            if not len(found.similarities) or found.similarities[0] < CANARY_SIMILARITY * length:
                raise IntegrityError(f"Snapshot {shards.manifest.snapshot_id} does not find its own rows.")
