"""Which queue a lake uses: the setting `fetch_queue` read, nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import sqlalchemy as sa

from lakehouse.fetch.queue import FetchQueue
from lakehouse.fetch.queue_sql import SqlQueue
from lakehouse.fetch.queue_sqs import SqsQueue
from lakehouse.settings import Settings

QUEUE_FILE = "fetch/queue.db"
SQS_SCHEME = "sqs://"


def open_queue(settings: Settings, *, now: Callable[[], dt.datetime] | None = None) -> FetchQueue:
    """The queue of these settings; the caller closes it.

    Raises:
        SettingsError: the setting names no queue of a kind that we have.
        TransientError: the database does not answer.
        PermanentError: the database refuses.
    """
    address = settings.fetch_queue.get_secret_value() if settings.fetch_queue else ""
    if not address:
        return SqlQueue(sa.URL.create("sqlite", database=str(settings.home / QUEUE_FILE)), now=now)
    if not address.startswith(SQS_SCHEME):
        return SqlQueue(address, now=now)
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return SqsQueue(
        address.removeprefix(SQS_SCHEME),
        region=settings.s3_region,
        endpoint=settings.sqs_endpoint,
        access_key=key.get_secret_value() if key else "",
        secret_key=secret.get_secret_value() if secret else "",
        now=now,
    )
