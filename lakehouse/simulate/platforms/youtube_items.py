"""Resources of the YouTube Data API as JSON: channels, playlist items, videos, search results."""

from __future__ import annotations

import base64

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.registry import Profile, State, niche_label
from lakehouse.simulate.platforms.timeline import Post
from lakehouse.simulate.platforms.wire import Fields, flag, iso, obj, text, texts
from lakehouse.simulate.profiles import SUBSCRIBER_DIGITS
from lakehouse.simulate.vocabulary import vocabulary

AVATARS = {"default": 88, "medium": 240, "high": 800}
"""Sizes of channel pictures in pixels."""
VIDEO_IMAGES = {"default": ("default", 120, 90), "medium": ("mqdefault", 320, 180), "high": ("hqdefault", 480, 360)}
FRACTION_DIGITS = (0, 3, 5)
"""Digits of a second in `publishedAt`: the API is not of one mind."""
TOPICLESS = 7
"""Every channel whose number is a multiple of this has no `topicDetails`."""
COMMENTLESS, LIKELESS = 11, 13
"""So with videos whose comments or likes are switched off."""


def channel_fields(state: State, parts: tuple[str, ...], drift: Drift) -> Fields:
    """A channel with the parts asked for."""
    profile = state.profile
    fields: Fields = {
        "kind": '"youtube#channel"',
        "etag": f'"{profile.row:x}-{state.version}-{state.followers:x}"',
        "id": f'"{profile.platform_id}"',
    }
    for part in parts:
        made = _statistics(state, drift) if part == "statistics" else _kept(state, part, drift)
        if made:
            fields[part] = made
    return drift.changed(fields, "brandingSettings")


def _kept(state: State, part: str, drift: Drift) -> str:
    """A part that changes only with the account's texts."""
    key = (part, state.version, drift.removed_field, drift.new_enum)
    found = state.profile.rendered.get(key)
    if found is None:
        found = state.profile.rendered[key] = CHANNEL_PARTS[part](state, drift) if part in CHANNEL_PARTS else ""
    return found


def _snippet(state: State, drift: Drift) -> str:
    profile = state.profile
    description = "\n".join([state.bio, *profile.links])
    fields: Fields = {
        "title": text(profile.display_name),
        "description": text(description),
        "customUrl": text(f"@{state.handle}"),
        "publishedAt": text(iso(profile.created_at, digits=FRACTION_DIGITS[profile.account % len(FRACTION_DIGITS)])),
        "thumbnails": _avatars(profile),
        "localized": obj({"title": text(profile.display_name), "description": text(description)}),
    }
    if profile.country:
        fields["country"] = text(profile.country)
    if profile.language:
        fields["defaultLanguage"] = text(profile.language)
    if drift.removed_field:
        del fields["description"]
    return obj(fields)


def _statistics(state: State, drift: Drift) -> str:
    counts = {"viewCount": state.views, "subscriberCount": rounded(state.followers), "videoCount": state.posts_count}
    if state.is_hidden:
        counts["subscriberCount"] = 0
        if state.profile.row % 2:
            del counts["subscriberCount"]
    quote = "" if drift.youtube_number_counts else '"'
    fields = {name: f"{quote}{count}{quote}" for name, count in counts.items()}
    return obj(fields | {"hiddenSubscriberCount": flag(state.is_hidden)})


def _content_details(state: State, _: Drift) -> str:
    uploads = "UU" + state.platform_id[2:]
    return f'{{"relatedPlaylists":{{"likes":"","uploads":"{uploads}"}}}}'


def _topic_details(state: State, _: Drift) -> str:
    profile = state.profile
    if profile.account % TOPICLESS == 0:
        return ""
    return obj(
        {"topicCategories": texts([f"https://en.wikipedia.org/wiki/{niche_label(profile.niche).replace(' ', '_')}"])}
    )


def _branding(state: State, _: Drift) -> str:
    profile = state.profile
    words = niche_label(profile.niche)
    fields = {
        "title": text(profile.display_name),
        "description": text(state.bio),
        "keywords": text(f'"{words} channel" {words.split(" ")[0]}'),
    }
    if profile.country:
        fields["country"] = text(profile.country)
    return obj({"channel": obj(fields)})


def _status(_: State, drift: Drift) -> str:
    uploads = "extended" if drift.new_enum else "longUploadsUnspecified"
    return f'{{"privacyStatus":"public","isLinked":true,"longUploadsStatus":"{uploads}","madeForKids":false}}'


CHANNEL_PARTS = {
    "snippet": _snippet,
    "contentDetails": _content_details,
    "topicDetails": _topic_details,
    "brandingSettings": _branding,
    "status": _status,
}
"""How the parts are made that change only with an account's texts."""


