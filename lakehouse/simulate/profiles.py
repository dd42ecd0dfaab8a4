"""Profile records of a snapshot: canonical columns, and the same as lines of each vendor's format with damaged values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.accounts import IN_FIELD, Accounts
from lakehouse.simulate.columns import Words, compact, decimals, join, numbers, take, where, words
from lakehouse.simulate.contacts import GAP, HOMES
from lakehouse.simulate.draws import Draws, Ids, Mask
from lakehouse.simulate.handles import numbered
from lakehouse.simulate.junk import spoiled_bios, spoiled_counts
from lakehouse.simulate.metrics import COMMENT_RATIOS, ER_VIEWS
from lakehouse.simulate.people import PERSON
from lakehouse.simulate.render import csv_rows, csv_text, json_objects, json_text, json_value, json_word, noon, times
from lakehouse.simulate.vocabulary import NICHE_LABELS, vocabulary
from lakehouse.simulate.world import TIKTOK, YOUTUBE, World

SEEN_RATIO = 0.94
"""Accounts that an earlier snapshot has; the newest has all."""
COUNTRY_RATIO, LANGUAGE_RATIO, CATEGORY_RATIO = 0.7, 0.35, 0.3
"""How often an account states each of them."""
CREATOR_RATIO = 0.4
"""Persons with a creator account instead of a personal one."""
ACCOUNT_TYPES = words(["personal", "brand", "business", "personal"])
"""Account types as stated, by kind of creator."""
VAGUE_RATIO = 0.5
"""Stated categories that tell nothing about a niche."""
VAGUE_CATEGORIES = words(["Digital creator", "Public figure", "Personal blog", "Entertainment", "Artist"])
FIRST_OPENED, LAST_OPENED = 1_262_304_000, 1_735_689_600
"""Unix seconds of the oldest and newest account: 2010 to 2024."""
SUBSCRIBER_DIGITS = 3
"""YouTube shows subscribers with so many leading digits."""
NETWORKS = ("Instagram", "TikTok", "YouTube", "Twitter")
"""Platforms as rankings write them."""
RANKING_HEADER = (
    "Rank,Network,Account,Name,Topic 1,Topic 2,Followers,Audience Country,ER %,Avg. Views,Avg. Likes,Avg. Comments,Date"
)
RANKING_EXTRA = ",Momentum"
"""A further column that no mapping names, in the rankings of one snapshot."""
ROSTER_HEADER = "platform,platform_account_id,handle,display_name,website,links,country,observed_at"
ROSTER_EXTRA = ",roster_note"
ROSTER_RATIO = 0.05
"""Accounts that a roster with declared links names."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows as text, with the ids of their accounts; `is_clean` where nothing in the row is damaged.

    `spoiled` counts the damaged values by kind.
    """

    lines: Words
    ids: Ids
    is_clean: Mask
    spoiled: dict[str, int]

    def take(self, mask: Mask) -> Lines:
        """Rows where the mask holds; the counts no longer apply."""
        return Lines(self.lines.filter(pa.array(mask)), self.ids[mask], self.is_clean[mask], {})


def is_seen(world: World, accounts: Accounts, snapshot: int) -> Mask:
    """Accounts that a snapshot has."""
    is_last = snapshot == len(world.snapshot_dates) - 1
    return Draws(world.seed).is_hit(f"seen/{snapshot}", accounts.ids, 1.0 if is_last else SEEN_RATIO)


def profile_columns(world: World, accounts: Accounts, day: dt.date) -> dict[str, pa.Array]:
    """Columns of profile records under their canonical names, values clean, null for what an account does not state."""
    owners, metrics, traits = accounts.owners, accounts.metrics, accounts.traits
    draws, places = Draws(world.seed), vocabulary().places
    is_x = PLATFORMS[accounts.platform] == "x"
    is_creator = draws.is_hit("creator account", accounts.ids, CREATOR_RATIO) & (owners.kind == PERSON)
    kinds = where(is_creator, "creator", take(ACCOUNT_TYPES, owners.kind))
    country = take(words(places.codes), owners.country)
    language = take(words(vocabulary().languages), owners.language)
    return {
        "platform_account_id": where(traits.is_handle_only, None, accounts.platform_ids),
        "handle": _handles_on(world, accounts, day),
        "display_name": accounts.display,
        "bio": where(np.asarray(pc.equal(accounts.bios, "")), None, accounts.bios),
        "profile_url": join(HOMES[accounts.platform], accounts.keys),
        "website": accounts.websites,
        "categories": _categories(draws, accounts),
        "country": where(draws.is_hit("states country", accounts.ids, COUNTRY_RATIO), country, None),
        "language": where(draws.is_hit("states language", accounts.ids, LANGUAGE_RATIO), language, None),
        "account_type": words([None] * len(accounts)) if is_x else kinds,
        "is_verified": pa.array(traits.is_verified),
        "is_private": pa.array(traits.is_private),
        "account_created_at": times(FIRST_OPENED + draws.below("opened", accounts.ids, LAST_OPENED - FIRST_OPENED)),
        "followers": pa.array(metrics.followers_on(day, world), mask=traits.is_hidden),
        "following": pa.array(metrics.following),
        "content_count": pa.array(metrics.content_on(day, world)),
        "views": pa.array(metrics.views) if accounts.platform == YOUTUBE else pa.nulls(len(accounts), pa.int64()),
        "likes": pa.array(metrics.likes) if accounts.platform == TIKTOK else pa.nulls(len(accounts), pa.int64()),
        "links": where(traits.link_place == IN_FIELD, accounts.declared.urls, None),
    }


def account_lines(world: World, accounts: Accounts, day: dt.date, *, has_extra: bool) -> Lines:
    """Profiles as JSON objects under canonical names."""
    columns = profile_columns(world, accounts, day)
    counts = spoiled_counts(world, accounts.ids, columns["followers"], purpose=f"followers/{day}")
    bios = spoiled_bios(world, accounts.ids, columns["bio"], purpose=f"bio/{day}")
    values = {name: json_value(column) for name, column in columns.items()}
    values |= {"followers": counts.values, "bio": bios.values}
    if has_extra:
        values["vendor_score"] = numbers(Draws(world.seed).below("vendor score", accounts.ids, 100))
    fixed = {"platform": f'"{PLATFORMS[accounts.platform]}"', "observed_at": f'"{noon(day)}"'}
    return Lines(
        json_objects(fixed | values), accounts.ids, counts.is_clean & bios.is_clean, counts.counts | bios.counts
    )


def channel_lines(world: World, accounts: Accounts, day: dt.date) -> Lines:
    """YouTube channels as resources of its data API; texts may be damaged."""
    columns = profile_columns(world, accounts, day)
    links = where(accounts.traits.link_place == IN_FIELD, accounts.declared.urls, None)
    text = pc.coalesce(join(columns["bio"], "\n", pc.replace_substring(links, GAP, "\n")), columns["bio"])
    bios = spoiled_bios(world, accounts.ids, text, purpose=f"bio/{day}")
    snippet = {
        "title": json_text(accounts.display),
        "description": bios.values,
        "customUrl": json_word(join("@", columns["handle"])),
        "publishedAt": json_word(columns["account_created_at"]),
        "country": json_word(columns["country"]),
    }
    statistics = {
        "viewCount": json_word(numbers(accounts.metrics.views)),
        "subscriberCount": json_word(_rounded(columns["followers"]).cast(pa.string())),
        "hiddenSubscriberCount": pa.array(accounts.traits.is_hidden).cast(pa.string()),
        "videoCount": json_word(columns["content_count"].cast(pa.string())),
    }
    fields = {
        "kind": '"youtube#channel"',
        "id": json_word(accounts.platform_ids),
        "snippet": json_objects(snippet),
        "statistics": json_objects(statistics),
        "fetchedAt": f'"{noon(day)}"',
    }
    return Lines(json_objects(fields), accounts.ids, bios.is_clean, bios.counts)


def ranking_lines(world: World, accounts: Accounts, day: dt.date, *, has_extra: bool) -> Lines:
    """Rows of a ranking: handles only, counts as `409.8K`, rates in percent, topics instead of texts."""
    owners, metrics = accounts.owners, accounts.metrics
    followers = metrics.followers_on(day, world)
    counts = spoiled_counts(world, accounts.ids, pa.array(followers), purpose=f"ranking/{day}", is_json=False)
    interactions = followers * metrics.er
    comments = COMMENT_RATIOS[accounts.platform]
    labels, countries = words(NICHE_LABELS), words(vocabulary().places.labels)
    second = where(owners.second_niche == owners.niche, None, take(labels, owners.second_niche))
    columns = [
        numbers(owners.ids.astype(np.int64) + 1), NETWORKS[accounts.platform], accounts.keys, csv_text(accounts.display),
        csv_text(take(labels, owners.niche)), csv_text(second), counts.values, take(countries, owners.country),
        decimals(metrics.er * 100, 2), compact((interactions / ER_VIEWS[accounts.platform]).astype(np.int64)),
        compact((interactions * (1 - comments)).astype(np.int64)), compact((interactions * comments).astype(np.int64)),
        day.isoformat(),
    ]  # fmt: skip
    if has_extra:
        columns.append("+")
    return Lines(csv_rows(columns), accounts.ids, counts.is_clean, counts.counts)


def roster_lines(world: World, accounts: Accounts, day: dt.date, *, has_extra: bool) -> Lines:
    """Rows of an agency's roster: accounts with the accounts that they declare."""
    columns = profile_columns(world, accounts, day)
    cells = [
        PLATFORMS[accounts.platform], columns["platform_account_id"], columns["handle"], csv_text(accounts.display),
        accounts.websites, accounts.declared.urls, columns["country"], noon(day),
    ]  # fmt: skip
    if has_extra:
        cells.append("signed")
    return Lines(csv_rows(cells), accounts.ids, np.ones(len(accounts), dtype=bool), {})


