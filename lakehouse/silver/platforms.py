"""Account URLs of the platforms: which account an address names. Rules are data, read top to bottom. Pure.

A rule says at which hosts and under which path an account's name or id stands. Addresses of videos, posts, searches and
share buttons name no account. The lake holds four platforms; links may point at any of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.silver.handles import fold, is_opaque_id
from lakehouse.silver.hosts import LINK_IN_BIO_HOSTS
from lakehouse.silver.urls import Url, parse_url

PLATFORM_ALIASES = {
    "twitter": "x", "twitter.com": "x", "x.com": "x", "ig": "instagram", "insta": "instagram", "yt": "youtube",
    "tik tok": "tiktok", "fb": "facebook", "meta": "facebook", "snap": "snapchat", "bsky": "bluesky",
    "telegram channel": "telegram", "site": "web", "website": "web", "homepage": "web", "url": "web",
}  # fmt: skip
"""Other names of platforms as sources write them, case-folded."""


class Target(NamedTuple):
    """What a link points at: platform code and the account's id or handle key there."""

    platform: str
    key: str


@dataclass(frozen=True, slots=True)
class AccountRule:
    """Where an account's name stands in a path.

    `path` is matched against the decoded path without slashes at its ends; group `id` keeps its case, group `name` is
    folded. Names in `reserved` are pages of the platform.
    """

    platform: str
    hosts: frozenset[str]
    path: re.Pattern[str]
    reserved: frozenset[str] = field(default=frozenset())


def _rule(platform: str, hosts: str, path: str, reserved: str = "") -> AccountRule:
    return AccountRule(platform, frozenset(hosts.split()), re.compile(path, re.ASCII), frozenset(reserved.split()))


_YOUTUBE = "youtube.com gaming.youtube.com music.youtube.com studio.youtube.com"
_INSTAGRAM = "instagram.com instagr.am"
_X = "twitter.com x.com"
_FACEBOOK = "facebook.com fb.com fb.me web.facebook.com business.facebook.com es-es.facebook.com en-gb.facebook.com"
_COMMON_PAGES = "about app apps help home index.html index.php login logout privacy search settings signup terms tos "