def playlist_item(owner: State, post: Post, parts: tuple[str, ...], place: int) -> str:
    """A video in its channel's list of uploads."""
    playlist = "UU" + owner.platform_id[2:]
    item = base64.urlsafe_b64encode(f"{playlist}.{post.post_id}".encode()).decode().rstrip("=")
    fields: Fields = {"kind": '"youtube#playlistItem"', "etag": f'"{item[-16:]}"', "id": text(item)}
    made: Fields = {
        "snippet": obj(
            _video_texts(owner.profile, post)
            | {
                "channelTitle": text(owner.profile.display_name),
                "playlistId": text(playlist),
                "position": str(place),
                "resourceId": obj({"kind": '"youtube#video"', "videoId": text(post.post_id)}),
            }
        ),
        "contentDetails": obj({"videoId": text(post.post_id), "videoPublishedAt": text(iso(post.published))}),
        "status": '{"privacyStatus":"public"}',
    }
    return obj(fields | {name: made[name] for name in parts if name in made})


def video_fields(profile: Profile, post: Post, parts: tuple[str, ...], now: float, drift: Drift) -> Fields:
    """A video with the parts asked for."""
    snippet = _video_texts(profile, post) | {
        "channelTitle": text(profile.display_name),
        "tags": texts(post.tags),
        "categoryId": text(str(vocabulary().youtube_categories[profile.niche])),
        "liveBroadcastContent": '"none"',
    }
    minutes, seconds = divmod(post.seconds, 60)
    made: Fields = {
        "snippet": obj(snippet),
        "statistics": _video_statistics(post, now, drift),
        "contentDetails": f'{{"duration":"PT{minutes}M{seconds}S","dimension":"2d","definition":"hd","caption":"false","licensedContent":true}}',
        "status": '{"uploadStatus":"processed","privacyStatus":"public","license":"youtube","embeddable":true,"madeForKids":false}',
        "player": obj({"embedHtml": text(f'<iframe src="//www.youtube.com/embed/{post.post_id}"></iframe>')}),
    }
    fields: Fields = {"kind": '"youtube#video"', "etag": f'"{post.key:x}"', "id": text(post.post_id)}
    return fields | {name: made[name] for name in parts if name in made}


def _video_statistics(post: Post, now: float, drift: Drift) -> str:
    counts = {
        "viewCount": post.grown(post.views, now),
        "likeCount": None if post.key % LIKELESS == 0 else post.grown(post.likes, now),
        "favoriteCount": 0,
        "commentCount": None if post.key % COMMENTLESS == 0 else post.grown(post.comments, now),
    }
    quote = "" if drift.youtube_number_counts else '"'
    return obj({name: f"{quote}{count}{quote}" for name, count in counts.items() if count is not None})


def _video_texts(profile: Profile, post: Post) -> Fields:
    description = "\n".join(filter(None, [post.text, " ".join(f"#{tag}" for tag in post.tags)]))
    images = {
        name: obj({"url": text(f"https://i.ytimg.com/vi/{post.post_id}/{file}.jpg"), "width": str(w), "height": str(h)})
        for name, (file, w, h) in VIDEO_IMAGES.items()
    }
    return {
        "publishedAt": text(iso(post.published)),
        "channelId": text(profile.platform_id),
        "title": text(post.text),
        "description": text(description),
        "thumbnails": obj(images),
    }


def search_item(state: State) -> str:
    """A channel as a search result."""
    profile = state.profile
    snippet = {
        "publishedAt": text(iso(profile.created_at)),
        "channelId": text(profile.platform_id),
        "title": text(profile.display_name),
        "description": text(state.bio[:140]),
        "thumbnails": _avatars(profile),
        "channelTitle": text(profile.display_name),
        "liveBroadcastContent": '"none"',
    }
    fields = {
        "kind": '"youtube#searchResult"',
        "etag": f'"{profile.row:x}"',
        "id": obj({"kind": '"youtube#channel"', "channelId": text(profile.platform_id)}),
        "snippet": obj(snippet),
    }
    return obj(fields)


def rounded(count: int) -> int:
    """A count cut to its leading digits, as the API shows subscribers."""
    unit = int(10 ** max(len(str(count)) - SUBSCRIBER_DIGITS, 0))
    return count // unit * unit


def _avatars(profile: Profile) -> str:
    return obj(
        (name, f'{{"url":"https://yt3.ggpht.com/ytc/{profile.account:x}=s{size}-c-k","width":{size},"height":{size}}}')
        for name, size in AVATARS.items()
    )
