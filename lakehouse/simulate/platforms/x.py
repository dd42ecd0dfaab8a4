"""X API v2 as far as a reader of public accounts needs it: users by id and name, posts of a user, usage."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, poisoned
from lakehouse.simulate.platforms.paging import BadTokenError
from lakehouse.simulate.platforms.quotas import (
    MICRO,
    X_WINDOW_SECONDS,
    DayOnce,
    FixedWindows,
    PeriodMeter,
    Window,
    cycle_of,
    day_of,
)
from lakehouse.simulate.platforms.registry import State, Status
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import Answer, Call, RefusedError, arr, charged, obj, text, whole
from lakehouse.simulate.platforms.x_items import POST_FIELDS, USER_FIELDS, post_text, user_fields

TOKEN_PREFIX = "x-"  # noqa: S105 - how valid tokens begin, no secret
PROBLEM_TYPE = "application/problem+json"
ID_PATTERN = re.compile(r"^[0-9]{1,19}$")
TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z")
NAME_PATTERN = re.compile(r"^[A-Za-z0-9_]{1,15}$")
MOST_USERS = 100
USER_MICRO_USD, POST_MICRO_USD = 10_000, 5_000
"""$0.010 a returned user, $0.005 a returned post, each once in a UTC day."""
FEWEST_POSTS, DEFAULT_POSTS, MOST_POSTS = 5, 10, 100
RESET_DAY = 1
"""Day of the month on which a billing cycle starts."""
USER_EXPANSIONS = frozenset(
    {"affiliation", "most_recent_post_id", "pinned_post_id", "most_recent_tweet_id", "pinned_tweet_id"}
)
FIELD_PARAMETERS = {"user.fields": USER_FIELDS, "tweet.fields": POST_FIELDS, "post.fields": POST_FIELDS}
USAGE_FIELDS = (
    "cap_reset_day", "daily_client_app_usage", "daily_project_usage", "project_cap", "project_id", "project_usage",
)  # fmt: skip
MOST_DAYS = 90
POST_PARAMETERS = frozenset(
    {"max_results", "pagination_token", "since_id", "until_id", "start_time", "end_time", "exclude"}
)
Handler = Callable[[Call, str], Answer]


class X:
    """Emulates the API over the world's accounts on X."""

    name = "x"

    def __init__(self, emulator: Emulator) -> None:
        """Fresh meters over the emulator's world."""
        self._emulator = emulator
        self._book = emulator.registry.book(self.name)
        self._windows = FixedWindows(X_WINDOW_SECONDS)
        self._billed = DayOnce()
        self._spent, self._posts_read, self._day_posts = PeriodMeter(), PeriodMeter(), PeriodMeter()

    def answer(self, call: Call) -> Answer:
        """Answer a call; every answer carries the window's headers."""
        handler, key = self._enter(call)
        return charged(lambda: handler(call, key))

    def refusal(self, call: Call, fault: str) -> Answer:
        """What the API says to each kind of fault."""
        if fault in {Fault.SERVER_ERROR, Fault.UNAVAILABLE}:
            self._enter(call)
            if fault == Fault.SERVER_ERROR:
                return self.problem(500, "internal-error", "Internal Error", "Internal Error")._replace(units=1)
            return self.problem(503, "service-unavailable", "Service Unavailable", "Over capacity")._replace(units=1)
        self._identify(call)
        if fault == Fault.QUOTA:
            return self._capped("monthly")
        limit = self._limit(call.endpoint)
        _show(call, limit, Window(False, 0, int(call.now) + X_WINDOW_SECONDS))
        return self._full_window()

    def problem(self, code: int, kind: str, title: str, detail: str, *, extra: dict[str, str] | None = None) -> Answer:
        """An error body."""
        fields = {"type": text(self._type(kind)), "title": text(title), "detail": text(detail), "status": str(code)}
        return Answer(code, obj(fields | (extra or {})), content_type=PROBLEM_TYPE)

    def _type(self, kind: str) -> str:
        host = "api.twitter.com" if self._emulator.drift.x_tweet_names else "api.x.com"
        return f"https://{host}/2/problems/{kind}"

    def _enter(self, call: Call) -> tuple[Handler, str]:
        """Take room in the window and refuse where the money is spent."""
        handler, key = self._identify(call)
        limit = self._limit(call.endpoint)
        window = self._windows.take(f"{call.credential}/{call.endpoint}", limit, call.now)
        _show(call, limit, window)
        if not window.is_open:
            raise RefusedError(self._full_window())
        if call.endpoint != "usage":
            self._check_cap(call)
        return handler, key

    def _identify(self, call: Call) -> tuple[Handler, str]:
        endpoint, key, handler = self._route(call)
        call.endpoint, call.credential = endpoint, call.bearer()
        if not call.credential.startswith(TOKEN_PREFIX):
            body = obj(
                {"title": '"Unauthorized"', "type": '"about:blank"', "status": "401", "detail": '"Unauthorized"'}
            )
            raise RefusedError(Answer(401, body, content_type=PROBLEM_TYPE, is_refused=True))
        return handler, key

    def _route(self, call: Call) -> tuple[str, str, Handler]:
        """Endpoint, the key in the path and the handler."""
        parts = call.path.removeprefix("/2/").strip("/").split("/") if call.method == "GET" else []
        match parts:
            case ["users"]:
                return "users", "", self._by_ids
            case ["users", "by"]:
                return "users_by", "", self._by_names
            case ["users", "by", "username", name]:
                return "users_by_username", name, self._by_name
            case ["users", key, "tweets"]:
                return "users_tweets", key, self._posts
            case ["users", key]:
                return "users_id", key, self._by_id
            case ["usage", "tweets"]:
                return "usage", "", self._usage
        raise RefusedError(Answer(404, obj({"title": '"Not Found"', "type": '"about:blank"', "status": "404"})))

    def _limit(self, endpoint: str) -> int:
        quotas = self._emulator.quotas
        limits = {"users_tweets": quotas.x_post_requests, "usage": quotas.x_usage_requests}
        return limits.get(endpoint, quotas.x_user_requests)

    def _check_cap(self, call: Call) -> None:
        quotas, cycle = self._emulator.quotas, cycle_of(call.now)
        if self._spent.used(call.credential, cycle) >= quotas.x_usd_per_cycle * MICRO:
            raise RefusedError(self._capped("spend"))
        is_posts = call.endpoint == "users_tweets"
        if is_posts and self._posts_read.used(call.credential, cycle) >= quotas.x_posts_per_cycle:
            raise RefusedError(self._capped("monthly"))

    def _capped(self, period: str) -> Answer:
        extra = {"period": text(period), "scope": '"Product"', "account_id": '"1"'}
        detail = f"Usage cap exceeded: {period}"
        return self.problem(429, "usage-capped", "UsageCapExceeded", detail, extra=extra)._replace(is_refused=True)

    def _full_window(self) -> Answer:
        if self._emulator.drift.x_legacy_errors:
            return Answer(429, '{"errors":[{"code":88,"message":"Rate limit exceeded"}]}', is_refused=True)
        answer = self.problem(429, "rate-limit-exceeded", "Too Many Requests", "Too Many Requests")
        return answer._replace(is_refused=True)

    def _invalid(self, parameter: str, value: str, message: str = "") -> RefusedError:
        shown = message or f"The `{parameter}` query parameter value [{value}] is not valid"
        error = obj({"parameters": obj({parameter: arr([text(value)])}), "message": text(shown)})
        detail = "One or more parameters to your request was invalid."
        return RefusedError(
            self.problem(
                400,
                "invalid-request",
                "Invalid Request",
                detail,
                extra={"parameter": text(parameter), "value": text(value), "errors": arr([error])},
            )
        )

    def _checked_fields(self, call: Call, known: set[str] | frozenset[str]) -> tuple[str, ...]:
        """User fields asked for; everything unknown is refused."""
        for name, value in call.params.items():
            if name == "expansions":
                self._check_list(name, value, USER_EXPANSIONS)
            elif name in FIELD_PARAMETERS:
                self._check_list(name, value, FIELD_PARAMETERS[name])
            elif name not in known:
                raise self._invalid(name, value, f"The query parameter [{name}] is not one of the expected")
        return tuple(filter(None, call.params.get("user.fields", "").split(",")))

    def _check_list(self, name: str, value: str, known: frozenset[str]) -> None:
        for one in value.split(","):
            if one not in known:
                raise self._invalid(name, one)

    def _by_ids(self, call: Call, _: str) -> Answer:
        return self._many(call, "ids", ID_PATTERN)

    def _by_names(self, call: Call, _: str) -> Answer:
        return self._many(call, "usernames", NAME_PATTERN)

    def _many(self, call: Call, parameter: str, pattern: re.Pattern[str]) -> Answer:
        names = self._checked_fields(call, {parameter})
        keys = call.params.get(parameter, "").split(",")
        if not 1 <= len(keys) <= MOST_USERS:
            raise self._invalid(
                parameter, call.params[parameter], f"The number of values is not between 1 and {MOST_USERS}"
            )
        for key in keys:
            if not pattern.match(key):
                raise self._invalid(parameter, key)
        return self._users(call, list(dict.fromkeys(keys)), parameter, names)

    def _users(self, call: Call, keys: list[str], parameter: str, names: tuple[str, ...]) -> Answer:
        """Users that exist under `data`, the others under `errors`; either is absent when it is empty."""
        found, errors = [], []
        for key in keys:
            state = self._lookup(call, parameter, key)
            if state is None or state.is_gone:
                errors.append(self._missing(parameter, key, state))
            else:
                found.append(state)
        items = [self._user(state, names, call) for state in found]
        fields = {}
        if items:
            fields["data"] = arr(call.listed(items))
        if errors:
            fields["errors"] = arr(errors)
        return self._bill(call, obj(fields), [state.platform_id for state in found])

    def _lookup(self, call: Call, parameter: str, key: str) -> State | None:
        is_name = parameter in {"usernames", "username"}
        row = self._book.row_of_handle(key, call.seen_at) if is_name else self._book.row_of_id(key)
        return None if row is None else self._book.state(row, call.seen_at)

    def _missing(self, parameter: str, key: str, state: State | None) -> str:
        if state is not None and state.status == Status.SUSPENDED:
            fields = {"title": '"Forbidden"', "detail": text(f"User has been suspended: [{key}].")}
            return self._error("resource-unavailable", key, fields)
        fields = {
            "value": text(key),
            "detail": text(f"Could not find user with {parameter}: [{key}]."),
            "title": '"Not Found Error"',
            "parameter": text(parameter),
        }
        return self._error("resource-not-found", key, fields)

    def _error(self, kind: str, key: str, fields: dict[str, str]) -> str:
        """An entry of `errors` about a user."""
        return obj(fields | {"resource_type": '"user"', "resource_id": text(key), "type": text(self._type(kind))})

    def _user(self, state: State, names: tuple[str, ...], call: Call) -> str:
        latest = ""
        if "most_recent_post_id" in call.params.get("expansions", "") and state.status == Status.ACTIVE:
            posts = self._emulator.timelines[self.name].of(state.profile, call.seen_at)
            latest = posts[0].post_id if posts else ""
        fields = user_fields(state, names, self._emulator.drift, latest=latest)
        if self._emulator.faults.is_poison(self.name, state.platform_id, state.profile.account):
            fields = poisoned(fields)
        return obj(fields)

    def _bill(self, call: Call, body: str, resources: list[str], *, is_posts: bool = False) -> Answer:
        """Charge what is returned and was not returned today."""
        fresh = self._billed.fresh(f"{call.credential}/{is_posts}", day_of(call.now), resources)
        money = fresh * (POST_MICRO_USD if is_posts else USER_MICRO_USD)
        self._spent.add(call.credential, cycle_of(call.now), money)
        if is_posts:
            self._posts_read.add(call.credential, cycle_of(call.now), fresh)
            self._day_posts.add(call.credential, day_of(call.now), fresh)
        return Answer(200, body, micro_usd=money, records=len(resources))

    def _by_id(self, call: Call, key: str) -> Answer:
        return self._single(call, "id", key, ID_PATTERN)

    def _by_name(self, call: Call, key: str) -> Answer:
        return self._single(call, "username", key, NAME_PATTERN)

    def _single(self, call: Call, parameter: str, key: str, pattern: re.Pattern[str]) -> Answer:
        names = self._checked_fields(call, frozenset())
        if not pattern.match(key):
            raise self._invalid(parameter, key)
        state = self._lookup(call, parameter, key)
        if state is None or state.is_gone:
            return Answer(200, obj({"errors": arr([self._missing(parameter, key, state)])}))
        return self._bill(call, obj({"data": self._user(state, names, call)}), [state.platform_id])

    def _posts(self, call: Call, key: str) -> Answer:
        self._checked_fields(call, POST_PARAMETERS)
        size = whole(call.params.get("max_results", str(DEFAULT_POSTS)), FEWEST_POSTS, MOST_POSTS)
        if size is None:
            raise self._invalid("max_results", call.params["max_results"])
        if not ID_PATTERN.match(key):
            raise self._invalid("id", key)
        state = self._lookup(call, "id", key)
        if state is None or state.is_gone:
            return Answer(200, obj({"errors": arr([self._missing("id", key, state)])}))
        if state.status == Status.PRIVATE:
            return Answer(200, obj({"errors": arr([self._protected(key)])}))
        return self._post_page(call, state, size)

    def _moment(self, call: Call, name: str) -> float | None:
        """A time among the parameters; None without it. One that is no time, or ahead of the clock, is refused."""
        given = call.params.get(name)
        if given is None:
            return None
        if TIME_PATTERN.fullmatch(given):
            moment = dt.datetime.fromisoformat(given).timestamp()
            if moment <= call.now:
                return moment
        raise self._invalid(name, given)

    def _protected(self, key: str) -> str:
        detail = f"Sorry, you are not authorized to see the user with id: [{key}]."
        fields = {"parameter": '"id"', "title": '"Authorization Error"', "detail": text(detail), "value": text(key)}
        return self._error("not-authorized-for-resource", key, fields)

    def _post_page(self, call: Call, state: State, size: int) -> Answer:
        posts = self._emulator.timelines[self.name].of(state.profile, call.seen_at)
        if "since_id" in call.params:
            posts = _since(posts, call.params["since_id"])
        start, end = (self._moment(call, name) for name in ("start_time", "end_time"))
        posts = [post for post in posts if (start or 0) <= post.published < (end or call.now)]
        query, token, offset = f"posts/{state.platform_id}", call.params.get("pagination_token", ""), 0
        if token:
            try:
                offset = self._emulator.pager.offset(query, token, call.now)
            except BadTokenError:
                raise self._invalid("pagination_token", token) from None
        page = posts[offset : offset + size]
        names = call.params.get("tweet.fields", call.params.get("post.fields", "")).split(",")
        items = [post_text(state, post, names, call.seen_at, self._emulator.drift) for post in page]
        meta = {"result_count": str(len(page))}
        if page:
            meta |= {"newest_id": text(page[0].post_id), "oldest_id": text(page[-1].post_id)}
        if offset + size < len(posts):
            meta["next_token"] = text(self._emulator.pager.token(query, offset + size, call.now))
        body = obj(({"data": arr(call.listed(items))} if items else {}) | {"meta": obj(meta)})
        return self._bill(call, body, [post.post_id for post in page], is_posts=True)

    def _usage(self, call: Call, _: str) -> Answer:
        for name, value in call.params.items():
            if name == "usage.fields":
                self._check_list(name, value, frozenset(USAGE_FIELDS))
            elif name != "days" or whole(value, 1, MOST_DAYS) is None:
                raise self._invalid(name, value)
        cycle = cycle_of(call.now)
        cap = str(self._emulator.quotas.x_posts_per_cycle)
        today = day_of(call.now)
        usage = {
            "date": text(f"{today}T00:00:00.000Z"),
            "usage": text(str(self._day_posts.used(call.credential, today))),
        }
        fields = {
            "cap_reset_day": str(RESET_DAY),
            "project_cap": cap if self._emulator.drift.x_number_cap else text(cap),
            "project_id": '"1"',
            "project_usage": text(str(self._posts_read.used(call.credential, cycle))),
            "daily_project_usage": obj({"project_id": '"1"', "usage": arr([obj(usage)])}),
        }
        return Answer(200, obj({"data": obj(fields)}))


def _since(posts: list[Post], since_id: str) -> list[Post]:
    """Posts that are newer than that one; all of them where the account has no such post."""
    places = [place for place, post in enumerate(posts) if post.post_id == since_id]
    return posts[: places[0]] if places else posts


def _show(call: Call, limit: int, window: Window) -> None:
    call.answer_headers += [
        ("x-rate-limit-limit", str(limit)),
        ("x-rate-limit-remaining", str(window.remaining)),
        ("x-rate-limit-reset", str(window.reset)),
    ]
