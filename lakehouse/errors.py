"""The exception tree. Every failure says whether a retry can help; `retry` is mapped once to Dagster.

CreatorlakeError
├── TransientError          retry later: network, throttling, a lost lease
├── PermanentError          a retry cannot help: bad configuration, missing input
│   ├── SettingsError
│   └── NotFoundError
├── QuotaExhaustedError     a budget ended; the cursor is saved, the run is a success
└── ContractError           data breaks a declared rule: schema, key, checksum
    ├── SchemaError
    └── IntegrityError      bytes are not what their checksum says
"""

from __future__ import annotations


class CreatorlakeError(Exception):
    """Root of all errors raised on purpose; its message is one sentence for the user."""

    can_retry = False


class TransientError(CreatorlakeError):
    """A retry can help."""

    can_retry = True


class PermanentError(CreatorlakeError):
    """A retry cannot help."""


class SettingsError(PermanentError):
    """A setting is missing or wrong."""


class NotFoundError(PermanentError):
    """Something that was asked for does not exist."""


class QuotaExhaustedError(CreatorlakeError):
    """A budget ended; the cursor is saved."""


class ContractError(CreatorlakeError):
    """Data breaks a declared rule."""


class SchemaError(ContractError):
    """Columns or types differ from the declaration."""


class IntegrityError(ContractError):
    """Bytes differ from their checksum, or a write-once object exists with other content."""
