"""Text repair and masking."""

from __future__ import annotations

import pytest

from lakehouse.silver import text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\x00b", "ab"),
        ("x\ud800y", "x\ufffdy"),
        ("\ud83d\ude00", "😀"),
        ("e\u0301", "é"),
        ("a \t b", "a b"),
        ("a \r\n\n  b ", "a\nb"),
        ("abc\u202edef\u202c", "abcdef"),
        ("\ufeffhi", "hi"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("שלום עולם", "שלום עולם"),
        ("   ", None),
        ("\x00", None),
    ],
)
def test_clean_text(raw, clean):
    assert text.clean_text(raw, max_chars=100) == clean


def test_text_is_capped():
    assert text.clean_text("word " * 100, max_chars=11) == "word word w"
    assert text.clean_text("word " * 100, max_chars=10) == "word word"


@pytest.mark.parametrize(
    ("raw", "line"), [("N/A", None), ("nan", None), ("Nan", "Nan"), ("-", None), ("#VALOR!", None), (" a\nb ", "a b")]
)
def test_lines_that_spell_missing_are_null(raw, line):
    assert text.clean_line(raw) == line


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ("mail foo.bar+x@gmail.com now", "mail [email] now"),
        ("business@x.comFollow me", "[email]Follow me"),
        ("a @ b.com", "[email]"),
        ("+34 612 345 678!", "[phone]!"),
        ("call (555) 123-4567", "call [phone]"),
        ("555-123-4567", "[phone]"),
        ("555.123.4567", "[phone]"),
        ("WhatsApp: 0812 3456 7890", "WhatsApp: [phone]"),
        ("06 12 34 56 78", "[phone]"),
        ("9876543210", "[phone]"),
    ],
)
def test_contact_data_is_masked(raw, masked):
    assert text.mask(raw) == masked


@pytest.mark.parametrize(
    "kept",
    [
        "1,234,567,890 views",
        "10.000.000 fans",
        "10 000 000 fans",
        "2022-11-05 12:30",
        "2020-2021 1080p60",
        "facebook.com/profile.php?id=100012345678901",
        "https://youtu.be/0123456789",
        "follow @name on X",
        "1608214517",
        "$1,000.00 and 50%",
    ],
)
def test_other_numbers_and_handles_stay(kept):
    assert text.mask(kept) == kept
