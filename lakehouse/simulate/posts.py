"""Posts of accounts: when, about what, with how many views and interactions, as lines of each platform's format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.accounts import IN_POSTS, Accounts
from lakehouse.simulate.columns import Words, join, join_filled, numbers, take, where, words
from lakehouse.simulate.contacts import GAP
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.handles import base64_ids
from lakehouse.simulate.metrics import COMMENT_RATIOS, ER_VIEWS, INFLATED_LIKES, INFLATION, SHARE_RATIOS
from lakehouse.simulate.profiles import Lines
from lakehouse.simulate.render import json_list, json_objects, json_text, json_word, noon, times
from lakehouse.simulate.texts import hashtags, risky, sentences, with_hashes
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import INSTAGRAM, MAX_POSTS, TIKTOK, YOUTUBE, World

DAY_SECONDS = 86_400
SECOND_NICHE_RATIO = 0.25
"""Posts about the second niche, which for most creators is the first."""
RISKY_RATIO = 0.4
"""Later posts of a risky account that show it; the first always does."""
CADENCE_DAYS, CADENCE_SPREAD = 5.0, 0.8
"""Median days between posts, and the spread of its logarithm over accounts."""
DORMANT_RATIO, DORMANT_DAYS = 0.08, 200
"""Accounts that stopped posting, and since when at least."""
LATEST_DAYS = 6
"""The newest post of an active account is at most so old."""
VIEW_SPREAD, RATE_SPREAD = 0.7, 0.35
"""Spread of log views and of log interactions per view around the account's own."""
PHOTO_RATIO = 0.45
"""Instagram posts without views."""
HIDDEN_LIKES_RATIO = 0.03
SHORTEST_SECONDS, LONGEST_SECONDS = 9, 1_500
POST_ID_DIGITS_BASE = 10**18
POST_ID_BITS = np.uint64(2)
"""Post ids are 62 random bits above a base: 19 digits."""
VIDEO_ID_CHARS = 11


@dataclass(frozen=True, slots=True)
class Posts:
    """Posts as columns of equal length. `rows` are positions of their accounts; counts are null where unknown."""

    rows: Ints
    ids: Ids
    texts: Words
    tags: list[Words]
    published: Ints
    views: pa.Array
    likes: pa.Array
    comments: Ints
    shares: Ints
    seconds: Ints

    def __len__(self) -> int:
        """Number of posts."""
        return len(self.ids)


