"""Closed and half-open vocabularies in records: account types, category labels, tags. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from lakehouse.contracts.taxonomy import ACCOUNT_STATES
from lakehouse.silver.handles import fold
from lakehouse.silver.missing import Reason, is_missing_number
from lakehouse.silver.text import LABEL_MAX_CHARS, clean_line

MAX_TAGS = 100
"""Tags kept per post; more are keyword stuffing."""
MAX_LABELS = 20
"""Category labels kept per account."""
CACHE_SIZE = 1 << 14
"""Distinct labels and tags remembered per process: few make up most of all."""
ACCOUNT_TYPES = {
    "personal": "personal", "person": "personal", "individual": "personal", "user": "personal", "vtuber": "creator",
    "creator": "creator", "media_creator": "creator", "content creator": "creator", "artist": "creator",
    "influencer": "creator", "public figure": "creator", "business": "business", "company": "business",
    "organization": "business", "organisation": "business", "subber": "creator", "brand": "brand",
}  # fmt: skip
"""Words of sources to our four account types."""

_HASHTAG = re.compile(r"(?<![\w&/#])#([\w\u200c\u200d]{1,80})")
_SPLIT_LABELS = re.compile(r"[|;\n]")
_SPLIT = re.compile(r"[|;,\n]")
_HAS_LETTER = re.compile(r"[^\W\d_]")


def parse_account_type(raw: object) -> tuple[str | None, Reason]:
    """personal, business, creator or brand; refused with `unknown_account_type`."""
    if raw is None:
        return None, None
    word = " ".join(fold(str(raw)).split())
    if is_missing_number(word):
        return None, None
    code = ACCOUNT_TYPES.get(word)
    return (code, None) if code else (None, "unknown_account_type")


def parse_account_state(raw: object) -> tuple[str | None, Reason]:
    """A code of `ACCOUNT_STATES`; refused with `unknown_account_state`."""
    if raw is None:
        return None, None
    code = str(raw)
    return (code, None) if code in ACCOUNT_STATES else (None, "unknown_account_state")


def labels(raw: object) -> list[str] | None:
    """Category labels as stated, in order, distinct; a string may hold several parted by `|`, `;` or line breaks."""
    if raw is None:
        return None
    items = raw if isinstance(raw, list) else _SPLIT_LABELS.split(raw) if isinstance(raw, str) else []
    cleaned = (_label(item) for item in items if isinstance(item, str))
    return list(dict.fromkeys(label for label in cleaned if label))[:MAX_LABELS] or None


def tags(raw: object, caption: str | None) -> list[str] | None:
    """Stated tags and the caption's hashtags: folded, without #, distinct, stated ones first."""
    if raw is None and (not caption or "#" not in caption):
        return None
    stated = raw if isinstance(raw, list) else _SPLIT.split(raw) if isinstance(raw, str) else []
    words = [item for item in stated if isinstance(item, str)]
    keys = (_tag(word) for word in (*words, *hashtags(caption)))
    return list(dict.fromkeys(key for key in keys if key))[:MAX_TAGS] or None


def hashtags(caption: str | None) -> list[str]:
    """Hashtags of a text without #, as written; numbers alone (`#1`) are none."""
    if not caption or "#" not in caption:
        return []
    return [tag for tag in _HASHTAG.findall(caption) if _HAS_LETTER.search(tag)]


@lru_cache(maxsize=CACHE_SIZE)
def _tag(word: str) -> str | None:
    return clean_line(fold(word).strip().lstrip("#"), max_chars=LABEL_MAX_CHARS)


@lru_cache(maxsize=CACHE_SIZE)
def _label(item: str) -> str | None:
    return clean_line(item, max_chars=LABEL_MAX_CHARS)
