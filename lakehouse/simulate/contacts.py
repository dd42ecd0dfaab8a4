"""Where accounts point: other accounts (own ones, and wrong ones), websites, mailboxes. Columns of text, null for none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from lakehouse.simulate.columns import Words, join, numbers, take, where, words
from lakehouse.simulate.draws import Draws, Ids, Ints, Mask
from lakehouse.simulate.handles import Taken, account_ids, first_present, handle_keys, platform_ids
from lakehouse.simulate.names import letters
from lakehouse.simulate.people import FAN, PERSON, Creators, creators_of, presence
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import PLATFORMS_COUNT, YOUTUBE, World

HOMES = ("https://instagram.com/", "https://tiktok.com/@", "https://youtube.com/@", "https://x.com/")
"""What stands before a handle in an address."""
CHANNEL_HOME = "https://www.youtube.com/channel/"
LABELS = ("IG", "TikTok", "YT", "Twitter")
"""What people call the platforms in their bios."""
SECOND_LINK_RATIO, LABEL_RATIO, CHANNEL_RATIO = 0.4, 0.4, 0.4
"""Shares of declared links: with a second one, written `IG: @handle` in a bio, by channel id where on YouTube."""
SITE_WEIGHTS = (0.50, 0.16, 0.26, 0.08)
NO_SITE, OWN_SITE, BIO_SITE, AGENCY_SITE = range(len(SITE_WEIGHTS))
"""Creators without a website, with their own domain, with a page on a shared link-in-bio host, under an agency's domain."""
SITE_SHOWN_RATIO, MAIL_SHOWN_RATIO = 0.6, 0.4
AGENCY_CREATORS = 300
"""Clients of an agency: hundreds of accounts share its domain and mailbox, at any scale."""
MAILBOXES = words(["hello", "contact", "business", "info", "team", "booking"])
GAP = "|"
"""Parts addresses in a column of links."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Accounts that an account declares: addresses joined by `GAP`, and the same as it would stand in a bio."""

    urls: Words
    texts: Words


@dataclass(frozen=True, slots=True)
class _Target:
    """One declared account a row; null where there is none."""

    urls: Words
    texts: Words


def declared(world: World, owners: Creators, is_on: Mask, keys: list[Words], platform: int, taken: Taken) -> Declared:
    """Accounts that the accounts of one platform declare.

    Most name one or two other accounts of their creator; fan pages name the creator they are about, and some accounts
    somebody else: a friend, a label, a guest.

    Args:
        world: the specification.
        owners: creators, one a row.
        is_on: platforms that they are on, shape (rows, platforms).
        keys: their handles, a column for each platform.
        platform: of the declaring accounts.
        taken: handles given out already.
    """
    draws, ids = Draws(world.seed), account_ids(owners.ids, platform)
    order = (platform + 1 + np.arange(PLATFORMS_COUNT - 1)) % PLATFORMS_COUNT
    order = np.broadcast_to(order, (len(ids), len(order)))
    first = first_present(is_on, order)
    own = _targets(world, owners, keys, first, platform)
    others = is_on.copy()
    others[np.arange(len(ids)), np.maximum(first, 0)] = False
    second = first_present(others, order[:, ::-1])
    has_second = (second >= 0) & draws.is_hit("second link", ids, SECOND_LINK_RATIO)
    more = _targets(world, owners, keys, np.where(has_second, second, -1), platform)
    mixed = Declared(_both(own.urls, more.urls, GAP), _both(own.texts, more.texts, " "))
    return _misled(world, owners, platform, mixed, taken)


def _both(first: Words, second: Words, between: str) -> Words:
    return pc.coalesce(join(first, second, between=between), first)


def _targets(world: World, creators: Creators, keys: list[Words], platforms: Ints, source: int) -> _Target:
    """The creators' accounts on `platforms` (-1: none), as declared by their account on the platform `source`."""
    draws, ids = Draws(world.seed), account_ids(creators.ids, source)
    nothing = words([None] * len(ids))
    urls = texts = nothing
    is_label = draws.is_hit("label", ids, LABEL_RATIO)
    is_channel = draws.is_hit("by channel", ids, CHANNEL_RATIO)
    for platform in range(PLATFORMS_COUNT):
        is_here = platforms == platform
        url = join(HOMES[platform], keys[platform])
        if platform == YOUTUBE:
            url = where(
                is_channel, join(CHANNEL_HOME, platform_ids(world, account_ids(creators.ids, YOUTUBE), YOUTUBE)), url
            )
        label = join(f"{LABELS[platform]}: @", keys[platform])
        urls = where(is_here, url, urls)
        texts = where(is_here, where(is_label, label, pc.utf8_replace_slice(url, 0, len("https://"), "")), texts)
    return _Target(urls, texts)


