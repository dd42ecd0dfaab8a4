"""Instagram's business discovery: one field expression asks for a profile and its media; limits are told in percent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.fetch.answers import dig, records_at
from lakehouse.fetch.connector import ApiRequest, ApiResponse
from lakehouse.fetch.declared import DeclaredConnector, distinct
from lakehouse.fetch.source import Refusal
from lakehouse.fetch.task import Fate, FetchTask, Reading

ACCOUNT_FIELDS = ("id", "ig_id", "username")
PROFILE_FIELDS = (
    "id,ig_id,username,name,biography,website,profile_picture_url,followers_count,follows_count,media_count"
)
MEDIA_FIELDS = "id,caption,comments_count,like_count,media_type,media_product_type,permalink,timestamp,username"
MEDIA_LIMIT = 50
"""Media a page; a profile with its newest page costs one call."""
PAUSE_PERCENT = 80
"""Of the worst percentage in the usage headers, from which calls pause (platforms.md 5)."""
PAUSE_SECONDS = 600.0
PROFILE, MEDIA = "business_discovery", "business_discovery.media.data"
PROFILE_LAYOUT, MEDIA_LAYOUT = "profile", "media"
OWNER = "_account"
"""Key under which a medium carries its account: it names none by itself."""


class InstagramConnector(DeclaredConnector):
    """The API's manners."""

    def request(self, task: FetchTask) -> ApiRequest:
        """The discovery of an account: its profile, with `posts` its newest media too; or a page of its media."""
        plain = super().request(task)
        after = f".after({task.cursor})" if task.cursor else ""
        wanted = ",".join(ACCOUNT_FIELDS) if task.endpoint == MEDIA_LAYOUT else PROFILE_FIELDS
        if task.endpoint == MEDIA_LAYOUT or task.params.get("posts"):
            wanted += f",media{after}.limit({MEDIA_LIMIT}){{{MEDIA_FIELDS}}}"
        return replace(plain, params={"fields": f"{PROFILE}.username({task.keys[0]}){{{wanted}}}"})

    def reading(self, task: FetchTask, response: ApiResponse) -> Reading:
        """What the answer means; near the limit, calls pause."""
        reading = super().reading(task, response)
        if reading.fate is Fate.DONE and max(_percentages(response), default=0.0) >= PAUSE_PERCENT:
            return replace(reading, bucket=self.source.endpoints[task.endpoint].bucket, retry_after=PAUSE_SECONDS)
        return reading

    def refusal(self, task: FetchTask, response: ApiResponse, found: Refusal, reason: str) -> Reading:
        """A refusal; a throttled one says in minutes when calls are welcome again."""
        reading = super().refusal(task, response, found, reason)
        minutes = max((_number(case.get("estimated_time_to_regain_access")) for case in _cases(response)), default=0.0)
        return replace(reading, retry_after=60.0 * minutes) if found.fate is Fate.PARK and minutes > 0 else reading

    def follow_ups(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[FetchTask]:
        """The next page of media, also of those that came with a profile."""
        if task.endpoint == MEDIA_LAYOUT:
            return super().follow_ups(task, document, records)
        media = [record for record in records_at(document, MEDIA) if isinstance(record, dict)]
        return super().follow_ups(replace(task, endpoint=MEDIA_LAYOUT), document, media)

    def rows(self, task: FetchTask, document: Any) -> list[tuple[str, Mapping[str, Any]]]:
        """The profile without its media, and the media with their account."""
        profile = dig(document, PROFILE)
        if not isinstance(profile, dict):
            return distinct(PROFILE_LAYOUT, [profile])
        owner = {name: profile[name] for name in ACCOUNT_FIELDS if name in profile}
        media = distinct(MEDIA_LAYOUT, records_at(document, MEDIA))
        found = [(layout, {**record, OWNER: owner}) for layout, record in media]
        if task.endpoint == MEDIA_LAYOUT:
            return [*found]
        return [(PROFILE_LAYOUT, {name: value for name, value in profile.items() if name != "media"}), *found]


def _percentages(response: ApiResponse) -> Iterator[float]:
    usage = _parsed(response, "x-app-usage")
    for one in [*([usage] if isinstance(usage, dict) else []), *_cases(response)]:
        for name in ("call_count", "total_cputime", "total_time"):
            yield _number(one.get(name))


def _cases(response: ApiResponse) -> list[dict[str, Any]]:
    """Entries of the header of business use cases, whatever account they are of."""
    found = _parsed(response, "x-business-use-case-usage")
    lists = found.values() if isinstance(found, dict) else ()
    return [case for cases in lists if isinstance(cases, list) for case in cases if isinstance(case, dict)]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _parsed(response: ApiResponse, header: str) -> Any:
    try:
        return json.loads(response.headers.get(header, ""))
    except ValueError:
        return None
