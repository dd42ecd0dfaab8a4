"""The YouTube Data API v3 as far as a reader of public channels needs it: channels, playlistItems, videos, search."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NoReturn

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, poisoned
from lakehouse.simulate.platforms.paging import BadTokenError
from lakehouse.simulate.platforms.quotas import PACIFIC, PeriodMeter, day_of
from lakehouse.simulate.platforms.registry import Profile, State
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import (
    Answer,
    Call,
    Fields,
    RefusedError,
    arr,
    charged,
    obj,
    text,
    unknown_names,
    whole,
)
from lakehouse.simulate.platforms.youtube_items import channel_fields, playlist_item, search_item, video_fields

BASE = "/youtube/v3/"
KEY_PREFIX = "yt-"
"""Valid keys start so; each is a project of its own."""
MOST_IDS = 50
DEFAULT_RESULTS, MOST_RESULTS = 5, 50
SEARCH_TOTAL = 1_000_000
"""What searches give as their total, whatever they find."""
UPLOADS_PREFIX = "UU"
COMMON = frozenset({"key", "part", "alt", "prettyPrint", "quotaUser", "hl"})
CHANNEL_PARTS = (
    "id", "snippet", "statistics", "contentDetails", "topicDetails", "brandingSettings", "status", "localizations",
)  # fmt: skip
OWNER_PARTS = frozenset({"auditDetails", "contentOwnerDetails"})
PLAYLIST_PARTS = ("id", "snippet", "contentDetails", "status")
VIDEO_PARTS = ("id", "snippet", "statistics", "contentDetails", "status", "topicDetails", "player", "localizations")
SEARCH_PARTS = ("id", "snippet")
SEARCH_PARAMETERS = frozenset(
    {"q", "type", "channelId", "order", "publishedAfter", "publishedBefore", "regionCode", "relevanceLanguage",
     "safeSearch", "maxResults", "pageToken", "topicId", "channelType"}
)  # fmt: skip
PROBLEM_MESSAGES = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


class YouTube:
    """Emulates the API over the world's channels."""

    name = "youtube"

    def __init__(self, emulator: Emulator) -> None:
        """Fresh meters over the emulator's world."""
        self._emulator = emulator
        self._book = emulator.registry.book(self.name)
        self._units, self._searches = PeriodMeter(), PeriodMeter()
        self._routes: dict[str, Callable[[Call], Answer]] = {
            "channels": self._channels,
            "playlistItems": self._playlist_items,
            "videos": self._videos,
            "search": self._search,
        }
        self._search_texts: list[str] = []

    def answer(self, call: Call) -> Answer:
        """Answer a call; each costs a unit, also the invalid ones."""
        handler = self._enter(call)
        return charged(lambda: handler(call))

    def refusal(self, call: Call, fault: str) -> Answer:
        """What the API says to each kind of fault."""
        if fault in {Fault.SERVER_ERROR, Fault.UNAVAILABLE}:
            self._enter(call)
            code = 500 if fault == Fault.SERVER_ERROR else 503
            return problem(code, "backendError", "Backend Error", domain="global", status="UNAVAILABLE")._replace(
                units=1
            )
        self._identify(call)
        return _rate_limited() if fault == Fault.RATE_LIMITED else _quota_exceeded()

    def _identify(self, call: Call) -> Callable[[Call], Answer]:
        name = call.path.removeprefix(BASE)
        handler = self._routes.get(name)
        if handler is None or call.method != "GET":
            raise RefusedError(problem(404, "notFound", "Not Found", domain="global"))
        call.endpoint = name
        call.credential = call.headers.get("X-Goog-Api-Key") or call.params.get("key", "")
        if not call.credential:
            message = (
                "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity."
            )
            raise RefusedError(problem(403, "forbidden", message, domain="global")._replace(is_refused=True))
        if not call.credential.startswith(KEY_PREFIX):
            message = "API key not valid. Please pass a valid API key."
            raise RefusedError(problem(400, "keyInvalid", message, domain="usageLimits")._replace(is_refused=True))
        return handler

    def _enter(self, call: Call) -> Callable[[Call], Answer]:
        """Charge the call to its bucket of the Pacific day."""
        handler, quotas = self._identify(call), self._emulator.quotas
        is_search = call.endpoint == "search"
        meter = self._searches if is_search else self._units
        limit = quotas.youtube_searches_per_day if is_search else quotas.youtube_units_per_day
        day = day_of(call.now, PACIFIC)
        if meter.used(call.credential, day) >= limit:
            raise RefusedError(_quota_exceeded())
        meter.add(call.credential, day, 1)
        return handler

    def _channels(self, call: Call) -> Answer:
        filters = ("id", "forHandle", "forUsername", "mine", "managedByMe", "mySubscribers", "categoryId")
        _check_names(call, {*filters, "maxResults", "pageToken"})
        names = _parts(call, CHANNEL_PARTS, OWNER_PARTS)
        chosen_filter = _one_filter(call, filters)
        if chosen_filter not in {"id", "forHandle", "forUsername"}:
            _refuse(403, "forbidden", "The request is not properly authorized.", domain="global")
        rows = self._rows_of(call, chosen_filter)
        size, offset = self._page(call, default=DEFAULT_RESULTS, low=0)
        states = [state for row in rows if not (state := self._book.state(row, call.seen_at)).is_gone]
        items = [self._channel(state, names) for state in states[offset : offset + size]]
        return self._listed(call, "channel", items, offset=offset, size=size, total=len(states))

    def _rows_of(self, call: Call, filter_name: str) -> list[int]:
        value = call.params[filter_name]
        if filter_name == "id":
            ids = dict.fromkeys(_ids(value))
            return sorted(row for one in ids if (row := self._book.row_of_id(one)) is not None)
        row = self._book.row_of_handle(value.removeprefix("@"), call.seen_at)
        return [] if row is None else [row]

    def _channel(self, state: State, names: tuple[str, ...]) -> str:
        fields = channel_fields(state, names, self._emulator.drift)
        if self._emulator.faults.is_poison(self.name, state.platform_id, state.profile.account):
            fields = poisoned(fields)
        return obj(fields)

    def _playlist_items(self, call: Call) -> Answer:
        _check_names(call, {"playlistId", "id", "videoId", "maxResults", "pageToken"})
        names = _parts(call, PLAYLIST_PARTS, frozenset())
        if _one_filter(call, ("playlistId", "id")) == "id":
            _refuse(400, "invalidFilters", "Items cannot be looked up by their ids here.", domain="youtube.parameter")
        owner = self._owner_of(call)
        posts = self._posts(owner.profile, call)
        if call.params.get("videoId"):
            posts = [post for post in posts if post.post_id == call.params["videoId"]]
        size, offset = self._page(call, default=DEFAULT_RESULTS, low=0)
        items = [
            playlist_item(owner, post, names, place) for place, post in enumerate(posts[offset : offset + size], offset)
        ]
        return self._listed(call, "playlistItem", items, offset=offset, size=size, total=len(posts))

    def _owner_of(self, call: Call) -> State:
        """The channel whose uploads a playlist has."""
        playlist = call.params["playlistId"]
        row = self._book.row_of_id(f"UC{playlist.removeprefix(UPLOADS_PREFIX)}")
        state = None if row is None or not playlist.startswith(UPLOADS_PREFIX) else self._book.state(row, call.seen_at)
        if state is None or state.is_gone:
            message = "The playlist identified with the request's <code>playlistId</code> parameter cannot be found."
            raise RefusedError(problem(404, "playlistNotFound", message, domain="youtube.playlistItem"))
        return state

    def _videos(self, call: Call) -> Answer:
        _check_names(call, {"id", "chart", "myRating", "maxResults", "pageToken", "regionCode", "videoCategoryId"})
        names = _parts(call, VIDEO_PARTS, frozenset({"fileDetails", "processingDetails", "suggestions"}))
        if _one_filter(call, ("id", "chart", "myRating")) != "id":
            _refuse(403, "forbidden", "The request is not properly authorized.", domain="global")
        if {"maxResults", "pageToken"} & call.params.keys():
            _refuse(400, "incompatibleParameters", "Incompatible parameters specified in the request: id, maxResults",
                    domain="youtube.parameter")  # fmt: skip
        items = []
        for video_id in dict.fromkeys(_ids(call.params["id"])):
            found = self._emulator.timelines[self.name].find_video(video_id, call.seen_at)
            if found is not None and not self._book.state(found[0].row, call.seen_at).is_gone:
                items.append(obj(video_fields(*found, names, call.seen_at, self._emulator.drift)))
        return self._listed(call, "video", items, offset=0, size=max(len(items), 1), total=len(items))

    def _search(self, call: Call) -> Answer:
        _check_names(call, SEARCH_PARAMETERS)
        _parts(call, SEARCH_PARTS, frozenset())
        if call.params.get("type", "") != "channel":
            _refuse(
                400, "invalidParameter", "Only type=channel is served.", domain="youtube.parameter", location="type"
            )
        size, offset = self._page(call, default=DEFAULT_RESULTS, low=0)
        states = self._found(call, offset + size + 1)
        items = [search_item(state) for state in states[offset : offset + size]]
        return self._listed(
            call, "search", items, offset=offset, size=size, total=len(states), shown_total=SEARCH_TOTAL
        )

    def _found(self, call: Call, most: int) -> list[State]:
        """Channels that have every word of the query in handle, title or description; in no particular order."""
        if not self._search_texts:
            states = self._emulator.registry.states(self.name, self._emulator.clock.seconds())
            self._search_texts = [f"{s.handle} {s.profile.display_name} {s.bio}".lower() for s in states]
        query = call.params.get("q", "").lower().split()
        country = call.params.get("regionCode", "")
        found: list[State] = []
        for row, words in enumerate(self._search_texts):
            if all(word in words for word in query):
                state = self._book.state(row, call.seen_at)
                if not state.is_gone and (not country or state.profile.country == country):
                    found.append(state)
            if len(found) >= most:
                break
        return found

    def _posts(self, profile: Profile, call: Call) -> list[Post]:
        return self._emulator.timelines[self.name].of(profile, call.seen_at)

    def _page(self, call: Call, *, default: int, low: int) -> tuple[int, int]:
        """Items a page, and where it starts."""
        given = call.params.get("maxResults")
        size = default if given is None else whole(given, low, MOST_RESULTS)
        if size is None:
            message = f"Invalid value '{given}'. Values must be within the range: [{low}, {MOST_RESULTS}]"
            _refuse(400, "invalidParameter", message, domain="youtube.parameter", location="maxResults")
        token = call.params.get("pageToken", "")
        if not token:
            return size, 0
        try:
            return size, self._emulator.pager.offset(_query(call), token, call.now)
        except BadTokenError:
            _refuse(400, "invalidPageToken", "The request specifies an invalid page token.", location="pageToken",
                    domain=f"youtube.{call.endpoint.removesuffix('s')}")  # fmt: skip

    def _listed(
        self,
        call: Call,
        kind: str,
        items: list[str],
        *,
        offset: int,
        size: int,
        total: int,
        shown_total: int | None = None,
    ) -> Answer:
        """A list response; without items it has no `items`, on its last page no `nextPageToken`."""
        fields: Fields = {"kind": text(f"youtube#{kind}ListResponse"), "etag": text(_etag(call, len(items), total))}
        if offset + size < total and size:
            fields["nextPageToken"] = text(self._emulator.pager.token(_query(call), offset + size, call.now))
        if offset:
            fields["prevPageToken"] = text(self._emulator.pager.token(_query(call), max(offset - size, 0), call.now))
        if kind == "search":
            fields["regionCode"] = text(call.params.get("regionCode", "US"))
        shown = total if shown_total is None else shown_total
        fields["pageInfo"] = f'{{"totalResults":{shown},"resultsPerPage":{size}}}'
        if items:
            fields["items"] = arr(call.listed(items))
        return Answer(200, obj(fields), records=len(items))