def is_on_roster(world: World, accounts: Accounts) -> Mask:
    """Accounts that the roster names: some of those that declare anything."""
    has_links = np.asarray(pc.is_valid(accounts.declared.urls))
    return has_links & Draws(world.seed).is_hit("roster", accounts.ids, ROSTER_RATIO)


def _handles_on(world: World, accounts: Accounts, day: dt.date) -> Words:
    """Handles as shown on a day: the renamed had another one before the newest snapshot."""
    if day >= world.last_date or not accounts.traits.is_renamed.any():
        return accounts.handles
    earlier = numbered(world, accounts.keys, accounts.ids, accounts.platform)
    return where(accounts.traits.is_renamed, earlier, accounts.handles)


def _categories(draws: Draws, accounts: Accounts) -> Words:
    ids = accounts.ids
    vague = take(VAGUE_CATEGORIES, draws.below("vague category", ids, len(VAGUE_CATEGORIES)))
    stated = where(draws.is_hit("vague", ids, VAGUE_RATIO), vague, take(words(NICHE_LABELS), accounts.owners.niche))
    return where(draws.is_hit("states category", ids, CATEGORY_RATIO), stated, None)


def _rounded(followers: pa.Array) -> pa.Array:
    """Counts cut to `SUBSCRIBER_DIGITS` leading digits."""
    values = np.maximum(np.asarray(followers.fill_null(1), dtype=np.int64), 1)
    unit = 10 ** np.maximum(np.floor(np.log10(values)).astype(np.int64) + 1 - SUBSCRIBER_DIGITS, 0)
    return pa.array(values // unit * unit, mask=np.asarray(followers.is_null()))
