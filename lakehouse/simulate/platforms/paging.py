"""Page tokens: opaque, signed, bound to the query that they continue, and valid for a while only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MAX_AGE_SECONDS = 86_400
"""A token older than a day is refused. The platforms state no number; they say that tokens expire."""
SIGNATURE_BYTES = 9
NUMBER_BYTES = 8
BODY_BYTES = 2 * NUMBER_BYTES


class BadTokenError(Exception):
    """Not a token of this emulator, one of another query, or too old."""


class Pager:
    """Makes and reads tokens of one seed."""

    def __init__(self, seed: int) -> None:
        """Tokens of another seed are foreign."""
        self._key = hashlib.blake2b(f"pages/{seed}".encode(), digest_size=32).digest()

    def token(self, query: str, offset: int, now: float) -> str:
        """A token that goes on at `offset` of the list that `query` describes."""
        body = offset.to_bytes(NUMBER_BYTES, "big") + int(now).to_bytes(NUMBER_BYTES, "big")
        return base64.urlsafe_b64encode(body + self._signature(query, body)).decode().rstrip("=")

    def offset(self, query: str, token: str, now: float) -> int:
        """Where a token goes on.

        Raises:
            BadTokenError: nothing goes on there.
        """
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise BadTokenError(token) from error
        body, signature = raw[:BODY_BYTES], raw[BODY_BYTES:]
        if not hmac.compare_digest(signature, self._signature(query, body)):
            raise BadTokenError(token)
        if not 0 <= now - int.from_bytes(body[NUMBER_BYTES:], "big") <= MAX_AGE_SECONDS:
            raise BadTokenError(token)
        return int.from_bytes(body[:NUMBER_BYTES], "big")

    def _signature(self, query: str, body: bytes) -> bytes:
        return hashlib.blake2b(query.encode() + b"\0" + body, key=self._key, digest_size=SIGNATURE_BYTES).digest()
