"""Connectors never raise, whatever comes, and say nothing of accounts that nobody asked for."""

from __future__ import annotations

import json

import pytest
from api_answers import connector, landed, sources, task
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.fetch.connector import ApiResponse
from lakehouse.fetch.task import Fate

pytestmark = pytest.mark.properties

ENDPOINTS = [(name, endpoint) for name in sorted(sources()) for endpoint in sources()[name].endpoints]
WORDS = (
    "kind items data errors error meta business_discovery media user videos snippet id code type value reason paging cursors "
    "after next_token nextPageToken statistics cursor search_id has_more entities contentDetails protected create_time "
    "timestamp error_subcode"
)
NAMES = st.sampled_from(WORDS.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "ok", "oat", "7", "é"])
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "date",
            "x-rate-limit-reset",
            "x-rate-limit-remaining",
            "x-app-usage",
            "x-business-use-case-usage",
        ]
    ),
    st.sampled_from(
        ["", "0", "-1", "1e309", "Fri, 20 Nov 2026 12:00:00 GMT", "{}", '{"1": [{"call_count": "x"}]}', "[1]"]
    ),
    max_size=3,
)
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 402, 403, 404, 429, 500, 503])


@given(
    place=st.sampled_from(ENDPOINTS),
    document=DOCUMENTS,
    status=STATUSES,
    headers=HEADERS,
    cursor=st.sampled_from(["", "7"]),
    since=st.sampled_from(["", "2026-01-01"]),
)
def test_every_answer_is_read(
    place: tuple[str, str], document: object, status: int, headers: dict[str, str], cursor: str, since: str
) -> None:
    source, endpoint = place
    params = {"posts": "1"} | ({"since": since, "until": "2026-02-01"} if since else {})
    asked = task(source, endpoint, "oat", cursor=cursor, params=params)
    response = ApiResponse(status, headers, json.dumps(document).encode(), document)
    reading = connector(source).read(asked, response)
    assert {one.key for one in reading.sightings} <= {"oat"}
    assert all(one.endpoint in sources()[source].endpoints for one in reading.follow_ups)
    assert reading.retry_after is None or reading.retry_after > 0
    if reading.fate is Fate.DONE and not reading.reason:
        assert 200 <= status < 300
        for layout, row in connector(source).rows(asked, document):
            assert layout
            assert isinstance(row, dict)
        assert landed(asked, document) is not None
