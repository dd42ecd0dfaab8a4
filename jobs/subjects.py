"""What commands are given to name accounts and creators of a lake, looked up without Spark."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.evidence import Account
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.identity.nodes import NO_ID
from lakehouse.silver.handles import handle_key
from lakehouse.storage.lake import Lake

KEY = ACCOUNTS.key


def accounts_of(lake: Lake, subject: str) -> list[Account]:
    """The accounts that a subject names: `platform:id`, `platform:@handle`, or a creator's id, which means all of its.

    Raises:
        PermanentError: the subject is none of these, or its handle was borne by several accounts.
        NotFoundError: the lake has no such account or creator.
    """
    platform, mark, name = subject.partition(":")
    if not mark:
        return members_of(lake, subject)
    if platform not in PLATFORMS or not name:
        raise PermanentError(f"{subject} is neither platform:id, platform:@handle nor a creator's id.")
    handle = handle_key(name.removeprefix(NO_ID)) if name.startswith(NO_ID) else None
    found = [
        account_id
        for batch in lake.stream(ACCOUNTS, (*KEY, "handle_key"))
        for account_id in batch.filter(_is_named(batch, platform, name, handle)).column(KEY[1]).to_pylist()
    ]
    if not found:
        raise NotFoundError(f"This lake has no account {subject}.")
    own = [account_id for account_id in found if not account_id.startswith(NO_ID)] or found
    if len(own) > 1:
        raise PermanentError(f"{subject} was borne by several accounts: {', '.join(sorted(own))}; name one by its id.")
    return [(platform, own[0])]


def _is_named(batch: pa.RecordBatch, platform: str, name: str, handle: str | None) -> pa.Array:
    is_it = pc.equal(batch.column(KEY[1]), name)
    if handle is not None:
        is_it = pc.or_(is_it, pc.fill_null(pc.equal(batch.column("handle_key"), handle), fill_value=False))
    return pc.and_(pc.equal(batch.column(KEY[0]), platform), is_it)


def members_of(lake: Lake, creator_id: str) -> list[Account]:
    """Accounts of a creator, by its id or one that became its alias.

    Raises:
        NotFoundError: the lake has no such creator.
    """
    current = dict(_pairs(lake, creator_id)).get(creator_id, creator_id)
    found: list[Account] = []
    for batch in lake.stream(CREATOR_IDS, (*KEY, "creator_id")):
        own = batch.filter(pc.equal(batch.column("creator_id"), current))
        found += zip(*(own.column(name).to_pylist() for name in KEY), strict=True)
    if not found:
        raise NotFoundError(f"This lake has no creator {creator_id}.")
    return sorted(found)


def _pairs(lake: Lake, alias: str) -> Iterator[tuple[str, str]]:
    for batch in lake.stream(CREATOR_ALIASES, ("alias_id", "creator_id")):
        own = batch.filter(pc.equal(batch.column("alias_id"), alias))
        yield from zip(own.column("alias_id").to_pylist(), own.column("creator_id").to_pylist(), strict=True)
