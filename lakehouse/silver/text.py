"""Free text: what a person may have typed becomes text that every later layer can store, show and compare. Pure.

Order of repairs: lone surrogates to U+FFFD, NUL and control characters out, invisible and direction-changing
characters out, NFC, white space collapsed, length capped. Contact data is masked by `mask`. Emoji joiners stay.
"""

from __future__ import annotations

import re
import unicodedata

from lakehouse.silver.emails import mask_emails
from lakehouse.silver.missing import is_missing_text
from lakehouse.silver.phones import mask_phones

NAME_MAX_CHARS = 200
"""Display names and titles: the platforms allow 100 at most; twice that keeps decorated names."""
BIO_MAX_CHARS = 2_000
"""Profile text: 150 to 1,000 characters on the platforms, 2,000 with links expanded."""
CAPTION_MAX_CHARS = 5_000
"""Captions and descriptions: YouTube's own limit, the longest of all platforms."""
LABEL_MAX_CHARS = 80
"""Category labels and tags."""

INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
"""Zero-width and direction controls that change what a reader sees and never what is meant (regex class)."""
JOINERS = "\u200c\u200d\u034f\ufe00-\ufe0f\U000e0000-\U000e01ef\u115f\u1160\u3164\uffa0"
"""Invisible too, but emoji and Persian need them: kept in text, dropped in keys (regex class)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f{INVISIBLE}]")


def clean_text(raw: str, *, max_chars: int) -> str | None:
    """Multi-line text, repaired and capped; None when nothing is left.

    Idempotent: cleaning its own output changes nothing.
    """
    text = repair(raw)
    if text.isprintable():  # as no line break is
        return _capped(" ".join(text.split()), max_chars)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return _capped("\n".join(filter(None, lines)), max_chars)


def clean_line(raw: str, *, max_chars: int = NAME_MAX_CHARS) -> str | None:
    """One-line text, repaired and capped; None when it is empty or spells "missing"."""
    text = " ".join(repair(raw).split())
    return None if is_missing_text(text) else _capped(text, max_chars)


def repair(raw: str) -> str:
    """Storable NFC text without NUL, control, zero-width and direction characters; white space as it was."""
    if raw.replace("\n", " ").isprintable():  # holds nothing to replace or to remove, only letters to compose
        return raw if raw.isascii() else unicodedata.normalize("NFC", raw)
    return unicodedata.normalize("NFC", _CONTROL.sub("", replace_surrogates(raw)))


def replace_surrogates(text: str) -> str:
    """Text with split surrogate pairs joined and lone ones replaced by U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mask(text: str | None) -> str | None:
    """Repaired text with e-mail addresses as `[email]` and phone numbers as `[phone]`."""
    return mask_phones(mask_emails(text)) if text else text


def _capped(text: str, max_chars: int) -> str | None:
    return text[:max_chars].rstrip() or None
