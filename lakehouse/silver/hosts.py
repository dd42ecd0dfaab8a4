"""Host lists and the registrable domain, offline. Data and look-ups only; URLs are taken apart in `urls.py`.

The public suffix list is the snapshot inside the installed package; nothing is fetched.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

import idna
from publicsuffixlist import PublicSuffixList

LINK_IN_BIO_HOSTS = frozenset(
    {
        "allmylinks.com", "beacons.ai", "beacons.page", "bento.me", "bio.fm", "bio.link", "bio.site", "campsite.bio",
        "carrd.co", "flow.page", "hoo.be", "instabio.cc", "koji.to", "komi.io", "lit.link", "link.me", "linkin.bio",
        "linkr.bio", "linktr.ee", "linktree.com", "lnk.bio", "milkshake.app", "msha.ke", "profcard.info", "sleek.bio",
        "snipfeed.co", "solo.to", "stan.store", "tap.bio", "taplink.cc", "tapl.ink", "withkoji.com",
    }
)  # fmt: skip
"""One page per creator: host plus first path segment names the page, the host alone says nothing."""
SHORTENER_HOSTS = frozenset(
    {
        "adf.ly", "amzn.eu", "amzn.to", "apple.co", "bit.ly", "buff.ly", "bzfd.it", "cutt.ly", "db.tt", "fb.me",
        "ffm.to", "fanlink.to", "found.ee", "geni.us", "go.magik.ly", "goo.gl", "hyperurl.co", "ift.tt", "is.gd",
        "lnk.to", "on.fb.me", "ow.ly", "rb.gy", "rebrand.ly", "shorturl.at", "smarturl.it", "spoti.fi", "t.co", "t.ly",
        "tiny.cc", "tinyurl.com", "trib.al", "tumblr.co", "urlz.fr", "v.gd", "vevo.ly", "vt.tiktok.com",
        "vm.tiktok.com", "wa.me", "youtu.be", "zly.de",
    }
)  # fmt: skip
"""Redirects: the target is unknown without a request, so the link says nothing about identity."""
SOCIAL_HOSTS = frozenset(
    {
        "bandcamp.com", "behance.net", "bilibili.com", "bsky.app", "dailymotion.com", "deviantart.com", "discord.com",
        "discord.gg", "discordapp.com", "facebook.com", "fb.com", "fb.watch", "flickr.com", "github.com", "giphy.com",
        "google.com", "instagr.am", "instagram.com", "kick.com", "kwai.com", "line.me", "linkedin.com",
        "mastodon.social", "medium.com", "messenger.com", "mixcloud.com", "musical.ly", "ok.ru", "onlyfans.com",
        "patreon.com", "pinterest.com", "quora.com", "reddit.com", "snapchat.com", "soundcloud.com", "spotify.com",
        "steamcommunity.com", "substack.com", "t.me", "telegram.me", "threads.com", "threads.net", "tiktok.com",
        "triller.co", "tumblr.com", "twitch.tv", "twitter.com", "vero.co", "vimeo.com", "vk.com", "vk.ru", "weibo.com",
        "whatsapp.com", "x.com", "youtube.com", "zhihu.com",
    }
)  # fmt: skip
SHOP_HOSTS = frozenset(
    {
        "amazon.ca", "amazon.co.jp", "amazon.co.uk", "amazon.com", "amazon.com.br", "amazon.de", "amazon.es",
        "amazon.fr", "amazon.in", "amazon.it", "apple.com", "buymeacoffee.com", "cafepress.com", "deezer.com",
        "depop.com", "ebay.com", "etsy.com", "eventbrite.com", "fiverr.com", "flipkart.com", "fourthwall.com",
        "gofundme.com", "gumroad.com", "humblebundle.com", "indiegogo.com", "itunes.com", "kickstarter.com",
        "ko-fi.com", "merchbar.com", "mercadolivre.com.br", "myshopify.com", "paypal.com", "paypal.me", "pandora.com",
        "playstation.com", "redbubble.com", "shein.com", "shopee.com.br", "shopify.com", "spreadshirt.com",
        "spreadshop.com", "spring.com", "steampowered.com", "streamlabs.com", "streamelements.com", "teechip.com",
        "teepublic.com", "teespring.com", "threadless.com", "ticketmaster.com", "tidal.com", "tipeee.com", "zazzle.com",
    }
)  # fmt: skip
COMMON_HOSTS = frozenset(
    {
        "artlist.io", "audiojungle.net", "bensound.com", "blogger.com", "bbc.co.uk", "change.org", "cnn.com",
        "creativecommons.org", "dropbox.com", "epidemicsound.com", "europa.eu", "extrememusic.com", "forms.gle",
        "freesound.org", "goo.su", "googleusercontent.com", "icloud.com", "imdb.com", "incompetech.com", "mailchi.mp",
        "microsoft.com", "nytimes.com", "outlook.com", "strava.com", "surveymonkey.com", "typeform.com",
        "wikipedia.org", "yahoo.com", "yelp.com", "zoom.us",
    }
)  # fmt: skip
"""Libraries, press, mail and form hosts that many creators cite."""
SHARED_HOSTS = LINK_IN_BIO_HOSTS | SHORTENER_HOSTS | SOCIAL_HOSTS | SHOP_HOSTS | COMMON_HOSTS
PLACE_HOSTS = SHARED_HOSTS - COMMON_HOSTS
"""Hosts with pages and accounts but no mailboxes: `me @ twitch.tv` is a place."""
TENANT_HOSTS = frozenset(
    {
        "bigcartel.com", "house.gov", "parliament.uk", "senate.gov", "squarespace.com", "tumblr.com", "weebly.com",
        "wix.com", "wixsite.com", "wordpress.com", "webflow.io", "bandcamp.com", "substack.com", "teachable.com",
    }
)  # fmt: skip
"""Each subdomain belongs to somebody else: `jane.house.gov` is a site of its own, `house.gov` is not."""


HOST_PATTERN = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
"""A dotted name in lower-case ASCII (regex)."""
_HOST = re.compile(HOST_PATTERN)


def ascii_host(host: str) -> str | None:
    """Lower-case ASCII form of a host name (IDNA for other scripts), None for what is no dotted name."""
    text = host.lower()
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    return text if _HOST.fullmatch(text) else None


def registrable_domain(host: str) -> str | None:
    """Domain that one owner registered: `shop.example.co.uk` -> `example.co.uk`; None for an unknown suffix.

    Under a tenant host the subdomain is the site: `jane.house.gov`; the bare host then gives None.
    """
    domain = _owned_domain(host)
    if domain in TENANT_HOSTS:
        owner = host.removesuffix(domain).strip(".").rpartition(".")[2]
        return f"{owner}.{domain}" if owner and owner != "www" else None
    return domain


@lru_cache(maxsize=1 << 12)
def is_public_suffix(suffix: str) -> bool:
    """Whether the lower-case text is a suffix under which names are registered (`com`, `co.uk`)."""
    return bool(suffix) and _suffixes().publicsuffix(f"x.{suffix}") == suffix


def is_shared_host(host: str) -> bool:
    """Whether many creators use the host, or the domain it belongs to."""
    if host in SHARED_HOSTS:
        return True
    domain = _owned_domain(host)
    return domain in SHARED_HOSTS and domain not in TENANT_HOSTS


def is_place(host: str) -> bool:
    """Whether the host, or the domain it belongs to, has pages and no mailboxes."""
    return host in PLACE_HOSTS or _owned_domain(host) in PLACE_HOSTS


@lru_cache(maxsize=1 << 15)
def _owned_domain(host: str) -> str | None:
    """Public suffix of a host and the label before it; None where there is no such label."""
    domain: str | None = _suffixes().privatesuffix(host)
    return domain


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
