"""The one mapping from our errors to Dagster's: whether a retry can help, and one sentence for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Backoff, Failure, Jitter, RetryPolicy

from lakehouse.errors import CreatorlakeError

RETRIES = RetryPolicy(max_retries=2, delay=10, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""For transient faults. Run retries must not multiply with it (`retry_on_asset_or_op_failure: false`)."""


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn a `CreatorlakeError` into a Dagster `Failure` that retries only where a retry can help."""
    try:
        yield
    except CreatorlakeError as error:
        raise Failure(description=str(error), allow_retries=error.can_retry) from error
