"""Counts, numbers, rates, durations and flags as people and spreadsheets write them. Pure; one value in, one out.

Every rule returns `(value, reason)`: missing gives `(None, None)`, refused gives `(None, reason_code)`. `0` stays 0.
Arithmetic is decimal, so `304.9K` is exactly 304900. Where fields live and what is done with reasons: `rules.py`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection
from decimal import Decimal
from functools import lru_cache

from lakehouse.silver.missing import Reason, is_missing_number

MAX_COUNT = 2**62
"""Largest count: half of int64, so that the sum of two still fits."""
SURE_DIGITS = 18
"""As many digits always stay below `MAX_COUNT`."""
MAX_RATIO = 10.0
"""Largest rate, as a fraction: viral posts pass 1; above 10 (1000 %) the unit is wrong."""
MAX_NUMBER_CHARS = 40
"""Longer text is no number; keeps hostile input cheap."""
MAX_DURATION_SECONDS = 7 * 86_400.0
"""Longest video: live streams run for days; a week or more is a unit mistake."""
CACHE_SIZE = 1 << 16
"""Distinct spellings remembered per process: rounded counts such as `1.2M` repeat all the time."""

SUFFIXES = {
    "k": 10**3, "thousand": 10**3, "mil": 10**3, "тыс": 10**3, "천": 10**3,
    "万": 10**4, "만": 10**4,
    "lakh": 10**5, "lakhs": 10**5,
    "m": 10**6, "mm": 10**6, "mn": 10**6, "mln": 10**6, "mio": 10**6, "million": 10**6, "млн": 10**6, "tr": 10**6,
    "cr": 10**7, "crore": 10**7,
    "亿": 10**8, "億": 10**8, "억": 10**8,
    "b": 10**9, "bn": 10**9, "mrd": 10**9, "billion": 10**9, "млрд": 10**9, "t": 10**12,
}  # fmt: skip
"""Magnitude words, case-folded. `tr` is Vietnamese triệu, `mil` Spanish and Portuguese thousand."""
UNIT_WORDS = frozenset(
    {"followers", "subscribers", "views", "videos", "likes", "comments", "shares", "posts", "plays", "fans"}
)
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1", "1.0", "si", "sí"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0", "0.0"})

_NUMBER = re.compile(r"([+-]?)((?:[0-9][0-9., '_]*|\.[0-9]+))(e[+-]?[0-9]{1,3})?\s*(\D*)")
_THOUSANDS = {sep: re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(sep)}[0-9]{{3}})+") for sep in ",.' _"}
_DECIMAL_COMMA = re.compile(r"[0-9]+,[0-9]{1,2}|0,[0-9]+")
_ANY_DECIMAL_COMMA = re.compile(r"[0-9]+,[0-9]+")
_ONE_GROUP = {sep: re.compile(rf"[1-9][0-9]{{0,2}}{re.escape(sep)}[0-9]{{3}}") for sep in ",."}
_INFINITE = frozenset({"inf", "infinity", "+inf", "-inf", "+infinity", "-infinity", "∞"})
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):([0-5]?\d(?:\.\d+)?)")
_ISO_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE)


def parse_count(raw: object, *, placeholders: Collection[str] = ()) -> tuple[int | None, Reason]:
    """Whole count from `409.8M`, `1,234`, `2.28E+11`, `477900000.00`, 12.

    Args:
        raw: text, int or float as read.
        placeholders: case-folded words that mean "missing" in this column.

    Returns:
        The count, or None with `negative`, `not_finite`, `too_large`, `not_integer`, `ambiguous_number` (`250.000` is
        250 to some and a quarter of a million to others) or `not_a_number`.
    """
    if type(raw) is str and len(raw) <= SURE_DIGITS and raw.isascii() and raw.isdigit():
        return int(raw), None  # nearly all counts; what follows gives the same
    number, reason = _number(raw, placeholders, is_count=True)
    if number is None:
        return None, reason
    if number < 0:
        return None, "negative"
    if number > MAX_COUNT:
        return None, "too_large"
    return (int(number), None) if number == number.to_integral_value() else (None, "not_integer")


def parse_mean(raw: object) -> tuple[float | None, Reason]:
    """Non-negative number that may have a fraction, such as mean views per post (`348.5`)."""
    number, reason = _number(raw)
    if number is None:
        return None, reason
    if number < 0:
        return None, "negative"
    return (float(number), None) if number <= MAX_COUNT else (None, "too_large")


def parse_ratio(raw: object, *, is_percent: bool = False) -> tuple[float | None, Reason]:
    """Rate as a fraction: `0.0165` by default, `1.65` where the source states percent, `1.65%` always percent."""
    has_sign = isinstance(raw, str) and raw.strip().endswith(("%", "٪", "％"))
    text = raw.strip()[:-1] if has_sign and isinstance(raw, str) else raw
    number, reason = _number(text)
    if number is None:
        return None, reason
    ratio = float(number / 100 if is_percent or has_sign else number)
    if ratio < 0:
        return None, "negative"
    return (ratio, None) if ratio <= MAX_RATIO else (None, "too_large")


def parse_seconds(raw: object) -> tuple[float | None, Reason]:
    """Duration in seconds from `75`, `01:15`, `1:02:03` or `PT1M15S`."""
    if not isinstance(raw, str) or not raw.strip():
        seconds, reason = parse_mean(raw)
    else:
        seconds, reason = _clock(raw.strip())
    if seconds is not None and seconds > MAX_DURATION_SECONDS:
        return None, "too_large"
    return seconds, reason


def parse_flag(raw: object) -> tuple[bool | None, Reason]:
    """Boolean from true/false, yes/no, 1/0 in any case."""
    if raw is None or isinstance(raw, bool):
        return raw, None
    word = str(raw).strip().casefold()
    if word in TRUE_WORDS:
        return True, None
    if word in FALSE_WORDS:
        return False, None
    return (None, None) if is_missing_number(word) else (None, "not_a_flag")


def _number(
    raw: object, placeholders: Collection[str] = (), *, is_count: bool = False
) -> tuple[Decimal | None, Reason]:
    if raw is None:
        return None, None
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return None, "not_a_number"
    if isinstance(raw, float):
        return (Decimal(repr(raw)), None) if math.isfinite(raw) else (None, "not_finite")
    if isinstance(raw, int):
        return (Decimal(raw), None) if abs(raw) <= MAX_COUNT else (None, "negative" if raw < 0 else "too_large")
    if placeholders and raw.strip().casefold() in placeholders:
        return None, None
    text = raw if len(raw) <= MAX_NUMBER_CHARS else raw.strip()
    return _parse_text(text, is_count) if len(text) <= MAX_NUMBER_CHARS else (None, "not_a_number")


@lru_cache(maxsize=CACHE_SIZE)
def _parse_text(raw: str, is_count: bool) -> tuple[Decimal | None, Reason]:
    if raw.isascii() and raw.isdigit():
        return Decimal(raw), None
    text = _plain_digits(raw).strip().rstrip("+").casefold()
    if is_missing_number(text):
        return None, None
    if text in _INFINITE:
        return None, "not_finite"
    return _scaled(text, is_count=is_count)


def _scaled(text: str, *, is_count: bool) -> tuple[Decimal | None, Reason]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None, "not_a_number"
    sign, digits, exponent, word = match.groups()
    factor = _factor(word)
    if factor is None:
        return None, "not_a_number"
    is_scaled, bare = factor > 1, digits.strip()
    if not exponent and _is_ambiguous(bare, is_scaled=is_scaled, is_count=is_count):
        return None, "ambiguous_number"
    plain = _decimal_text(bare, is_scaled=is_scaled)
    if plain is None:
        return None, "not_a_number"
    return Decimal(f"{sign}{plain}{exponent or ''}") * factor, None


def _factor(word: str) -> int | None:
    """Multiplier of `k`, `million followers`, nothing; None for other words."""
    parts = [part.strip(".") for part in word.split()]
    if parts and parts[-1] in UNIT_WORDS:
        parts = parts[:-1]
    if not parts:
        return 1
    return SUFFIXES.get(parts[0]) if len(parts) == 1 else None


def _is_ambiguous(digits: str, *, is_scaled: bool, is_count: bool) -> bool:
    """Whether one group of three may be thousands or a fraction: `1,234K`, and in a count `250.000`.

    A fraction of a person is no count, and nobody groups digits before a magnitude word; either reading is a mistake.
    """
    if is_scaled:
        return _ONE_GROUP[","].fullmatch(digits) is not None
    return is_count and _ONE_GROUP["."].fullmatch(digits) is not None


def _decimal_text(digits: str, *, is_scaled: bool) -> str | None:
    """ASCII decimal of digits with separators; None where the grouping makes no sense.

    `1.234` is one and a bit and `1,234` is 1234; no thousands start with 0, so `0,523` is half. Before a magnitude word a
    lone comma is decimal.
    """
    if digits.replace(".", "", 1).isdigit():
        return digits
    if (_ANY_DECIMAL_COMMA if is_scaled else _DECIMAL_COMMA).fullmatch(digits):
        return digits.replace(",", ".")
    for sep, pattern in _THOUSANDS.items():
        whole, point, fraction = digits.rpartition("." if sep != "." else ",")
        if not point:
            whole, fraction = digits, ""
        if pattern.fullmatch(whole) and (fraction.isdigit() or not fraction):
            return whole.replace(sep, "") + (f".{fraction}" if fraction else "")
    return None


def _plain_digits(text: str) -> str:
    """ASCII digits, points and spaces for those of other scripts."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    digits = (
        str(unicodedata.decimal(char)) if unicodedata.decimal(char, None) is not None else char for char in folded
    )
    return re.sub(r"\s", " ", "".join(digits)).replace("٫", ".").replace("٬", ",").replace("−", "-").replace("’", "'")


def _clock(text: str) -> tuple[float | None, Reason]:
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds), None
    if (match := _ISO_DURATION.fullmatch(text)) and any(match.groups()):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds, None
    return parse_mean(text)
