"""Countries, languages, account types, labels and tags."""

from __future__ import annotations

import pytest

from lakehouse.silver import countries, languages, vocabulary


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("Spain", "ES"), ("españa", "ES"), ("Spagna", "ES"), ("ES", "ES"), ("esp", "ES"), ("Estados Unidos", "US"), ("USA", "US"),
        ("South Korea", "KR"), ("Russia", "RU"), ("Turkey", "TR"), ("Türkiye", "TR"), ("Vietnam", "VN"), ("Iran", "IR"),
        ("Syria", "SY"), ("England", "GB"), ("Madrid, Spain", "ES"), ("  united   kingdom ", "GB"), ("Kosovo", "XK"),
        ("CA", "CA"), ("U.S.", "US"), ("London, U.K.", "GB"), ("Austin, TX, USA", "US"), ("xk", "XK"),
    ],
)  # fmt: skip
def test_countries(raw, code):
    assert countries.parse_country(raw) == (code, None)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("Chicago, IL", "US"), ("Los Angeles, CA", "US"), ("Atlanta, GA", "US"), ("Denver, CO", "US"), ("Austin, TX", "US"),
        ("Austin, Texas", "US"), ("Albuquerque, New Mexico", "US"), ("Washington, D.C.", "US"), ("Toronto, ON", "CA"),
        ("Montréal / Québec", "CA"), ("Sydney, NSW", "AU"), ("Melbourne | Victoria", "AU"), ("Madrid, España", "ES"),
        ("Berlin, Deutschland", "DE"), ("Sydney, NSW, Australia", "AU"),
    ],
)  # fmt: skip
def test_what_follows_a_city_is_a_country_name_or_a_state(raw, code):
    assert countries.parse_country(raw) == (code, None)


@pytest.mark.parametrize(
    "raw", ["Paris, FR", "Madrid, ESP", "Perth, WA", "Darwin, NT", "Cape Town, SA", "Atlanta, Georgia"]
)
def test_a_code_after_a_city_and_a_name_with_two_readings_are_refused(raw):
    assert countries.parse_country(raw) == (None, "unknown_country")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Atlantis", (None, "unknown_country")),
        ("N/A", (None, None)),
        ("nan", (None, None)),
        ("-", (None, None)),
        (None, (None, None)),
    ],
)
def test_other_countries(raw, expected):
    assert countries.parse_country(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("en", ("en", None)), ("en-US", ("en", None)), ("eng", ("en", None)), ("English", ("en", None)),
        ("zh-Hant", ("zh", None)), ("iw", ("he", None)), ("fil", ("tl", None)), ("klingonish", (None, "unknown_language")),
        ("", (None, None)), (None, (None, None)),
    ],
)  # fmt: skip
def test_stated_languages(raw, expected):
    assert languages.parse_language(raw) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Hello my friends, welcome to my kitchen channel", "en"),
        ("Hola amigos, bienvenidos a mi canal de cocina", "es"),
        ("Dễ làm lắm đó quý vị ơi cùng xem nhé", "vi"),
        ("日本の料理を紹介します", "ja"),
        ("中文美食频道介绍各种做法", "zh"),
        ("Привет друзья, добро пожаловать на мой канал", "ru"),
        ("नमस्ते दोस्तों मेरे चैनल में आपका स्वागत है", "hi"),
        ("한국 요리 채널입니다", "ko"),
        ("شاهد أحدث الفيديوهات على قناتي", "ar"),
        ("ช่องทำอาหาร", "th"),
        ("Ελληνική κουζίνα", "el"),
        ("lol ok", None),
        ("https://example.com/a-very-long-english-path #cooking @someone mail@example.com", None),
        ("😀😀😀 12345 !!!", None),
        ("", None),
        (None, None),
    ],
)
def test_detected_languages(text, code):
    assert languages.detect_language(text) == code


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Media_Creator", ("creator", None)),
        ("COMPANY", ("business", None)),
        ("robot", (None, "unknown_account_type")),
        ("-", (None, None)),
    ],
)
def test_account_types(raw, expected):
    assert vocabulary.parse_account_type(raw) == expected


@pytest.mark.parametrize(
    ("raw", "labels"),
    [
        ("Music", ["Music"]),
        ("Music|Dance; Music", ["Music", "Dance"]),
        (["Music", "", "N/A", None, "Film & Animation"], ["Music", "Film & Animation"]),
        ([], None),
        ("", None),
        (7, None),
    ],
)
def test_labels(raw, labels):
    assert vocabulary.labels(raw) == labels


def test_tags_join_stated_ones_and_hashtags():
    caption = "New video #Cooking #日本 #1 &#39; https://a.com/#frag #cooking"
    assert vocabulary.tags(["Food", "#COOKING", "[none]"], caption) == ["food", "cooking", "日本"]
    assert vocabulary.tags("food, Travel", None) == ["food", "travel"]
    assert vocabulary.tags(None, None) is None
    assert len(vocabulary.tags([f"t{i}" for i in range(500)], None)) == vocabulary.MAX_TAGS
