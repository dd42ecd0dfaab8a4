"""Accounts of creators on one platform: handle, id, texts, metrics, traits. A chunk of creators in, columns out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakehouse.simulate.columns import Words, join, join_filled, take, take_rows, where, words
from lakehouse.simulate.contacts import Declared, declared, mails, websites
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.handles import Taken, account_ids, handle_keys, platform_ids, shown
from lakehouse.simulate.metrics import Metrics, metrics_of
from lakehouse.simulate.people import PERSON, Creators, creators_of, presence
from lakehouse.simulate.texts import bios, calls, risky
from lakehouse.simulate.vocabulary import NICHE_LABELS
from lakehouse.simulate.world import PLATFORMS_COUNT, YOUTUBE, World

LINK_WEIGHTS = (0.46, 0.24, 0.22, 0.08)
NOWHERE, IN_BIO, IN_FIELD, IN_POSTS = range(len(LINK_WEIGHTS))
"""Where accounts declare other accounts: nowhere, in the bio, in the link field, below their posts."""
DISPLAY_WEIGHTS = (0.62, 0.16, 0.14, 0.08)
AS_IS, IN_LATIN, WITH_NICHE, AS_HANDLE = range(len(DISPLAY_WEIGHTS))
"""Names as they are, in Latin letters, with the niche behind, or simply the handle."""
HIDDEN_RATIO = 0.01
"""Accounts that hide their counts."""
PRIVATE_RATIO, PRIVATE_FOLLOWERS = 0.08, 20_000.0
"""Private accounts: a share of the persons with fewer followers; YouTube has none."""
RISK_SHOWN_RATIO, RISK_IN_BIO_RATIO = 0.85, 0.3
"""Accounts of a risky creator that show it; those that show it in the bio though they have posts to show it in."""
PROFILED_RATIO = 0.5
"""Handle-only accounts of which a profile is published; none on YouTube, whose channels come with ids."""
VERIFIED_HALF = 250_000.0
"""Followers from which every second account is verified."""
RENAMED_RATIO = 0.01
"""Accounts with a known id that had another handle in the earlier snapshots."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is so about each account.

    `risk` is a position in the risk list, -1 where nothing risky is published; `link_place` one of `LINK_WEIGHTS`.
    `is_listed`: stands in a ranking by handle though its id is known. `has_profile`: a profile is published, not only a
    line in a ranking.
    """

    risk: Ints
    link_place: Ints
    is_bland: Mask
    is_handle_only: Mask
    is_listed: Mask
    has_profile: Mask
    is_private: Mask
    is_verified: Mask
    is_hidden: Mask
    is_renamed: Mask
    has_posts: Mask


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts of one platform as columns of equal length; `owners` are their creators, row by row.

    `keys` are handles in lower case, `handles` as shown. Texts are null where an account has none.
    """

    platform: int
    owners: Creators
    ids: Ids
    keys: Words
    handles: Words
    platform_ids: Words
    display: Words
    bios: Words
    websites: Words
    declared: Declared
    metrics: Metrics
    traits: Traits

    def __len__(self) -> int:
        """Number of accounts."""
        return len(self.ids)

    def take(self, positions: Ints) -> Accounts:
        """Rows at those positions."""
        return take_rows(self, positions)

    def silver_ids(self) -> Words:
        """The key that silver gives the account: the platform's id, else `@` and the handle."""
        return where(self.traits.is_handle_only, join("@", self.keys), self.platform_ids)


def chunk_accounts(world: World, ids: Ids, taken: Taken) -> list[Accounts]:
    """Accounts of those creators, one entry for each platform in order."""
    creators, is_on = creators_of(world, ids), presence(world, ids)
    keys = [handle_keys(world, creators, platform, taken) for platform in range(PLATFORMS_COUNT)]
    chunk = []
    for platform in range(PLATFORMS_COUNT):
        rows = np.flatnonzero(is_on[:, platform])
        owners, own_keys = creators.take(rows), [take(column, rows) for column in keys]
        links = declared(world, owners, is_on[rows], own_keys, platform, taken)
        chunk.append(_accounts(world, owners, own_keys[platform], platform, links))
    return chunk