def problem(
    code: int, reason: str, message: str, *, domain: str, status: str = "", location: str = ""
) -> Answer:  # fmt: skip
    """An error body."""
    error = {"message": text(message), "domain": text(domain), "reason": text(reason)}
    if location:
        error |= {"location": text(location), "locationType": '"parameter"'}
    fields = {"code": str(code), "message": text(message), "errors": arr([obj(error)])}
    named = status or PROBLEM_MESSAGES.get(code, "")
    return Answer(code, obj({"error": obj(fields | ({"status": text(named)} if named else {}))}))


def _refuse(code: int, reason: str, message: str, *, domain: str, location: str = "") -> NoReturn:
    raise RefusedError(problem(code, reason, message, domain=domain, location=location))


def _rate_limited() -> Answer:
    answer = problem(429, "rateLimitExceeded", "Rate Limit Exceeded", domain="usageLimits")
    return answer._replace(is_refused=True)


def _quota_exceeded() -> Answer:
    message = 'The request cannot be completed because you have exceeded your <a href="/youtube/v3/getting-started#quota">quota</a>.'
    return problem(403, "quotaExceeded", message, domain="youtube.quota")._replace(is_refused=True)


def _check_names(call: Call, known: set[str] | frozenset[str]) -> None:
    unknown = unknown_names(call.params, COMMON | known)
    if unknown:
        message = f"Unexpected parameter in the request: {unknown[0]}"
        _refuse(400, "unexpectedParameter", message, domain="youtube.parameter", location=unknown[0])


