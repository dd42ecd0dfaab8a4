"""URLs: taken apart, put into one canonical spelling, reduced to a registrable domain. Pure; nothing is requested.

Canonical: https, lower-case IDNA host without `www.`, no port, user, fragment, tracking parameter or trailing slash,
remaining parameters sorted. Which account a URL names: `platforms.py`. Which hosts say nothing: `hosts.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from lakehouse.silver.hosts import HOST_PATTERN, ascii_host, is_shared_host, registrable_domain
from lakehouse.silver.missing import Reason, is_missing_number
from lakehouse.silver.text import repair

MAX_URL_CHARS = 2_048
"""Longest URL kept; browsers and the platforms' own fields stop there."""
CACHE_SIZE = 1 << 9
"""Addresses remembered: those of one account stand close together, and what is never asked for again costs more."""
TRACKING_PREFIXES = ("utm_", "mc_", "pk_", "hsa_", "_hs")
TRACKING_PARAMETERS = frozenset(
    {
        "_branch_match_id", "_ga", "_r", "_t", "ab_channel", "app", "dclid", "fbclid", "fref", "gclid", "hc_ref", "hl",
        "ig_rid", "igsh", "igshid", "is_copy_url", "is_from_webapp", "lang", "mibextid", "msclkid", "paipv", "ref",
        "ref_src", "ref_url", "referer", "referrer", "s", "sender_device", "sfnsn", "share_app_id", "si", "spm",
        "sub_confirmation", "trk", "ttclid", "twclid", "view_as", "wbraid", "yclid",
    }
)  # fmt: skip
"""Parameters that say how a visitor came, never what is shown."""

_AROUND = "<>()[]{}\"'`.,;!|"
"""Signs around an address in running text; at its end they are no part of it."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/*", re.IGNORECASE)
_PARTS = re.compile(r"([^/?#\s]*)([^?#\s]*)(?:\?([^#\s]*))?(?:#(\S*))?")
_PLAIN = re.compile(rf"(?:https?://)?({HOST_PATTERN})((?:/[\w@.~-]*[\w@~-])*)/?", re.ASCII)
"""An address that needs no decoding, quoting or trimming: only a host and a path of simple signs."""
_SAFE_PATH = "/%:@!$&'()*+,;=~-._"
_PLAIN_PATH = re.compile(r"[\w/%:@!$&'()*+,;=~.-]*", re.ASCII)
_MIRRORS = ("www.", "m.", "mobile.", "web.", "www2.")
"""Host prefixes that show the same site in another shape. Only the first one is the same for every site."""


class Url(NamedTuple):
    """A parsed web address: ASCII host without `www.`, decoded path segments, parameters, the canonical text."""

    host: str
    segments: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    fragment: str
    text: str

    @property
    def site(self) -> str:
        """Host without a mobile or web prefix, for matching known platforms."""
        for prefix in _MIRRORS:
            if self.host.startswith(prefix) and self.host.count(".") > 1:
                return self.host.removeprefix(prefix)
        return self.host


@lru_cache(maxsize=CACHE_SIZE)
def parse_url(raw: str) -> Url | None:
    """Parts of a web address; a missing scheme is allowed. None for anything that is no http(s) address of a name."""
    plain = _PLAIN.fullmatch(raw) if len(raw) <= MAX_URL_CHARS else None
    return _read_plain(*plain.groups()) if plain else _read(raw)


def _read_plain(place: str, path: str) -> Url:
    """Parts of an address that `_read` would take apart in the same way."""
    host = _without_www(place)
    return Url(host, tuple(path.split("/")[1:]), (), "", f"https://{host}{path}")


def _read(raw: str) -> Url | None:
    text = repair(raw).strip().strip(_AROUND)
    if not text or len(text) > MAX_URL_CHARS:
        return None
    scheme = _SCHEME.match(text)
    if scheme and scheme.group(1).lower() in {"http", "https"}:
        text = text[scheme.end() :]
    elif scheme and "." not in scheme.group(1):
        return None
    parts = _PARTS.fullmatch(text.lstrip("/"))
    if parts is None:
        return None
    place, path, query, fragment = parts.groups(default="")
    host = _site_host(place.rpartition("@")[2].partition(":")[0])
    return _build(host, path, query, fragment) if host else None


def canonical_url(raw: str) -> str | None:
    """Canonical spelling of a web address, None when it is none. Idempotent."""
    url = parse_url(raw)
    return url.text if url else None


def parse_website(raw: object) -> tuple[str | None, Reason]:
    """Canonical website of a profile; refused when it is no web address under a known suffix."""
    if raw is None:
        return None, None
    text = str(raw).strip()
    if is_missing_number(text):
        return None, None
    url = parse_url(text)
    if url is None:
        return None, "not_a_url"
    return (url.text, None) if registrable_domain(url.host) or is_shared_host(url.host) else (None, "unknown_host")


def website_domain(url: str | None) -> str | None:
    """Registrable domain of a website, None for hosts that many creators share."""
    parsed = parse_url(url) if url else None
    if parsed is None or is_shared_host(parsed.host):
        return None
    return registrable_domain(parsed.host)


def _site_host(place: str) -> str | None:
    host = ascii_host(place.strip("."))
    return _without_www(host) if host else None


def _without_www(host: str) -> str:
    while host.startswith("www.") and host.count(".") > 1:
        host = host.removeprefix("www.")
    return host


def _build(host: str, path: str, query: str, fragment: str) -> Url:
    decoded = unquote(path, errors="replace") if "%" in path else path
    segments = tuple(part for part in decoded.split("/") if part)
    kept = _kept_parameters(query) if query else []
    quoted = path if _PLAIN_PATH.fullmatch(path) else quote(path, safe=_SAFE_PATH)
    clean_path = re.sub(r"/{2,}", "/", quoted).rstrip("/" + _AROUND) if quoted else ""
    text = f"https://{host}{clean_path}" + (f"?{urlencode(kept)}" if kept else "")
    return Url(host, segments, tuple(kept), fragment, text)


def _kept_parameters(query: str) -> list[tuple[str, str]]:
    """Parameters that say what is shown, sorted; a full stop after a value ends a sentence, not the value."""
    pairs = ((name, value.rstrip(".")) for name, value in parse_qsl(query))
    return sorted((name, value) for name, value in pairs if value and not _is_tracking(name))


def _is_tracking(name: str) -> bool:
    return name.lower() in TRACKING_PARAMETERS or name.lower().startswith(TRACKING_PREFIXES)
