"""What the planner knows of accounts, as columns: the Arrow schema, its numpy form, and a hash that names a row.

One row for each account and source that can refresh it. A chunk is what fits into memory; nothing here looks beyond one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.fetch.change_rate import Evidence, Floats, Ints
from lakehouse.fetch.task import AccountState

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint64]

MICROS_PER_HOUR = 3_600_000_000
STATES: tuple[str, ...] = tuple(state.value for state in AccountState)
SPLIT_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Step and multipliers of SplitMix64 (Steele, Lea, Flood 2014)."""
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
RADIX = np.uint64(0xD1342543DE82EF95)
"""Odd multiplier of the polynomial hash over the bytes of a key."""

_TIME = pa.timestamp("us", tz="UTC")
REFRESH_SCHEMA = pa.schema(
    [
        pa.field("platform", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("platform_account_id", pa.string()),
        pa.field("handle", pa.string()),
        pa.field("followers_count", pa.int64()),
        pa.field("known_at", _TIME, nullable=False),  # when the account was first heard of
        pa.field("last_fetched_at", _TIME),
        pa.field("last_changed_at", _TIME),  # last look that showed a change
        pa.field("changes", pa.float64(), nullable=False),  # counted between looks, older ones faded
        pa.field(
            "flagged_hours", pa.float64(), nullable=False
        ),  # hours of windows of which only is known that something changed
        pa.field("counted_hours", pa.float64(), nullable=False),  # hours of all other windows
        pa.field("change_rate", pa.float64()),  # changes an hour, where it is kept; else estimated at planning
        pa.field("is_requested", pa.bool_(), nullable=False),  # a tenant asked for it and waits
        pa.field("tenants_count", pa.int32(), nullable=False),  # lists, opened or exported within 30 days
        pa.field("impressions", pa.float64(), nullable=False),  # in search results, a day
        pa.field("state", pa.string(), nullable=False),
        pa.field("posts_count", pa.int64()),  # as the last look says
        pa.field("referrers_count", pa.int64(), nullable=False),  # who points at an account never seen; 0: it is known
    ]
)


@dataclass(frozen=True)
class RefreshState:
    """A chunk of accounts. Numbers are numpy columns of one length; NaN is null. Times are hours since 1970.

    `platform` and `state` are positions in `PLATFORMS` and `STATES`, `source` one in `sources`.
    """

    sources: tuple[str, ...]
    platform: Ints
    source: Ints
    ids: pa.Array
    handles: pa.Array
    followers: Floats
    known_at: Floats
    fetched_at: Floats
    changed_at: Floats
    changes: Floats
    flagged_hours: Floats
    counted_hours: Floats
    change_rate: Floats
    is_requested: Mask
    tenants: Ints
    impressions: Floats
    state: Ints
    posts: Floats
    referrers: Floats

    def __len__(self) -> int:
        """Accounts."""
        return len(self.platform)

    @classmethod
    def from_arrow(cls, table: pa.Table | pa.RecordBatch) -> RefreshState:
        """Read columns of `REFRESH_SCHEMA`; others are ignored. Rows of other platforms or states are refused.

        Raises:
            ValueError: a platform or a state that is none of ours.
        """
        columns = {field.name: _column(table, field) for field in REFRESH_SCHEMA}
        encoded = columns["source"].dictionary_encode()
        return cls(
            sources=tuple(encoded.dictionary.to_pylist()),
            platform=_positions(columns["platform"], PLATFORMS),
            source=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
            ids=columns["platform_account_id"],
            handles=columns["handle"],
            followers=_floats(columns["followers_count"]),
            known_at=_hours(columns["known_at"]),
            fetched_at=_hours(columns["last_fetched_at"]),
            changed_at=_hours(columns["last_changed_at"]),
            changes=_floats(columns["changes"]),
            flagged_hours=_floats(columns["flagged_hours"]),
            counted_hours=_floats(columns["counted_hours"]),
            change_rate=_floats(columns["change_rate"]),
            is_requested=columns["is_requested"].to_numpy(zero_copy_only=False),
            tenants=columns["tenants_count"].to_numpy(zero_copy_only=False).astype(np.int64),
            impressions=_floats(columns["impressions"]),
            state=_positions(columns["state"], STATES),
            posts=_floats(columns["posts_count"]),
            referrers=_floats(columns["referrers_count"]),
        )

    @property
    def evidence(self) -> Evidence:
        """What was seen of each account. One that never gave windows, but has two times, gives the one since its change.

        That is the case of accounts known from dumps (the "last date of change" of Cho and Garcia-Molina).
        """
        hours = self.flagged_hours + self.counted_hours
        quiet = np.where(hours > 0, 0.0, np.nan_to_num(self.fetched_at - self.changed_at))
        return Evidence(self.changes, self.flagged_hours, self.counted_hours + np.maximum(quiet, 0.0))

    @cached_property
    def has_id(self) -> Mask:
        """Whether the platform's id is known."""
        return _is_given(self.ids)

    @cached_property
    def has_handle(self) -> Mask:
        """Whether a handle is known."""
        return _is_given(self.handles)

    @cached_property
    def keys(self) -> Ids:
        """64 bits that name the account at its source, whatever chunk and row it stands in."""
        names = string_hashes(pa.array(self.sources, pa.string()))[self.source]
        return mix(string_hashes(pc.coalesce(self.ids, self.handles)) ^ mix(names))


def hours_of(when: dt.datetime) -> float:
    """An aware time in hours since 1970."""
    return when.timestamp() / 3600.0


def mix(bits: Ids) -> Ids:
    """SplitMix64's finish: every bit of the input moves every bit of the output."""
    with np.errstate(over="ignore"):
        mixed = bits + SPLIT_MIX[0]
        mixed = (mixed ^ (mixed >> SHIFTS[0])) * SPLIT_MIX[1]
        mixed = (mixed ^ (mixed >> SHIFTS[1])) * SPLIT_MIX[2]
    return np.asarray(mixed ^ (mixed >> SHIFTS[2]), dtype=np.uint64)


def string_hashes(strings: pa.Array) -> Ids:
    """A 64-bit hash of each string, by columns: sum of mixed bytes times powers of an odd number, modulo 2^64. Null is empty."""
    filled = pc.fill_null(strings, "").cast(pa.large_string())
    _, offsets_buffer, data_buffer = filled.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    if not len(filled) or offsets[-1] == offsets[0]:
        return np.zeros(len(filled), dtype=np.uint64)
    data = np.frombuffer(data_buffer, dtype=np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0]
    place = np.arange(len(data), dtype=np.int64) - np.repeat(starts, lengths)
    with np.errstate(over="ignore"):
        powers = np.multiply.accumulate(np.full(int(lengths.max()), RADIX, dtype=np.uint64))
        sums = np.zeros(len(data) + 1, dtype=np.uint64)
        np.cumsum(_BYTES[data] * powers[place], out=sums[1:])
        return np.asarray(mix(sums[starts + lengths] - sums[starts]), dtype=np.uint64)


_BYTES = mix(np.arange(256, dtype=np.uint64))


def _column(table: pa.Table | pa.RecordBatch, field: pa.Field) -> pa.Array:
    column = table.column(field.name).cast(field.type)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _floats(column: pa.Array) -> Floats:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _hours(column: pa.Array) -> Floats:
    return _floats(column.cast(pa.int64())) / MICROS_PER_HOUR


def _positions(column: pa.Array, values: tuple[str, ...]) -> Ints:
    found = pc.index_in(column, pa.array(values))
    if found.null_count:
        unknown = column.filter(pc.is_null(found))[0].as_py()
        raise ValueError(f"{unknown!r} is none of {', '.join(values)}")
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_given(strings: pa.Array) -> Mask:
    lengths = pc.fill_null(pc.binary_length(strings), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False) > 0, dtype=np.bool_)
