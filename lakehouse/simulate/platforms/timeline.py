"""Posts of an account up to a time: those of the world, and those that it publishes after the newest snapshot.

Every public account with any content has posts here; the dumps of the world carry those of some accounts only. Of older
posts only the newest can be listed: as many as `posts_of` makes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lakehouse.simulate.accounts import Accounts
from lakehouse.simulate.draws import MULTIPLIERS, Draws, Ids, scramble
from lakehouse.simulate.handles import BASE64, base64_ids
from lakehouse.simulate.platforms.life import origin_of
from lakehouse.simulate.platforms.registry import WORD, Book, Profile
from lakehouse.simulate.posts import POST_ID_BITS, POST_ID_DIGITS_BASE, VIDEO_ID_CHARS, Posts, posts_of
from lakehouse.simulate.world import MAX_POSTS, TIKTOK, YOUTUBE, World, X

KEPT_TIMELINES = 4_000
"""Accounts whose posts are kept for each platform: about 10 kB each."""
BLOCK_SHIFT = 40
"""Later posts are made in blocks of `MAX_POSTS` under ids of their own: the account's id above so many bits."""
NUMBER_BITS, VIDEO_BITS = 20, 63
"""Bits of a later video's number, and of number and account together: its id can be read back."""
HALF_LIFE_SECONDS = 2 * 86_400
"""A later post has half of its final views after so long; posts of the snapshot have theirs."""
X_EPOCH_MS, X_TIME_SHIFT = 1_288_834_974_657, 22
"""Ids of later posts on X rise with time: milliseconds since this epoch, above so many bits."""
TIKTOK_TIME_SHIFT = 32
"""Ids of later videos on TikTok: Unix seconds above so many bits."""


class Post(NamedTuple):
    """A post with its final counts; null where the platform has none. `seconds` is its length."""

    post_id: str
    key: int
    text: str
    tags: tuple[str, ...]
    published: int
    views: int | None
    likes: int | None
    comments: int
    shares: int
    seconds: int
    is_later: bool

    def grown(self, count: int | None, now: float) -> int | None:
        """A count at a time: later posts gather theirs."""
        if count is None or not self.is_later:
            return count
        age = max(int(now) - self.published, 0)
        return count * age // (age + HALF_LIFE_SECONDS)


