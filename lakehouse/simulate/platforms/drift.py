"""Changes of the platforms' schemas that can be switched on and off while the emulator runs."""

from __future__ import annotations

from dataclasses import dataclass

NEW_FIELD = "beta_insight"
"""Name of the field that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Which changes are on.

    Attributes:
        x_tweet_names: X says `tweet_count`, `retweet_count`, `pinned_tweet_id` and `api.twitter.com`, as its recorded
            responses do, instead of the names of its API description.
        x_number_cap: `project_cap` is a number, as in X's guide, instead of a string.
        x_legacy_errors: X answers a full window with `{"errors":[{"code":88,...}]}`.
        tiktok_text_ids: video ids of TikTok are strings instead of big numbers.
        youtube_number_counts: YouTube's counts are numbers instead of strings.
        new_field: every profile has a field that nobody knows.
        removed_field: profiles lose their text (description, biography, bio_description).
        new_enum: a value that nobody knows, where a field has one of a few.
    """

    x_tweet_names: bool = False
    x_number_cap: bool = False
    x_legacy_errors: bool = False
    tiktok_text_ids: bool = False
    youtube_number_counts: bool = False
    new_field: bool = False
    removed_field: bool = False
    new_enum: bool = False

    def changed(self, fields: dict[str, str], text_field: str) -> dict[str, str]:
        """Apply the changes that all platforms share to the fields of a profile."""
        if self.removed_field:
            fields.pop(text_field, None)
        if self.new_field:
            fields[NEW_FIELD] = '{"score":0.5}'
        return fields