def _parts(call: Call, known: tuple[str, ...], owners: frozenset[str]) -> tuple[str, ...]:
    given = [name for name in call.params.get("part", "").split(",") if name]
    if not given:
        _refuse(
            400, "missingRequiredParameter", "No filter selected: part", domain="youtube.parameter", location="part"
        )
    if set(given) & owners:
        _refuse(403, "forbidden", "The request is not properly authorized to see these parts.", domain="global")
    unknown = unknown_names(given, known)
    if unknown:
        message = f"'{unknown[0]}'"
        _refuse(400, "unknownPart", message, domain="youtube.part", location="part")
    return tuple(dict.fromkeys(given))


def _one_filter(call: Call, filters: tuple[str, ...]) -> str:
    given = [name for name in filters if name in call.params]
    if not given:
        message = f"No filter selected. Expected one of: {', '.join(filters)}"
        _refuse(400, "missingRequiredParameter", message, domain="youtube.parameter", location="parameters.")
    if len(given) > 1:
        message = f"Incompatible parameters specified in the request: {', '.join(given)}"
        _refuse(400, "incompatibleParameters", message, domain="youtube.parameter", location="parameters.")
    return given[0]


def _ids(value: str) -> list[str]:
    ids = [one for one in value.split(",") if one]
    if not ids or len(ids) > MOST_IDS:
        message = "The request specifies an invalid filter parameter: id"
        _refuse(400, "invalidFilters", message, domain="youtube.parameter", location="id")
    return ids


def _query(call: Call) -> str:
    """What a page token is bound to: the call without its credential and its page."""
    given = {name: value for name, value in call.params.items() if name not in {"pageToken", "key", "maxResults"}}
    return f"{call.endpoint}?{sorted(given.items())}"


def _etag(call: Call, count: int, total: int) -> str:
    return f"{zlib.crc32(f'{call.endpoint}/{count}/{total}/{int(call.seen_at)}'.encode()):08x}"
