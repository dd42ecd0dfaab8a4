"""Counts, rates, durations and flags: what people and spreadsheets write, and what is refused."""

from __future__ import annotations

import math

import pytest

from lakehouse.silver import numbers
from lakehouse.silver.missing import PLACEHOLDERS


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        ("409.8M", 409_800_000),
        ("304.9K", 304_900),
        ("1.2B", 1_200_000_000),
        ("1,234", 1_234),
        ("12,345,678", 12_345_678),
        ("1.234.567", 1_234_567),
        ("1 234 567", 1_234_567),
        ("1\u00a0234", 1_234),
        ("1'234'567", 1_234_567),
        ("2.28E+11", 228_000_000_000),
        ("477900000.00", 477_900_000),
        ("1,2M", 1_200_000),
        ("1.2 million followers", 1_200_000),
        ("44 videos", 44),
        ("1,234 followers", 1_234),
        ("1.234K", 1_234),
        ("1,23M", 1_230_000),
        ("0,523M", 523_000),
        ("1,234,567K", 1_234_567_000),
        ("1.234e3", 1_234),
        ("250.00", 250),
        ("1250.000", 1_250),
        ("0.000", 0),
        ("10M+", 10_000_000),
        ("1.2万", 12_000),
        ("3 lakh", 300_000),
        ("٣٤٥", 345),
        ("１２", 12),
        ("0", 0),
        (0, 0),
        (7, 7),
        (477900000.0, 477_900_000),
        (str(2**62), 2**62),
    ],
)
def test_counts(raw, count):
    assert numbers.parse_count(raw) == (count, None)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        " ",
        "N/A",
        "N/A'",
        "n/a",
        "-",
        "--",
        "—",
        "nan",
        "NaN",
        "None",
        "null",
        "#VALOR!",
        "#VALUE!",
        "#N/A",
        "#DIV/0!",
    ],
)
def test_missing_is_null_without_a_reason(raw):
    assert numbers.parse_count(raw) == (None, None)
    assert numbers.parse_mean(raw) == (None, None)
    assert numbers.parse_ratio(raw) == (None, None)
    assert numbers.parse_seconds(raw) == (None, None)
    assert numbers.parse_flag(raw) == (None, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("-3", "negative"),
        (-3, "negative"),
        ("-1.2K", "negative"),
        (math.nan, "not_finite"),
        (math.inf, "not_finite"),
        ("Infinity", "not_finite"),
        ("-inf", "not_finite"),
        (str(2**62 + 1), "too_large"),
        (2**63, "too_large"),
        (10**400, "too_large"),
        ("9" * 30, "too_large"),
        ("1e400", "too_large"),
        ("348.5", "not_integer"),
        ("0,523", "not_integer"),
        ("250.000", "ambiguous_number"),
        ("1.234", "ambiguous_number"),
        ("250.000 followers", "ambiguous_number"),
        ("1,234K", "ambiguous_number"),
        ("1,200M", "ambiguous_number"),
        ("0,123,456", "not_a_number"),
        ("1,5", "not_integer"),
        ("abc", "not_a_number"),
        ("12abc", "not_a_number"),
        ("M", "not_a_number"),
        ("1.2.3", "not_a_number"),
        ("1,23,4", "not_a_number"),
        ("0x1F", "not_a_number"),
        ("1" * 5000, "not_a_number"),
        ("Share", "not_a_number"),
        (True, "not_a_number"),
        (["1"], "not_a_number"),
        ({}, "not_a_number"),
    ],
)
def test_refused_counts(raw, reason):
    assert numbers.parse_count(raw) == (None, reason)


def test_a_button_label_is_missing_only_in_its_own_column():
    assert numbers.parse_count("Share", placeholders=PLACEHOLDERS["shares"]) == (None, None)
    assert numbers.parse_count("Share", placeholders=PLACEHOLDERS["saves"]) == (None, "not_a_number")


def test_suffixed_decimals_are_exact():
    for tenths in range(1, 10_000):
        text = f"{tenths / 10:.1f}K"
        assert numbers.parse_count(text) == (tenths * 100, None)


@pytest.mark.parametrize(
    ("raw", "mean"),
    [
        ("348.5", 348.5),
        ("1.5K", 1500.0),
        ("1.234,56", 1234.56),
        ("12,345.67", 12345.67),
        ("0,523", 0.523),
        ("250.125", 250.125),
    ],
)
def test_means_may_have_a_fraction(raw, mean):
    assert numbers.parse_mean(raw) == (mean, None)


@pytest.mark.parametrize(
    ("raw", "is_percent", "ratio"),
    [
        (0.0165, False, 0.0165),
        ("1.65", True, 0.0165),
        ("1.65%", False, 0.0165),
        ("1.65 %", True, 0.0165),
        (1.4014, False, 1.4014),
        (0, False, 0.0),
        ("1,65", True, 0.0165),
        ("0,523%", False, 0.00523),
    ],
)
def test_rates_are_fractions(raw, is_percent, ratio):
    value, reason = numbers.parse_ratio(raw, is_percent=is_percent)
    assert reason is None
    assert value == pytest.approx(ratio, abs=1e-12)


@pytest.mark.parametrize(
    ("raw", "reason"), [("165", "too_large"), (-0.1, "negative"), ("a%", "not_a_number"), (math.nan, "not_finite")]
)
def test_refused_rates(raw, reason):
    assert numbers.parse_ratio(raw) == (None, reason)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("75", 75.0),
        (75, 75.0),
        ("01:15", 75.0),
        ("1:02:03", 3723.0),
        ("PT4M13S", 253.0),
        ("P1DT1S", 86401.0),
        ("00:00", 0.0),
    ],
)
def test_durations(raw, seconds):
    assert numbers.parse_seconds(raw) == (seconds, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [("8 days", "not_a_number"), ("999999999", "too_large"), ("P", "not_a_number"), ([], "not_a_number")],
)
def test_refused_durations(raw, reason):
    assert numbers.parse_seconds(raw) == (None, reason)


@pytest.mark.parametrize(
    ("raw", "flag"), [("True", True), ("FALSE", False), ("yes", True), ("0", False), (1, True), (False, False)]
)
def test_flags(raw, flag):
    assert numbers.parse_flag(raw) == (flag, None)


def test_a_word_is_no_flag():
    assert numbers.parse_flag("maybe") == (None, "not_a_flag")
