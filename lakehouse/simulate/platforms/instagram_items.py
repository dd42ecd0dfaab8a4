"""Users and media of the Instagram Graph API as JSON."""

from __future__ import annotations

import base64

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.registry import State
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import Fields, arr, graph_time, obj, text

USER_FIELDS = frozenset(
    {"id", "ig_id", "username", "name", "biography", "website", "profile_picture_url", "followers_count",
     "follows_count", "media_count"}
)  # fmt: skip
MEDIA_FIELDS = frozenset(
    {"id", "caption", "comments_count", "like_count", "media_type", "media_product_type", "media_url", "permalink",
     "thumbnail_url", "timestamp", "username", "children"}
)  # fmt: skip
GRAPH_ID_BASE = 17_841_400_000_000_000
"""Ids of the Graph API: 17 digits, these first."""
ALBUM_EVERY, REEL_EVERY, NO_URL_EVERY = 4, 3, 9
"""Every so many posts are albums, reels, or have no media address (licensed audio, copyright flags)."""
SHORTCODE_BYTES = 8


def graph_id(state: State) -> int:
    """The account's id in the Graph API; the world's dumps have its older `ig_id`."""
    return GRAPH_ID_BASE + state.profile.account


def user_fields(state: State) -> Fields:
    """All fields of a user; absent where the account states nothing."""
    profile = state.profile
    key = ("biography", state.version)
    if key not in profile.rendered:
        profile.rendered[key] = text(state.bio)
        profile.rendered["name"] = text(profile.display_name)
    fields: Fields = {
        "id": f'"{graph_id(state)}"',
        "ig_id": profile.platform_id,
        "username": f'"{state.handle}"',
        "name": profile.rendered["name"],
        "profile_picture_url": f'"https://scontent.cdninstagram.com/v/t51.2885-15/{profile.account:x}_n.jpg?_nc_ohc=1"',
        "followers_count": str(state.followers),
        "follows_count": str(profile.following),
        "media_count": str(state.posts_count),
    }
    if state.bio:
        fields["biography"] = profile.rendered[key]
    site = profile.website or (profile.links[0] if profile.links else None)
    if site:
        fields["website"] = text(site)
    return fields


def media_fields(state: State, post: Post, now: float, drift: Drift) -> Fields:
    """All fields of a post; `like_count` is absent where likes are hidden."""
    kind, product = _kinds(post)
    url = f"https://scontent.cdninstagram.com/v/t51.29350-15/{post.key:x}_n.jpg?_nc_ohc=1"
    fields: Fields = {
        "id": text(post.post_id),
        "caption": text(" ".join([post.text, *(f"#{tag}" for tag in post.tags)])),
        "comments_count": str(post.grown(post.comments, now)),
        "media_type": text("CLIP" if drift.new_enum and kind == "VIDEO" else kind),
        "media_product_type": text(product),
        "permalink": text(f"https://www.instagram.com/{'reel' if product == 'REELS' else 'p'}/{_shortcode(post)}/"),
        "timestamp": text(graph_time(post.published)),
        "username": text(state.handle),
    }
    if post.likes is not None:
        fields["like_count"] = str(post.grown(post.likes, now))
    if post.key % NO_URL_EVERY:
        fields["media_url"] = text(url)
    if kind == "VIDEO":
        fields["thumbnail_url"] = text(url)
    if kind == "CAROUSEL_ALBUM":
        children = [obj({"id": text(str(int(post.post_id) + place))}) for place in (1, 2)]
        fields["children"] = obj({"data": arr(children)})
    return fields


def _kinds(post: Post) -> tuple[str, str]:
    """Posts with views are videos; of them some are reels, of the others some are albums."""
    if post.views is not None:
        return "VIDEO", "REELS" if post.key % REEL_EVERY else "FEED"
    return ("CAROUSEL_ALBUM" if post.key % ALBUM_EVERY == 0 else "IMAGE"), "FEED"


def _shortcode(post: Post) -> str:
    return base64.urlsafe_b64encode(int(post.post_id).to_bytes(SHORTCODE_BYTES, "big")).decode().rstrip("=")
