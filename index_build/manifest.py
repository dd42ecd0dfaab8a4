"""The snapshot's manifest: what a snapshot folder holds, with checksums, recall evidence and planner calibration.

Pure models and their canonical JSON; reading one distrusts it. Serving imports this module, so nothing here may need
FAISS. Checking the files that a manifest names lives in `verify.py`.

A snapshot folder::

    manifest.json                   written last; a folder without one does not exist
    coarse/*                        ivf only: the coarse quantizer that all shards share
    scale.npy                       ivf only: float32 (2, d), rows are minimum and step of each dimension
    shards/0000/docs.parquet        rows in row_id order: row_id int64 0..n-1, list_id int32, row_check int64, input columns;
                                    a row without creator_id is one that was removed: nothing finds it
    shards/0000/index.faiss         inner product; ids are row_ids (ivf: IVFPQFastScan by differences from centroids, flat: IndexFlatIP over f32 rows)
    shards/0000/refine.bin          row-major, no header. sq16: uint8 n x d, then the residuals of all rows, uint8 n x d; f16: little-endian
                                    float16 n x d
    shards/0000/lists.npy           int64 (nlist + 1,): rows lists[l]:lists[l+1] are inverted list l (flat: [0, n])
    side/{name}/00000.parquet       optional side tables: accounts, history, aliases, posts, evidence
    domains/{name}/...              optional: the same again for vectors of one kind of content; docs are creator_ids alone. Its
                                    manifest is in that of the snapshot
"""

from __future__ import annotations

import hashlib
import json
import zlib
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from index_build.spec import IndexSpec
from lakehouse.errors import IntegrityError, SchemaError

FORMAT_VERSION: Literal[6] = 6
"""Raised when an older reader would misread a snapshot."""

MANIFEST_NAME = "manifest.json"

COARSE_FILES = ("coarse/centroids.npy", "coarse/groups.npy", "coarse/offsets.npy")
"""Of the coarse quantizer: float32 (lists, d) and (groups, d), int64 (groups + 1,) with the first list of each group."""

CENTROID_CODES = "coarse/codes.faiss"
"""Codes of the centroids, where there are many lists: IVFPQFastScan of one list, ids are lists."""

DOMAINS = "domains"
"""Folder of the domains of a snapshot."""

DOMAIN_NAME = r"[a-z][a-z0-9]{0,30}"

REFINE_BYTES = 2
"""Of a dimension of a stored row, in either form."""

MADE_AT = ("created_at", "input_at")
"""Times of a build, by the clock of who made it."""

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
"""A manifest is some kB; refuse to parse anything absurd."""

ID_LENGTH = 16
"""Hex digits of a snapshot id: 64 bits, no collision among any number of snapshots a lake can hold."""


def safe_path(path: str) -> str:
    """Return `path` if it is relative, normalised POSIX and stays inside the snapshot folder.

    Raises:
        ValueError: it does not.
    """
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise ValueError(f"unsafe path {path!r}")
    return path


SafePath = Annotated[str, AfterValidator(safe_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SnapshotId = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{ID_LENGTH}}}$")]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Model):
    """One file of the snapshot; `rows` where the file has rows."""

    path: SafePath
    sha256: Sha256
    size_bytes: Count
    rows: Count | None = None


class ShardEntry(_Model):
    """One shard. A creator is in that of `shard_of` among those without `is_side`, or in the side shard. Files are in row_id order."""

    shard: Count
    rows: Count
    is_side: Annotated[
        bool, Field(description="holds the vectors that are newer than the full build; the last one")
    ] = False
    docs: FileEntry
    index: FileEntry
    refine: FileEntry
    lists: FileEntry

    def files(self) -> tuple[FileEntry, ...]:
        """Files of the shard."""
        return (self.docs, self.index, self.refine, self.lists)


class IndexShape(_Model):
    """How to read the index: `refine` says how a stored row is decoded (sq16: minimum + step * (code + (residual + .5) / 256 - .5); f16: as is)."""

    kind: Literal["flat", "ivf"]
    metric: Literal["inner_product"] = "inner_product"
    dimensions: Annotated[int, Field(ge=1)]
    lists_count: Annotated[int, Field(ge=1)]
    closeness: Annotated[float, Field(gt=0.0, le=1.0, description="mean cosine of rows with their list's centroid")] = (
        1.0
    )
    subquantizers_count: Count = 0
    refine: Literal["sq16", "f16"]


