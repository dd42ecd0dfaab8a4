"""Opaque page marks: snapshot, hash of the request, offset and day, signed so that nobody can make one up."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import date

from serving.errors import BadRequestError, GoneError

SIGNATURE_BYTES = 16
"""128 bits: not to be guessed, and the cursor stays short."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page starts. `day` is the clock of `max_age_days`, which must not tick between pages."""

    snapshot_id: str
    request_key: str
    offset: int
    day: date


def encode_cursor(cursor: Cursor, secret: bytes) -> str:
    """Signed text of a cursor."""
    fields = [cursor.snapshot_id, cursor.request_key, cursor.offset, cursor.day.isoformat()]
    payload = json.dumps(fields, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_signature(payload, secret) + payload).decode().rstrip("=")


def decode_cursor(text: str, secret: bytes) -> Cursor:
    """Cursor of a text that this service signed.

    Raises:
        BadRequestError: it is not one.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(payload, secret)):
        raise _invalid()
    snapshot_id, request_key, offset, day = json.loads(payload)
    return Cursor(snapshot_id, request_key, offset, date.fromisoformat(day))


def require_same(cursor: Cursor, *, snapshot_id: str, request_key: str) -> None:
    """Refuse a cursor of another snapshot or another request.

    Raises:
        GoneError: its snapshot is not served any more.
        BadRequestError: the request changed.
    """
    if cursor.snapshot_id != snapshot_id:
        raise GoneError(
            "snapshot_gone",
            f"The cursor belongs to snapshot {cursor.snapshot_id}; {snapshot_id} is served now. Start again.",
            field="cursor",
            details={"cursor_snapshot": cursor.snapshot_id, "served_snapshot": snapshot_id},
        )
    if cursor.request_key != request_key:
        raise BadRequestError("invalid_cursor", "The cursor belongs to another request.", field="cursor")


def _invalid() -> BadRequestError:
    return BadRequestError("invalid_cursor", "The cursor is damaged or was not made by this service.", field="cursor")


def _signature(payload: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, payload, hashlib.sha256).digest()[:SIGNATURE_BYTES]