def posts_of(world: World, accounts: Accounts) -> Posts:
    """Posts of those accounts that have some, newest first within an account."""
    draws, traits = Draws(world.seed), accounts.traits
    posting = np.flatnonzero(traits.has_posts)
    counts = world.posts_min + draws.below("posts", accounts.ids[posting], world.posts_max - world.posts_min + 1)
    rows = np.repeat(posting, counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ids = accounts.ids[rows] * np.uint64(MAX_POSTS) + place.astype(np.uint64)
    niche = np.where(
        draws.is_hit("post niche", ids, SECOND_NICHE_RATIO),
        accounts.owners.second_niche[rows],
        accounts.owners.niche[rows],
    )
    language, is_bland = accounts.owners.language[rows], traits.is_bland[rows]
    is_risky = (place == 0) | draws.is_hit("risky post", ids, RISKY_RATIO)
    said = sentences(draws, ids, language=language, niche=niche, is_bland=is_bland)
    risk = risky(draws, ids, np.where(is_risky, traits.risk[rows], -1))
    views, likes, comments, shares = _counts(draws, ids, accounts, rows)
    return Posts(
        rows=rows,
        ids=ids,
        texts=join_filled(said, risk, between=" - "),
        tags=hashtags(draws, ids, language=language, niche=niche, is_bland=is_bland),
        published=_published(world, accounts, rows, place, ids),
        views=views,
        likes=likes,
        comments=comments,
        shares=shares,
        seconds=SHORTEST_SECONDS + draws.below("duration", ids, LONGEST_SECONDS - SHORTEST_SECONDS),
    )


def post_lines(world: World, accounts: Accounts, posts: Posts) -> Lines:
    """Posts as JSON objects under canonical names; on YouTube as resources of its data API."""
    lines = (
        _video_lines(world, accounts, posts) if accounts.platform == YOUTUBE else _post_lines(world, accounts, posts)
    )
    return Lines(lines, posts.ids, np.ones(len(posts), dtype=bool), {})


def _post_lines(world: World, accounts: Accounts, posts: Posts) -> Words:
    rows, traits = posts.rows, accounts.traits
    caption = join_filled(posts.texts, with_hashes(posts.tags), _shown_links(accounts, rows), between="\n")
    account_id = where(traits.is_handle_only[rows], None, take(accounts.platform_ids, rows))
    has_shares = accounts.platform != INSTAGRAM
    return json_objects(
        {
            "platform": f'"{PLATFORMS[accounts.platform]}"',
            "post_id": json_word(_post_ids(world, posts.ids)),
            "account_id": json_word(account_id),
            "handle": json_word(take(accounts.handles, rows)),
            "published_at": json_word(times(posts.published)),
            "caption": json_text(caption),
            "tags": json_word(join_filled(*posts.tags, between=GAP)),
            "duration": numbers(posts.seconds) if accounts.platform == TIKTOK else words([None] * len(posts)),
            "views": posts.views.cast(pa.string()),
            "likes": posts.likes.cast(pa.string()),
            "comments": numbers(posts.comments),
            "shares": numbers(posts.shares) if has_shares else words([None] * len(posts)),
            "observed_at": f'"{noon(world.last_date)}"',
        }
    )


def _video_lines(world: World, accounts: Accounts, posts: Posts) -> Words:
    rows = posts.rows
    language = take(words(vocabulary().languages), accounts.owners.language[rows])
    category = np.asarray(vocabulary().youtube_categories)[accounts.owners.niche[rows]]
    description = join_filled(posts.texts, _shown_links(accounts, rows), with_hashes(posts.tags), between="\n")
    snippet = {
        "publishedAt": json_word(times(posts.published)),
        "channelId": json_word(take(accounts.platform_ids, rows)),
        "title": json_text(posts.texts),
        "description": json_text(description),
        "channelTitle": json_text(take(accounts.display, rows)),
        "tags": json_list(posts.tags),
        "categoryId": json_word(numbers(category)),
        "defaultAudioLanguage": json_word(language),
    }
    statistics = {
        "viewCount": json_word(posts.views.cast(pa.string())),
        "likeCount": json_word(posts.likes.cast(pa.string())),
        "commentCount": json_word(numbers(posts.comments)),
    }
    duration = join('{"duration":"PT', numbers(posts.seconds // 60), "M", numbers(posts.seconds % 60), 'S"}')
    return json_objects(
        {
            "kind": '"youtube#video"',
            "id": json_word(base64_ids(Draws(world.seed), "video", posts.ids, VIDEO_ID_CHARS)),
            "snippet": json_objects(snippet),
            "statistics": json_objects(statistics),
            "contentDetails": duration,
            "fetchedAt": f'"{noon(world.last_date)}"',
        }
    )


def _shown_links(accounts: Accounts, rows: Ints) -> Words:
    """Declared accounts below the posts of those who declare them there, one address a line."""
    links = where(accounts.traits.link_place[rows] == IN_POSTS, take(accounts.declared.urls, rows), None)
    return pc.coalesce(pc.replace_substring(links, GAP, "\n"), "")


def _counts(draws: Draws, ids: Ids, accounts: Accounts, rows: Ints) -> tuple[pa.Array, pa.Array, Ints, Ints]:
    """Views, likes, comments and shares: log-normal around the account's own rates; bought likes come on top."""
    platform, metrics = accounts.platform, accounts.metrics
    own_views = metrics.followers[rows] * metrics.er[rows] / ER_VIEWS[platform]
    views = own_views * np.exp(VIEW_SPREAD * draws.normal("views", ids))
    acts = np.minimum(views * ER_VIEWS[platform] * np.exp(RATE_SPREAD * draws.normal("rate", ids)), views * 0.9)
    comments, shares = acts * COMMENT_RATIOS[platform], acts * SHARE_RATIOS[platform]
    is_bought = metrics.anomaly[rows] == INFLATED_LIKES
    likes = (acts - comments - shares) * np.where(is_bought, INFLATION, 1.0)
    is_hidden = draws.is_hit("hidden likes", ids, HIDDEN_LIKES_RATIO) & (platform == INSTAGRAM)
    is_photo = draws.is_hit("photo", ids, PHOTO_RATIO) & (platform == INSTAGRAM)
    return _whole(views, is_photo), _whole(likes, is_hidden), comments.astype(np.int64), shares.astype(np.int64)


def _whole(values: Floats, is_unknown: Mask) -> pa.Array:
    return pa.array(values.astype(np.int64), mask=is_unknown)


def _published(world: World, accounts: Accounts, rows: Ints, place: Ints, ids: Ids) -> Ints:
    """Unix seconds of publication: each account has its own cadence; some stopped long ago."""
    draws, owners = Draws(world.seed), accounts.ids
    cadence = CADENCE_DAYS * np.exp(CADENCE_SPREAD * draws.normal("cadence", owners))
    stopped = np.where(draws.is_hit("dormant", owners, DORMANT_RATIO), DORMANT_DAYS, 0)
    newest = stopped + LATEST_DAYS * draws.uniform("newest post", owners)
    days = newest[rows] + cadence[rows] * (place + 0.8 * draws.uniform("published", ids))
    end = np.datetime64(world.last_date, "s").astype(np.int64) + DAY_SECONDS // 2
    return (end - days * DAY_SECONDS).astype(np.int64)


def _post_ids(world: World, ids: Ids) -> Words:
    bits = Draws(world.seed).bits("post id", ids) >> POST_ID_BITS
    return numbers(bits.astype(np.int64) + POST_ID_DIGITS_BASE)
