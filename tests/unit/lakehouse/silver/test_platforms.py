"""Which account an address names."""

from __future__ import annotations

import pytest

from lakehouse.silver import platforms
from lakehouse.silver.platforms import Target
from lakehouse.silver.urls import parse_url

CHANNEL = "UCGdrLQbt1PYDTPsampx4t1A"


@pytest.mark.parametrize(
    ("url", "platform", "key"),
    [
        ("https://www.instagram.com/LeoMessi/?hl=en", "instagram", "leomessi"),
        ("instagram.com/_u/name", "instagram", "name"),
        ("https://instagram.com/stories/name/123", "instagram", "name"),
        ("http://instagr.am/name", "instagram", "name"),
        ("https://www.tiktok.com/@Khaby.Lame?lang=en", "tiktok", "khaby.lame"),
        ("https://m.tiktok.com/@name/video/1", "tiktok", "name"),
        (f"https://www.youtube.com/channel/{CHANNEL}/videos", "youtube", CHANNEL),
        ("https://youtube.com/@MrBeast", "youtube", "mrbeast"),
        ("https://www.youtube.com/user/Foo?sub_confirmation=1", "youtube", "foo"),
        ("https://www.youtube.com/c/%E3%81%82%E3%81%84", "youtube", "あい"),
        ("youtube.com/iJustine", "youtube", "ijustine"),
        ("https://twitter.com/#!/Name", "x", "name"),
        ("https://mobile.twitter.com/Name/status/1", "x", "name"),
        ("https://x.com/@name", "x", "name"),
        ("https://twitter.com/intent/user?screen_name=Name", "x", "name"),
        ("https://m.facebook.com/Some.Page/", "facebook", "some.page"),
        ("https://facebook.com/pages/Some-Page/123456789", "facebook", "123456789"),
        ("https://facebook.com/profile.php?id=1000123", "facebook", "1000123"),
        ("https://www.twitch.tv/name", "twitch", "name"),
        ("https://www.threads.net/@name", "threads", "name"),
        ("https://www.snapchat.com/add/name", "snapchat", "name"),
        ("https://mastodon.social/@Name", "mastodon", "name@mastodon.social"),
        ("https://mstdn.example.org/@name", "mastodon", "name@mstdn.example.org"),
        ("https://name.tumblr.com/post/1", "tumblr", "name"),
        ("https://linktr.ee/Name", "linktr.ee", "name"),
        ("https://open.spotify.com/artist/4gzpq5DPGxSnKTe4SA8HAU", "spotify", "4gzpq5DPGxSnKTe4SA8HAU"),
        ("https://bsky.app/profile/name.bsky.social", "bluesky", "name.bsky.social"),
        ("https://t.me/channel_name", "telegram", "channel_name"),
    ],
)
def test_account_urls(url, platform, key):
    assert platforms.account_of(parse_url(url)) == Target(platform, key)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.instagram.com/p/abc/",
        "https://www.instagram.com/explore/tags/x",
        "https://www.instagram.com/",
        "https://www.tiktok.com/tag/x",
        "https://vm.tiktok.com/abc",
        "https://www.youtube.com/watch?v=1",
        "https://www.youtube.com/playlist?list=1",
        "https://www.youtube.com/channel/short",
        "https://youtu.be/abc",
        "https://twitter.com/share?url=x",
        "https://twitter.com/hashtag/x",
        "https://twitter.com/i/web/status/1",
        "https://twitter.com/a_name_that_is_too_long",
        "https://www.facebook.com/sharer/sharer.php?u=x",
        "https://www.facebook.com/events/1",
        "https://t.co/abc",
        "https://bit.ly/abc",
        "https://example.com/instagram.com/name",
    ],
)
def test_other_addresses_name_no_account(url):
    assert platforms.account_of(parse_url(url)) is None


@pytest.mark.parametrize(
    ("platform", "raw", "key"),
    [
        ("instagram", "@Name", "name"),
        ("tiktok", "khaby.lame", "khaby.lame"),
        ("youtube", CHANNEL, CHANNEL),
        ("youtube", "RepToddYoung", "reptoddyoung"),
        ("x", "https://twitter.com/Name", "name"),
        ("facebook", "SenatorToddYoung", "senatortoddyoung"),
        ("mastodon", "@Name@mastodon.social", "name@mastodon.social"),
        ("threads", "name", "name"),
    ],
)
def test_declared_targets(platform, raw, key):
    assert platforms.parse_target(platform, raw) == Target(platform, key)


@pytest.mark.parametrize(
    ("platform", "raw"), [("x", "two words"), ("instagram", ""), ("unheard-of", "name"), ("x", "home")]
)
def test_targets_that_name_nobody(platform, raw):
    assert platforms.parse_target(platform, raw) is None


@pytest.mark.parametrize(
    ("name", "code"), [("Twitter", "x"), ("IG", "instagram"), (" YouTube ", "youtube"), ("Newnet", "newnet")]
)
def test_platform_names(name, code):
    assert platforms.platform_code(name) == code


def test_profile_urls():
    assert platforms.profile_url("youtube", CHANNEL, "name") == f"https://youtube.com/channel/{CHANNEL}"
    assert platforms.profile_url("youtube", None, "name") == "https://youtube.com/@name"
    assert platforms.profile_url("x", "123", "name") == "https://x.com/name"
    assert platforms.profile_url("x", "123", None) is None
