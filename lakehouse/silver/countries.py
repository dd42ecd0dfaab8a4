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
    "u.k": "GB", "u.s": "US", "u.s.a": "US", "uae": "AE", "uk": "GB", "united states of america": "US", "usa": "US",
    "vatican": "VA", "venezuela": "VE", "viet nam": "VN", "vietnam": "VN", "wales": "GB",
    "republica dominicana": "DO", "corea del sur": "KR", "reino unido": "GB", "russian federation": "RU",
}  # fmt: skip
"""Names in use that ISO does not list, folded without accents where people leave them out."""

_STATES = {
    "US": (
        "al alabama ak alaska az arizona ar arkansas ca california co colorado ct connecticut de delaware fl florida ga "
        "hi hawaii id idaho il illinois in indiana ia iowa ks kansas ky kentucky la louisiana me maine md maryland "
        "ma massachusetts mi michigan mn minnesota ms mississippi mo missouri mt montana ne nebraska nv nevada "
        "nh new_hampshire nj new_jersey nm new_mexico ny new_york nc north_carolina nd north_dakota oh ohio "
        "ok oklahoma or oregon pa pennsylvania ri rhode_island sc south_carolina sd south_dakota tn tennessee tx texas "
        "ut utah vt vermont va virginia washington wv west_virginia wi wisconsin wy wyoming dc d.c district_of_columbia"
    ),
    "CA": (
        "ab alberta bc british_columbia mb manitoba nb new_brunswick nl newfoundland newfoundland_and_labrador "
        "ns nova_scotia northwest_territories nu nunavut on ontario pe prince_edward_island qc quebec québec "
        "sk saskatchewan yt yukon"
    ),
    "AU": (
        "nsw new_south_wales northern_territory qld queensland south_australia tas tasmania vic victoria "
        "western_australia act australian_capital_territory"
    ),
}
STATES = {name.replace("_", " "): code for code, names in _STATES.items() for name in names.split()}
"""What stands after a city in the US, Canada and Australia, folded. Left out because they have two readings: `georgia`
(a country too), `wa` (Washington, Western Australia), `nt` (two territories), `sa` (South Australia, South Africa)."""
_TWO_READINGS = frozenset({"georgia"})

_PLACE_SEPARATOR = re.compile(r"[,/|]")


@lru_cache(maxsize=1 << 13)
def country_code(text: str) -> str | None:
    """Alpha-2 code of a name or code (`Spain`, `España`, `ES`, `ESP`, `Madrid, Spain`, `Austin, TX`), None when unknown.

    A country's code counts only as the whole value: after a city, `CA` is California and `IL` Illinois.
    """
    whole = " ".join(fold(text).split()).strip(". ")
    names = _names()
    if code := names.get(whole) or _codes().get(whole):
        return code
    _, *rest = _PLACE_SEPARATOR.split(whole)
    last = rest[-1].strip() if rest else ""
    return None if last in _TWO_READINGS else STATES.get(last) or names.get(last)


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
def _codes() -> dict[str, str]:
    both = ((fold(code), found.alpha_2) for found in pycountry.countries for code in (found.alpha_2, found.alpha_3))
    return {"xk": "XK", **dict(both)}


@cache
def _names() -> dict[str, str]:
    table: dict[str, str] = {}
    catalogues = [gettext.translation("iso3166-1", pycountry.LOCALES_DIR, languages=[code]) for code in NAME_LANGUAGES]
    for country in pycountry.countries:
        english = [getattr(country, field, None) for field in ("name", "common_name", "official_name")]
        names = [name for name in english if name]
        names += [catalogue.gettext(name) for catalogue in catalogues for name in names]
        for name in names:
            table.setdefault(fold(name), country.alpha_2)
    return table | ALIASES
