"""Phone numbers in text, found only to be masked: nothing of them is stored. Pure.

A run of digits is taken for a phone number when it has a plus sign, a spelled label or a telephone shape. Counts,
dates, prices and ids in URLs are left alone.
"""

from __future__ import annotations

import re

MASK = "[phone]"
MIN_DIGITS = 8
"""Shorter numbers are extensions, years or prices."""
MAX_DIGITS = 15
"""E.164."""

_SEP = r"[ .\-\u2010-\u2015()/]{0,3}"
_BEFORE = r"(?<![\w/=#@&?.,:+\-])"
_DIGITS = rf"\d(?:{_SEP}\d){{{MIN_DIGITS - 1},{MAX_DIGITS - 1}}}"
_AFTER = r"(?![\w@]|[.,]\d)"
_PATTERNS = (
    re.compile(rf"{_BEFORE}(?:\+|00)\s?\(?{_DIGITS}{_AFTER}"),
    re.compile(
        r"(?i)(?P<label>(?:\b(?:tel|tlf|phone|telefono|teléfono|telefone|whats ?app|wa|call|mobile|mob|cel|sms|text)\b"
        rf"|[☎📞📱✆])[\s.:#no°№\-]{{0,6}})\+?\(?{_DIGITS}{_AFTER}"
    ),
    re.compile(rf"{_BEFORE}\d{{3,4}}[ \-]\d{{3,4}}[ \-]\d{{3,4}}{_AFTER}"),
    re.compile(rf"{_BEFORE}\d{{3}}\.\d{{3}}\.\d{{4}}{_AFTER}"),
    re.compile(rf"{_BEFORE}\(\d{{2,4}}\) ?\d{{3,5}}[ .\-]?\d{{3,5}}{_AFTER}"),
    re.compile(rf"{_BEFORE}\d{{2}}(?:[ .]\d{{2}}){{4}}{_AFTER}"),
    re.compile(rf"{_BEFORE}[06-9]\d{{9,10}}{_AFTER}"),
)
_ENOUGH = re.compile(r"\d(?:\D{0,3}\d){" + str(MIN_DIGITS - 1) + "}")  # starts with one sign: quick to look for


def mask_phones(text: str) -> str:
    """Text with phone numbers replaced by `[phone]`; idempotent."""
    if _ENOUGH.search(text) is None:
        return text
    for pattern in _PATTERNS:
        text = pattern.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    return f"{match.groupdict().get('label') or ''}{MASK}"
