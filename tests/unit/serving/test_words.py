"""Words in Python and in SQL are the same."""

from __future__ import annotations

import unicodedata

import duckdb
import pytest

from serving.words import SQL_KEY, SQL_MACRO, split_words, word_key

SURROGATES = range(0xD800, 0xE000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("Leo_Messi 10", ("leo", "messi", "10")),
        ("Inés CAFÉ", ("ines", "cafe")),
        ("vegan.cook-book", ("vegan", "cook", "book")),
        ("東京グルメ", ("東京クルメ",)),
        ("🔥!!", ()),
        ("İstanbul", ("istanbul",)),
    ],
)
def test_words(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text) == words


def test_sql_splits_and_keys_every_character_like_python() -> None:
    characters = [
        chr(code) for code in range(1, 0x2FFFF) if code not in SURROGATES and unicodedata.category(chr(code)) != "Cn"
    ]
    texts = [f"a{character}b" for character in characters]
    connection = duckdb.connect()
    connection.execute(SQL_MACRO)
    found = connection.execute("SELECT words(t) FROM (SELECT unnest(?) AS t)", [texts]).fetchall()
    assert [text for text, (words,) in zip(texts, found, strict=True) if split_words(text) != tuple(words)] == []
    key = connection.execute(f"SELECT {SQL_KEY} FROM (SELECT 'café' AS word)").fetchone()
    assert key == (word_key("café"),)
