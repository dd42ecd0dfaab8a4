"""What a failure inside an engine (or a full disk under anything) means: can a retry help, and one sentence for the user.

The list is read top to bottom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.errors import CreatorlakeError, PermanentError, TransientError

MEANINGS: tuple[tuple[str, type[CreatorlakeError], str], ...] = (
    (
        r"No space left on device|Disk quota exceeded|ENOSPC|File too large|database or disk is full|disk I/O error",
        PermanentError,
        "the disk is full; free some space and start again, what was finished stays",
    ),
    (
        r"java\.lang\.OutOfMemoryError|Java heap space",
        PermanentError,
        "Spark ran out of memory; raise CREATORLAKE_SPARK_DRIVER_MEMORY",
    ),
    (
        r"RequestTimeTooSkewed",
        PermanentError,
        "the store refuses requests because this machine's clock is wrong; set it by NTP",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|(?i:status(?: code)?:? )40[13]\b",
        PermanentError,
        "the store refuses these credentials",
    ),
    (
        r"Concurrent\w*Exception|MetadataChangedException|ProtocolChangedException|FileAlreadyExistsException",
        TransientError,
        "another writer changed the table meanwhile",
    ),
    (
        r"SlowDown|(?i:status(?: code)?:? )(?:409|429|5\d\d)\b|Generic S3 error|"
        r"AWSStatus500|AWSServiceThrottled|NoHttpResponse|SocketException|"
        r"SocketTimeout|ConnectException|ConnectTimeout|Connection (?:reset|refused|pool shut down)|"
        r"Unable to execute HTTP request|AWSApiCallTimeout|ApiCallAttemptTimeout",
        TransientError,
        "the store does not answer, or answers that it is busy",
    ),
    (
        r"Py4JNetworkError|Answer from Java side is empty|Error while sending or receiving|Py4JError: .* does not exist in the JVM",
        PermanentError,
        "Spark's Java process ended, perhaps for want of memory; start again",
    ),
)
"""Pattern in the whole text of the failure with its Java causes, kind, and what to say."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn a failure of Spark, delta-rs or DuckDB that has a known meaning into one of ours; others pass.

    Args:
        what: the step, which begins the sentence.
    """
    import duckdb
    from deltalake.exceptions import DeltaError
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, DeltaError, duckdb.Error, OSError) as error:
        if meaning := meaning_of(f"{type(error).__name__}: {error}"):
            kind, sentence = meaning
            raise kind(f"{what}: {sentence}.") from error
        raise


def meaning_of(text: str) -> tuple[type[CreatorlakeError], str] | None:
    """Kind of error and sentence for the text of a failure, None for one that is not listed."""
    found = ((kind, sentence) for pattern, kind, sentence in MEANINGS if re.search(pattern, text))
    return next(found, None)
