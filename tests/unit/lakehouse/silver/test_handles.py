"""Keys of accounts: what is a handle, what is an id, what is only a name."""

from __future__ import annotations

import pytest

from lakehouse.silver import handles


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("@Cristiano", "cristiano"),
        ("  @khaby.lame ", "khaby.lame"),
        ("ＭｒＢｅａｓｔ", "mrbeast"),
        ("Stra\u00dfe", "strasse"),
        ("na\u200bme\u202e", "name"),
        ("\u2066@name\u2069", "name"),
        ("İstanbul", "i\u0307stanbul"),
        ("@", None),
        ("", None),
        ("\u200b", None),
        ("a\x00b", "ab"),
        ("bad\ud800", "bad\ufffd"),
    ],
)
def test_handle_keys(raw, key):
    assert handles.handle_key(raw) == key


@pytest.mark.parametrize(
    ("key", "is_handle"),
    [("cristiano", True), ("_.me.", True), ("t-series", True), ("日本", True), ("kids diana show", False), ("...", False),
     ("✿", False), ("a" * 101, False), ("#valor!", False), ("a,b", False)],
)  # fmt: skip
def test_what_can_be_a_handle(key, is_handle):
    assert handles.is_handle(key) is is_handle


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("  Kids   Diana Show ", "kids diana show"),
        ("三枝明那 / Saegusa Akina", "三枝明那 / saegusa akina"),
        ("Pokï¿½mon", "pok\ufffdmon"),
        ("ýýýýýýýý ýý ýýýýý", None),
        ("ï¿½ï¿½ï¿½ï¿½ï¿½", None),
        ("\ufffd\ufffd\ufffda", None),
        ("!!!", None),
        ("x", None),
    ],
)
def test_name_keys_refuse_names_that_damage_made_equal(raw, key):
    assert handles.name_key(raw) == key


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("3026622545", ("3026622545", None)),
        (3026622545, ("3026622545", None)),
        ("3026622545.0", ("3026622545", None)),
        ("1234567890123456.0", ("1234567890123456", None)),
        ("12345678901234567.0", (None, "lossy_id")),
        (1e16, (None, "lossy_id")),
        ("9" * 5000 + ".0", (None, "lossy_id")),
        ("UCGdrLQbt1PYDTPsampx4t1A", ("UCGdrLQbt1PYDTPsampx4t1A", None)),
        ("123456789e123456", ("123456789e123456", None)),
        ("7.506832745952218e+18", (None, "lossy_id")),
        (7.506832745952218e18, (None, "lossy_id")),
        ("has space", (None, "not_an_id")),
        ("@name", (None, "not_an_id")),
        ("~name", (None, "not_an_id")),
        ("x" * 200, (None, "not_an_id")),
        ([1], (None, "not_an_id")),
        ("", (None, None)),
        ("nan", (None, None)),
        (None, (None, None)),
    ],
)
def test_platform_ids(raw, expected):
    assert handles.platform_id(raw) == expected


def test_an_account_is_named_by_the_best_it_has():
    assert handles.account_id(given="1", handle="a", name="n") == "1"
    assert handles.account_id(given=None, handle="a", name="n") == "@a"
    assert handles.account_id(given=None, handle=None, name="n") == "~n"
    assert handles.account_id(given=None, handle=None, name=None) is None


def test_an_opaque_id_is_no_handle():
    assert handles.is_opaque_id("youtube", "UCGdrLQbt1PYDTPsampx4t1A")
    assert not handles.is_opaque_id("x", "UCGdrLQbt1PYDTPsampx4t1A")
    assert not handles.is_opaque_id("youtube", "UCshort")
