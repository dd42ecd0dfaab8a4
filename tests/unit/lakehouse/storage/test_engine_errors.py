"""What a failure inside an engine means to whoever has to act on it."""

from __future__ import annotations

import pytest

from lakehouse.errors import PermanentError, TransientError
from lakehouse.storage.engine_errors import MEANINGS, meaning_of, told

CASES = [
    ("java.io.IOException: No space left on device", PermanentError, "disk is full"),
    ("Caused by: java.lang.OutOfMemoryError: Java heap space", PermanentError, "out of memory"),
    ("S3Exception: (Service: S3, Status Code: 403, Request ID: x) RequestTimeTooSkewed", PermanentError, "clock"),
    ("software.amazon.awssdk...S3Exception: null (Service: S3, Status Code: 403)", PermanentError, "credentials"),
    ("io.delta.exceptions.ConcurrentAppendException: Files were added", TransientError, "another writer"),
    ("AWSServiceThrottledException: (Service: S3, Status Code: 503, Request ID: 1): SlowDown", TransientError, "busy"),
    ("OSError: Generic S3 error: Error performing GET: non-2xx status code: 503", TransientError, "does not answer"),
    ("OSError: Kernel error: status code: 403 Forbidden: <Code>AccessDenied</Code>", PermanentError, "credentials"),
    ("java.net.SocketException: Connection reset", TransientError, "does not answer"),
    ("Py4JNetworkError: Answer from Java side is empty", PermanentError, "Java process ended"),
]


@pytest.mark.parametrize(("text", "kind", "sentence"), CASES)
def test_a_known_failure_is_told_in_a_sentence(text, kind, sentence):
    found = meaning_of(text)
    assert found is not None
    assert found[0] is kind
    assert sentence in found[1]


def test_every_meaning_has_a_case():
    assert {meaning_of(text)[1] for text, _, _ in CASES} == {sentence for _, _, sentence in MEANINGS}


def test_a_bug_keeps_its_own_face():
    with pytest.raises(ZeroDivisionError), told("step"):
        _ = 1 // 0
    with pytest.raises(ConnectionError, match="odd"), told("step"):
        raise ConnectionError("odd")
    with pytest.raises(TransientError, match=r"^step: the store does not answer"), told("step"):
        raise ConnectionResetError("SocketException: Connection reset")
