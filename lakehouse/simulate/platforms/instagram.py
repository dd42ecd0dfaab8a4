"""Business discovery of the Instagram Graph API: one professional account by its username, with its media."""

from __future__ import annotations

import json
import re

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, poisoned
from lakehouse.simulate.platforms.graph_fields import Field, FieldsError, parse_fields
from lakehouse.simulate.platforms.instagram_items import MEDIA_FIELDS, USER_FIELDS, media_fields, user_fields
from lakehouse.simulate.platforms.paging import BadTokenError
from lakehouse.simulate.platforms.quotas import DAY_SECONDS, HOUR_SECONDS, SlidingWindows
from lakehouse.simulate.platforms.registry import PERSONAL, State, Status
from lakehouse.simulate.platforms.wire import Answer, Call, RefusedError, arr, charged, chosen, obj, text, whole

PATH = re.compile(r"^/v25\.0/([0-9]{5,20})/?$")
TOKEN_PREFIX = "ig-"  # noqa: S105 - how valid tokens begin, no secret
DISCOVERY = "business_discovery"
APP_THROTTLE, USE_CASE_THROTTLE = 4, 80_002
TOKEN_CODE, PARAMETER_CODE, UNKNOWN_CODE = 190, 100, 2
NO_USER_SUBCODE = 2_207_013
"""The one answer for everybody who cannot be discovered: unknown, gone, private, personal, age-gated."""
DEFAULT_MEDIA, MOST_MEDIA = 25, 100
FULL_PERCENT = 100
REMEMBERED = 2
"""Calls made while throttled count too, up to so many times the limit: they prolong it."""
CPU_SHARE = 0.8
"""Load percentages reported beside the percentage of calls, relative to it."""


