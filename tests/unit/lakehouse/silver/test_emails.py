"""E-mail addresses: found, normalised and hashed with a key."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from lakehouse.silver import emails


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Contact: Foo.Bar@Example.COM!", ["foo.bar@example.com"]),
        ("business@x.comFollow me", ["business@x.com"]),
        ("a@b.co.uk, a@b.co.uk; c@d.org", ["a@b.co.uk", "c@d.org"]),
        ("ÄÖ@münchen.de", ["äö@xn--mnchen-3ya.de"]),
        ("ｆｏｏ@example.com", ["foo@example.com"]),
        ("no at sign", []),
        ("a@b", []),
        ("me@localhost.invalidsuffix", []),
        ("follow @name", []),
        ("x..y@example.com", []),
        ("ana @ yahoo.com", ["ana@yahoo.com"]),
        ("follow me @ tiktok.com/@ana", []),
        ("Streaming @ twitch.tv", []),
        ("me @ www.twitch.tvFollow", []),
        ("videos @ mysite.com/videos", []),
        ("ana@tiktok.com", ["ana@tiktok.com"]),
    ],
)
def test_find(text, found):
    assert emails.find_emails(text) == found


def test_a_place_is_not_masked():
    text = "Streaming @ twitch.tv, follow me @ tiktok.com/@ana"
    assert emails.mask_emails(f"{text} or ana @ mysite.com") == f"{text} or [email]"


def test_provider_rules_are_not_applied():
    assert emails.normalise_email("a.b+c@gmail.com") == "a.b+c@gmail.com"


def test_hash_is_the_documented_hmac():
    expected = hmac.new(b"pepper", b"email:v1\0" + b"a@b.com", hashlib.sha256).hexdigest()
    assert emails.hash_email("a@b.com", pepper=b"pepper") == f"v1:{expected}"
    assert emails.hash_email("a@b.com", pepper=b"other") != f"v1:{expected}"


@pytest.mark.parametrize(
    ("address", "is_role"), [("info@x.com", True), ("booking.de@x.com", True), ("jane@x.com", False)]
)
def test_role_addresses(address, is_role):
    assert emails.is_role_address(address) is is_role


def test_a_list_of_addresses_is_cut():
    text = " ".join(f"user{i}@example.com" for i in range(500))
    assert len(emails.find_emails(text)) == emails.MAX_ADDRESSES
