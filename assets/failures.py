"""The one mapping from our errors to Dagster's: whether a retry can help, and one sentence for the user.

Assets carry no retry policy: with one, Dagster would also repeat a step that was interrupted, and any bug.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Failure, RetryRequested

from lakehouse.errors import CreatorlakeError

RETRIES = 2
"""Attempts after the first, for transient faults only. Run retries must not multiply with them
(`retry_on_asset_or_op_failure: false`)."""
FIRST_WAIT_SECONDS = 10
"""Before the first retry; doubled before each further one."""


@contextmanager
def mapped_errors(attempt: int = 0) -> Iterator[None]:
    """Turn a `CreatorlakeError` into a Dagster `Failure`, or into a retry where one can help.

    Args:
        attempt: retries so far.
    """
    try:
        yield
    except CreatorlakeError as error:
        if error.can_retry and attempt < RETRIES:
            raise RetryRequested(RETRIES, FIRST_WAIT_SECONDS * 2**attempt) from error
        raise Failure(description=str(error), allow_retries=False) from error
