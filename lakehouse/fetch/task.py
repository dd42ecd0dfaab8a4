"""Units of fetch work and what came of them. Values only; queues carry tasks, connectors read answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

KEY_CHARS = 32
"""Hex digits of a task's key: 128 bits."""


class Priority(IntEnum):
    """Order of work: smaller is sooner."""

    DUTY = 0
    """Data that must be refreshed or deleted soon, erasures, compliance."""
    LIVE = 1
    """What the planner chose for this hour."""
    FOLLOW_UP = 2
    """Further pages, posts of accounts whose counts moved, newly found accounts."""
    BACKFILL = 3
    """Everything else; never takes quota that live work needs."""


@dataclass(frozen=True, slots=True)
class FetchTask:
    """One request to make: an endpoint of a source, the keys to ask for, and where in a list to go on.

    `keys` are ids or handles, as the endpoint says, or one key of a list (a channel's uploads). `params` are further
    parameters of the endpoint by their neutral names (`since`, `until`). `cycle` sets one round of refresh apart from
    the next, so that equal tasks of one round are one. `ids` are the platform's ids of keys that are handles, empty where
    they are not known: what is said of a handle is said of that account.
    """

    source: str
    endpoint: str
    keys: tuple[str, ...]
    cursor: str = ""
    priority: Priority = Priority.LIVE
    cycle: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()

    def id_of(self, key: str) -> str:
        """The known id of a handle among the keys, whatever its case; empty without one."""
        if len(self.ids) != len(self.keys):
            return ""
        folded = key.casefold()
        return next((own for own, name in zip(self.ids, self.keys, strict=True) if name.casefold() == folded), "")

    @property
    def key(self) -> str:
        """What makes two tasks one, whatever their priority."""
        body = [self.source, self.endpoint, list(self.keys), self.cursor, self.cycle, dict(sorted(self.params.items()))]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()[:KEY_CHARS]

    def to_json(self) -> str:
        """The task as one line of JSON."""
        return json.dumps(asdict(self) | {"priority": int(self.priority)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FetchTask:
        """Read a task back."""
        body: dict[str, Any] = json.loads(text)
        return cls(
            **body | {"keys": tuple(body["keys"]), "ids": tuple(body["ids"]), "priority": Priority(body["priority"])}
        )


class AccountState(StrEnum):
    """What a platform says of an account besides its profile."""

    ACTIVE = "active"
    PRIVATE = "private"
    DELETED = "deleted"
    SUSPENDED = "suspended"
    INELIGIBLE = "ineligible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sighting:
    """An account was asked for and is in this state. `key` is the id or handle that was asked for."""

    key: str
    state: AccountState
    reason: str = ""


class Fate(StrEnum):
    """What the worker does with a task after an answer."""

    DONE = "done"
    """Land the answer and forget the task."""
    RETRY = "retry"
    """Ask again later: throttled, a server's fault, an answer that makes no sense."""
    PARK = "park"
    """A quota ended: nothing of its bucket is asked before `retry_at`; the task stays."""
    STOP = "stop"
    """The source refuses us (key, token, permission): nothing of it is asked until somebody acts."""
    SPLIT = "split"
    """One of the keys is malformed: ask for two halves instead."""
    DEAD = "dead"
    """No retry can help this task: dead-letter queue with its reason."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A connector's reading of one answer.

    `rows` counts the resources that the platform returned and bills. `retry_after` (seconds) and `retry_at` (Unix time) say
    when to come back, None where the answer does not. `bucket` is what ended: a bucket, a family of endpoints, or empty for
    the source; with `DONE` it is left alone from now on. `follow_ups` are further tasks: the next page, posts.
    """

    fate: Fate = Fate.DONE
    reason: str = ""
    rows: int = 0
    retry_after: float | None = None
    retry_at: float | None = None
    bucket: str = ""
    sightings: tuple[Sighting, ...] = ()
    follow_ups: tuple[FetchTask, ...] = ()
