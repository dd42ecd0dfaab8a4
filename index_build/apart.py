"""Full builds whose shards are built each in a run of its own, on any machine: the plan, and what the runs have finished.

Both lie in the lake. A finished piece (what was trained, a shard) is a record that names its files and is written once, after them: of two runs that build the same one
is the first, and what was trained is that of one machine for all shards, as another's rounding would give other lists. A build that finds a piece
there does not make it. The plan is the last thing to come and the first to go: without it nothing here counts.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index_build.export import Export
from index_build.manifest import DOMAINS
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import BUILD_PLAN, BUILDS, build_key, export_key
from lakehouse.errors import IntegrityError, SchemaError
from lakehouse.storage.objects import ObjectStore

TRAINED = "trained"
"""Name of the piece that all shards need."""

MAX_AGE = timedelta(days=3)
"""Of a plan: one that is not finished by then had runs that failed for good, and a newer export is built instead."""


def shard_key(number: int) -> str:
    """Name of the piece that is a shard."""
    return f"{number:04d}"


@dataclass(frozen=True, slots=True)
class ShardName:
    """A shard of a build: of all documents, or of one of its domains."""

    number: int
    domain: str = ""

    def __str__(self) -> str:
        """As `0003`, or `short-0003`."""
        key = shard_key(self.number)
        return f"{self.domain}-{key}" if self.domain else key

    @classmethod
    def parse(cls, text: str) -> ShardName:
        """The reverse.

        Raises:
            SchemaError: it is no name of a shard.
        """
        domain, _, number = text.rpartition("-")
        if not number.isdecimal():
            raise SchemaError(f"{text!r} is no shard of a build.")
        return cls(int(number), domain)


@dataclass(frozen=True, slots=True)
class Plan:
    """A full build that is under way: of which export, made how (`build.fingerprint`), of which shards, since when (ISO, UTC).

    `build_id` names its folder, and no other build's: not even one of the same export.
    """

    build_id: str
    export_id: str
    fingerprint: str
    shards: tuple[str, ...]
    begun_at: str

    def names(self) -> list[ShardName]:
        """Its shards."""
        return [ShardName.parse(text) for text in self.shards]


def plan_of(export: Export, export_id: str, fingerprint: str, spec: IndexSpec) -> Plan:
    """A plan for an export."""
    parts = {"": export.rows_count} | {domain.name: domain.rows_count for domain in export.domains}
    names = [ShardName(number, domain) for domain, rows in parts.items() for number in range(spec.shards_count(rows))]
    return Plan(
        build_id=f"{export_id}-{uuid.uuid4().hex[:8]}",
        export_id=export_id,
        fingerprint=fingerprint,
        shards=tuple(str(name) for name in names),
        begun_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_plan(store: ObjectStore) -> Plan | None:
    """The build that is under way, None where there is none, or a record that nobody can read."""
    try:
        found = store.read_json(BUILD_PLAN)
        return None if found is None else Plan(**found | {"shards": tuple(found["shards"])})
    except (KeyError, TypeError, ValueError):
        return None


def begin(store: ObjectStore, plan: Plan) -> None:
    """Make `plan` the build that is under way; pieces of others are removed."""
    store.replace(BUILD_PLAN, json.dumps(asdict(plan), sort_keys=True).encode())
    collect_pieces(store, keep=plan)


def end(store: ObjectStore) -> None:
    """No build is under way any more."""
    store.delete(BUILD_PLAN)
    collect_pieces(store, keep=None)


def collect_pieces(store: ObjectStore, *, keep: Plan | None) -> None:
    """Remove the pieces of all builds but one, and a plan that is not that one."""
    kept = () if keep is None else (BUILD_PLAN, build_key(keep.build_id, ""))
    for key in [info.key for info in store.list(BUILDS)]:
        if not key.startswith(kept):
            store.delete(key)


def is_built(store: ObjectStore, plan: Plan) -> bool:
    """Whether all shards are finished."""
    pieces = Pieces(store, plan.build_id)
    return all(pieces.has_shard(name) for name in plan.names())


def is_of_use(store: ObjectStore, plan: Plan, fingerprint: str, *, outdated: datetime | None) -> bool:
    """Whether what comes of a plan may be published.

    Not where its export is gone or names somebody who asked to be forgotten `outdated`, the format or spec is another one by now, or it
    is not finished after `MAX_AGE`.
    """
    is_old = datetime.now(UTC) - datetime.fromisoformat(plan.begun_at) > MAX_AGE
    return plan.fingerprint == fingerprint and not is_old and is_current(store, plan.export_id, outdated)


def is_current(store: ObjectStore, export_id: str, outdated: datetime | None) -> bool:
    """Whether an export is there and was written since."""
    times = [info.modified_at for info in store.list(export_key(export_id, ""))]
    return bool(times) and (outdated is None or max(times).astimezone(UTC) >= outdated)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Finished pieces of a build, or of one of its domains."""

    store: ObjectStore
    build_id: str
    domain: str = ""

    def of_domain(self, domain: str) -> Pieces:
        """Those of a domain."""
        return Pieces(self.store, self.build_id, domain)

    def has(self, name: str) -> bool:
        """Whether a piece is finished."""
        return self.store.exists(self._key(f"{name}.json"))

    def is_trained(self) -> bool:
        """Whether what all shards need is."""
        return self.has(TRAINED)

    def has_shard(self, name: ShardName) -> bool:
        """Whether a shard is."""
        return self.of_domain(name.domain).has(shard_key(name.number))

    def fetch(self, name: str, folder: Path) -> bool:
        """Copy the files of a piece into `folder`, whatever was there; False where it is not finished.

        Raises:
            IntegrityError: a file is not what was written.
            NotFoundError: a file is gone.
        """
        record = self.store.read_json(self._key(f"{name}.json"))
        if record is None:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file, sha256 in record["files"].items():
            self.store.download(self._key(f"{name}/{record['attempt']}/{file}"), folder / file, sha256=sha256)
        return True

    def remove(self) -> None:
        """Remove all pieces of the build."""
        _remove(self.store, build_key(self.build_id, ""))

    def give(self, name: str, files: Mapping[str, Path]) -> bool:
        """Record a piece made of `files` by their paths in it; False where another run was first."""
        if self.has(name):
            return False
        attempt = uuid.uuid4().hex
        told = {path: self.store.put_once(self._key(f"{name}/{attempt}/{path}"), file) for path, file in files.items()}
        record = json.dumps({"attempt": attempt, "files": told}, sort_keys=True).encode()
        try:
            self.store.put_once(self._key(f"{name}.json"), record)
        except IntegrityError:
            _remove(self.store, self._key(f"{name}/{attempt}"))
            return False
        return True

    def _key(self, name: str) -> str:
        return build_key(self.build_id, f"{f'{DOMAINS}/{self.domain}' if self.domain else 'whole'}/{name}")


def _remove(store: ObjectStore, prefix: str) -> None:
    for info in list(store.list(prefix)):
        store.delete(info.key)
