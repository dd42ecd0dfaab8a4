"""Users and posts of X as JSON."""

from __future__ import annotations

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.registry import State, Status
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import Fields, arr, chosen, flag, iso, obj, text
from lakehouse.simulate.vocabulary import vocabulary

USER_FIELDS = frozenset(
    {"confirmed_email", "connection_status", "created_at", "description", "entities", "id", "is_identity_verified",
     "location", "name", "parody", "profile_banner_url", "profile_image_url", "protected", "public_metrics",
     "receives_your_dm", "subscribes_to_you", "subscription", "subscription_type", "url", "username", "verified",
     "verified_followers_count", "verified_type", "withheld", "pinned_tweet_id", "most_recent_tweet_id"}
)  # fmt: skip
POST_FIELDS = frozenset(
    {"article", "article_title", "attachments", "author_id", "card_uri", "community_id", "context_annotations",
     "conversation_id", "created_at", "display_text_range", "edit_controls", "entities", "geo", "id",
     "in_reply_to_user_id", "lang", "matched_media_notes", "media_metadata", "non_public_metrics", "note_post",
     "note_request_suggestions", "organic_metrics", "paid_partnership", "possibly_sensitive", "promoted_metrics",
     "public_metrics", "referenced_tweets", "reply_settings", "scopes", "source", "suggested_source_links",
     "suggested_source_links_with_counts", "text", "withheld"}
)  # fmt: skip
LISTED_RATIO = 400
"""Followers for each list that an account is on."""
MILLISECOND_DIGITS = 3


def user_fields(state: State, names: tuple[str, ...], drift: Drift, *, latest: str) -> Fields:
    """A user with the default fields and those asked for."""
    profile = state.profile
    fields: Fields = {
        "id": f'"{profile.platform_id}"',
        "name": _kept(state, "name", profile.display_name),
        "username": f'"{state.handle}"',
    }
    if names:
        fields |= chosen(_more(state, drift), names)
    if latest:
        fields["most_recent_tweet_id" if drift.x_tweet_names else "most_recent_post_id"] = text(latest)
    return drift.changed(fields, "description")


def _more(state: State, drift: Drift) -> Fields:
    profile = state.profile
    fields: Fields = {
        "created_at": text(iso(profile.created_at, digits=MILLISECOND_DIGITS)),
        "description": _kept(state, "description", state.bio),
        "protected": flag(state.status == Status.PRIVATE),
        "public_metrics": _metrics(state, drift),
        "verified": flag(profile.is_verified),
        "verified_type": _verified_type(state, drift),
        "parody": "false",
        "subscription_type": '"None"',
        "profile_image_url": f'"https://pbs.twimg.com/profile_images/{profile.account}/photo_normal.jpg"',
    }
    if profile.country:
        fields["location"] = _kept(state, "location", _place(profile.country))
    links = [profile.website] if profile.website else []
    links += profile.links
    if links:
        fields["url"] = text(_short(profile.account, 0))
    key = ("entities", state.version)
    if key not in profile.rendered:
        profile.rendered[key] = _entities(state, links)
    if profile.rendered[key]:
        fields["entities"] = profile.rendered[key]
    return fields


def _metrics(state: State, drift: Drift) -> str:
    posts = "tweet_count" if drift.x_tweet_names else "post_count"
    profile = state.profile
    return (
        f'{{"followers_count":{state.followers},"following_count":{profile.following},"{posts}":{state.posts_count},'
        f'"listed_count":{state.followers // LISTED_RATIO},"like_count":{state.likes},"media_count":{state.posts_count // 3}}}'
    )


def _verified_type(state: State, drift: Drift) -> str:
    if not state.profile.is_verified:
        return '"none"'
    return '"platinum"' if drift.new_enum else '"blue"'


def _entities(state: State, links: list[str]) -> str:
    """Addresses behind the short ones; hashtags of the bio."""
    if not links:
        return ""
    urls = [
        obj(
            {
                "start": "0",
                "end": "23",
                "url": text(_short(state.profile.account, place)),
                "expanded_url": text(link),
                "display_url": text(link.removeprefix("https://").removeprefix("www.")[:30]),
            }
        )
        for place, link in enumerate(links)
    ]
    return obj({"url": obj({"urls": arr(urls)})})


def _short(account: int, place: int) -> str:
    return f"https://t.co/{account:08x}{place:02x}"


def _place(country: str) -> str:
    places = vocabulary().places
    return places.labels[places.codes.index(country)]


def _kept(state: State, name: str, value: str) -> str:
    """A text as JSON, kept with the account."""
    key = (name, state.version)
    found = state.profile.rendered.get(key)
    if found is None:
        found = state.profile.rendered[key] = text(value)
    return found


def post_text(state: State, post: Post, names: list[str], now: float, drift: Drift) -> str:
    """A post with the default fields and those asked for."""
    caption = " ".join([post.text, *(f"#{tag}" for tag in post.tags)])
    history = "edit_history_tweet_ids" if drift.x_tweet_names else "edit_history_post_ids"
    fields: Fields = {"id": text(post.post_id), "text": text(caption), history: arr([text(post.post_id)])}
    more: Fields = {
        "author_id": text(state.platform_id),
        "conversation_id": text(post.post_id),
        "created_at": text(iso(post.published, digits=MILLISECOND_DIGITS)),
        "lang": text(state.profile.language or "en"),
        "possibly_sensitive": "false",
        "reply_settings": '"everyone"',
        "public_metrics": _post_metrics(post, now, drift),
    }
    if post.tags:
        more["entities"] = obj({"hashtags": arr(_hashtags(post, caption))})
    return obj(fields | chosen(more, names))


def _hashtags(post: Post, caption: str) -> list[str]:
    found, place = [], len(post.text)
    for tag in post.tags:
        start = caption.index(f"#{tag}", place)
        place = start + len(tag) + 1
        found.append(obj({"start": str(start), "end": str(place), "tag": text(tag)}))
    return found


def _post_metrics(post: Post, now: float, drift: Drift) -> str:
    reposts = "retweet_count" if drift.x_tweet_names else "repost_count"
    counts = {
        reposts: post.shares, "reply_count": post.comments, "like_count": post.likes or 0,
        "quote_count": post.shares // 10, "bookmark_count": post.shares // 5, "impression_count": post.views or 0,
    }  # fmt: skip
    return obj({name: str(post.grown(count, now)) for name, count in counts.items()})
