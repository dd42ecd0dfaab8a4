"""Posts: those of the dumps, then new ones, each at its time and never again another."""

import json

import pytest

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.accounts import chunk_accounts
from lakehouse.simulate.handles import find_taken, id_chunks
from lakehouse.simulate.platforms.life import DAY_SECONDS, origin_of
from lakehouse.simulate.platforms.timeline import Timelines, later_owner, later_video_id
from lakehouse.simulate.posts import post_lines, posts_of
from lakehouse.simulate.world import World

WORLD = World(creators_count=300)
ORIGIN = origin_of(WORLD)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_posts_of_the_dumps_are_there(calm, platform):
    book = calm.book(platform)
    timelines, checked = Timelines(book), 0
    taken = find_taken(WORLD, WORLD.creators_count)
    for ids in id_chunks(0, WORLD.creators_count, WORLD.chunk_creators):
        accounts = chunk_accounts(WORLD, ids, taken)[book.platform]
        posts = posts_of(WORLD, accounts)
        for row, line in zip(posts.rows, post_lines(WORLD, accounts, posts).lines.to_pylist(), strict=True):
            dumped, profile = json.loads(line), book.profile(int(row))
            if not profile.content:
                continue
            named = {post.post_id: post for post in timelines.of(profile, ORIGIN)}
            post = named[str(dumped.get("post_id", dumped.get("id")))]
            counts = dumped.get("statistics", {"viewCount": dumped.get("views")})
            assert str(counts["viewCount"]) == str(post.views)
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("platform", PLATFORMS)
def test_posts_appear_newest_first_and_are_counted(calm, platform):
    book = calm.book(platform)
    timelines = Timelines(book)
    for row in range(0, len(book), 7):
        before, after = book.state(row, ORIGIN), book.state(row, ORIGIN + 100 * DAY_SECONDS)
        posts = timelines.of(after.profile, ORIGIN + 100 * DAY_SECONDS)
        assert [post.published for post in posts] == sorted((post.published for post in posts), reverse=True)
        assert sum(post.is_later for post in posts) == after.posts_count - before.posts_count
        assert len({post.post_id for post in posts}) == len(posts)
        assert timelines.of(after.profile, ORIGIN) == [post for post in posts if post.published <= ORIGIN]


def test_later_posts_gather_their_counts(calm):
    book = calm.book("tiktok")
    timelines = Timelines(book)
    now = ORIGIN + 60 * DAY_SECONDS
    post = next(
        p for row in range(len(book)) for p in timelines.of(book.profile(row), now) if p.is_later and p.views > 100
    )
    grown = [post.grown(post.views, post.published + age * DAY_SECONDS) for age in (0, 1, 2, 30)]
    assert grown[0] == 0
    assert grown == sorted(grown)
    assert grown[2] == post.views // 2
    assert post.grown(None, now) is None


def test_videos_are_found_by_their_ids(calm):
    book = calm.book("youtube")
    timelines = Timelines(book)
    now = ORIGIN + 45 * DAY_SECONDS
    for row in range(0, len(book), 9):
        for post in timelines.of(book.profile(row), now):
            owner, found = timelines.find_video(post.post_id, now)
            assert (owner.row, found) == (row, post)
    unpublished = later_video_id(WORLD, book.profile(3).account, 900)
    assert later_owner(WORLD, unpublished) == book.profile(3).account
    assert timelines.find_video(unpublished, now) is None
    for junk in ("", "short", "AAAAAAAAAAA", "ÄÄÄÄÄÄÄÄÄÄÄ", "!!!!!!!!!!!"):
        assert timelines.find_video(junk, now) is None