RULES: tuple[AccountRule, ...] = (
    _rule("youtube", _YOUTUBE, r"channel/(?P<id>UC[\w-]{22})(?:[^\w-].*)?"),
    _rule("youtube", _YOUTUBE, r"@(?P<name>[\w.·-]{3,60})(?:/.*)?"),
    _rule("youtube", _YOUTUBE, r"(?:c|user|profile)/(?P<name>[^/]{1,100})(?:/.*)?"),
    _rule(
        "youtube", _YOUTUBE, r"(?P<name>[\w.-]{3,60})(?:/(?:videos|featured|about|playlists|community)?)?",
        _COMMON_PAGES + "watch playlist embed shorts results feed live gaming redirect channel user c t v attribution_link "
        "subscription_center subscribe_widget hashtag premium creators music movies account profile view_play_list post",
    ),
    _rule(
        "instagram", _INSTAGRAM, r"(?:_u/|stories/)?@?(?P<name>[\w.]{1,30})(?:/.*)?",
        _COMMON_PAGES + "p reel reels tv explore accounts direct stories highlights share s web developer legal _u",
    ),
    _rule("tiktok", "tiktok.com", r"@(?P<name>[\w.]{2,30})(?:/.*)?"),
    _rule(
        "x", _X, r"(?:@|#!/)?(?P<name>\w{1,15})(?:/.*)?",
        _COMMON_PAGES + "i intent share hashtag messages notifications explore compose who_to_follow widgets jobs download",
    ),
    _rule("facebook", _FACEBOOK, r"(?:pages|people)/[^/]+/(?P<id>\d{5,20})(?:/.*)?"),
    _rule("facebook", _FACEBOOK, r"p/[^/]*?-(?P<id>\d{8,20})(?:/.*)?"),
    _rule(
        "facebook", _FACEBOOK, r"(?:pg/|#!/)?(?P<name>[\w.-]{2,80})(?:/.*)?",
        _COMMON_PAGES + "sharer sharer.php share share.php events groups watch hashtag photo photo.php photos story.php "
        "stories pages people profile.php dialog plugins video.php videos media permalink.php reel gaming marketplace "
        "messages notes pg policies ads business l.php tr v2.0 connect l p",
    ),
    _rule(
        "twitch", "twitch.tv go.twitch.tv", r"(?P<name>\w{3,25})(?:/.*)?",
        _COMMON_PAGES + "videos directory p jobs turbo products subs store downloads prime broadcast popout embed team",
    ),
    _rule("threads", "threads.net threads.com", r"@(?P<name>[\w.]{1,30})(?:/.*)?"),
    _rule("snapchat", "snapchat.com story.snapchat.com", r"(?:add/|p/|s/|@)(?P<name>[\w.-]{3,15})(?:/.*)?"),
    _rule("bluesky", "bsky.app", r"profile/(?P<name>[\w.:-]{3,100})(?:/.*)?"),
    _rule("linkedin", "linkedin.com", r"(?:in|company|school|showcase)/(?P<name>[^/]{2,100})(?:/.*)?"),
    _rule("pinterest", "pinterest.com pinterest.es pinterest.co.uk pinterest.de pinterest.fr", r"(?P<name>\w{3,30})(?:/.*)?",
          _COMMON_PAGES + "pin ideas today business"),
    _rule("soundcloud", "soundcloud.com", r"(?P<name>[\w-]{2,40})(?:/.*)?",
          _COMMON_PAGES + "discover stream upload you charts tags pages"),
    _rule("spotify", "open.spotify.com play.spotify.com", r"(?:intl-\w+/)?(?:artist|user|show)/(?P<id>[\w.-]{2,60})(?:/.*)?"),
    _rule("patreon", "patreon.com", r"(?:c/|m/)?(?P<name>[\w-]{2,64})(?:/.*)?",
          _COMMON_PAGES + "posts join user bepatron creation checkout policy explore"),
    _rule("telegram", "t.me telegram.me", r"(?:s/)?(?P<name>[a-zA-Z]\w{3,31})(?:/.*)?", "joinchat addstickers share proxy"),
    _rule("vk", "vk.com vk.ru", r"(?P<name>[\w.]{3,60})(?:/.*)?", _COMMON_PAGES + "feed share.php away.php video wall"),
    _rule("tumblr", "tumblr.com", r"(?:blog/)?@?(?P<name>[\w-]{2,32})(?:/.*)?", _COMMON_PAGES + "dashboard explore tagged share"),
    _rule("reddit", "reddit.com old.reddit.com", r"(?:u|user)/(?P<name>[\w-]{3,20})(?:/.*)?"),
    _rule("kick", "kick.com", r"(?P<name>[\w-]{3,25})(?:/.*)?", _COMMON_PAGES + "browse categories category video"),
    _rule("github", "github.com", r"(?P<name>[\w-]{1,39})(?:/.*)?",
          _COMMON_PAGES + "features marketplace sponsors topics orgs explore"),
    _rule("bilibili", "space.bilibili.com", r"(?P<id>\d{1,20})(?:/.*)?"),
    _rule("medium", "medium.com", r"@(?P<name>[\w.-]{1,60})(?:/.*)?"),
    _rule("vimeo", "vimeo.com", r"(?P<name>[a-zA-Z][\w-]{1,60})(?:/.*)?",
          _COMMON_PAGES + "channels groups categories watch ondemand album user"),
    _rule("weibo", "weibo.com", r"(?:u|n)/(?P<name>\w{2,40})(?:/.*)?"),
    _rule("kofi", "ko-fi.com", r"(?P<name>\w{2,40})(?:/.*)?", _COMMON_PAGES + "s shop"),
)  # fmt: skip
"""All rules; the first that matches wins."""

MASTODON_HOSTS = frozenset(
    {
        "c.im", "fosstodon.org", "hachyderm.io", "infosec.exchange", "journa.host", "mas.to", "mastodon.art",
        "mastodon.online", "mastodon.social", "mastodon.world", "mstdn.ca", "mstdn.jp", "mstdn.party", "mstdn.social",
        "pawoo.net", "techhub.social", "universeodon.com",
    }
)  # fmt: skip
"""Larger instances; further ones are known by a host that starts with `mastodon.` or `mstdn.`."""

BARE_PREFIXES = {
    "bluesky": "profile/", "linkedin": "in/", "medium": "@", "reddit": "user/", "snapchat": "add/", "spotify": "artist/",
    "threads": "@", "tiktok": "@", "weibo": "u/", "youtube": "user/",
}  # fmt: skip
"""What stands before a bare handle in the platform's own addresses, where anything does."""

PROFILE_URLS = {
    "instagram": "https://instagram.com/{handle}",
    "tiktok": "https://tiktok.com/@{handle}",
    "youtube": "https://youtube.com/@{handle}",
    "x": "https://x.com/{handle}",
}
"""Public address by handle for the platforms that the lake holds."""

