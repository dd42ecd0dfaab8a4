"""Links in text, with and without lost line breaks."""

from __future__ import annotations

import pytest

from lakehouse.silver import mentions
from lakehouse.silver.mentions import DECLARED, Link


def targets(text):
    return [(link.platform, link.target) for link in mentions.find_links(text, evidence="bio")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instagram.com/namefacebook.com/other", [("instagram", "name"), ("facebook", "other")]),
        ("https://x.com/ahttps://www.instagram.com/b", [("x", "a"), ("instagram", "b")]),
        ("http://instagram.com/namehttpsfacebook.com/other", [("instagram", "name"), ("facebook", "other")]),
        ("https://twitter.com/nameFacebook: https://facebook.com/other", [("x", "name"), ("facebook", "other")]),
        ("https://www.youtube.com/FBE2FACEBOOK: x", [("youtube", "fbe2")]),
        ("https://instagram.com/nameVisit us", [("instagram", "name")]),
        ("https://instagram.com/originseriesyoutube ok", [("instagram", "originseriesyoutube")]),
        ("https://instagram.com/RepAmata", [("instagram", "repamata")]),
        ("Instagram: https://instagram.com/name, Twitter: twitter.com/name.", [("instagram", "name"), ("x", "name")]),
        ("(https://www.mysite.com/shop)", [("web", "mysite.com")]),
        ("see mysite.com and www.other.org", [("web", "mysite.com"), ("web", "other.org")]),
        ("IG: @name | Twitter @other", [("instagram", "name"), ("x", "other")]),
        ("https://facebook.com/sharer/sharer.php?u=https://instagram.com/x", []),
        ("https://bit.ly/a https://youtu.be/b https://amzn.to/c", []),
        ("mail me@mysite.com", []),
        ("end of sentence.Next one", []),
        ("no links here", []),
        ("", []),
    ],
)
def test_links_in_text(text, expected):
    assert targets(text) == expected


def test_the_url_is_canonical_and_the_evidence_kept():
    (link,) = mentions.find_links("http://www.instagram.com/Name/?hl=en", evidence="post")
    assert link == Link("instagram", "name", "https://instagram.com/Name", "post")


def test_a_directory_is_cut():
    text = " ".join(f"https://instagram.com/user{i}" for i in range(500))
    assert len(mentions.find_links(text, evidence="bio")) == mentions.MAX_LINKS


def test_declared_links_of_every_shape():
    raw = [
        "https://twitter.com/Name",
        {"platform": "twitter", "target": "Name"},
        {"platform": "youtube", "target": "UCGdrLQbt1PYDTPsampx4t1A"},
        {"platform": "newnet", "target": "@someone", "url": "https://newnet.example.com/someone"},
        {"platform": "website", "target": "https://mysite.com"},
        {"url": "https://instagram.com/name"},
        {"platform": "x", "target": ""},
        {"platform": "x"},
        None,
        7,
        "",
    ]
    assert mentions.declared_links(raw) == [
        Link("x", "name", "https://twitter.com/Name", DECLARED),
        Link("youtube", "UCGdrLQbt1PYDTPsampx4t1A", None, DECLARED),
        Link("newnet", "someone", "https://newnet.example.com/someone", DECLARED),
        Link("web", "mysite.com", "https://mysite.com", DECLARED),
        Link("instagram", "name", "https://instagram.com/name", DECLARED),
    ]
    assert mentions.declared_links("https://x.com/a") == [Link("x", "a", "https://x.com/a", DECLARED)]
