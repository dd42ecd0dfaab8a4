"""Links inside text: web addresses and labelled handles, with words that lost line breaks glued to them cut off. Pure.

`instagram.com/namefacebook.com/other` holds two addresses and `https://x.com/nameFacebook: https://...` one name. Cuts
are made only where a second address, a platform's label followed by a separator or a capitalised verb (`nameVisit us`)
shows the seam; a lower-case word at the end of a handle is left alone, since it may belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lakehouse.silver.hosts import is_shared_host, registrable_domain
from lakehouse.silver.platforms import Target, account_of, parse_target, platform_code
from lakehouse.silver.urls import parse_url

MAX_LINKS = 50
"""Links kept per record: more is a directory, not a profile."""
MAX_SCANNED_CHARS = 20_000
"""Characters of one text that are searched: four times the longest caption of any platform."""
WEB = "web"
"""Platform code of a link to a site that is no account."""
DECLARED, BIO, POST = "declared", "bio", "post"
"""Evidence codes: stated by the source or the profile's link field, found in its text, found in a post."""
STRENGTH = (DECLARED, BIO, POST)
"""Evidence codes, strongest first."""


class Link(NamedTuple):
    """A declared account or site. `platform` is `web` for sites, whose `target` is the registrable domain."""

    platform: str
    target: str
    url: str | None
    evidence: str


_SOCIAL_HOSTS = (
    "instagram.com", "instagr.am", "facebook.com", "twitter.com", "youtube.com", "youtu.be", "tiktok.com", "twitch.tv",
    "snapchat.com", "soundcloud.com", "patreon.com", "linktr.ee", "vk.com", "pinterest.com", "plus.google.com",
    "open.spotify.com", "discord.gg", "bit.ly",
)  # fmt: skip
_SOCIAL = f"(?:{'|'.join(map(re.escape, _SOCIAL_HOSTS))})"
_LABELS = (
    r"(?:F(?:acebook|ACEBOOK)|FB|T(?:witter|WITTER)|I(?:nstagram|NSTAGRAM)|Insta|IG|Y(?:ou[Tt]ube|OUTUBE)|Twitch|TWITCH|Tik[Tt]ok"
    r"|TIKTOK|S(?:nap[Cc]hat|NAPCHAT)|Snap|Tumblr|TUMBLR|Sound[Cc]loud|SOUNDCLOUD|Spotify|SPOTIFY|Web[Ss]ite|WEBSITE|Web"
    r"|Google(?:Plus|\+)?|Vine|VINE|Pinterest|Patreon|PATREON|Discord|DISCORD|Reddit|Blog|BLOG|Merch|MERCH"
    r"|Vevo|VEVO|iTunes|Apple Music|Periscope|Musical\.ly|LinkedIn|VK|Threads)"
)
_VERBS = (
    r"(?:Visit|About|Download|Listen|Watch|Follow|Subscribe|E?-?[Mm]ail|Contact|Produced|Directed|Director|Connect|Check|Shop|Buy"
    r"|SUBSCRIBE|FOLLOW|EMAIL|Stream|Join|Thanks|Thank|Credits|Copyright)"
)
_SEPARATOR = r"\s*\+?\s*(?:page\s*)?(?:[:|»►➜→~–—=@]|-\s|https?:|www\.)"
_BEFORE_SCHEME = re.compile(r"(?<=[^\s=])(?=https?://)", re.IGNORECASE)
_BARE_SCHEME = re.compile(rf"(?<=\w)https?:?/{{0,2}}(?=(?:www\.)?{_SOCIAL})", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\w.-])[\w.-]++/[\w.@/!-]+", re.ASCII)
_INNER_HOST = re.compile(rf"(?<=[\w.])(?:www\.)?{_SOCIAL}(?=/)", re.IGNORECASE)
_TAIL = re.compile(rf"(?<=[A-Za-z0-9_.!])(?:(?P<label>{_LABELS})|(?<=[a-z0-9_])(?P<verb>{_VERBS}))[-.!]*$")
_SMALL_TAIL = "mail"
"""The only one of the labels and verbs without a capital."""
_AFTER_LABEL = re.compile(_SEPARATOR)
_AFTER_VERB = re.compile(r"[\s:,]|$")

_URL_CHARS = r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]"
_SITE = r"(?:com|net|org|info|tv|gov|edu)\b(?![\w@-])/?"
_URL = re.compile(
    rf"(?i:https?://|(?<![\w.@/-])www\.){_URL_CHARS}{{3,}}"
    rf"|(?<![\w@./-])(?i:(?:[a-z0-9-]{{1,63}}+\.)*(?:{_SOCIAL}|t\.me|x\.com|threads\.net|bsky\.app|fb\.com)/){_URL_CHARS}+"
    rf"|(?<![\w@./-])(?:[a-z0-9-]{{2,63}}+\.){{1,3}}(?:[a-z]{{2,24}}/{_URL_CHARS}+|{_SITE})"
)
_URL_WITHOUT_SLASH = re.compile(
    rf"(?i:(?<![\w.@/-])www\.){_URL_CHARS}{{3,}}|(?<![\w@./-])(?:[a-z0-9-]{{2,63}}+\.){{1,3}}{_SITE}"
)
"""What `_URL` finds in text without a slash."""
_TRAILING = ".,;:!?)('*~_-&=+$#@"
_LABELLED = re.compile(
    r"(?<![\w@])(?i:(?P<label>instagram|insta|ig|twitter|tik ?tok|snap(?:chat)?|twitch|youtube|yt|threads|facebook|fb)"
    r"\s{0,2}[:\-–—|►➜→»=]{0,3}\s{0,2}@(?P<name>[A-Za-z0-9_.]{2,30}))(?![\w@])"
)
_LABEL_REACH, _NAME_REACH = 16, 32
"""Characters before the sign of a handle in which its label begins, and from there to the one after the longest name."""


