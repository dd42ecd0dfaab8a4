"""E-mail addresses in text: found, normalised, hashed with a key, masked. The address itself never leaves this module.

Format of a hash: `v1:` and the hex HMAC-SHA256 of "email:v1", a NUL and the normalised address (reliability.md section 8).
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from functools import lru_cache

from lakehouse.silver.hosts import ascii_host, is_place, is_public_suffix

MASK = "[email]"
HASH_VERSION = "v1"
MAX_ADDRESSES = 20
"""Addresses kept per text: more are a list of other people."""
_CONTEXT = b"email:v1\0"

ROLE_NAMES = frozenset(
    {
        "admin", "agency", "booking", "bookings", "business", "collab", "collabs", "contact", "contacto", "contato",
        "enquiries", "hello", "help", "hola", "info", "inquiries", "kontakt", "mail", "management", "marketing",
        "media", "mgmt", "office", "partnership", "partnerships", "pr", "press", "promo", "sales", "support", "team",
    }
)  # fmt: skip
"""Mailboxes of a function, not of a person."""

_ADDRESS = re.compile(
    r"(?<![\w.+%-])([\w.+%'-]{1,64}+)\s?@\s?((?:[\w-]{1,63}\.){1,8})([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})"
)
_REACH = 65
"""Characters before its sign in which an address begins: 64 of the local part and a space."""
_CASE_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])")


def find_emails(text: str) -> list[str]:
    """Distinct normalised addresses in order of appearance, at most `MAX_ADDRESSES`."""
    if "@" not in text:
        return []
    found = [_checked(match) for match in _matches(text)]
    return list(dict.fromkeys(address for address in found if address))[:MAX_ADDRESSES]


def mask_emails(text: str) -> str:
    """Text with everything that looks like an address replaced by `[email]`; idempotent."""
    if "@" not in text:
        return text
    masked, done = "", 0
    for match in _matches(text):
        masked += text[done : match.start()] + _masked(match)
        done = match.end()
    return masked + text[done:]


@lru_cache(maxsize=1 << 9)
def normalise_email(address: str) -> str | None:
    """Trimmed, NFKC, lower case, domain in IDNA; None where it is no address under a public suffix.

    Provider rules (dots, plus tags) are not applied: two addresses stay two.
    """
    local, at, domain = unicodedata.normalize("NFKC", address).strip().lower().rpartition("@")
    local = local.strip().strip(".")
    if not at or not local or ".." in local:
        return None
    ascii_domain = ascii_host(domain.strip().strip("."))
    if ascii_domain is None:
        return None
    has_suffix = is_public_suffix(ascii_domain.partition(".")[2]) or is_public_suffix(ascii_domain.rpartition(".")[2])
    return f"{local}@{ascii_domain}" if "." in ascii_domain and has_suffix else None


def hash_email(normalised: str, *, pepper: bytes) -> str:
    """Keyed hash of a normalised address; equal addresses give equal hashes under one pepper."""
    keyed = _keyed(pepper).copy()
    keyed.update(normalised.encode("utf-8", "replace"))
    return f"{HASH_VERSION}:{keyed.hexdigest()}"


def is_role_address(normalised: str) -> bool:
    """Whether the mailbox names a function (`info@`, `booking@`)."""
    return re.split(r"[.+_-]", normalised.partition("@")[0], maxsplit=1)[0] in ROLE_NAMES


@lru_cache(maxsize=4)
def _keyed(pepper: bytes) -> hmac.HMAC:
    """The hash that has taken in the key and the context: copying it costs a twentieth of starting one."""
    return hmac.new(pepper, _CONTEXT, "sha256")


@lru_cache(maxsize=4)
def _matches(text: str) -> tuple[re.Match[str], ...]:
    """Whatever looks like an address. Remembered for the text at hand, which is masked and searched."""
    return tuple(_ADDRESS.finditer(text, max(0, text.find("@") - _REACH)))


def _checked(match: re.Match[str]) -> str | None:
    local, domain, last = match.groups()
    return None if _is_place(match) else normalise_email(f"{local}@{domain}{_unglued(last)}")


def _is_place(match: re.Match[str]) -> bool:
    """Whether spaces around the sign mean "at": `live @ twitch.tv`, `me @ mysite.com/videos`."""
    local, domain, last = match.groups()
    if len(match.group()) == len(local) + 1 + len(domain) + len(last):
        return False
    return match.string.startswith("/", match.end()) or is_place(f"{domain}{_unglued(last)}".lower())


def _unglued(label: str) -> str:
    """`comFollow` -> `com`: text after a lost line break is cut where the case changes."""
    head = _CASE_BREAK.split(label, maxsplit=1)[0]
    return label if is_public_suffix(label.lower()) or not is_public_suffix(head.lower()) else head


def _masked(match: re.Match[str]) -> str:
    if _is_place(match):
        return match.group()
    last = match.group(3)
    return MASK + last[len(_unglued(last)) :]
