"""Accounts whose owners asked to be forgotten: known by a keyed digest alone, so the list itself names nobody.

Whoever holds the list and the pepper can tell whether a given account is on it, and nothing else. `lakehouse/ops/erasure.py`
writes the list.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from lakehouse.contracts.layout import ERASURES, RETENTION
from lakehouse.storage.objects import ObjectStore

_CONTEXT = b"erased:v1\0"


def subject_digest(platform: str, account_id: str, *, pepper: bytes) -> str:
    """HMAC-SHA256 (hex) of an account's key under the lake's pepper."""
    return hmac.digest(pepper, _CONTEXT + f"{platform}\0{account_id}".encode(), "sha256").hex()


def is_erased(platform: str, account_id: object, *, pepper: bytes, erased: frozenset[str]) -> bool:
    """Whether an account is among the digests."""
    return bool(erased) and subject_digest(platform, str(account_id), pepper=pepper) in erased


def erased_subjects(objects: ObjectStore) -> frozenset[str]:
    """Digests of all accounts that were ever asked to be forgotten."""
    return frozenset(info.key.rsplit("/", 1)[-1] for info in objects.list(ERASURES))


def last_erasure(objects: ObjectStore) -> datetime | None:
    """When rows were last taken out on purpose: the list of accounts or what it took out changed, or rows expired.

    None where neither ever happened. Whatever is older may hold what must not be kept.
    """
    places = (info.modified_at for prefix in (ERASURES, RETENTION.partition("/")[0]) for info in objects.list(prefix))
    return max(places, default=None)
