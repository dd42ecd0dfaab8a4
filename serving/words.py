"""How text is split into words, twice: in SQL for documents, in Python for queries.

Planning the SQL costs more than splitting a query does. A test compares both over all of Unicode.
A word is a run of letters and digits, lower case, without marks: accents, and also the vowel signs of Indic scripts.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

SQL_MACRO = r"CREATE MACRO words(s) AS list_filter(regexp_split_to_array(lower(strip_accents(s)), '[^\p{L}\p{N}]+'), lambda x: x <> '')"
"""`words(text)` as a DuckDB macro."""

SQL_KEY = "md5_number_lower(word)"
"""64 bits that stand for a word in the inverted lists."""

TEXTS_CACHED = 4_096

_ASCII_WORDS = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=TEXTS_CACHED)
def split_words(text: str) -> tuple[str, ...]:
    """Words of a text, in order."""
    if text.isascii():
        return tuple(_ASCII_WORDS.findall(text.lower()))
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.category(c).startswith("M"))
    lowered = (c.lower() if len(c.lower()) == 1 else c for c in unicodedata.normalize("NFC", bare))
    spaced = "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in lowered)
    return tuple(spaced.split())


def word_key(word: str) -> int:
    """The same 64 bits as `SQL_KEY`."""
    digest = hashlib.md5(word.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little")