class SideTable(_Model):
    """Optional table beside the docs, copied from the export."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    rows: Count
    files: tuple[FileEntry, ...]


class SourceTable(_Model):
    """A lake table that the export was made of, with its version."""

    name: str
    version: int


class FullBuild(_Model):
    """The build that put the vectors of a renewed snapshot where they are."""

    snapshot_id: SnapshotId
    created_at: Annotated[str, Field(description="ISO time, UTC; not part of a renewal's id")]
    input_at: Annotated[
        str, Field(description="when its export was written, ISO time, UTC; not part of a renewal's id")
    ]


class RecallPoint(_Model):
    """One measured cell: `filter_kind` none, independent or directional; means are per query and shard.

    On the curve `around` tells where the queries of a directional filter are: near its rows, anywhere or far from them (without
    a filter: near a row, or anywhere between topics); a point of the report has all of them.
    """

    filter_kind: Literal["none", "independent", "directional"]
    around: Literal["near", "anywhere", "far"] | None = None
    plan: Literal["exact", "probe"]
    selectivity: Ratio
    matches_target: Count = 0
    margin: float = 0.0
    most_work: Count = 0
    k_factor: Count = 0
    recall: Ratio
    queries_count: Count
    lists_probed_mean: Annotated[float, Field(ge=0.0)] = 0.0
    codes_scanned_mean: Annotated[float, Field(ge=0.0)]
    rows_scored_mean: Annotated[float, Field(ge=0.0)] = 0.0


class RecallReport(_Model):
    """Recall@k against exact float32 search. `minimum` is over all cells run with the calibrated constants."""

    k: Count
    target: Ratio
    unfiltered: Ratio
    minimum: Ratio
    queries_count: Count
    points: tuple[RecallPoint, ...] = Field(description="the calibrated constants, end to end over all shards")
    curve: tuple[RecallPoint, ...] = Field(default=(), description="what the constants were chosen from")


class Band(_Model):
    """Planner constants for selectivities in (previous band's maximum, `max_selectivity`]; bands ascend, last is 1.0."""

    max_selectivity: Ratio
    matches_target: Annotated[
        int, Field(ge=1, description="T: matching rows that the lists probed first hold at least")
    ]
    margin: Annotated[float, Field(description="then lists that may hold a better row than the k-th: see probe.py")]
    most_work: Annotated[
        Count, Field(description="in which so much is done at most, in units of .28 microseconds: see probe.py")
    ]
    k_factor: Annotated[int, Field(ge=1, description="candidates by codes, k times this, are scored")]
    recall: Annotated[Ratio, Field(description="what this gave when it was chosen")] = 1.0

    @classmethod
    def of(cls, matches_target: int, k_factor: int, margin: float = -2.0, most_work: int = 1 << 14) -> Band:
        """The same for every filter; without a margin nothing is probed after the first lists."""
        return cls(
            max_selectivity=1.0, matches_target=matches_target, margin=margin, most_work=most_work, k_factor=k_factor
        )


class Calibration(_Model):
    """Per-shard planner constants. A filter with at most `exact_max_matches` matches in a shard is scored exactly."""

    exact_max_matches: Annotated[int, Field(ge=0, description="B")]
    bands: Annotated[tuple[Band, ...], Field(min_length=1)]

    def band(self, selectivity: float) -> Band:
        """Band that holds `selectivity` (matches / rows of the shard, 0-1)."""
        return next((band for band in self.bands if selectivity <= band.max_selectivity), self.bands[-1])

    @model_validator(mode="after")
    def _bands_ascend(self) -> Calibration:
        edges = [band.max_selectivity for band in self.bands]
        if edges != sorted(set(edges)) or edges[-1] != 1.0:
            raise ValueError("bands must ascend and end at 1.0")
        return self


class Current(_Model):
    """Content of `snapshots/CURRENT`: the snapshot that is served, and the one that a rollback returns to."""

    snapshot_id: SnapshotId
    previous: SnapshotId | None = None
    published_at: str

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return _canonical(self.model_dump(mode="json")) + b"\n"


class Manifest(_Model):
    """A published snapshot. `snapshot_id` is derived from everything but itself and the times of its making."""

    format_version: Literal[6] = FORMAT_VERSION
    snapshot_id: SnapshotId
    created_at: Annotated[str, Field(description="ISO time, UTC; not part of the id")]
    input_at: Annotated[
        str, Field(description="when its export was written, ISO time, UTC; not part of the id; empty when not stated")
    ] = ""
    export_id: str
    as_of: Annotated[str, Field(description="state of the inputs: ISO time, or empty when not stated")] = ""
    rows_count: Annotated[int, Field(ge=1)]
    creators_count: Annotated[int, Field(ge=1, description="rows that were not removed")]
    model_id: Annotated[str, Field(description="encoder of the vectors; empty when not stated")] = ""
    shape: IndexShape
    spec: IndexSpec
    full_build: Annotated[FullBuild | None, Field(description="None: this one is")] = None
    shared: tuple[FileEntry, ...] = Field(default=(), description="coarse/*, scale.npy")
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1)]
    side_tables: tuple[SideTable, ...] = ()
    source_tables: tuple[SourceTable, ...] = ()
    recall: RecallReport
    calibration: Calibration
    domains: Annotated[
        tuple[Domain, ...], Field(description="vectors of kinds of content, of the creators that have them")
    ] = ()

    def files(self) -> tuple[FileEntry, ...]:
        """Every file of the snapshot but the manifest itself."""
        side = [file for table in self.side_tables for file in table.files]
        inside = [file for domain in self.domains for file in domain.files()]
        return (*self.own_files(), *side, *inside)

    def own_files(self) -> tuple[FileEntry, ...]:
        """Files without those of side tables and domains."""
        return (*self.shared, *(file for shard in self.shards for file in shard.files()))

    def parts(self) -> tuple[Manifest, ...]:
        """The snapshot's manifest and those of its domains: each has vectors, a recall and constants of its own."""
        return (self, *(domain.manifest for domain in self.domains))

    def domain(self, name: str) -> Manifest | None:
        """Manifest of a domain, None where the snapshot has none of that name."""
        return next((domain.manifest for domain in self.domains if domain.name == name), None)

    @property
    def is_publishable(self) -> bool:
        """Every part reaches its recall."""
        return all(part.recall.minimum >= part.recall.target for part in self.parts())

    @property
    def placed_shards(self) -> tuple[ShardEntry, ...]:
        """Shards in which creators have their place by `shard_of`: all but the side shard."""
        return tuple(shard for shard in self.shards if not shard.is_side)

    @property
    def built(self) -> FullBuild:
        """The full build that this snapshot is or stands on."""
        if self.full_build is not None:
            return self.full_build
        input_at = self.input_at or self.created_at
        return FullBuild(snapshot_id=self.snapshot_id, created_at=self.created_at, input_at=input_at)

    def side_table(self, name: str) -> SideTable | None:
        """Side table by name."""
        return next((table for table in self.side_tables if table.name == name), None)

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no insignificant space, newline at the end."""
        return _canonical(self.model_dump(mode="json")) + b"\n"

    @model_validator(mode="after")
    def _is_consistent(self) -> Manifest:
        problems = [*_count_problems(self), *_file_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Domain(_Model):
    """Vectors of one kind of content, in the folder `domains/{name}`; paths in its manifest begin there."""

    name: Annotated[str, Field(pattern=f"^{DOMAIN_NAME}$")]
    manifest: Manifest

    @property
    def folder(self) -> str:
        """In the snapshot's own."""
        return f"{DOMAINS}/{self.name}"

    def files(self) -> tuple[FileEntry, ...]:
        """Its files by their paths in the snapshot's folder."""
        return tuple(file.model_copy(update={"path": f"{self.folder}/{file.path}"}) for file in self.manifest.files())


