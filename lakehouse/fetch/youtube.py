"""YouTube Data API v3: what its declaration cannot say. Uploads of a channel, videos of a list, channels of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.fetch.answers import dig, moment
from lakehouse.fetch.connector import ApiRequest
from lakehouse.fetch.declared import PAGES, DeclaredConnector, after
from lakehouse.fetch.task import FetchTask

UPLOADS = "contentDetails.relatedPlaylists.uploads"
CHANNEL_PREFIX, UPLOADS_PREFIX = "UC", "UU"
"""A channel's uploads are the playlist of the same id with another beginning."""
UPLOADED_AT, VIDEO_ID, FOUND_ID = "contentDetails.videoPublishedAt", "contentDetails.videoId", "snippet.channelId"


class YouTubeConnector(DeclaredConnector):
    """The API's manners."""

    def request(self, task: FetchTask) -> ApiRequest:
        """The request of a task; a list of uploads may be named by its channel too."""
        if task.endpoint != "playlist_items":
            return super().request(task)
        return super().request(replace(task, keys=tuple(map(_uploads, task.keys))))

    def follow_ups(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[FetchTask]:
        """Of channels, with `posts`, their uploads; of uploads, the videos; of a search, the channels; and the next page."""
        match task.endpoint:
            case "channels" | "channels_by_handle" if task.params.get("posts"):
                lists = [str(found) for record in records if (found := dig(record, UPLOADS))]
                asked = replace(task, endpoint="playlist_items", priority=after(task), ids=())
                return [replace(asked, keys=(key,)) for key in lists]
            case "playlist_items":
                wanted = [record for record in records if _is_within(task, dig(record, UPLOADED_AT))]
                following = self._lookups(task, "videos", [dig(record, VIDEO_ID) for record in wanted])
            case "search":
                following = self._lookups(task, "channels", [dig(record, FOUND_ID) for record in records])
            case _:
                following = []
        return [*following, *super().follow_ups(task, document, records)]

    def _lookups(self, task: FetchTask, endpoint: str, keys: Sequence[Any]) -> list[FetchTask]:
        """Tasks that look up what a list names."""
        ids = list(dict.fromkeys(str(key) for key in keys if key))
        params = {name: value for name, value in task.params.items() if name != PAGES}
        size = self.source.endpoints[endpoint].batch
        asked = replace(task, endpoint=endpoint, cursor="", priority=after(task), params=params, ids=())
        return [replace(asked, keys=tuple(ids[start : start + size])) for start in range(0, len(ids), size)]


def _uploads(key: str) -> str:
    return UPLOADS_PREFIX + key.removeprefix(CHANNEL_PREFIX) if key.startswith(CHANNEL_PREFIX) else key


def _is_within(task: FetchTask, published: Any) -> bool:
    """Whether a video lies in the time that a task wants; one without a time does."""
    at, since, until = moment(published), moment(task.params.get("since")), moment(task.params.get("until"))
    return at is None or ((since is None or at >= since) and (until is None or at < until))