_BY_HOST: dict[str, tuple[AccountRule, ...]] = {
    host: tuple(rule for rule in RULES if host in rule.hosts) for host in {h for rule in RULES for h in rule.hosts}
}
_MASTODON_PATH = re.compile(r"(?:web/)?@(?P<name>\w{1,60})(?:@(?P<home>[\w.-]{3,100}))?(?:/.*)?", re.ASCII)
_MASTODON_ADDRESS = re.compile(r"@?(?P<name>\w{1,60})@(?P<home>[\w-]+(?:\.[\w-]+)+)", re.ASCII)
_PAGE = re.compile(r"@?(?P<name>[\w.-]{1,60})(?:/.*)?", re.ASCII)
_TRAILING = ".-_·"


def platform_code(raw: str) -> str:
    """Platform code of a source's name for it: folded, aliases resolved; unknown names are kept."""
    folded = fold(raw).strip()
    return PLATFORM_ALIASES.get(folded, folded)


def account_of(url: Url) -> Target | None:
    """Account that an address names, None for videos, posts, share buttons and unknown hosts."""
    if url.host in LINK_IN_BIO_HOSTS:
        match = _PAGE.fullmatch("/".join(url.segments))
        return Target(url.host, fold(match["name"])) if match else None
    if tenant := _tenant(url):
        return tenant
    if mastodon := _mastodon(url):
        return mastodon
    return _by_rules(url)


@lru_cache(maxsize=1 << 13)
def parse_target(platform: str, raw: str) -> Target | None:
    """Account named by a handle, an id or an address under a known platform code; None when it names none."""
    text = raw.strip()
    url = parse_url(text) if "/" in text else None
    if url is not None and (target := account_of(url)) is not None:
        return target
    if platform == "mastodon" and (match := _MASTODON_ADDRESS.fullmatch(text)):
        return Target(platform, f"{match['name']}@{match['home']}".lower())
    if is_opaque_id(platform, text):
        return Target(platform, text)
    path = BARE_PREFIXES.get(platform, "") + text.strip("/").lstrip("@")
    for rule in RULES:
        if rule.platform == platform and (match := rule.path.fullmatch(path)) and (target := _target(rule, match)):
            return target
    return None


def profile_url(platform: str, account_id: str | None, handle: str | None) -> str | None:
    """Public address of an account; None where only a name is known."""
    if platform == "youtube" and account_id and not account_id.startswith(("@", "~")):
        return f"https://youtube.com/channel/{account_id}"
    template = PROFILE_URLS.get(platform)
    return template.format(handle=handle) if template and handle else None


def _by_rules(url: Url) -> Target | None:
    rules = _BY_HOST.get(url.host) or _BY_HOST.get(url.site)
    if rules is None:
        return None
    path = "/".join(url.segments) or (f"#{url.fragment}" if url.fragment.startswith("!/") else "")
    for rule in rules:
        if (match := rule.path.fullmatch(path)) and (target := _target(rule, match)):
            return target
    return _by_parameters(url)


def _by_parameters(url: Url) -> Target | None:
    """Accounts named in a parameter: `profile.php?id=`, `intent/user?screen_name=`."""
    if not url.parameters:
        return None
    values = dict(url.parameters)
    if url.site == "facebook.com" and url.segments == ("profile.php",) and values.get("id", "").isdecimal():
        return Target("facebook", values["id"])
    if url.site in {"twitter.com", "x.com"} and url.segments[:1] == ("intent",) and "screen_name" in values:
        return Target("x", fold(values["screen_name"]))
    return None


def _tenant(url: Url) -> Target | None:
    """Tumblr names its blogs by subdomain."""
    name = url.host.removesuffix(".tumblr.com")
    return Target("tumblr", name) if name != url.host and "." not in name and name != "www" else None


def _mastodon(url: Url) -> Target | None:
    if url.host not in MASTODON_HOSTS and not url.host.startswith(("mastodon.", "mstdn.")):
        return None
    match = _MASTODON_PATH.fullmatch("/".join(url.segments))
    return Target("mastodon", f"{match['name']}@{match['home'] or url.host}".lower()) if match else None


def _target(rule: AccountRule, match: re.Match[str]) -> Target | None:
    if "id" in match.re.groupindex:
        return Target(rule.platform, match["id"])
    name = fold(match["name"]).rstrip(".-·" if rule.platform in PLATFORMS else _TRAILING)
    return Target(rule.platform, name) if name and name not in rule.reserved else None
