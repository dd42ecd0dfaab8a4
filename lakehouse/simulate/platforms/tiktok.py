"""TikTok's Display API for consenting users, and its Research API, over the world's accounts on TikTok."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, poisoned
from lakehouse.simulate.platforms.quotas import MINUTE_SECONDS, PeriodMeter, SlidingWindows, day_of
from lakehouse.simulate.platforms.registry import State, Status
from lakehouse.simulate.platforms.tiktok_items import (
    DISPLAY_USER_FIELDS,
    DISPLAY_VIDEO_FIELDS,
    RESEARCH_USER_FIELDS,
    RESEARCH_VIDEO_FIELDS,
    display_user,
    display_video,
    log_id,
    research_user,
    research_video,
)
from lakehouse.simulate.platforms.tiktok_query import QueryError, VideoQuery, find_videos, parse_query
from lakehouse.simulate.platforms.wire import Answer, Call, RefusedError, arr, charged, chosen, flag, obj, text

USER_TOKEN, CLIENT_TOKEN = "act.", "clt."
CLIENT_PREFIX = "tt-"
"""Valid client keys start so; any secret that is not empty goes with them."""
SCOPE_MARK = "~"
"""What follows it in a user's token are the scopes granted, joined by `+`; without it all are."""
SCOPES = frozenset({"basic", "profile", "stats", "video"})
TOKEN_SECONDS = 7_200
SIGNATURE_CHARS = 16
MOST_DISPLAY_VIDEOS, DEFAULT_DISPLAY_VIDEOS = 20, 10
UPPER_BOUND_MS = 10**15
"""A cursor far in the future: the first page."""
STATUS_OF = {
    "access_token_invalid": 401, "scope_not_authorized": 401, "scope_permission_missed": 401, "invalid_params": 400,
    "rate_limit_exceeded": 429, "internal_error": 500,
}  # fmt: skip
Handler = Callable[[Call], Answer]


