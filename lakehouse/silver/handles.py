"""Keys of accounts: handle key, name key and the id of an account as the lake writes it. Pure.

`platform_account_id` is the platform's own id where known, else `@` + handle key, else `~` + name key. Two rows of one
platform, one with an id and one with only the handle, stay two accounts here; identity links them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from lakehouse.silver.missing import SPREADSHEET_ERRORS, Reason, is_missing_number
from lakehouse.silver.text import INVISIBLE, JOINERS, replace_surrogates

MAX_ID_CHARS = 128
"""Longest platform id; real ones have at most 64 characters."""
MAX_HANDLE_CHARS = 100
"""Longest handle; platforms allow 15 to 60."""
MIN_KEY_CHARS = 2
"""A name of one letter names nobody."""
FOLD_ROUNDS = 8
"""NFKC and case folding reach a fixed point after two or three rounds; the bound is a safety net."""
EXACT_FLOAT_MAX = 2**53
"""Largest whole number up to which a float holds every id."""

_IGNORED = re.compile(f"[\x00-\x1f\x7f-\x9f{INVISIBLE}{JOINERS}]")
_LEADING = re.compile(r"^[\s@]+")
_HANDLE = re.compile(r"[\w.·\-]*\w[\w.·\-]*")
YOUTUBE_ID = re.compile(r"UC[\w-]{22}", re.ASCII)
_PLAIN_ID = re.compile(rf"[\w-]{{1,{MAX_ID_CHARS}}}", re.ASCII)
_FLOAT_ID = re.compile(r"[0-9]+(?:\.[0-9]+e\+?|e\+)[0-9]+", re.IGNORECASE)
_WHOLE_FLOAT = re.compile(r"([0-9]+)\.0+")
_MOJIBAKE = re.compile("ï¿½?")
_DAMAGE = re.compile("ý{2,}|\ufffd+")
_NOT_LETTERS = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Compatibility-folded, case-folded text without invisible characters; idempotent (NFKC_Casefold)."""
    return text.lower() if text.isascii() and text.isprintable() else _fold(text)


@lru_cache(maxsize=1 << 14)
def _fold(text: str) -> str:
    folded = replace_surrogates(text)
    for _ in range(FOLD_ROUNDS):
        again = _IGNORED.sub("", unicodedata.normalize("NFKC", folded).casefold())
        if again == folded:
            break
        folded = again
    return folded


def handle_key(raw: str) -> str | None:
    """Comparable handle: folded, without leading @ and white space; None when nothing is left."""
    return _LEADING.sub("", fold(raw)).strip() or None


def is_handle(key: str) -> bool:
    """Whether a key can be a handle: letters, digits, `_`, `.`, `-`, no space, and no opaque id."""
    return len(key) <= MAX_HANDLE_CHARS and _HANDLE.fullmatch(key) is not None and key not in SPREADSHEET_ERRORS


def name_key(raw: str) -> str | None:
    """Comparable display name: folded, white space collapsed; None when it is too short or damaged beyond telling apart.

    Names whose letters an upstream tool replaced by the same filler would all become one account.
    """
    key = " ".join(fold(_MOJIBAKE.sub("\ufffd", raw)).split())
    damaged = sum(len(run) for run in _DAMAGE.findall(key))
    kept = len(_NOT_LETTERS.sub("", _DAMAGE.sub("", key)))
    return key if kept >= MIN_KEY_CHARS and kept >= damaged else None


def is_opaque_id(platform: str, text: str) -> bool:
    """Whether text is a platform's opaque account id (YouTube's `UC...`), which is never a handle."""
    return platform == "youtube" and YOUTUBE_ID.fullmatch(text) is not None


def platform_id(raw: object) -> tuple[str | None, Reason]:
    """The platform's own id as text; refused when it has spaces or went through a float and lost digits."""
    if type(raw) is str and _PLAIN_ID.fullmatch(raw):
        return None if is_missing_number(raw) else raw, None  # nearly all ids; what follows gives the same
    if raw is None or isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return None, None if raw is None else "not_an_id"
    text = replace_surrogates(str(raw)).strip()
    if whole := _WHOLE_FLOAT.fullmatch(text):
        text = whole.group(1)
        if len(text) > len(str(EXACT_FLOAT_MAX)) or int(text) > EXACT_FLOAT_MAX:
            return None, "lossy_id"
    if is_missing_number(text):
        return None, None
    if _FLOAT_ID.fullmatch(text) or (isinstance(raw, float) and "." in text):
        return None, "lossy_id"
    return (text, None) if _is_plain(text) else (None, "not_an_id")


def account_id(*, given: str | None, handle: str | None, name: str | None) -> str | None:
    """Key of an account inside its platform; None when the source names nobody.

    Args:
        given: the platform's own id.
        handle: handle key.
        name: name key.
    """
    if given:
        return given
    if handle:
        return f"@{handle}"
    return f"~{name}" if name else None


def _is_plain(text: str) -> bool:
    return (
        len(text) <= MAX_ID_CHARS
        and not text.startswith(("@", "~"))
        and _IGNORED.search(text) is None
        and " " not in text
    )
