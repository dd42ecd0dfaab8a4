"""Users and videos of TikTok as JSON, for its Display and its Research API."""

from __future__ import annotations

import hashlib

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.quotas import day_of
from lakehouse.simulate.platforms.registry import State
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import Call, Fields, chosen, flag, obj, text, texts

DISPLAY_USER_FIELDS = {
    "open_id": "basic", "union_id": "basic", "avatar_url": "basic", "avatar_url_100": "basic",
    "avatar_large_url": "basic", "display_name": "basic", "bio_description": "profile", "profile_deep_link": "profile",
    "is_verified": "profile", "username": "profile", "follower_count": "stats", "following_count": "stats",
    "likes_count": "stats", "video_count": "stats",
}  # fmt: skip
"""Fields of a user in the Display API, with the scope that each needs."""
DISPLAY_VIDEO_FIELDS = (
    "id", "create_time", "cover_image_url", "share_url", "video_description", "duration", "title", "embed_link",
    "like_count", "comment_count", "share_count", "view_count",
)  # fmt: skip
RESEARCH_USER_FIELDS = (
    "display_name", "bio_description", "avatar_url", "is_verified", "follower_count", "following_count", "likes_count",
    "video_count", "bio_url",
)  # fmt: skip
RESEARCH_VIDEO_FIELDS = (
    "id", "video_id", "video_description", "create_time", "region_code", "share_count", "view_count", "like_count",
    "comment_count", "music_id", "hashtag_names", "username", "effect_ids", "playlist_id", "voice_to_text",
    "video_duration",
)  # fmt: skip
ID_HEX = 32
"""Characters of an open id after its first four."""
DEFAULT_REGION = "US"


def log_id(call: Call) -> str:
    """The id of a request as TikTok writes it: date, then hex digits."""
    digest = hashlib.blake2b(f"{call.now}/{call.path}/{call.credential}".encode(), digest_size=10).hexdigest().upper()
    return day_of(call.now).replace("-", "") + digest


def open_id(account: int, purpose: str) -> str:
    """An account's id for one application (`open`) or one developer (`union`)."""
    return "-000" + hashlib.blake2b(f"{purpose}/{account}".encode(), digest_size=ID_HEX // 2).hexdigest()


def _common(state: State) -> Fields:
    profile = state.profile
    key = ("common", state.version)
    if key not in profile.rendered:
        profile.rendered[key] = text(state.bio)
        profile.rendered["display_name"] = text(profile.display_name)
    return {
        "display_name": profile.rendered["display_name"],
        "bio_description": profile.rendered[key],
        "avatar_url": f'"https://p16-sign.tiktokcdn.com/{profile.account:x}~c5_168x168.jpeg?x-expires=1"',
        "is_verified": flag(profile.is_verified),
        "follower_count": str(state.followers),
        "following_count": str(profile.following),
        "likes_count": str(state.likes),
        "video_count": str(state.posts_count),
    }


def display_user(state: State) -> Fields:
    """All fields of a user in the Display API."""
    account = state.profile.account
    return _common(state) | {
        "open_id": text(open_id(account, "open")),
        "union_id": text(open_id(account, "union")),
        "avatar_url_100": f'"https://p16-sign.tiktokcdn.com/{account:x}~c5_100x100.jpeg?x-expires=1"',
        "avatar_large_url": f'"https://p16-sign.tiktokcdn.com/{account:x}~c5_1080x1080.jpeg?x-expires=1"',
        "profile_deep_link": text(f"https://vm.tiktok.com/{account:x}/"),
        "username": text(state.handle),
    }


def research_user(state: State) -> Fields:
    """All fields of a user in the Research API. The link stands there only where the account has one."""
    links = [state.profile.website] if state.profile.website else list(state.profile.links)
    return _common(state) | ({"bio_url": text(links[0])} if links else {})


def display_video(state: State, post: Post, names: tuple[str, ...], now: float, drift: Drift) -> str:
    """A video in the Display API."""
    url = f"https://www.tiktok.com/@{state.handle}/video/{post.post_id}"
    fields: Fields = {
        "id": text(post.post_id) if drift.tiktok_text_ids else post.post_id,
        "create_time": str(post.published),
        "cover_image_url": text(f"https://p16-sign.tiktokcdn.com/{post.key:x}.jpeg?x-expires=1"),
        "share_url": text(url),
        "video_description": text(_caption(post)),
        "duration": str(post.seconds),
        "title": text(post.text),
        "embed_link": text(url.replace("/@", "/embed/@")),
    }
    return obj(chosen(fields | _counts(post, now), names))


def research_video(state: State, post: Post, names: tuple[str, ...], now: float) -> str:
    """A video in the Research API; ids are numbers above 2^53."""
    fields: Fields = {
        "id": post.post_id,
        "video_id": post.post_id,
        "video_description": text(_caption(post)),
        "create_time": str(post.published),
        "region_code": text(state.profile.country or DEFAULT_REGION),
        "music_id": str(7_000_000_000_000_000_000 + post.key % 10**17),
        "hashtag_names": texts(post.tags),
        "username": text(state.handle),
        "effect_ids": '["0"]',
        "video_duration": str(post.seconds),
    }
    return obj(chosen(fields | _counts(post, now), names))


def _caption(post: Post) -> str:
    return " ".join([post.text, *(f"#{tag}" for tag in post.tags)])


def _counts(post: Post, now: float) -> Fields:
    counts = {
        "like_count": post.likes, "comment_count": post.comments, "share_count": post.shares, "view_count": post.views,
    }  # fmt: skip
    return {name: str(post.grown(count, now)) for name, count in counts.items() if count is not None}
