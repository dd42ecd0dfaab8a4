"""Where things live under the lake root: keys of landing, Delta tables, snapshots, progress. Strings only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from lakehouse.contracts.tables import TableSpec

ALERTS = "alerts"
ANSWERS = "landing/_answers"
LANDING = "landing"
BACKFILLS = "backfills"
BUILDS = "builds"
BUILD_PLAN = "builds/plan.json"
BATCHES = "landing/_batches"
DELTA = "delta"
ERASURES = "erasures"
EXPORTS = "exports"
HEALTH = "health"
IDENTITY_COUNTS = "identity/counts.arrow"
JUDGEMENTS = "judgements"
PROGRESS = "progress"
RETENTION = "retention/last.json"
SNAPSHOTS = "snapshots"
CURRENT = "snapshots/CURRENT"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """Maps names to keys (relative to the root) and to URIs.

    `root` is an absolute local path or `s3://bucket/prefix`, without a trailing slash.
    """

    root: str

    @property
    def is_s3(self) -> bool:
        """Whether the lake is in an object store."""
        return self.root.startswith("s3://")

    def uri(self, key: str) -> str:
        """Absolute URI of a key."""
        return f"{self.root}/{key}"

    def spark_uri(self, key: str) -> str:
        """URI as Hadoop wants it (`s3a://` or `file://`)."""
        return f"s3a://{self.root.removeprefix('s3://')}/{key}" if self.is_s3 else f"file://{self.root}/{key}"

    def table_uri(self, spec: TableSpec) -> str:
        """Hadoop URI of a Delta table."""
        return self.spark_uri(table_key(spec))


def table_key(spec: TableSpec) -> str:
    """Key of a Delta table."""
    return f"{DELTA}/{spec.name}"


def landing_key(platform: str, day: date, name: str) -> str:
    """Key of a landing object: `landing/{platform}/YYYY/MM/DD/{name}`."""
    return f"{LANDING}/{platform}/{day:%Y/%m/%d}/{name}"


def batch_key(batch_seq: int) -> str:
    """Key of a batch manifest; zero-padded, so listing order is batch order."""
    return f"{BATCHES}/{batch_seq:012d}.json"


def backfill_key(backfill_id: str, name: str) -> str:
    """Key of a part of a backfill: its plan, its progress, its work list."""
    return f"{BACKFILLS}/{backfill_id}/{name}"


def answer_key(number: int) -> str:
    """Key of the manifest of landed answers; zero-padded, so listing order is the order of commits."""
    return f"{ANSWERS}/{number:012d}.json"


def judgement_key(number: int) -> str:
    """Key of a judgement; zero-padded, so listing order is the order in which they were made."""
    return f"{JUDGEMENTS}/{number:012d}.json"


def snapshot_key(snapshot_id: str, name: str = MANIFEST) -> str:
    """Key of a file of a snapshot."""
    return f"{SNAPSHOTS}/{snapshot_id}/{name}"


def build_key(build_id: str, name: str) -> str:
    """Key of what a build of an index has finished."""
    return f"{BUILDS}/{build_id}/{name}"


def export_key(export_id: str, name: str) -> str:
    """Key of a file of an export."""
    return f"{EXPORTS}/{export_id}/{name}"


def erasure_key(platform: str, digest: str) -> str:
    """Key of a request to forget an account."""
    return f"{ERASURES}/{platform}/{digest}"


def health_key(table: str) -> str:
    """Key of a table's last known health."""
    return f"{HEALTH}/{table}.json"


def progress_key(step: str) -> str:
    """Key of a step's progress record."""
    return f"{PROGRESS}/{step}.json"