def _accounts(world: World, owners: Creators, keys: Words, platform: int, links: Declared) -> Accounts:
    ids = account_ids(owners.ids, platform)
    metrics = metrics_of(world, ids, platform, owners.size)
    traits = _traits(world, ids, owners, platform, metrics.followers)
    return Accounts(
        platform=platform,
        owners=owners,
        ids=ids,
        keys=keys,
        handles=shown(world, keys, ids, platform),
        platform_ids=platform_ids(world, ids, platform),
        display=_display(world, ids, owners, keys),
        bios=_bios(world, ids, owners, traits, links),
        websites=websites(world, owners, ids),
        declared=links,
        metrics=metrics,
        traits=traits,
    )


def _traits(world: World, ids: Ids, owners: Creators, platform: int, followers: Floats) -> Traits:
    draws = Draws(world.seed)
    is_private = _is_private(draws, ids, owners, platform, followers)
    is_handle_only = draws.is_hit("handle only", ids, world.handle_only_ratio)
    has_profile = ~is_handle_only | (draws.is_hit("profiled", ids, PROFILED_RATIO) & (platform != YOUTUBE))
    has_posts = draws.is_hit("has posts", ids, world.posted_ratio) & ~is_private & (has_profile | (platform != YOUTUBE))
    is_risky = draws.is_hit("shows risk", ids, RISK_SHOWN_RATIO) & (has_profile | has_posts)
    place = draws.pick("link place", ids, LINK_WEIGHTS)
    return Traits(
        risk=np.where(is_risky, owners.risk, -1),
        link_place=np.where((place == IN_POSTS) & ~has_posts, IN_BIO, place),
        is_bland=draws.is_hit("bland account", ids, world.bland_ratio),
        is_handle_only=is_handle_only,
        is_listed=draws.is_hit("listed", ids, world.listed_ratio) & ~is_handle_only,
        has_profile=has_profile,
        is_private=is_private,
        is_verified=draws.is_hit("verified", ids, followers / (followers + VERIFIED_HALF)),
        is_hidden=draws.is_hit("hidden", ids, HIDDEN_RATIO),
        is_renamed=draws.is_hit("renamed", ids, RENAMED_RATIO) & ~is_handle_only,
        has_posts=has_posts,
    )


def _is_private(draws: Draws, ids: Ids, owners: Creators, platform: int, followers: Floats) -> Mask:
    is_small_person = (owners.kind == PERSON) & (followers < PRIVATE_FOLLOWERS)
    is_drawn = draws.is_hit("private", ids, PRIVATE_RATIO) & (platform != YOUTUBE)
    return np.asarray(is_small_person & is_drawn, dtype=np.bool_)


def _display(world: World, ids: Ids, owners: Creators, keys: Words) -> Words:
    draws = Draws(world.seed)
    form = draws.pick("display form", ids, DISPLAY_WEIGHTS)
    labelled = join(owners.display, " | ", take(words(NICHE_LABELS), owners.niche))
    return where(
        form == AS_HANDLE,
        keys,
        where(form == WITH_NICHE, labelled, where(form == IN_LATIN, owners.latin, owners.display)),
    )


def _bios(world: World, ids: Ids, owners: Creators, traits: Traits, links: Declared) -> Words:
    """Bios with what follows the words: a risky phrase, declared accounts, a mail address."""
    draws = Draws(world.seed)
    is_said = ~traits.has_posts | draws.is_hit("risk in bio", ids, RISK_IN_BIO_RATIO)
    mail = mails(world, owners, ids)
    contact = join(calls(draws, ids, owners.language), ": ", mail)
    linked = where(traits.link_place == IN_BIO, links.texts, None)
    extra = join_filled(risky(draws, ids, np.where(is_said, traits.risk, -1)), linked, contact, between=" · ")
    return bios(
        draws,
        ids,
        language=owners.language,
        niches=(owners.niche, owners.second_niche),
        country=owners.country,
        is_bland=traits.is_bland,
        extra=extra,
    )