def derive_id(fields: dict[str, Any]) -> str:
    """Snapshot id of manifest fields in JSON form: sha256 over all of them but itself and the times of its making.

    A domain counts by its own id.
    """
    content = {name: value for name, value in fields.items() if name not in {"snapshot_id", *MADE_AT}}
    content["domains"] = [[domain["name"], domain["manifest"]["snapshot_id"]] for domain in content["domains"]]
    if content["full_build"] is not None:
        content["full_build"] = {name: value for name, value in content["full_build"].items() if name not in MADE_AT}
    return hashlib.sha256(_canonical(content)).hexdigest()[:ID_LENGTH]


def seal(draft: Manifest) -> Manifest:
    """Copy of `draft` whose snapshot_id is the one derived from its content."""
    return draft.model_copy(update={"snapshot_id": derive_id(draft.model_dump(mode="json"))})


def parse_manifest(data: bytes) -> Manifest:
    """Parse and check a manifest.

    Raises:
        SchemaError: not a manifest of this format version.
        IntegrityError: the content does not match its snapshot id.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise SchemaError(f"The manifest has {len(data)} bytes, more than any real one.")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise SchemaError(f"The manifest is not valid: {_first_problem(error)}") from error
    for part in manifest.parts():
        if derive_id(part.model_dump(mode="json")) != part.snapshot_id:
            raise IntegrityError(f"The manifest's content does not match its snapshot id {part.snapshot_id}.")
    return manifest


def parse_current(data: bytes) -> Current:
    """Parse the pointer.

    Raises:
        SchemaError: it is not one.
    """
    try:
        return Current.model_validate_json(data)
    except ValidationError as error:
        raise SchemaError(f"CURRENT is not a snapshot pointer: {_first_problem(error)}") from error


def creator_hash(creator_id: str) -> int:
    """32-bit hash that places a creator: CRC-32 of the UTF-8 id, the same in every language."""
    return zlib.crc32(creator_id.encode())


def shard_of(creator_id: str, shards_count: int) -> int:
    """Shard that holds a creator."""
    return creator_hash(creator_id) % shards_count


def vectors_at(manifest: Manifest) -> datetime:
    """When the export was written that the oldest vectors of a snapshot are of."""
    return datetime.fromisoformat(manifest.built.input_at)


def created_at(manifest: Manifest) -> datetime:
    """`created_at` as an aware time."""
    return datetime.fromisoformat(manifest.created_at)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _count_problems(manifest: Manifest) -> list[str]:
    checks = {
        "shard rows do not add up": sum(shard.rows for shard in manifest.shards) == manifest.rows_count,
        "shards are not numbered 0..n-1": [s.shard for s in manifest.shards] == list(range(len(manifest.shards))),
        "more creators than rows": manifest.creators_count <= manifest.rows_count,
        "a side shard is not the last one, or without a full build": _is_side_in_place(manifest),
        "docs rows differ": all(shard.docs.rows == shard.rows for shard in manifest.shards),
        "index rows differ": all(shard.index.rows == shard.rows for shard in manifest.shards),
        "refine size differs": all(s.refine.size_bytes == _refine_bytes(manifest, s) for s in manifest.shards),
    }
    return [problem for problem, is_fine in checks.items() if not is_fine]


def _is_side_in_place(manifest: Manifest) -> bool:
    sides = [shard.shard for shard in manifest.shards if shard.is_side]
    return not sides or (manifest.full_build is not None and sides == [len(manifest.shards) - 1] != [0])


def _file_problems(manifest: Manifest) -> list[str]:
    paths = [file.path for file in manifest.files()]
    shared = {file.path for file in manifest.shared}
    needed = set(COARSE_FILES) if manifest.shape.kind == "ivf" else set()
    optional = {CENTROID_CODES} if needed else set()
    needed |= {"scale.npy"} if manifest.shape.refine == "sq16" else set()
    names = [domain.name for domain in manifest.domains]
    checks = {
        "a domain occurs twice": len(names) == len(set(names)),
        "a domain has domains": not any(domain.manifest.domains for domain in manifest.domains),
        "a domain is of another export": all(_origin(part) == _origin(manifest) for part in manifest.parts()),
        "a path occurs twice": len(paths) == len(set(paths)),
        "a file is named like the manifest": MANIFEST_NAME not in paths,
        f"shared files are not {sorted(needed)}": shared - optional == needed,
    }
    return [problem for problem, is_fine in checks.items() if not is_fine]


def _origin(manifest: Manifest) -> tuple[str, str, IndexSpec]:
    return manifest.export_id, manifest.model_id, manifest.spec


def _refine_bytes(manifest: Manifest, shard: ShardEntry) -> int:
    return shard.rows * manifest.shape.dimensions * REFINE_BYTES