class Instagram:
    """Emulates business discovery. Any path id is the caller's own account; it comes back as the outer `id`."""

    name = "instagram"

    def __init__(self, emulator: Emulator) -> None:
        """Fresh meters over the emulator's world."""
        self._emulator = emulator
        self._book = emulator.registry.book(self.name)
        self._hour, self._day = SlidingWindows(HOUR_SECONDS), SlidingWindows(DAY_SECONDS)

    def answer(self, call: Call) -> Answer:
        """Answer a call; every answer has the usage headers."""
        own = self._enter(call)
        return charged(lambda: self._discover(call, own))

    def refusal(self, call: Call, fault: str) -> Answer:
        """What the API says to each kind of fault."""
        if fault in {Fault.RATE_LIMITED, Fault.QUOTA}:
            own = self._identify(call)
            self._show(call, own, FULL_PERCENT)
            return self._throttled(APP_THROTTLE if fault == Fault.RATE_LIMITED else USE_CASE_THROTTLE)
        self._enter(call)
        answer = self.problem(
            UNKNOWN_CODE, "An unexpected error has occurred. Please retry your request later.", status=500
        )
        return answer._replace(status=500 if fault == Fault.SERVER_ERROR else 503, units=1)

    def problem(
        self, code: int, message: str, *, status: int = 400, subcode: int = 0, kind: str = "OAuthException"
    ) -> Answer:
        """An error body."""
        fields = {"message": text(message), "type": text(kind), "code": str(code)}
        if subcode:
            fields["error_subcode"] = str(subcode)
        fields["fbtrace_id"] = text(f"A{code:05d}{len(message):03d}{self._emulator.seed & 0xFFFFFF:06x}")
        return Answer(status, obj({"error": obj(fields)}))

    def _identify(self, call: Call) -> str:
        """The caller's own account id."""
        match = PATH.match(call.path)
        if match is None or call.method != "GET":
            raise RefusedError(self.problem(2_500, "Unknown path components", kind="OAuthException"))
        call.endpoint = DISCOVERY
        call.credential = call.params.get("access_token") or call.bearer()
        if not call.credential.startswith(TOKEN_PREFIX):
            message = "Invalid OAuth access token - Cannot parse access token"
            raise RefusedError(self.problem(TOKEN_CODE, message)._replace(is_refused=True))
        return match.group(1)

    def _enter(self, call: Call) -> str:
        """Count the call within the last hour and day; throttled ones count too."""
        own, quotas = self._identify(call), self._emulator.quotas
        hour, day = quotas.instagram_calls_per_hour, quotas.instagram_calls_per_day
        used, today = self._hour.count(call.credential, call.now), self._day.count(call.credential, call.now)
        self._hour.add(call.credential, call.now, most=REMEMBERED * hour)
        self._day.add(call.credential, call.now, most=REMEMBERED * day)
        percent = max((used + 1) * FULL_PERCENT // hour, (today + 1) * FULL_PERCENT // day)
        is_throttled = used >= hour or today >= day
        self._show(call, own, percent)
        if is_throttled:
            raise RefusedError(self._throttled(APP_THROTTLE if used >= hour else USE_CASE_THROTTLE))
        return own

    def _throttled(self, code: int) -> Answer:
        is_app = code == APP_THROTTLE
        message = "(#4) Application request limit reached" if is_app else (
            "(#80002) There have been too many calls to this Instagram account. Wait a bit and try again."
        )  # fmt: skip
        return self.problem(code, message, status=403 if is_app else 400)._replace(is_refused=True)

    def _show(self, call: Call, own: str, percent: int) -> None:
        quotas, credential = self._emulator.quotas, call.credential
        load = int(percent * CPU_SHARE)
        usage = {"call_count": percent, "total_time": load, "total_cputime": load}
        wait = 0.0
        if percent > FULL_PERCENT:
            wait = max(
                self._hour.free_in(credential, call.now, quotas.instagram_calls_per_hour),
                self._day.free_in(credential, call.now, quotas.instagram_calls_per_day),
            )
        case = {"type": "instagram", **usage, "estimated_time_to_regain_access": -int(-wait // 60)}
        call.answer_headers += [
            ("X-App-Usage", json.dumps(usage, separators=(",", ":"))),
            ("X-Business-Use-Case-Usage", json.dumps({own: [case]}, separators=(",", ":"))),
        ]

    def _discover(self, call: Call, own: str) -> Answer:
        unknown = set(call.params) - {"fields", "access_token"}
        if unknown:
            raise RefusedError(self.problem(PARAMETER_CODE, f"(#100) Unexpected parameter {sorted(unknown)[0]}"))
        wanted = self._wanted(call)
        name = wanted.arguments.get("username", "")
        if not name or set(wanted.arguments) != {"username"}:
            raise RefusedError(self.problem(PARAMETER_CODE, "(#100) The parameter username is required"))
        state = self._visible(call, name)
        inner = self._user(call, state, wanted)
        return Answer(200, obj({DISCOVERY: inner, "id": text(own)}), records=1)

    def _wanted(self, call: Call) -> Field:
        """The discovery in the fields asked for."""
        try:
            fields = parse_fields(call.params.get("fields", "").replace(" ", ""))
        except FieldsError as error:
            raise RefusedError(self.problem(2_500, str(error))) from None
        for one in fields:
            if one.name not in {DISCOVERY, "id"}:
                raise self._no_field(one.name, "IGUser")
        wanted = [one for one in fields if one.name == DISCOVERY]
        if not wanted:
            raise RefusedError(self.problem(PARAMETER_CODE, "(#100) Only business_discovery is served"))
        return wanted[0]

    def _no_field(self, name: str, kind: str) -> RefusedError:
        message = f"(#100) Tried accessing nonexisting field ({name}) on node type ({kind})"
        return RefusedError(self.problem(PARAMETER_CODE, message))

    def _visible(self, call: Call, name: str) -> State:
        """The account, if it is a professional one that everybody may see."""
        row = self._book.row_of_handle(name, call.seen_at)
        state = None if row is None else self._book.state(row, call.seen_at)
        if state is None or not is_discoverable(state):
            message = f"The user with username: {name} cannot be found."
            raise RefusedError(self.problem(PARAMETER_CODE, message, subcode=NO_USER_SUBCODE))
        return state

    def _user(self, call: Call, state: State, wanted: Field) -> str:
        for one in wanted.inner:
            if one.name not in USER_FIELDS and one.name != "media":
                raise self._no_field(one.name, "IGUser")
        fields = chosen(user_fields(state), [*wanted.names(), "id"])
        media = next((one for one in wanted.inner if one.name == "media"), None)
        if media is not None:
            fields["media"] = self._media(call, state, media)
        fields = self._emulator.drift.changed(fields, "biography")
        if self._emulator.faults.is_poison(self.name, state.platform_id, state.profile.account):
            fields = poisoned(fields)
        return obj(fields)

    def _media(self, call: Call, state: State, wanted: Field) -> str:
        size = whole(wanted.arguments.get("limit", str(DEFAULT_MEDIA)), 1, MOST_MEDIA)
        if size is None or set(wanted.arguments) - {"limit", "after"}:
            raise RefusedError(self.problem(PARAMETER_CODE, "(#100) Invalid arguments of the field media"))
        names = wanted.names() or ["id"]
        for name in names:
            if name not in MEDIA_FIELDS:
                raise self._no_field(name, "IGMedia")
        offset = self._offset(call, state, wanted.arguments.get("after", ""))
        posts = self._emulator.timelines[self.name].of(state.profile, call.seen_at)
        page = posts[offset : offset + size]
        items = [
            obj(chosen(media_fields(state, post, call.seen_at, self._emulator.drift), [*names, "id"])) for post in page
        ]
        fields = {"data": arr(call.listed(items))}
        cursors = self._cursors(call, state, offset, offset + size if offset + size < len(posts) else 0)
        if cursors:
            fields["paging"] = obj({"cursors": obj(cursors)})
        return obj(fields)

    def _offset(self, call: Call, state: State, cursor: str) -> int:
        if not cursor:
            return 0
        try:
            return self._emulator.pager.offset(f"media/{state.platform_id}", cursor, call.now)
        except BadTokenError:
            raise RefusedError(self.problem(PARAMETER_CODE, "(#100) Invalid cursor")) from None

    def _cursors(self, call: Call, state: State, before: int, after: int) -> dict[str, str]:
        """Cursors of a page: none back from the first, none on from the last."""
        pager, query = self._emulator.pager, f"media/{state.platform_id}"
        places = {"before": before, "after": after}
        return {name: text(pager.token(query, place, call.now)) for name, place in places.items() if place}


def is_discoverable(state: State) -> bool:
    """Whether business discovery shows an account."""
    is_professional = state.account_type != PERSONAL
    return state.status == Status.ACTIVE and is_professional and not state.profile.is_age_gated