class Timelines:
    """Posts of the accounts of one platform."""

    def __init__(self, book: Book) -> None:
        """No post is made before it is asked for."""
        self._book = book
        self._world = book.world
        self._block_world = replace(book.world, posts_min=MAX_POSTS, posts_max=MAX_POSTS)
        self._kept: OrderedDict[int, list[Post]] = OrderedDict()
        self._videos: tuple[np.ndarray, Ids] | None = None

    def of(self, profile: Profile, seconds: float) -> list[Post]:
        """Posts up to a time, newest first."""
        later = profile.later_posts(seconds)
        kept = self._kept.get(profile.row)
        if kept is None:
            kept = self._kept[profile.row] = self._base(profile.row)
            if len(self._kept) > KEPT_TIMELINES:
                self._kept.popitem(last=False)
        base = len(kept) - sum(post.is_later for post in kept)
        while len(kept) - base < later:
            kept += self._block(profile, (len(kept) - base) // MAX_POSTS)
        if later:
            return kept[base : base + later][::-1] + kept[:base]
        return [post for post in kept[:base] if post.published <= seconds]

    def find_video(self, video_id: str, seconds: float) -> tuple[Profile, Post] | None:
        """A video by its id, whoever published it."""
        account = self._owner(video_id)
        if account is None:
            return None
        row = int(np.searchsorted(self._book.ids, np.uint64(account)))
        if row >= len(self._book) or int(self._book.ids[row]) != account:
            return None
        profile = self._book.profile(row)
        return next(((profile, post) for post in self.of(profile, seconds) if post.post_id == video_id), None)

    def _owner(self, video_id: str) -> int | None:
        """The account that has published a video, or may have."""
        if len(video_id) != VIDEO_ID_CHARS or not video_id.isascii():
            return None
        if self._videos is None:
            self._videos = self._video_index()
        names, owners = self._videos
        place = int(np.searchsorted(names, video_id.encode()))
        if place < len(names) and names[place] == video_id.encode():
            return int(owners[place])
        return later_owner(self._world, video_id)

    def _video_index(self) -> tuple[np.ndarray, Ids]:
        """Ids of the snapshot's videos, sorted, with their accounts: 19 bytes each."""
        draws, ids = Draws(self._world.seed), self._book.ids
        counts = self._world.posts_min + draws.below("posts", ids, self._world.posts_max - self._world.posts_min + 1)
        owners = np.repeat(ids, counts)
        place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = owners * np.uint64(MAX_POSTS) + place.astype(np.uint64)
        names = np.asarray(base64_ids(draws, "video", keys, VIDEO_ID_CHARS).cast(pa.binary())).astype("S11")
        order = np.argsort(names)
        return names[order], owners[order]

    def _base(self, row: int) -> list[Post]:
        one = _posting(self._book.one(row))
        posts = posts_of(self._world, one)
        made = _listed(posts, _base_ids(self._world, posts.ids, self._book.platform), is_later=False)
        latest = origin_of(self._world)
        return [post for post in made if post.published <= latest] if self._book.profile(row).content else []

    def _block(self, profile: Profile, block: int) -> list[Post]:
        """The next `MAX_POSTS` later posts of an account, oldest first."""
        one = _posting(self._book.one(profile.row))
        ids = one.ids + (np.uint64(block + 1) << np.uint64(BLOCK_SHIFT))
        posts = _listed(posts_of(self._block_world, replace(one, ids=ids)), [""] * MAX_POSTS, is_later=True)
        numbers = range(block * MAX_POSTS, (block + 1) * MAX_POSTS)
        times = [profile.post_at(number) for number in numbers]
        names = [self._later_id(profile, number, at) for number, at in zip(numbers, times, strict=True)]
        return [post._replace(post_id=name, published=at) for post, name, at in zip(posts, names, times, strict=True)]

    def _later_id(self, profile: Profile, number: int, at: int) -> str:
        mixed = int(profile.fraction(-number - 2) * (1 << 52))
        if self._book.platform == YOUTUBE:
            return later_video_id(self._world, profile.account, number)
        if self._book.platform == X:
            return str(((at * 1_000 - X_EPOCH_MS) << X_TIME_SHIFT) | (mixed & ((1 << X_TIME_SHIFT) - 1)))
        if self._book.platform == TIKTOK:
            return str((at << TIKTOK_TIME_SHIFT) | (mixed & ((1 << TIKTOK_TIME_SHIFT) - 1)))
        return str(POST_ID_DIGITS_BASE + (mixed << 9))


def later_video_id(world: World, account: int, number: int) -> str:
    """The id of a later video, from which account and number can be read back."""
    value = int(scramble(np.array([(account << NUMBER_BITS) | number], np.uint64), _video_key(world), VIDEO_BITS)[0])
    return "".join(chr(BASE64[(value >> (6 * place)) & 63]) for place in range(VIDEO_ID_CHARS))


def later_owner(world: World, video_id: str) -> int | None:
    """The account in the id of a later video; any account for an id that was never given."""
    table = {int(code): place for place, code in enumerate(BASE64)}
    digits = [table.get(ord(char)) for char in video_id]
    if None in digits:
        return None
    value = sum((digit or 0) << (6 * place) for place, digit in enumerate(digits))
    return _unscrambled(value & ((1 << VIDEO_BITS) - 1), int(_video_key(world))) >> NUMBER_BITS


def _unscrambled(value: int, key: int) -> int:
    """The inverse of `scramble` for `VIDEO_BITS` bits."""
    mask, half = (1 << VIDEO_BITS) - 1, VIDEO_BITS // 2
    for multiplier in reversed(MULTIPLIERS):
        value = value ^ (value >> half) ^ (value >> (2 * half))
        value = (value * pow(int(multiplier), -1, 1 << VIDEO_BITS)) & mask
    return value ^ (key & mask)


def _video_key(world: World) -> np.uint64:
    return np.uint64(Draws(world.seed).bits("life/video key", np.zeros(1, np.uint64))[0])


def _posting(one: Accounts) -> Accounts:
    """The account as one that has posts."""
    return replace(one, traits=replace(one.traits, has_posts=np.ones(len(one), dtype=bool)))


def _base_ids(world: World, ids: Ids, platform: int) -> list[str]:
    """Ids of the world's posts, as its dumps have them."""
    draws = Draws(world.seed)
    if platform == YOUTUBE:
        return list(base64_ids(draws, "video", ids, VIDEO_ID_CHARS).to_pylist())
    return [str(int(bits) + POST_ID_DIGITS_BASE) for bits in draws.bits("post id", ids) >> POST_ID_BITS]


def _listed(posts: Posts, names: list[str], *, is_later: bool) -> list[Post]:
    tags = list(zip(*(column.to_pylist() for column in posts.tags), strict=True))
    return [
        Post(name, key & WORD, text, tuple(filter(None, tag)), published, views, likes, comments, shares, length, is_later)
        for name, key, text, tag, published, views, likes, comments, shares, length in zip(
            names, posts.ids.tolist(), posts.texts.to_pylist(), tags, posts.published.tolist(), posts.views.to_pylist(),
            posts.likes.to_pylist(), posts.comments.tolist(), posts.shares.tolist(), posts.seconds.tolist(), strict=True,
        )
    ]  # fmt: skip
