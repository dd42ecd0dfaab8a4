"""What a landed record may say: the canonical names of the fields of a payload. Names only; values stay raw until silver."""

from __future__ import annotations

PROFILE = "profile"
POST = "post"
RECORD_TYPES: tuple[str, ...] = (PROFILE, POST)

RESCUED = "_rescued"
"""Payload field that holds the columns no mapping names, header to value."""

PROFILE_FIELDS: frozenset[str] = frozenset(
    {
        "platform_account_id",
        "handle",
        "display_name",
        "other_names",
        "bio",
        "profile_url",
        "website",
        "categories",
        "country",
        "audience_country",
        "language",
        "account_type",
        "is_verified",
        "is_private",
        "account_created_at",
        "account_state",
        "state_reason",
        "email",
        "followers",
        "following",
        "content_count",
        "views",
        "likes",
        "avg_views",
        "avg_likes",
        "avg_comments",
        "avg_shares",
        "avg_engagement",
        "stated_er",
        "stated_er_unit",
        "links",
    }
)
"""Fields of a profile record. `links` is a list of URLs or of {platform, target, url}."""

POST_FIELDS: frozenset[str] = frozenset(
    {
        "post_id",
        "account_id",
        "handle",
        "account_name",
        "published_at",
        "title",
        "caption",
        "tags",
        "category",
        "duration",
        "views",
        "likes",
        "comments",
        "shares",
        "saves",
        "language",
        "comments_disabled",
        "ratings_disabled",
        "account_followers",
    }
)
"""Fields of a post record."""

PAYLOAD_FIELDS: dict[str, frozenset[str]] = {PROFILE: PROFILE_FIELDS, POST: POST_FIELDS}

ACCOUNT_KEYS: dict[str, tuple[str, ...]] = {
    PROFILE: ("platform_account_id", "handle", "display_name"),
    POST: ("account_id", "handle", "account_name"),
}
"""Fields of which a record needs one to belong to an account, best first."""

RECORD_KEYS: dict[str, tuple[str, ...]] = {PROFILE: (), POST: ("post_id",)}
"""Fields that a record cannot do without besides an account key."""
