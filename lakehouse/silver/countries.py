"""Country names and codes to ISO 3166-1 alpha-2. Exact look-ups in a table built once; no fuzzy search. Pure."""

from __future__ import annotations

import gettext
import re
from functools import cache, lru_cache

import pycountry

from lakehouse.silver.handles import fold
from lakehouse.silver.missing import Reason, is_missing_number

NAME_LANGUAGES = ("es", "pt", "fr", "de", "it", "nl", "pl", "tr", "ru", "ja", "ko", "vi", "id")
"""Languages besides English whose country names are known; the table comes with pycountry."""
ALIASES = {
    "bolivia": "BO", "brunei": "BN", "burma": "MM", "cape verde": "CV", "congo": "CG", "cote d'ivoire": "CI",
    "czech republic": "CZ", "dr congo": "CD", "emirates": "AE", "england": "GB", "estados unidos": "US",
    "great britain": "GB", "holland": "NL", "hong kong sar": "HK", "inglaterra": "GB", "iran": "IR",
    "ivory coast": "CI", "kosovo": "XK", "laos": "LA", "macau": "MO", "macedonia": "MK", "moldova": "MD",
    "north korea": "KP", "northern ireland": "GB", "palestine": "PS", "republic of korea": "KR", "reunion": "RE",
    "russia": "RU", "scotland": "GB", "south korea": "KR", "korea": "KR", "swaziland": "SZ", "syria": "SY",
    "taiwan": "TW", "tanzania": "TZ", "the netherlands": "NL", "turkey": "TR", "turquia": "TR", "türkiye": "TR",
    "u.k.": "GB", "u.s.": "US", "u.s.a.": "US", "uae": "AE", "uk": "GB", "united states of america": "US", "usa": "US",
    "vatican": "VA", "venezuela": "VE", "viet nam": "VN", "vietnam": "VN", "wales": "GB", "xk": "XK",
    "republica dominicana": "DO", "corea del sur": "KR", "reino unido": "GB", "russian federation": "RU",
}  # fmt: skip
"""Names in use that ISO does not list, folded without accents where people leave them out."""

_PLACE_SEPARATOR = re.compile(r"[,/|]")


@lru_cache(maxsize=1 << 13)
def country_code(text: str) -> str | None:
    """Alpha-2 code of a name or code (`Spain`, `España`, `ES`, `ESP`, `Madrid, Spain`), None when unknown."""
    whole = " ".join(fold(text).split()).strip(". ")
    table = _table()
    return table.get(whole) or table.get(_PLACE_SEPARATOR.split(whole)[-1].strip())


def parse_country(raw: object) -> tuple[str | None, Reason]:
    """Country as a source states it; refused with `unknown_country`."""
    if raw is None:
        return None, None
    text = str(raw).strip()
    code = country_code(text)  # before the missing tokens: NA is Namibia's code, and a spelling of "missing"
    if is_missing_number(text):
        return None, None
    return (code, None) if code else (None, "unknown_country")


@cache
def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    catalogues = [gettext.translation("iso3166-1", pycountry.LOCALES_DIR, languages=[code]) for code in NAME_LANGUAGES]
    for country in pycountry.countries:
        english = [getattr(country, field, None) for field in ("name", "common_name", "official_name")]
        names = [name for name in english if name]
        names += [catalogue.gettext(name) for catalogue in catalogues for name in names]
        for name in (country.alpha_2, country.alpha_3, *names):
            table.setdefault(fold(name), country.alpha_2)
    return table | ALIASES