def find_links(text: str, *, evidence: str) -> list[Link]:
    """Distinct accounts and sites that a text mentions, in order, at most `MAX_LINKS`.

    Args:
        text: text as typed, before masking.
        evidence: `bio` or `post`.
    """
    scanned = text[:MAX_SCANNED_CHARS]
    if "/" not in scanned and "." not in scanned and "@" not in scanned:
        return []
    apart = unglue(scanned) if "/" in scanned else scanned
    found = [link for address in _addresses(apart) if (link := link_of_url(address, evidence))]
    found += [link for match in _labels(apart) if (link := _labelled(match, evidence))]
    return distinct(found) if found else found


def _addresses(text: str) -> list[str]:
    """Web addresses of a text. None spans white space, and each has a dot before its last sign or a scheme."""
    if "." not in text and "://" not in text:
        return []
    words = " ".join([word for word in text.split() if "." in word[:-1] or "://" in word])
    found = (_URL if "/" in words else _URL_WITHOUT_SLASH).finditer(words)
    return [match.group().rstrip(_TRAILING) for match in found]


def _labels(text: str) -> Iterable[re.Match[str]]:
    """Labelled handles of a text; all are near a sign."""
    sign = text.find("@")
    if sign < 0:
        return ()
    return _LABELLED.finditer(text, max(0, sign - _LABEL_REACH), text.rfind("@") + _NAME_REACH)


def unglue(text: str) -> str:
    """Text with a space at every seam where an address or a platform label follows a handle directly."""
    apart = _BEFORE_SCHEME.sub(" ", text) if "://" in text else text
    if apart.count("http") > apart.count("://"):
        apart = _BARE_SCHEME.sub(" https://", apart)
    return _ADDRESS.sub(_cut, apart)


def _cut(match: re.Match[str]) -> str:
    """An address without scheme, cut before further hosts in its path and before a glued word at its end."""
    address = match.group()
    host, _, path = address.partition("/")
    if not host.lower().endswith(_SOCIAL_HOSTS):
        return address
    if "/" in path:
        path = _INNER_HOST.sub(lambda inner: f" {inner.group()}", path)
    tail = _TAIL.search(path) if _SMALL_TAIL in path or path != path.lower() else None
    if tail is None:
        return f"{host}/{path}"
    after = _AFTER_LABEL if tail["label"] else _AFTER_VERB
    is_seam = after.match(match.string, match.end()) is not None
    return f"{host}/{path[: tail.start()]} {path[tail.start() :]}" if is_seam else f"{host}/{path}"


def declared_links(raw: object) -> list[Link]:
    """Links that a source states: a list (or one) of URLs, or of `{platform, target, url}` objects."""
    items: Iterable[object] = raw if isinstance(raw, list) else [raw]
    return distinct(link for item in items if (link := _declared(item)))


def link_of_url(text: str, evidence: str) -> Link | None:
    """Account or own site that an address names; None for shared hosts and anything else."""
    url = parse_url(text)
    if url is None:
        return None
    if target := account_of(url):
        return Link(target.platform, target.key, url.text, evidence)
    domain = None if is_shared_host(url.host) else registrable_domain(url.host)
    return Link(WEB, domain, url.text, evidence) if domain else None


def distinct(links: Iterable[Link]) -> list[Link]:
    """First link to each target, at most `MAX_LINKS`."""
    seen: dict[tuple[str, str], Link] = {}
    for link in links:
        seen.setdefault(link[:2], link)
    return list(seen.values())[:MAX_LINKS]


def _declared(item: object) -> Link | None:
    if isinstance(item, str):
        return link_of_url(item, DECLARED) if item.strip() else None
    if not isinstance(item, Mapping):
        return None
    platform, raw, url = (item.get(name) for name in ("platform", "target", "url"))
    if not raw:
        return link_of_url(str(url), DECLARED) if url else None
    code = platform_code(str(platform)) if platform else WEB
    if code == WEB:
        return link_of_url(str(raw), DECLARED)
    target = parse_target(code, str(raw)) or _open_target(code, str(raw))
    parsed = parse_url(str(url)) if url else None
    return Link(target.platform, target.key, parsed.text if parsed else None, DECLARED) if target else None


def _open_target(platform: str, raw: str) -> Target | None:
    """Target on a platform without rules: any id without spaces."""
    text = raw.strip()
    return Target(platform, text.lstrip("@")) if text and len(text) <= 128 and not re.search(r"\s", text) else None


def _labelled(match: re.Match[str], evidence: str) -> Link | None:
    target = parse_target(platform_code(match["label"]), match["name"].rstrip("."))
    return Link(target.platform, target.key, None, evidence) if target else None