class TikTok:
    """Emulates both APIs. A user's token names the account that gave it: `act.{platform id}`."""

    name = "tiktok"

    def __init__(self, emulator: Emulator) -> None:
        """Fresh meters over the emulator's world."""
        self._emulator = emulator
        self._book = emulator.registry.book(self.name)
        self._minute = SlidingWindows(MINUTE_SECONDS)
        self._requests, self._records = PeriodMeter(), PeriodMeter()
        self._key = hashlib.blake2b(f"tokens/{emulator.seed}".encode(), digest_size=32).digest()
        self._routes: dict[tuple[str, str], tuple[str, Handler]] = {
            ("GET", "/v2/user/info"): ("user_info", self._user_info),
            ("POST", "/v2/video/list"): ("video_list", self._video_list),
            ("POST", "/v2/research/user/info"): ("research_user_info", self._research_user),
            ("POST", "/v2/research/video/query"): ("research_video_query", self._research_videos),
            ("POST", "/v2/oauth/token"): ("oauth_token", self._token),
        }

    def answer(self, call: Call) -> Answer:
        """Answer a call in TikTok's envelope."""
        handler = self._enter(call)
        return charged(lambda: handler(call))

    def refusal(self, call: Call, fault: str) -> Answer:
        """What the API says to each kind of fault."""
        if fault in {Fault.RATE_LIMITED, Fault.QUOTA}:
            self._identify(call)
            return self.failure(call, "rate_limit_exceeded", "The API rate limit was exceeded.")._replace(
                is_refused=True
            )
        self._enter(call)
        answer = self.failure(call, "internal_error", "Something went wrong. Please try again later.")
        return answer._replace(status=500 if fault == Fault.SERVER_ERROR else 503, units=1)

    def failure(self, call: Call, code: str, message: str) -> Answer:
        """An error in the envelope."""
        error = {"code": text(code), "message": text(message), "log_id": text(log_id(call))}
        return Answer(STATUS_OF[code], obj({"data": "{}", "error": obj(error)}))

    def _success(self, call: Call, data: str, records: int) -> Answer:
        error = {"code": '"ok"', "message": '""', "log_id": text(log_id(call))}
        return Answer(200, obj({"data": data, "error": obj(error)}), records=records)

    def _enter(self, call: Call) -> Handler:
        handler = self._identify(call)
        if call.endpoint == "oauth_token":
            return handler
        if call.endpoint.startswith("research"):
            self._enter_research(call)
        else:
            self._enter_display(call)
        return handler

    def _identify(self, call: Call) -> Handler:
        found = self._routes.get((call.method, call.path.rstrip("/")))
        if found is None:
            answer = self.failure(call, "invalid_params", f"Unsupported path(Janus): {call.method} {call.path}")
            raise RefusedError(answer._replace(status=404))
        call.endpoint, handler = found
        call.credential = call.bearer()
        if call.endpoint.startswith("research"):
            call.credential = self._client(call)
        elif call.endpoint != "oauth_token" and not call.credential.startswith(USER_TOKEN):
            raise self._refused(
                call, "access_token_invalid", "The access token is invalid or not found in the request."
            )
        return handler

    def _enter_display(self, call: Call) -> None:
        """600 a minute for the application and each of its endpoints, whoever the user is."""
        limit = self._emulator.quotas.tiktok_display_per_minute
        if self._minute.count(call.endpoint, call.now) >= limit:
            raise self._refused(call, "rate_limit_exceeded", "The API rate limit was exceeded.")
        self._minute.add(call.endpoint, call.now, most=limit)

    def _enter_research(self, call: Call) -> None:
        quotas, day = self._emulator.quotas, day_of(call.now)
        is_over = self._requests.used(call.credential, day) >= quotas.tiktok_research_requests_per_day
        is_full = self._records.used(call.credential, day) >= quotas.tiktok_research_records_per_day
        if is_over or is_full:
            raise self._refused(call, "rate_limit_exceeded", "The daily quota limit was exceeded.")
        self._requests.add(call.credential, day, 1)

    def _refused(self, call: Call, code: str, message: str) -> RefusedError:
        return RefusedError(self.failure(call, code, message)._replace(is_refused=True))

    def _wrong(self, call: Call, message: str) -> RefusedError:
        return RefusedError(self.failure(call, "invalid_params", message))

    def _fields(self, call: Call, known: tuple[str, ...]) -> tuple[str, ...]:
        """Fields asked for; required, and none may be unknown."""
        if set(call.params) - {"fields"}:
            raise self._wrong(call, "Unexpected query parameter.")
        names = [name.strip() for name in call.params.get("fields", "").split(",") if name.strip()]
        if not names or set(names) - set(known):
            raise self._wrong(call, "Fields is required" if not names else "Field is not supported")
        return tuple(names)

    def _document(self, call: Call, known: frozenset[str]) -> dict[str, Any]:
        document = call.document()
        if document is None or set(document) - known:
            raise self._wrong(call, "Invalid request body")
        return document

    def _consenting(self, call: Call, names: tuple[str, ...], scopes: dict[str, str]) -> State:
        """The user whom the token names, if the fields lie within what was granted."""
        platform_id, _, granted = call.credential.removeprefix(USER_TOKEN).partition(SCOPE_MARK)
        row = self._book.row_of_id(platform_id)
        state = None if row is None else self._book.state(row, call.seen_at)
        is_valid = state is not None and not state.is_gone and state.profile.has_consent
        if state is None or not is_valid or call.seen_at >= state.profile.revoked_at:
            raise self._refused(
                call, "access_token_invalid", "The access token is invalid or not found in the request."
            )
        allowed = set(granted.split("+")) if granted else SCOPES
        missing = sorted({scopes[name] for name in names} - allowed)
        if missing:
            raise self._refused(call, "scope_not_authorized", f"The user did not authorize the scope {missing[0]}.")
        return state

    def _user_info(self, call: Call) -> Answer:
        names = self._fields(call, tuple(DISPLAY_USER_FIELDS))
        state = self._consenting(call, names, DISPLAY_USER_FIELDS)
        fields = self._profile(state, chosen(display_user(state), names), "bio_description")
        return self._success(call, obj({"user": fields}), records=1)

    def _profile(self, state: State, fields: dict[str, str], text_field: str) -> str:
        fields = self._emulator.drift.changed(fields, text_field)
        is_poison = self._emulator.faults.is_poison(self.name, state.platform_id, state.profile.account)
        return obj(poisoned(fields) if is_poison else fields)

    def _video_list(self, call: Call) -> Answer:
        """Videos up to the cursor, newest first. The video at the cursor comes again on the next page."""
        names = self._fields(call, DISPLAY_VIDEO_FIELDS)
        document = self._document(call, frozenset({"max_count", "cursor"}))
        size, cursor = document.get("max_count", DEFAULT_DISPLAY_VIDEOS), document.get("cursor", UPPER_BOUND_MS)
        if not _is_within(size, 1, MOST_DISPLAY_VIDEOS) or not _is_within(cursor, 0, UPPER_BOUND_MS):
            raise self._wrong(call, "max_count or cursor is invalid")
        state = self._consenting(call, names, dict.fromkeys(names, "video"))
        posts = [p for p in self._posts(state, call) if p.published * 1_000 <= cursor]
        page = posts[:size]
        items = [display_video(state, post, names, call.seen_at, self._emulator.drift) for post in page]
        after = page[-1].published * 1_000 if page else cursor
        if size == 1 and len(posts) > 1:
            after = posts[1].published * 1_000
        has_more = len(posts) > size
        data = obj({"videos": arr(call.listed(items)), "cursor": str(after), "has_more": flag(has_more)})
        return self._success(call, data, records=len(items))

    def _posts(self, state: State, call: Call) -> list[Any]:
        return self._emulator.timelines[self.name].of(state.profile, call.seen_at)

    def _research_user(self, call: Call) -> Answer:
        names = self._fields(call, RESEARCH_USER_FIELDS)
        document = self._document(call, frozenset({"username"}))
        username = document.get("username")
        if not isinstance(username, str) or not username:
            raise self._wrong(call, "username is required")
        row = self._book.row_of_handle(username, call.seen_at)
        state = None if row is None else self._book.state(row, call.seen_at)
        if state is None or state.is_gone or state.status == Status.PRIVATE:
            raise self._wrong(call, "User not found")
        self._records.add(call.credential, day_of(call.now), 1)
        return self._success(
            call, self._profile(state, chosen(research_user(state), names), "bio_description"), records=1
        )

    def _research_videos(self, call: Call) -> Answer:
        """Videos of a query, from the cursor on. The last video of a page comes again as the first of the next."""
        names = self._fields(call, RESEARCH_VIDEO_FIELDS)
        try:
            query = parse_query(call.document(), call.seen_at)
        except QueryError as error:
            raise self._wrong(call, str(error)) from None
        self._check_search(call, query)
        found = find_videos(self._emulator, query, call.seen_at)
        start = max(query.cursor - (query.max_count > 1), 0)
        page = found[start : start + query.max_count]
        items = [research_video(state, post, names, call.seen_at) for state, post in page]
        self._records.add(call.credential, day_of(call.now), len(items))
        after = start + len(page)
        data = {
            "videos": arr(call.listed(items)),
            "cursor": str(after),
            "search_id": text(self._search_id(query)),
            "has_more": flag(after < len(found)),
        }
        return self._success(call, obj(data), records=len(items))

    def _check_search(self, call: Call, query: VideoQuery) -> None:
        """A further page names the search that it continues."""
        if query.search_id and query.search_id != self._search_id(query):
            raise self._wrong(call, "Invalid search_id")

    def _search_id(self, query: VideoQuery) -> str:
        digest = hashlib.blake2b(query.fingerprint.encode(), key=self._key, digest_size=8).digest()
        return str(int.from_bytes(digest, "big") >> 1)

    def _token(self, call: Call) -> Answer:
        """A client token of the Research API, valid for two hours."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        client, secret = form.get("client_key", ""), form.get("client_secret", "")
        call.credential = client
        if form.get("grant_type") != "client_credentials":
            return self._token_error(call, "unsupported_grant_type", "Only client_credentials is served.")
        if not client.startswith(CLIENT_PREFIX) or not secret:
            return self._token_error(call, "invalid_client", "Client key or secret is incorrect.")
        body = f"{client}.{int(call.now)}"
        token = f"{CLIENT_TOKEN}{body}.{self._signature(body)}"
        return Answer(
            200, obj({"access_token": text(token), "expires_in": str(TOKEN_SECONDS), "token_type": '"Bearer"'})
        )

    def _token_error(self, call: Call, code: str, message: str) -> Answer:
        fields = {"error": text(code), "error_description": text(message), "log_id": text(log_id(call))}
        return Answer(400, obj(fields), is_refused=True)

    def _client(self, call: Call) -> str:
        """The client key of a token that is ours and has not expired."""
        body, _, signature = call.bearer().removeprefix(CLIENT_TOKEN).rpartition(".")
        client, _, issued = body.rpartition(".")
        is_ours = call.bearer().startswith(CLIENT_TOKEN) and hmac.compare_digest(signature, self._signature(body))
        if not is_ours or not issued.isdigit() or not 0 <= call.now - int(issued) < TOKEN_SECONDS:
            raise self._refused(
                call, "access_token_invalid", "The access token is invalid or not found in the request."
            )
        return client

    def _signature(self, body: str) -> str:
        return hashlib.blake2b(body.encode(), key=self._key).hexdigest()[:SIGNATURE_CHARS]


def _is_within(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
