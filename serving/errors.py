"""What the service answers instead of a result. Each error knows its status; `app.py` turns it into JSON once.

Failures of the lake keep the tree of `lakehouse/errors.py`; here are only those that a caller can act on.
"""

from __future__ import annotations

from typing import Any

from lakehouse.errors import CreatorlakeError


class RequestError(CreatorlakeError):
    """A request that cannot be answered as it is."""

    status = 422

    def __init__(
        self, code: str, message: str, *, field: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        """Describe it: `code` for programs, `message` for people, `field` as a dotted path into the body."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        """JSON body of the answer."""
        return {
            "error": {"code": self.code, "message": self.message, "details": self.details, "field": self.field},
        }


class BadRequestError(RequestError):
    """Not even readable."""

    status = 400


class UnknownError(RequestError):
    """What was asked for does not exist."""

    status = 404


class GoneError(RequestError):
    """It existed in a snapshot that is not served any more."""

    status = 409


class TooLargeError(RequestError):
    """The body is longer than allowed."""

    status = 413


class NotReadyError(RequestError):
    """No snapshot answers yet."""

    status = 503