def _misled(world: World, owners: Creators, platform: int, own: Declared, taken: Taken) -> Declared:
    """Let fan pages and a share of the others declare an account of somebody else."""
    draws, ids = Draws(world.seed), account_ids(owners.ids, platform)
    is_fan = owners.kind == FAN
    rows = np.flatnonzero(is_fan | draws.is_hit("wrong link", ids, world.wrong_link_ratio))
    if not len(rows):
        return own
    strangers = draws.below("stranger", ids[rows], world.creators_count).astype(np.uint64)
    whom = creators_of(world, np.where(is_fan[rows], owners.target[rows], strangers))
    keys = [handle_keys(world, whom, position, taken) for position in range(PLATFORMS_COUNT)]
    order = (platform + np.arange(PLATFORMS_COUNT)) % PLATFORMS_COUNT
    there = first_present(presence(world, whom.ids), np.broadcast_to(order, (len(rows), PLATFORMS_COUNT)))
    wrong = _targets(world, whom, keys, there, platform)
    mask = np.zeros(len(ids), dtype=bool)
    mask[rows] = True
    return Declared(
        pc.replace_with_mask(own.urls, mask, wrong.urls), pc.replace_with_mask(own.texts, mask, wrong.texts)
    )


def websites(world: World, owners: Creators, ids: Ids) -> Words:
    """Websites that accounts show: the same address on all accounts of a creator that show one."""
    draws, lists = Draws(world.seed), vocabulary().lists
    kind = _site_kinds(draws, owners)
    hosts = words(lists["bio_hosts"])
    page = join("https://", take(hosts, draws.below("bio host", owners.ids, len(hosts))), "/", letters(owners.main))
    own = join("https://www.", _own_domains(draws, owners))
    agency = join("https://www.", _agency_domains(world, draws, owners), "/talent")
    site = where(kind == OWN_SITE, own, where(kind == BIO_SITE, page, where(kind == AGENCY_SITE, agency, None)))
    return where(draws.is_hit("shows site", ids, SITE_SHOWN_RATIO), site, None)


def mails(world: World, owners: Creators, ids: Ids) -> Words:
    """Mail addresses that accounts show: at the creator's domain, the agency's, or a public mail host (invented)."""
    draws, lists = Draws(world.seed), vocabulary().lists
    kind = _site_kinds(draws, owners)
    box = take(MAILBOXES, draws.below("mailbox", owners.ids, len(MAILBOXES)))
    hosts = words(lists["mail_hosts"])
    public = join(letters(owners.main), "@", take(hosts, draws.below("mail host", owners.ids, len(hosts))))
    own = join(box, "@", _own_domains(draws, owners))
    agency = join("booking@", _agency_domains(world, draws, owners))
    mail = where(kind == OWN_SITE, own, where(kind == AGENCY_SITE, agency, public))
    is_shown = draws.is_hit("shows mail", ids, MAIL_SHOWN_RATIO) & (owners.kind != FAN)
    return where(is_shown, mail, None)


def _site_kinds(draws: Draws, owners: Creators) -> Ints:
    kind = draws.pick("site", owners.ids, SITE_WEIGHTS)
    is_free = (kind == AGENCY_SITE) & (owners.kind != PERSON)
    return np.where((owners.kind == FAN) | is_free, NO_SITE, kind)


def _own_domains(draws: Draws, owners: Creators) -> Words:
    endings = words(vocabulary().lists["own_tlds"])
    return join(letters(owners.main), ".", take(endings, draws.below("tld", owners.ids, len(endings))))


def _agency_domains(world: World, draws: Draws, owners: Creators) -> Words:
    """As many agencies as the world needs: the words in turn, then the words with numbers."""
    names = words(vocabulary().lists["agency_words"])
    count = max(1, round(world.creators_count * SITE_WEIGHTS[AGENCY_SITE] / AGENCY_CREATORS))
    which = draws.below("agency", owners.ids, count)
    turn = which // len(names)
    return join(take(names, which % len(names)), where(turn > 0, numbers(turn), ""), ".agency")
