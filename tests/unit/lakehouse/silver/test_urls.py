"""Canonical URLs and registrable domains."""

from __future__ import annotations

import pytest

from lakehouse.silver import hosts, urls


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("http://WWW.Example.COM/", "https://example.com"),
        ("example.com", "https://example.com"),
        ("//example.com/a/", "https://example.com/a"),
        ("https://example.com:8080/a//b?utm_source=x&b=2&a=1&fbclid=9#top", "https://example.com/a/b?a=1&b=2"),
        ("https://user:secret@example.com/a", "https://example.com/a"),
        ("https://münchen.de/ä", "https://xn--mnchen-3ya.de/%C3%A4"),
        ("<https://example.com/x>.", "https://example.com/x"),
        ("HTTPS:/example.com", "https://example.com"),
        ("mailto:a@b.com", None),
        ("javascript:alert(1)", None),
        ("https://127.0.0.1/x", None),
        ("https://[::1]/", None),
        ("https://localhost", None),
        ("not a url", None),
        ("", None),
        ("https://" + "a" * 3000 + ".com", None),
    ],
)
def test_canonical(raw, canonical):
    assert urls.canonical_url(raw) == canonical


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://shop.example.co.uk/x", "example.co.uk"),
        ("https://www.jane.house.gov", "jane.house.gov"),
        ("https://house.gov", None),
        ("https://name.tumblr.com", "name.tumblr.com"),
        ("https://name.github.io", "name.github.io"),
        ("https://linktr.ee/name", None),
        ("https://artist.lnk.to/album", None),
        ("https://www.youtube.com/watch?v=1", None),
        ("https://bit.ly/abc", None),
        ("https://amazon.co.uk/shop/me", None),
        ("https://glued.comsupplemental", None),
        (None, None),
    ],
)
def test_website_domain(url, domain):
    assert urls.website_domain(url) == domain


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("www.example.com/?igshid=1", ("https://example.com", None)),
        ("https://linktr.ee/name", ("https://linktr.ee/name", None)),
        ("https://name.notatld", (None, "unknown_host")),
        ("soon!", (None, "not_a_url")),
        ("N/A", (None, None)),
        (None, (None, None)),
    ],
)
def test_website_of_a_profile(raw, expected):
    assert urls.parse_website(raw) == expected


def test_host_lists_hold_canonical_hosts_once():
    groups = (hosts.LINK_IN_BIO_HOSTS, hosts.SHORTENER_HOSTS, hosts.SOCIAL_HOSTS, hosts.SHOP_HOSTS, hosts.COMMON_HOSTS)
    everything = [host for group in groups for host in group]
    assert len(everything) == len(set(everything))
    assert all(host == host.lower() and not host.startswith("www.") and "/" not in host for host in everything)
